# SPDX-License-Identifier: Apache-2.0
"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it.

Hours cost milliseconds and every run is the same. No socket can be used on this loop: whoever waits for one waits for ever, and
that is reported as a deadlock. Rejected: looptime (patches a real loop, still selects, tied to pytest).
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

R = TypeVar("R")


class Deadlock(RuntimeError):
    """Nothing can ever happen any more: no task is ready and no timer is set."""


class _NoSelector(selectors.SelectSelector):
    """Advances the clock where a selector would sleep."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("nothing is ready to run and no timer is set")
        if timeout > 0:
            self._advance(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, starting at 0.0 seconds."""

    def __init__(self) -> None:
        self._now = 0.0
        super().__init__(_NoSelector(self._advance))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def _advance(self, seconds: float) -> None:
        self._now += seconds


def run(main: Callable[[], Coroutine[Any, Any, R]]) -> R:
    """Run a coroutine function to its end on a fresh virtual loop; tasks left over are cancelled."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())
