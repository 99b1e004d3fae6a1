# SPDX-License-Identifier: Apache-2.0
"""The calendar against an oracle that walks minute by minute, across every kind of change of the clock; and a table of what people ask.

The oracle knows no zone but by the local time of each minute. It keeps the latest local time that was ever shown: an opening begins in the minute
in which that comes to its beginning or passes it. So a time that the clock skips begins at the first minute after, and one that comes twice once.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from time import perf_counter
from typing import Any, get_args
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from drover_operator.api.maintenancewindow import Day, MaintenanceWindowSpec
from drover_operator.core import calendar
from drover_operator.core.calendar import DAY, opening, unreadable
from drover_operator.core.clock import parse_duration

MINUTE, DAY_MINUTES = 60, 1440
BEFORE, AFTER = 43, 45  # days that the oracle walks before and after the weeks that are judged: the longest opening is 31 days
DAYS = get_args(Day)
# Zone, first day and number of days that are judged, and what happens in them.
PERIODS = {
    "Berlin forward": ("Europe/Berlin", date(2026, 3, 20), 18),
    "Berlin back": ("Europe/Berlin", date(2026, 10, 16), 18),
    "New York forward": ("America/New_York", date(2026, 3, 1), 14),
    "New York back": ("America/New_York", date(2026, 10, 25), 14),
    "Lord Howe, half an hour forward": ("Australia/Lord_Howe", date(2026, 9, 26), 16),
    "Lord Howe, half an hour back": ("Australia/Lord_Howe", date(2026, 3, 28), 16),
    "Apia, which sets no clock": ("Pacific/Apia", date(2026, 3, 20), 21),
    "Apia, where 30 December 2011 was left out": ("Pacific/Apia", date(2011, 12, 22), 16),
    "Havana, where midnight is skipped": ("America/Havana", date(2026, 2, 28), 16),
    "Chatham, 45 minutes off the hour": ("Pacific/Chatham", date(2026, 9, 20), 14),
    "Casablanca, winter time in Ramadan": ("Africa/Casablanca", date(2026, 2, 8), 50),
    "UTC": ("UTC", date(2026, 2, 20), 14),
}


def spec_of(*opens: dict[str, Any], zone: str = "UTC") -> MaintenanceWindowSpec:
    return msgspec.convert({"opens": opens, "timeZone": zone}, MaintenanceWindowSpec)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def shown(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


# --- the oracle


@dataclass(frozen=True)
class Walk:
    """Minutes since the epoch, and in which of them each local time was reached for the first time, as minutes since the year 1."""

    minutes: range
    reached: dict[int, int]
    judged: range


@cache
def walk(name: str) -> Walk:
    zone, day, days = PERIODS[name]
    local = ZoneInfo(zone)
    start = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) // MINUTE
    minutes = range(start - BEFORE * DAY_MINUTES, start + (days + AFTER) * DAY_MINUTES)
    reached: dict[int, int] = {}
    latest = 0
    for minute in minutes:
        wall = datetime.fromtimestamp(minute * MINUTE, local)
        shows = wall.toordinal() * DAY_MINUTES + wall.hour * 60 + wall.minute
        reached |= dict.fromkeys(range(latest + 1 if latest else shows, shows + 1), minute)
        latest = max(latest, shows)
    return Walk(minutes, reached, range(start, start + days * DAY_MINUTES))


def beginnings(spec: MaintenanceWindowSpec, walked: Walk) -> Iterator[tuple[int, int]]:
    """Local times at which it begins to be open, and for how many minutes."""
    for day in range(min(walked.reached) // DAY_MINUTES, max(walked.reached) // DAY_MINUTES + 1):
        for hours in spec.opens:
            if day == date.fromisoformat(hours.date).toordinal() if hours.date else not hours.days or DAYS[date.fromordinal(day).weekday()] in hours.days:
                yield day * DAY_MINUTES + int(hours.from_[:2]) * 60 + int(hours.from_[3:]), int(parse_duration(hours.for_)) // MINUTE


def judged(spec: MaintenanceWindowSpec, walked: Walk) -> bytes:
    """Open or not, of each minute of the walk."""
    verdicts, size = bytearray(len(walked.minutes)), len(walked.minutes)
    for at, length in beginnings(spec, walked):
        if at in walked.reached:
            begin = walked.reached[at] - walked.minutes.start
            end = min(begin + length, size)
            verdicts[begin:end] = b"\1" * (end - begin)
    return bytes(verdicts)


def turns(verdicts: bytes) -> Iterator[int]:
    """Where a verdict is another one than that before."""
    place = 0
    while (place := verdicts.find(1 - verdicts[place], place)) >= 0:
        yield place


def check(spec: MaintenanceWindowSpec, name: str) -> int:
    """Compare at every quarter of an hour, at every change, and right before it; how many changes there were."""
    walked = walk(name)
    verdicts = judged(spec, walked)
    changes = [walked.minutes[place] for place in turns(verdicts)]
    asked = {*walked.judged[::15], *(each for each in changes if each in walked.judged)}
    for minute in sorted(asked):
        for now in (minute * MINUTE - 0.001, minute * MINUTE, minute * MINUTE + 59.9):
            got = opening(spec, now)
            here = int(now // MINUTE)
            assert got.open == bool(verdicts[here - walked.minutes.start]), f"{shown(now)}: {spec}"
            later = bisect_left(changes, here + 1)
            if later < len(changes):
                assert got.until == changes[later] * MINUTE, f"{shown(now)}: {shown(got.until)}, not {shown(changes[later] * MINUTE)}: {spec}"
            else:
                assert got.until is None or got.until >= walked.minutes.stop * MINUTE, f"{shown(now)}: {shown(got.until)}: {spec}"
    return len([each for each in changes if each in walked.judged])


# --- anything, against the oracle

CLOCK = st.one_of(
    st.sampled_from(["00:00", "23:59", "01:59", "02:00", "02:15", "02:30", "02:45", "03:00", "01:30", "22:00", "00:30"]),
    st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59)),
)
LENGTHS = st.one_of(
    st.sampled_from(["1m", "30m", "1h", "6h", "23h", "23h59m", "24h", "24h30m", "25h", "48h", "167h", "168h", "169h", "744h"]),
    st.integers(1, 600).map("{}m".format),
    st.integers(1, 744).map("{}h".format),
)


@st.composite
def specs(draw: st.DrawFn, name: str) -> MaintenanceWindowSpec:
    zone, first, days = PERIODS[name]
    dates = st.integers(-40, days + 40).map(lambda off: date.fromordinal(first.toordinal() + off).isoformat())
    weekly = st.fixed_dictionaries({"days": st.lists(st.sampled_from(DAYS), unique=True, max_size=7), "from": CLOCK, "for": LENGTHS})
    once = st.fixed_dictionaries({"date": dates, "from": CLOCK, "for": LENGTHS})
    return spec_of(*draw(st.lists(st.one_of(weekly, once, once), min_size=1, max_size=20)), zone=zone)


@pytest.mark.parametrize("name", PERIODS)
def test_any_window_is_what_the_oracle_says(name: str):
    @settings(max_examples=25, deadline=None, derandomize=True)
    @given(spec=specs(name))
    def holds(spec: MaintenanceWindowSpec) -> None:
        assert unreadable(spec) == ""
        event("no change" if not check(spec, name) else "changes")

    holds()


EVERY_CLOCK = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in (0, 29, 30, 31)]


@pytest.mark.parametrize("name", PERIODS)
def test_every_time_of_day_on_every_kind_of_change(name: str):
    """One minute each day, for every half hour of the day and its neighbours: what is skipped and what comes twice is among them."""
    for clock in EVERY_CLOCK[:: 1 if "Berlin" in name else 5]:
        assert check(spec_of({"from": clock, "for": "1m"}, zone=PERIODS[name][0]), name) > 20


@pytest.mark.parametrize("name", PERIODS)
@pytest.mark.parametrize("length", ["23h30m", "24h", "24h30m", "25h", "49h"])
def test_one_day_joins_the_next_but_where_the_clock_is_set(name: str, length: str):
    check(spec_of({"from": "02:30", "for": length}, zone=PERIODS[name][0]), name)
    check(spec_of({"from": "00:00", "for": length, "days": ["Sat", "Sun"]}, zone=PERIODS[name][0]), name)


@pytest.mark.parametrize("name", PERIODS)
def test_one_week_joins_the_next_but_where_the_clock_is_set(name: str):
    for day in DAYS:
        for clock in ("00:00", "08:00", "19:59"):
            check(spec_of({"days": [day], "from": clock, "for": "168h"}, zone=PERIODS[name][0]), name)


# --- what people ask

BERLIN, YORK, HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"
NIGHT = {"days": ["Sat", "Sun"], "from": "22:00", "for": "6h"}
XMAS = {"date": "2026-12-23", "from": "00:00", "for": "240h"}
ALWAYS = {"from": "00:00", "for": "24h"}
# Zone, openings, now in UTC, whether it is open, until when in UTC, and why the row is there.
ROWS: list[tuple[str, list[dict[str, Any]], str, bool, str | None, str]] = [
    (BERLIN, [NIGHT], "2026-07-04 19:59", False, "2026-07-04 20:00", "a Saturday evening in summer, two hours ahead of UTC"),
    (BERLIN, [NIGHT], "2026-07-04 20:00", True, "2026-07-05 02:00", "the first moment belongs to it"),
    (BERLIN, [NIGHT], "2026-07-05 02:00", False, "2026-07-05 20:00", "the last one does not"),
    (BERLIN, [NIGHT], "2026-07-06 01:00", True, "2026-07-06 02:00", "Sunday's is open on Monday still"),
    (BERLIN, [NIGHT], "2026-07-06 02:00", False, "2026-07-11 20:00", "and then not before Saturday"),
    (BERLIN, [NIGHT], "2026-03-28 22:00", True, "2026-03-29 03:00", "six hours that pass, over the change of the clock: to 5 o'clock of summer"),
    (BERLIN, [NIGHT], "2026-10-24 20:00", True, "2026-10-25 02:00", "and in autumn to 3 o'clock of winter"),
    (BERLIN, [{"from": "02:30", "for": "15m"}], "2026-03-29 00:00", False, "2026-03-29 01:00", "half past two is skipped: 3 o'clock, the first moment after"),
    (BERLIN, [{"from": "02:30", "for": "15m"}], "2026-10-25 00:00", False, "2026-10-25 00:30", "half past two comes twice: the first one"),
    (BERLIN, [{"from": "02:30", "for": "15m"}], "2026-10-25 01:30", False, "2026-10-26 01:30", "and not the second"),
    (YORK, [{"from": "02:59", "for": "1h"}], "2026-03-08 06:59", False, "2026-03-08 07:00", "the last minute that is skipped"),
    (YORK, [{"from": "01:00", "for": "1h"}], "2026-11-01 06:00", False, "2026-11-02 06:00", "one o'clock for the second time is nothing new"),
    (HOWE, [{"from": "02:15", "for": "1h"}], "2026-10-03 15:29", False, "2026-10-03 15:30", "a clock that is set by half an hour"),
    ("Pacific/Apia", [{"date": "2011-12-30", "from": "10:00", "for": "1h"}], "2011-12-30 09:00", False, "2011-12-30 10:00", "a day that never was"),
    ("America/Havana", [{"from": "00:00", "for": "1h"}], "2026-03-08 04:59", False, "2026-03-08 05:00", "a midnight that is skipped"),
    ("UTC", [XMAS], "2026-12-22 23:59", False, "2026-12-23 00:00", "once, on a date"),
    ("UTC", [XMAS], "2026-12-31 12:00", True, "2027-01-02 00:00", "ten days of it"),
    ("UTC", [XMAS], "2027-01-02 00:00", False, None, "and never again"),
    ("UTC", [XMAS], "2019-01-01 00:00", False, "2026-12-23 00:00", "however long one has to wait"),
    ("UTC", [{**XMAS, "date": "2096-02-29"}], "2026-01-01 00:00", False, "2096-02-29 00:00", "to a leap day in seventy years"),
    ("UTC", [XMAS, {**XMAS, "date": "2027-01-02"}], "2026-12-24 00:00", True, "2027-01-12 00:00", "two that touch are one"),
    ("UTC", [XMAS, {"date": "2026-12-24", "from": "00:00", "for": "1h"}], "2026-12-24 00:30", True, "2027-01-02 00:00", "the longer one counts"),
    ("UTC", [ALWAYS], "2026-06-01 12:00", True, None, "every day and all day never ends"),
    (BERLIN, [ALWAYS], "2026-06-01 12:00", True, "2026-10-25 22:00", "but where a day has 25 hours, the last one is not in it"),
    (BERLIN, [ALWAYS], "2025-10-26 23:00", True, "2026-10-25 22:00", "364 days of which nothing changes"),
    (BERLIN, [{"from": "00:00", "for": "25h"}], "2026-06-01 12:00", True, None, "which 25 hours mend"),
    (BERLIN, [{"days": ["Mon"], "from": "00:00", "for": "168h"}], "2026-06-01 12:00", True, "2026-10-25 22:00", "the same of a whole week"),
    ("UTC", [{"days": ["Mon"], "from": "00:00", "for": "168h"}], "2026-06-01 12:00", True, None, "one week joins the next"),
    (YORK, [{"days": ["Wed"], "from": "20:01", "for": "168h"}], "2026-06-04 00:00", True, "2026-11-05 00:01", "eight local days ago, at the turn of a week"),
    (BERLIN, [{"days": ["Fri"], "from": "08:00", "for": "744h"}], "2026-06-01 12:00", True, None, "the longest one joins many"),
    (
        "UTC",
        [{"days": ["Tue"], "from": "09:00", "for": "3h"}, {"days": ["Tue"], "from": "11:00", "for": "3h"}],
        "2026-06-02 09:30",
        True,
        "2026-06-02 14:00",
        "overlapping ones are one",
    ),
    (
        "UTC",
        [{"days": ["Tue"], "from": "09:00", "for": "3h"}, {"days": ["Tue"], "from": "09:00", "for": "1h"}],
        "2026-06-02 09:30",
        True,
        "2026-06-02 12:00",
        "of two that begin together the longer one counts",
    ),
    (
        "UTC",
        [ALWAYS | {"days": ["Mon", "Tue", "Wed", "Thu", "Fri"]}, {**XMAS, "date": "2026-06-06", "for": "48h"}],
        "2026-06-01 09:30",
        True,
        "2026-06-13 00:00",
        "a date that fills the week-end between two working weeks",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=[row[-1] for row in ROWS])
def test_what_people_ask(row: tuple[str, list[dict[str, Any]], str, bool, str | None, str]):
    zone, opens, now, is_open, until, why = row
    got = opening(spec_of(*opens, zone=zone), moment(now))
    assert (got.open, shown(got.until)) == (is_open, until), why


def test_following_until_meets_every_change_of_ten_years_and_no_other():
    """Each change leads to the other state, and is told the same by every moment before it."""
    spec = spec_of(NIGHT, {"days": ["Wed"], "from": "02:30", "for": "1h"}, XMAS, zone=BERLIN)
    now, state, met = moment("2026-01-01 00:00"), False, 0
    while now < moment("2036-01-01 00:00"):
        got = opening(spec, now)
        assert got.open is state and got.until is not None
        assert opening(spec, (now + got.until) / 2) == got == opening(spec, got.until - 1)
        now, state, met = got.until, not state, met + 1
    days = [date.fromordinal(day).weekday() for day in range(date(2026, 1, 1).toordinal(), date(2036, 1, 1).toordinal())]
    openings = len([day for day in days if DAYS[day] in ("Wed", "Sat", "Sun")]) - 4 + 1  # four are within Christmas, which is one
    assert met == 2 * openings + 1, "and the first opening after"


# --- how long it takes


def twenty(number: int) -> Iterator[dict[str, Any]]:
    for each in range(20):
        yield {"days": [DAYS[each % 7], DAYS[(each + number) % 7]], "from": f"{each:02}:{number % 60:02}", "for": "90m"}


def test_a_call_takes_microseconds():
    """Twenty openings, at times of two years in which every week is met: far below 100 us with what is kept; below 5 ms for the first of a week."""
    spec, hard = spec_of(*twenty(3), zone=BERLIN), spec_of(*(ALWAYS | {"from": f"{each:02}:00"} for each in range(20)), zone=BERLIN)
    weeks = [moment("2026-01-01 00:00") + 7 * DAY * week for week in range(104)]

    def took(subject: MaintenanceWindowSpec) -> float:
        begun = perf_counter()
        for now in weeks:
            opening(subject, now)
        return (perf_counter() - begun) / len(weeks)

    calendar._changes.cache_clear()
    first, worst = took(spec), took(hard)
    again = min(took(spec) for _ in range(20))
    print(f"first of a week {first * 1e6:.0f} us, always open {worst * 1e6:.0f} us, again {again * 1e6:.1f} us")
    assert again < 100e-6
    assert first < 5e-3
    assert worst < 50e-3
