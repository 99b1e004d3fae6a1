# SPDX-License-Identifier: Apache-2.0
"""How long an operator needs for events: taken in its own process, the same way in each.

pods listed and handled -> begin, the server is asked for changes -> all of them handled -> end
"""

import asyncio
import time

import aiohttp
import msgspec


class Took(msgspec.Struct):
    """Seconds on the wall and of the CPU (all threads), for so many events and passes."""

    events: int
    passes: int
    wall: float
    cpu: float


class Stopwatch:
    """Counts what is handled; `first` are those of the list, which are not timed. The changes that it asks for bear that reason."""

    def __init__(self, server: str, first: int, events: int, reason: str) -> None:
        self._server = server
        self._reason = reason
        self._first = first
        self._events = events
        self._seen = 0
        self._ready = asyncio.Event()
        self._begun = self._ended = (0.0, 0.0)

    def counted(self) -> bool:
        """One more is handled; whether that was the last."""
        self._seen += 1
        if self._seen == self._first:
            self._ready.set()
        if self._seen == self._first + self._events:
            self.end()
            return True
        return False

    async def begin(self) -> None:
        """Wait for the list to be handled, then start the clock and the changes."""
        await self._ready.wait()
        async with aiohttp.ClientSession() as session:
            self._begun = _now()
            await session.post(f"{self._server}/bench/change/{self._events}", params={"reason": self._reason})

    def end(self) -> None:
        """Everything is handled now."""
        self._ended = _now()

    def print(self, passes: int = 0) -> None:
        """Tell the figures to whoever started this process."""
        (wall, cpu), (wall_end, cpu_end) = self._begun, self._ended
        took = Took(self._events, passes or self._events, wall_end - wall, cpu_end - cpu)
        print(msgspec.json.encode(took).decode(), flush=True)


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()
