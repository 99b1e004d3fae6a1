# SPDX-License-Identifier: Apache-2.0
"""Verbs of other packages, found by entry point as controllers are: group `drover.verbs`, the name is the verb.

The value is a function `add_parser(subparsers)` as each verb here has one; it adds a parser of that name, whose default `run` takes the
parsed arguments and returns the exit code. It is loaded only when its verb or the help of all verbs is asked for, so it must be
light: what is heavy is imported by `run`.
"""

from collections.abc import Collection, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

from drover_operator.cli.options import SubParsers
from drover_operator.cli.outcome import Failure

GROUP = "drover.verbs"


class Verbs(SubParsers, Protocol):
    """What argparse's add_subparsers() returns, with the parsers that were added by name."""

    choices: Any


def names() -> tuple[str, ...]:
    """The verbs that installed packages offer; nothing is loaded."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def add(name: str, subparsers: Verbs) -> None:
    """Load one verb and add its parser.

    Raises:
        Failure: it cannot be loaded, adds no parser of its name, or two packages offer it.
    """
    points = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if len(points) > 1:
        raise Failure(f"two packages offer the verb '{name}': {' and '.join(sorted(points))}; uninstall one")
    for point in points.values():
        _load(point, subparsers)


def add_all(built_in: Collection[str], subparsers: Verbs) -> Iterator[str]:
    """Load every verb that is not built in, and tell what is wrong with those that cannot be: one sentence each."""
    for name in names():
        if name in built_in:
            continue
        try:
            add(name, subparsers)
        except Failure as failure:
            yield str(failure)


def _load(point: EntryPoint, subparsers: Verbs) -> None:
    try:
        point.load()(subparsers)
    except (Exception, SystemExit) as error:  # somebody else's module: whatever it raises, the sentence names it
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise Failure(f"the verb '{point.name}' ({point.value}) cannot be loaded: {words}") from error
    if point.name not in subparsers.choices:
        raise Failure(f"the verb '{point.name}' ({point.value}) cannot be loaded: it adds no parser of that name")
