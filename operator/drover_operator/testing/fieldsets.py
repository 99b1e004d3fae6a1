# SPDX-License-Identifier: Apache-2.0
"""Sets of fields: paths in objects, in the form that metadata.managedFields writes them (FieldsV1).

A path is a tuple of elements as FieldsV1 spells them: `f:spec`, `k:{"name":"main"}`, `v:"value"`. A set is flat, so that union and
difference are Python's own; the nested form is only read and written. Rejected: nested sets as upstream has them, which save memory
that nobody here lacks.
"""

from collections.abc import Iterable, Iterator

from drover_operator.testing.objects import Json
from drover_operator.testing.shapes import Shape, shown

Path = tuple[str, ...]
Fields = frozenset[Path]
_SELF = "."


def tree_of(paths: Iterable[Path]) -> Json:
    """The nested form; a set that holds a path and others below it marks the former with `.`."""
    root: Json = {}
    for path in sorted(paths):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node[_SELF] = {}
    return _folded(root)


def paths_of_tree(tree: Json, above: Path = ()) -> Iterator[Path]:
    """The paths of the nested form."""
    for element, below in tree.items():
        if element == _SELF:
            yield above
        elif below:
            yield from paths_of_tree(below, (*above, element))
        else:
            yield (*above, element)


def spelled(path: Path) -> str:
    """A path as messages show it: `.spec.containers[name="main"].image`."""
    return "".join(map(shown, path))


def in_order(paths: Iterable[Path]) -> list[Path]:
    """The paths as the real server lists them: at each place what ends there first, then what goes on."""
    return list(_in_order(tree_of(paths), ()))


def with_declared_parents(shape: Shape, paths: Iterable[Path]) -> set[Path]:
    """The paths and those of the declared fields that they lead through."""
    full: set[Path] = set()
    for path in paths:
        full.add(path)
        place = shape
        for depth, element in enumerate(path[:-1], 1):
            if element.startswith("f:") and place.declares(element[2:]):
                full.add(path[:depth])
            place = place.step(element)
    return full


def _folded(node: Json) -> Json:
    children = {element: _folded(below) for element, below in node.items() if element != _SELF}
    return {_SELF: {}, **children} if children and _SELF in node else children


def _in_order(tree: Json, above: Path) -> Iterator[Path]:
    elements = [element for element in tree if element != _SELF]
    yield from ((*above, element) for element in elements if not tree[element] or _SELF in tree[element])
    for element in elements:
        yield from _in_order(tree[element], (*above, element))
