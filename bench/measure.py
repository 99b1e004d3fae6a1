# SPDX-License-Identifier: Apache-2.0
"""How long calls take.

Short pure calls are timed in CPU time of the thread, so that what else runs on the machine adds little to the slowest ones; the pauses of
the garbage collector count, as they do in an operator. Whole runs are timed by the clock on the wall.
"""

import time
from collections.abc import Callable, Sequence
from statistics import median

Call = Callable[[], object]
WARM_UP = 0.1  # of the seconds: until caches and branch predictors know the way


def microseconds(calls: Sequence[Call], seconds: float = 1.0) -> list[float]:
    """How long each call took, sorted; all calls are made in turn, again and again for that many seconds and at least three times."""
    took: list[float] = []
    begun, rounds = time.monotonic(), 0
    while rounds < 3 or time.monotonic() - begun < seconds:
        if time.monotonic() - begun < seconds * WARM_UP:
            took.clear()
        rounds += 1
        took += [_timed(call) for call in calls]
    return sorted(took)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share (0 to 1) of the sorted values does not exceed."""
    return values[min(len(values) - 1, int(len(values) * share))]


def both_seconds(call: Call) -> tuple[float, float]:
    """How long one call takes on the wall, and of the CPU: the same on a machine that has nothing else to do, if the call never waits."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def median_wall_seconds(call: Call, times: int) -> float:
    """The median of so many calls, after one that does not count."""
    call()
    return median(both_seconds(call)[0] for _ in range(times))


def _timed(call: Call) -> float:
    begun = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - begun) / 1000.0
