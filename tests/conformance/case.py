# SPDX-License-Identifier: Apache-2.0
"""A case: a named walk through the API in a namespace of its own; its docstring says why it exists.

A case is a function, not a table of requests: later requests need what earlier ones answered (a uid, a version, a token), and a
language for such references would be one more thing to get wrong.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cache

from tests.conformance import cases
from tests.conformance.room import Room

Play = Callable[[Room], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """One case. `alone`: it takes history away from all others, so it is played after them."""

    group: str
    name: str
    why: str
    play: Play
    alone: bool = False

    @property
    def id(self) -> str:
        return f"{self.group}/{self.name}"


def alone(play: Play) -> Play:
    """Mark a case that must be played when no other is."""
    play.alone = True  # type: ignore[attr-defined]
    return play


@cache
def every_case() -> tuple[Case, ...]:
    """All cases: the public coroutine functions of the modules in `cases`, in the order in which they are written."""
    found: list[Case] = []
    for info in sorted(pkgutil.iter_modules(cases.__path__), key=lambda each: each.name):
        module = importlib.import_module(f"{cases.__name__}.{info.name}")
        plays = [play for name, play in vars(module).items() if getattr(play, "__module__", "") == module.__name__ and takes_a_room(name, play)]
        found += [Case(info.name, play.__name__.replace("_", " "), (play.__doc__ or "").strip(), play, getattr(play, "alone", False)) for play in plays]
    return tuple(found)


def takes_a_room(name: str, play: object) -> bool:
    """Whether a member of a module is a case; what they share begins with an underscore or is no coroutine of one room."""
    notes = getattr(play, "__annotations__", {})
    return not name.startswith("_") and callable(play) and set(notes) == {"room", "return"}
