# SPDX-License-Identifier: Apache-2.0
"""The work queue: one entry per key, never two workers on one key, lanes, wake-ups, backoff.

Entries carry no event: a worker looks at the world. Adding a key that is being worked on makes it run once more afterwards.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from enum import IntEnum
from random import Random

from drover_operator.kube.cache import Key

FIRST_BACKOFF, LONGEST_BACKOFF = 0.005, 60.0  # seconds
ROUNDING = 1e-6  # seconds; timers may ring early by the rounding of the clock, and waiting for the rest would spin
SPACING = 0.01  # seconds between two starts of one key for small news: ten pods that become ready together are one pass, not ten


class Lane(IntEnum):
    """Lanes in the order of service."""

    URGENT = 0  # deletion and failure
    CHANGE = 1  # a person changed something
    TICK = 2  # a rollout goes on
    RESYNC = 3  # nothing is known to have changed


class WorkQueue:
    """Keys waiting for a worker. All methods but `get` return at once; times are loop times in seconds."""

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        self._clock = clock
        self._random = random
        self._lanes: tuple[deque[Key], ...] = tuple(deque() for _ in Lane)
        self._lane_of: dict[Key, Lane] = {}
        self._added_at: dict[Key, float] = {}
        self._running: set[Key] = set()
        self._again: dict[Key, Lane] = {}
        self._alarms: list[tuple[float, int, Key, Lane]] = []
        self._alarm_of: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._started: dict[Key, float] = {}
        self._count = 0
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._lane_of)

    def add(self, key: Key, lane: Lane = Lane.CHANGE) -> None:
        """Have the key worked on; a more urgent lane wins over the one it waits in."""
        if key in self._running:
            self._again[key] = min(lane, self._again.get(key, lane))
            return
        if lane >= Lane.TICK and (left := self._started.get(key, -SPACING) + SPACING - self._clock()) > 0:
            self.wake(key, left, lane)
            return
        self._enqueue(key, lane)

    def _enqueue(self, key: Key, lane: Lane) -> None:
        held = self._lane_of.get(key)
        if held is not None and held <= lane:
            return
        if held is None:
            self._added_at[key] = self._clock()
        self._lane_of[key] = lane
        self._lanes[lane].append(key)
        self._news.set()

    def wake(self, key: Key, after: float, lane: Lane = Lane.TICK) -> None:
        """Add the key after that many seconds, unless an earlier wake-up is set already."""
        at = self._clock() + max(0.0, after)
        if self._alarm_of.get(key, at + 1) <= at:
            return
        self._count += 1
        self._alarm_of[key] = at
        heapq.heappush(self._alarms, (at, self._count, key, lane))
        self._news.set()

    def retry(self, key: Key, lane: Lane = Lane.TICK) -> float:
        """Add the key after its backoff, which doubles with each call until `succeed`; returns the seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        pause = min(FIRST_BACKOFF * 2.0 ** min(failures, 20), LONGEST_BACKOFF) * self._random.uniform(0.75, 1.0)
        self.wake(key, pause, lane)
        return pause

    def succeed(self, key: Key) -> None:
        """Forget the failures of the key."""
        self._failures.pop(key, None)

    def forget(self, key: Key) -> None:
        """Forget wake-ups and failures: the object is gone."""
        self._failures.pop(key, None)
        self._alarm_of.pop(key, None)
        self._started.pop(key, None)

    async def get(self) -> tuple[Key, float]:
        """The next key and the seconds that it waited; `done` must follow."""
        while True:
            self._ring()
            found = self._take()
            if found is not None:
                return found
            self._news.clear()
            await self._wait()

    def done(self, key: Key) -> None:
        """The worker has ended with the key."""
        self._running.discard(key)
        lane = self._again.pop(key, None)
        if lane is not None:
            self.add(key, lane)

    def _take(self) -> tuple[Key, float] | None:
        for lane, waiting in zip(Lane, self._lanes, strict=True):
            while waiting:
                key = waiting.popleft()
                if self._lane_of.get(key) != lane:
                    continue  # it moved to a more urgent lane, or was taken there
                del self._lane_of[key]
                self._running.add(key)
                self._started[key] = self._clock()
                if any(self._lanes) or self._alarms:
                    self._news.set()  # another worker may go on
                return key, self._clock() - self._added_at.pop(key)
        return None

    def _ring(self) -> None:
        """Move keys whose time has come."""
        now = self._clock() + ROUNDING
        while self._alarms and self._alarms[0][0] <= now:
            at, _, key, lane = heapq.heappop(self._alarms)
            if self._alarm_of.get(key) == at:
                del self._alarm_of[key]
                if key in self._running:
                    self.add(key, lane)
                else:
                    self._enqueue(key, lane)

    async def _wait(self) -> None:
        if not self._alarms:
            await self._news.wait()
            return
        try:
            async with asyncio.timeout(max(0.0, self._alarms[0][0] - self._clock())):
                await self._news.wait()
        except TimeoutError:
            return
