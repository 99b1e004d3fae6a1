# SPDX-License-Identifier: Apache-2.0
"""The work queue: one entry per key, never two workers on one key, lanes, wake-ups, backoff.

Entries carry no event: a worker looks at the world. Adding a key that is being worked on makes it run once more afterwards.
An entry wakes one worker, and one timer stands for all wake-ups. Rejected: an event and a timer for each worker that waits; then all
16 awake whenever one key is due.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Mapping
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


_LANES = tuple(Lane)
_Alarm = tuple[float, int, Key, Lane]


class WorkQueue:
    """Keys waiting for a worker. All methods but `get` return at once; times are loop times in seconds."""

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        self._clock = clock
        self._random = random
        self._lanes: tuple[deque[Key], ...] = tuple(deque() for _ in _LANES)
        self._lane_of: dict[Key, Lane] = {}
        self._added_at: dict[Key, float] = {}
        self._running: set[Key] = set()
        self._again: dict[Key, Lane] = {}
        self._alarms: list[_Alarm] = []
        self._alarm_of: dict[Key, float] = {}
        self._failures: dict[Key, int] = {}
        self._started: dict[Key, float] = {}
        self._held: dict[Key, float] = {}  # until when a key is kept from workers
        self._count = 0
        self.added = 0  # entries made since the start
        self.retried = 0  # backoffs since the start
        self._timer: asyncio.TimerHandle | None = None
        self._entries = asyncio.Semaphore(0)  # one permit for each key that waits

    def __len__(self) -> int:
        return len(self._lane_of)

    def add(self, key: Key, lane: Lane = Lane.CHANGE) -> None:
        """Have the key worked on; a more urgent lane wins over the one it waits in."""
        if key in self._running:
            self._again[key] = min(lane, self._again.get(key, lane))
            return
        spacing = self._started.get(key, -SPACING) + SPACING - self._clock() if lane >= Lane.TICK else 0.0
        if (left := max(spacing, self._hold_left(key))) > 0:
            self.wake(key, left, lane)
            return
        self._enqueue(key, lane)

    def _enqueue(self, key: Key, lane: Lane) -> None:
        held = self._lane_of.get(key)
        if held is not None and held <= lane:
            return
        if held is None:
            self.added += 1
            self._added_at[key] = self._clock()
            self._entries.release()
        self._lane_of[key] = lane
        self._lanes[lane].append(key)

    def wake(self, key: Key, after: float, lane: Lane = Lane.TICK) -> None:
        """Add the key after that many seconds, unless an earlier wake-up is set already."""
        at = self._clock() + max(0.0, after)
        if self._alarm_of.get(key, at + 1) <= at:
            return
        self._count += 1
        self._alarm_of[key] = at
        alarm = (at, self._count, key, lane)
        heapq.heappush(self._alarms, alarm)
        if self._alarms[0] is alarm:
            self._set_timer()

    def hold(self, key: Key, seconds: float) -> None:
        """Said by the worker of the key: give it to none for so long, whatever happens to it. A busy server asked for that."""
        self._held[key] = max(self._held.get(key, 0.0), self._clock() + seconds)

    def _hold_left(self, key: Key) -> float:
        until = self._held.get(key)
        if until is None:
            return 0.0
        left = until - self._clock()
        return left if left > 2 * ROUNDING else 0.0  # an alarm for less would be due at once, and ring for ever

    def retry(self, key: Key, lane: Lane = Lane.TICK) -> float:
        """Add the key after its backoff, which doubles with each call until `succeed`, or when it is held no longer; returns the seconds."""
        failures = self._failures.get(key, 0)
        pause = self._hold_left(key)
        self._failures[key] = failures if pause else failures + 1  # that a server is busy is no failure of the key
        self.retried += 1
        pause = pause or min(FIRST_BACKOFF * 2.0 ** min(failures, 20), LONGEST_BACKOFF) * self._random.uniform(0.75, 1.0)
        self.wake(key, pause, lane)
        return pause

    def succeed(self, key: Key) -> None:
        """Forget the failures of the key."""
        self._failures.pop(key, None)
        self._held.pop(key, None)

    def forget(self, key: Key) -> None:
        """Forget wake-ups and failures: the object is gone."""
        self.succeed(key)
        self._alarm_of.pop(key, None)
        self._started.pop(key, None)

    async def get(self) -> tuple[Key, float]:
        """The next key and the seconds that it waited; `done` must follow."""
        await self._entries.acquire()
        key = self._first()
        now = self._clock()
        del self._lane_of[key]
        self._running.add(key)
        self._started[key] = now
        return key, now - self._added_at.pop(key)

    def done(self, key: Key) -> None:
        """The worker has ended with the key."""
        self._running.discard(key)
        lane = self._again.pop(key, None)
        if lane is not None:
            self.add(key, lane)

    @property
    def failures(self) -> Mapping[Key, int]:
        """Keys in backoff, and how often in a row they failed."""
        return self._failures

    @property
    def oldest(self) -> float:
        """Seconds that the key has waited which waits longest; 0 when none does."""
        return self._clock() - min(self._added_at.values()) if self._added_at else 0.0

    def lengths(self) -> dict[Lane, int]:
        """How many keys wait in each lane."""
        return {lane: sum(1 for each in self._lane_of.values() if each is lane) for lane in _LANES}

    def lane_of(self, key: Key) -> Lane | None:
        """The lane in which the key waits, or None."""
        return self._lane_of.get(key)

    def due(self, key: Key) -> float | None:
        """Seconds until the key is looked at without any news: 0 when it waits already, None when no time is set."""
        if key in self._lane_of:
            return 0.0
        at = self._alarm_of.get(key)
        return None if at is None else max(0.0, at - self._clock())

    def _first(self) -> Key:
        """The first key of the most urgent lane; there is one for each permit."""
        while True:
            lane = next(lane for lane in _LANES if self._lanes[lane])
            key = self._lanes[lane].popleft()
            if self._lane_of.get(key) is lane:  # else it moved to a more urgent lane, or was taken there
                return key

    def _ring(self) -> None:
        """Move keys whose time has come, and set the timer for the next one."""
        now = self._clock() + ROUNDING
        while self._alarms and self._alarms[0][0] <= now:
            at, _, key, lane = heapq.heappop(self._alarms)
            if self._alarm_of.get(key) == at:
                del self._alarm_of[key]
                if key in self._running or self._hold_left(key):
                    self.add(key, lane)
                else:
                    self._enqueue(key, lane)
        self._set_timer()

    def _set_timer(self) -> None:
        """One timer, for the earliest alarm that still stands."""
        while self._alarms and self._alarm_of.get(self._alarms[0][2]) != self._alarms[0][0]:
            heapq.heappop(self._alarms)
        if self._timer is not None:
            self._timer.cancel()
        left = self._alarms[0][0] - self._clock() if self._alarms else None
        self._timer = None if left is None else asyncio.get_running_loop().call_later(max(0.0, left), self._ring)
