# SPDX-License-Identifier: Apache-2.0
"""Breadth first through all situations, each once; from each of them the quiet continuation must reach the goal.

Breadth first, so that the first trace that is found is a shortest one. Quiet continuations run into each other: one that meets a
situation known to end well is followed no further.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from exhaustive.actor import Label
from exhaustive.judge import Wrong
from exhaustive.space import Space, told

LONGEST = 400  # moves of a quiet continuation; a whole life of a service takes about 100
LOOK = 1024  # situations between two looks at the clock
QUIET = "-- from here on nothing goes wrong:"
ENDLESS = 10**9


@dataclass(frozen=True)
class Limits:
    """Where a search stops: so many moves from the beginning, after so many states, after so many seconds."""

    depth: int = ENDLESS
    states: int = ENDLESS
    seconds: float = float(ENDLESS)


@dataclass
class Found:
    """What a search has seen: all states within `depth` moves. `whole`: there are no others. `trace`: moves to what is wrong."""

    states: int = 0
    moves: int = 0
    depth: int = 0
    whole: bool = False
    seconds: float = 0.0
    wrong: str = ""
    trace: list[Label] = field(default_factory=list[Label])

    def story(self) -> str:
        """What is wrong, and the shortest way there."""
        return "\n".join([self.wrong, *(f"{number:3} {told(each)}" for number, each in enumerate(self.trace, 1))])


class Search:
    """One search from one situation."""

    def __init__(self, space: Space, start: int, limits: Limits = Limits()) -> None:
        self._space = space
        self._limits = limits
        self._start = start
        self._from: dict[int, int] = {start: start}
        self._well: set[int] = set()
        self._until = 0.0
        self._stopped = False
        self.found = Found()

    def run(self) -> Found:
        """Look at everything within the limits."""
        begun, found = time.monotonic(), self.found
        self._until = begun + self._limits.seconds
        layer = [self._start]
        with _without_collector():
            try:
                self._judge(self._start)
                while layer and not found.wrong and found.depth < self._limits.depth:
                    layer = self._next(layer)
                    found.depth += bool(layer) and not self._stopped
            except Wrong as error:
                found.wrong = str(error)
        found.whole = not layer and not found.wrong and not self._stopped
        found.states, found.seconds = len(self._from), time.monotonic() - begun
        return found

    def _next(self, layer: list[int]) -> list[int]:
        """All that is one move further; nothing when the search is to end."""
        before, well, after, space = self._from, self._well, list[int](), self._space
        for count, situation in enumerate(layer):
            if len(before) >= self._limits.states or (not count % LOOK and time.monotonic() > self._until):
                self._stopped = True
                return []
            moves = space.moves(situation)
            self.found.moves += len(moves)
            for label, new, wrong in moves:
                if wrong:
                    return self._ends(wrong, [*self._way(situation), label])
                if new in before:
                    continue
                before[new] = situation
                after.append(new)
                if new not in well:
                    self._judge(new)
                    if self.found.wrong:
                        return []
        return after

    def _ends(self, wrong: str, trace: list[Label]) -> list[int]:
        self.found.wrong, self.found.trace = wrong, trace
        return []

    def _way(self, situation: int) -> list[Label]:
        """The moves from the beginning to a situation."""
        rows: list[Label] = []
        while situation != self._from[situation]:
            before = self._from[situation]
            rows.append(next(label for label, after, _ in self._space.moves(before) if after == situation))
            situation = before
        return rows[::-1]

    def _judge(self, situation: int) -> None:
        """Follow the quiet continuation until it is known to reach the goal, or to miss it."""
        way: list[int] = []
        here = situation
        while here not in self._well:
            way.append(here)
            move = self._space.quiet(here)
            if move is None or len(way) > LONGEST or move[1] in way:
                missing = self._space.missing(here) or ("" if move is None else "it never rests")
                if missing:
                    self._ends(f"the goal is not reached: {missing}", [*self._way(situation), QUIET, *self._quietly(way), *(["and so on"] if move else [])])
                    return
                break
            here = move[1]
        self._well.update(way)

    def _quietly(self, way: list[int]) -> list[Label]:
        return [move[0] for each in way if (move := self._space.quiet(each)) is not None]


@contextmanager
def _without_collector() -> Iterator[None]:
    """Millions of values are kept on purpose; to look through them again and again for cycles takes a third of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
