# SPDX-License-Identifier: Apache-2.0
"""Structured merge and comparison: what server-side apply does with objects, once their shape is known.

Nothing here changes its arguments; what stays as it was is shared. Where upstream's library of 1.35 goes its own ways, so does this: the
order of merged lists, and that a map or a list that loses all its entries becomes null.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from drover_operator.testing.fieldsets import Path
from drover_operator.testing.objects import Json, is_list, is_object
from drover_operator.testing.shapes import LEAF, Shape

_NONE: Any = object()
_SELF = "."


@dataclass(slots=True)
class Difference:
    """The paths by which two objects differ."""

    added: set[Path] = field(default_factory=set[Path])
    modified: set[Path] = field(default_factory=set[Path])
    removed: set[Path] = field(default_factory=set[Path])

    def __bool__(self) -> bool:
        return bool(self.added or self.modified or self.removed)

    def without(self, excluded: tuple[Path, ...]) -> "Difference":
        """The difference outside some subtrees."""
        return Difference(*(outside(paths, excluded) for paths in (self.added, self.modified, self.removed)))


def outside(paths: set[Path], excluded: tuple[Path, ...]) -> set[Path]:
    """The paths that are not below (or at) one of `excluded`."""
    return {path for path in paths if not any(path[: len(top)] == top for top in excluded)}


def fields_of(shape: Shape, value: Any) -> set[Path]:
    """All fields that a value says something about: leaves, entries of lists and maps, empty maps."""
    return set(_fields_of(shape, value, ()))


def compared(shape: Shape, old: Json, new: Json) -> Difference:
    """What a change from `old` to `new` adds, modifies and removes; what comes or goes is named with all that is in it."""
    difference = Difference()
    _compare(shape, old, new, (), difference)
    return difference


def merged(shape: Shape, live: Any, config: Any) -> Any:
    """The applied configuration laid over what is there."""
    if shape.is_map(config) and shape.is_map(live):
        below: Json = {key: merged(shape.child(key), live[key], value) if key in live else value for key, value in config.items()}
        return {**live, **below}
    if shape.is_collection(config) and shape.is_collection(live):
        return _merged_list(shape, live, config)
    if config is None and live and (shape.is_map(live) or shape.is_collection(live)):
        return live
    return config


def without(shape: Shape, value: Any, tree: Json) -> Any:
    """The value without the fields of a set in nested form; None when nothing is left of it."""
    if shape.is_map(value):
        fields: Json = value
        left = {key: kept for key, child in fields.items() if (kept := _kept(shape.child(key), child, tree.get(f"f:{key}"))) is not _NONE}
        return left or None
    if shape.is_collection(value):
        items: list[Any] = value
        return [kept for item in items if (kept := _kept(shape.items or LEAF, item, tree.get(shape.entry(item)))) is not _NONE] or None
    return None if is_object(value) or is_list(value) else value


def _kept(shape: Shape, value: Any, tree: Json | None) -> Any:
    if tree is None:
        return value
    return _NONE if not tree or _SELF in tree else without(shape, value, tree)


def _fields_of(shape: Shape, value: Any, path: Path) -> Iterator[Path]:
    if shape.is_map(value):
        fields: Json = value
        for key, child in fields.items():
            below = (*path, f"f:{key}")
            yield from _fields_of(shape.child(key), child, below)
            if child == {} or not shape.declares(key):
                yield below
    elif shape.is_collection(value):
        items: list[Any] = value
        for item in items:
            below = (*path, shape.entry(item))
            yield from _fields_of(shape.items or LEAF, item, below)
            yield below
    elif path:
        yield path


def _compare(shape: Shape, old: Any, new: Any, path: Path, difference: Difference) -> None:
    if old is new or old == new:
        return
    pair = [value for value in (old, new) if value is not _NONE]
    parts = _parts(shape, pair) if any(pair) else None
    if parts is not None:
        sides = parts if len(pair) == 2 else [{}, *parts] if old is _NONE else [*parts, {}]
        _compare_parts(shape, sides, path, difference)
    elif len(pair) == 2:
        difference.modified.add(path)
        _compare_parts(shape, [_own_parts(shape, old), {}], path, difference)  # it may be of another type now
        _compare_parts(shape, [{}, _own_parts(shape, new)], path, difference)
    if old is _NONE:
        difference.added.add(path)
    elif new is _NONE:
        difference.removed.add(path)


def _compare_parts(shape: Shape, sides: list[Json], path: Path, difference: Difference) -> None:
    old, new = sides
    for element in {**old, **new}:
        _compare(shape.step(element), old.get(element, _NONE), new.get(element, _NONE), (*path, element), difference)


def _own_parts(shape: Shape, value: Any) -> Json:
    parts = _parts(shape, [value]) if value else None
    return parts[0] if parts else {}


def _parts(shape: Shape, values: list[Any]) -> list[Json] | None:
    """The values by path elements, or None where one of them is a leaf; null is a map or a list without entries."""
    present = [value for value in values if value is not None]
    if all(map(shape.is_map, present)):
        return [{f"f:{key}": child for key, child in (value or {}).items()} for value in values]
    if all(map(shape.is_collection, present)):
        return [{shape.entry(item): item for item in value or ()} for value in values]
    return None


def _merged_list(shape: Shape, live: list[Any], config: list[Any]) -> list[Any]:
    """The entries of both: those of the configuration in its order, the others where they stood."""
    below = shape.items or LEAF
    old = {shape.entry(item): item for item in live}
    new = {shape.entry(item): merged(below, old[element], item) if (element := shape.entry(item)) in old else item for item in config}
    shared = [element for element in new if element in old]
    result: list[Any] = []
    left = list(new)
    for element, item in old.items():
        if element not in new:
            result.append(item)
        elif shared and element == shared[0]:
            position = left.index(element) + 1
            result += [new[each] for each in left[:position]]
            left = left[position:]
            shared = [each for each in shared if each in left]
    return [*result, *(new[element] for element in left)]
