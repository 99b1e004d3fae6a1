# SPDX-License-Identifier: Apache-2.0
"""Whether a maintenance window is open, and when that changes next. Only the data base of time zones is read, and each zone once.

An opening begins at a local time and lasts for a time that passes. Where the clock is set forward over its beginning, it begins at the first
moment after; where the clock is set back and the time comes twice, it begins once, the first time. What overlaps or touches is one opening.

Of each week of the epoch the moments of change are kept, so that most calls are one look-up: 4 us with twenty openings, where the first of a week
takes 130. They rest on the openings that began up to 9 days before: of one that comes each week the last one ends last, however long it is.
Where nothing changes for 400 days, nothing ever will: clocks are set by days of the week, the same ones each year.

Rejected: walking from opening to opening (up to 400 steps, each with a conversion of local time), and asking for the daylight saving changes of a
zone, which `zoneinfo` does not tell.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from drover_operator.api.maintenancewindow import DATE, LEAP_DAY, LONGEST, SHORTEST, TIME_OF_DAY, Hours, MaintenanceWindowSpec
from drover_operator.core.clock import parse_duration

DAY = 86400
WEEK = 7 * DAY
BACK = 9  # days before a week whose openings may be the last ones in it: 7, one for the zone, one for a day that a zone left out
REACHES = (9, 400)  # days after a week in which to look for the next change: mostly the first will do
_EPOCH = date(1970, 1, 1).toordinal()
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

Span = tuple[float, float]


@dataclass(frozen=True)
class Opening:
    """Whether a window is open, and when that changes next; None: never."""

    open: bool
    until: float | None


@dataclass(frozen=True, slots=True)
class _Times:
    """A window as it is calculated with."""

    zone: ZoneInfo
    weekly: tuple[dict[int, float], ...]  # of each day of the week: lengths by seconds after midnight
    once: tuple[Span, ...]


def opening(spec: MaintenanceWindowSpec, now: float) -> Opening:
    """Whether the window is open at `now`; one that cannot be read never is, see `unreadable`."""
    changes = _changes(spec.time_zone, spec.opens, int(now // WEEK))
    passed = bisect_right(changes, now)
    return Opening(open=passed % 2 == 1, until=changes[passed] if passed < len(changes) else None)


def unreadable(spec: MaintenanceWindowSpec) -> str:
    """Why the window cannot be read, in a sentence for people; "" when it can."""
    times = _times(spec.time_zone, spec.opens)
    return times if isinstance(times, str) else ""


@lru_cache(maxsize=1024)
def _changes(time_zone: str, opens: tuple[Hours, ...], week: int) -> tuple[float, ...]:
    """Moments at which it opens and closes by turns: all that matter to one week of the epoch, and the first one after it."""
    times = _times(time_zone, opens)
    if isinstance(times, str):
        return ()
    begin, end = week * WEEK, (week + 1) * WEEK
    changes: list[float] = []
    for reach in REACHES if any(times.weekly) else (0,):
        known = end + reach * DAY if reach else float("inf")
        changes = _merged(_spans(times, begin // DAY - BACK, end // DAY + reach))
        after = bisect_left(changes, end)
        if after < len(changes) and changes[after] < known:
            return _from(changes[: after + 1], begin)
    return _from(changes[: bisect_left(changes, end)], begin)


def _from(changes: list[float], begin: float) -> tuple[float, ...]:
    """Without the openings that were over before."""
    return tuple(changes[bisect_right(changes, begin) // 2 * 2 :])


def _merged(spans: Iterator[Span]) -> list[float]:
    """Beginnings and ends by turns, of spans in any order."""
    changes: list[float] = []
    for start, end in sorted(spans):
        if not changes or start > changes[-1]:
            changes += (start, end)
        elif end > changes[-1]:
            changes[-1] = end
    return changes


def _spans(times: _Times, first: int, last: int) -> Iterator[Span]:
    """Openings of the local days between two, in days since the epoch, both included; and all those of one date."""
    yield from times.once
    if not any(times.weekly):
        return
    for day in range(first + _EPOCH, last + _EPOCH + 1):
        lengths = times.weekly[(day - 1) % 7]
        midnight = _midnight(times.zone, day) if lengths else None
        for seconds, length in lengths.items():
            start = _start(times.zone, day, seconds) if midnight is None else midnight + seconds
            yield start, start + length


@lru_cache(maxsize=8192)
def _midnight(zone: ZoneInfo, day: int) -> float | None:
    """When a day begins, of one on which the clock is not set."""
    wall = datetime.fromordinal(day).replace(tzinfo=zone)
    offset = _offset(wall)
    return (day - _EPOCH) * DAY - offset if offset == _offset(wall + timedelta(days=1)) else None


def _start(zone: ZoneInfo, day: int, seconds: int) -> float:
    """The moment of a local time: the first of two, or the first after a gap."""
    wall = (datetime.fromordinal(day) + timedelta(seconds=seconds)).replace(tzinfo=zone)
    local = (day - _EPOCH) * DAY + seconds
    before, after = _offset(wall), _offset(wall.replace(fold=1))
    if after <= before:
        return local - before
    moments = range(local - after + 1, local - before + 1)  # in a gap: the clock was set at one of them
    return moments[bisect_left(moments, True, key=lambda moment: _offset(datetime.fromtimestamp(moment, zone)) != before)]


def _offset(wall: datetime) -> int:
    """Seconds that the local clock is ahead of UTC."""
    return int((wall.utcoffset() or timedelta()).total_seconds())


@lru_cache(maxsize=1024)
def _times(time_zone: str, opens: tuple[Hours, ...]) -> _Times | str:
    """The window as it is calculated with, or why it cannot be read."""
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, ValueError, OSError):
        return f"spec.timeZone '{time_zone}' is no time zone that is known here: take one of the IANA database, such as 'Europe/Berlin'"
    weekly: tuple[dict[int, float], ...] = tuple({} for _ in _WEEKDAYS)
    once: list[Span] = []
    for number, hours in enumerate(opens):
        if wrong := _wrong(hours):
            return f"spec.opens[{number}].{wrong}"
        _add(hours, zone, weekly, once)
    return _Times(zone, weekly, tuple(once))


def _wrong(hours: Hours) -> str:
    """What the API server should have refused, but may not have in an older version of the definition."""
    if not re.fullmatch(TIME_OF_DAY, hours.from_):
        return f"from must be a time from 00:00 to 23:59, not '{hours.from_}'"
    if hours.date is not None and not (re.fullmatch(DATE, hours.date) or re.fullmatch(LEAP_DAY, hours.date)):
        return f"date must be a day of the calendar such as 2026-12-23, not '{hours.date}'"
    try:
        fits = parse_duration(SHORTEST) <= parse_duration(hours.for_) <= parse_duration(LONGEST)
    except ValueError:
        fits = False
    return "" if fits else f"for must be between {SHORTEST} and {LONGEST}, not '{hours.for_}'"


def _add(hours: Hours, zone: ZoneInfo, weekly: tuple[dict[int, float], ...], once: list[Span]) -> None:
    seconds = int(hours.from_[:2]) * 3600 + int(hours.from_[3:]) * 60
    length = parse_duration(hours.for_)
    if hours.date is not None:
        start = _start(zone, date.fromisoformat(hours.date).toordinal(), seconds)
        once.append((start, start + length))
        return
    for weekday in hours.days or _WEEKDAYS:
        lengths = weekly[_WEEKDAYS.index(weekday)]
        lengths[seconds] = max(length, lengths.get(seconds, 0.0))
