# SPDX-License-Identifier: Apache-2.0
"""MaintenanceWindow on the wire: what its rules refuse, in which words, and what they let pass; and what was stored in spite of them."""

from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest

from drover_operator.api.crd import structural
from drover_operator.api.maintenancewindow import Hours, MaintenanceWindow, MaintenanceWindowSpec, Selected
from drover_operator.core.calendar import Opening, _wrong, opening, unreadable
from drover_operator.testing.ruletree import RuleTree

RULES = RuleTree(structural(MaintenanceWindow))
NIGHT = {"days": ["Sat", "Sun"], "from": "22:00", "for": "6h"}
ONE_APP = {"matchLabels": {"app": "shop"}}


def window(*opens: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """With the default of the API server."""
    return {"apiVersion": "drover.dev/v1alpha1", "metadata": {"name": "night"}, "spec": {"purpose": "Allow", "opens": list(opens or (NIGHT,)), **spec}}


def complaints(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error.field, error.message) for error in RULES.errors(body, None)]


ONCE = {"from": "00:00", "for": "24h"}
REFUSED: list[tuple[dict[str, Any], str, str, str]] = [
    (window(ONCE | {"from": "24:00"}), "spec.opens[0].from", '"24:00": spec.opens[].from must be a time from 00:00 to 23:59, not 24:00', "no such hour"),
    (
        window(NIGHT, ONCE | {"from": "12:60"}),
        "spec.opens[1].from",
        '"12:60": spec.opens[].from must be a time from 00:00 to 23:59, not 12:60',
        "no such minute",
    ),
    (window(ONCE | {"for": "59s"}), "spec.opens[0].for", '"59s": spec.opens[].for must be between 1m and 744h, not 59s', "too short"),
    (window(ONCE | {"for": "744h1s"}), "spec.opens[0].for", '"744h1s": spec.opens[].for must be between 1m and 744h, not 744h1s', "too long"),
    *(
        (window(ONCE | {"date": day}), "spec.opens[0].date", f'"{day}": spec.opens[].date must be a day of the calendar such as 2026-12-23, not {day}', why)
        for day, why in {
            "2026-02-30": "never",
            "2026-02-29": "no leap year",
            "2026-04-31": "a month of 30",
            "2026-13-01": "no month",
            "2026-12-00": "no day",
        }.items()
    ),
    (
        window(NIGHT | {"date": "2026-12-23"}),
        "spec.opens[0]",
        "each of spec.opens must have at most one of `days` and `date`, not both as the one with the date 2026-12-23",
        "both",
    ),
    (
        window(services=ONE_APP),
        "spec",
        "spec.services goes with spec.purpose Freeze, not Allow: services name the window that allows them",
        "who is allowed is said by the services",
    ),
]


@pytest.mark.parametrize(("body", "field", "message", "why"), REFUSED, ids=[row[-1] for row in REFUSED])
def test_what_is_refused(body: dict[str, Any], field: str, message: str, why: str):
    assert complaints(body) == [(field, f"Invalid value: {message}")], why


ALLOWED: list[tuple[dict[str, Any], str]] = [
    (window(), "days of the week"),
    (window(ONCE), "neither days nor date is every day"),
    (window(ONCE | {"days": [], "date": "2026-12-23"}), "no days beside a date"),
    (window(ONCE | {"date": "2028-02-29", "from": "23:59", "for": "744h"}), "the last minute of a leap day, the longest opening"),
    (window(ONCE | {"date": "2000-02-29", "for": "60s"}), "the shortest opening, in another unit"),
    (window(ONCE | {"for": "an hour"}), "what the pattern refuses the rule passes over"),
    (window(purpose="Freeze", services=ONE_APP, reason="Christmas freeze", timeZone="Europe/Berlin"), "all of a freeze"),
]


@pytest.mark.parametrize(("body", "why"), ALLOWED, ids=[row[-1] for row in ALLOWED])
def test_what_is_let_pass(body: dict[str, Any], why: str):
    assert complaints(body) == [], why


@pytest.mark.parametrize(
    "zone", ["UTC", "Europe/Berlin", "America/Argentina/ComodRivadavia", "America/Port-au-Prince", "Etc/GMT+5", "NZ-CHAT", "EST5EDT", "GB"]
)
def test_names_of_zones(zone: str):
    assert msgspec.convert(window(timeZone=zone), MaintenanceWindow).spec.time_zone == zone


@pytest.mark.parametrize(
    "zone", ["localtime", "right/Europe/Berlin", "../passwd", "Europe/../Asia/Tokyo", "Europe//Berlin", "Europe/", "/Europe", "+02:00", ""]
)
def test_what_is_no_name_of_a_zone(zone: str):
    """The operator's own zone, one that counts leap seconds, and ways out of the data base."""
    with pytest.raises(msgspec.ValidationError, match="timeZone"):
        msgspec.convert(window(timeZone=zone), MaintenanceWindow)


def test_defaults_and_names_on_the_wire():
    spec = msgspec.convert({"metadata": {"name": "a"}, "spec": {"opens": [{"from": "22:00", "for": "6h"}]}}, MaintenanceWindow).spec
    assert spec.opens == (Hours(from_="22:00", for_="6h"),)
    assert (spec.purpose, spec.time_zone, spec.services, spec.reason) == ("Allow", "UTC", None, None)
    assert msgspec.json.encode(spec) == b'{"opens":[{"from":"22:00","for":"6h"}]}'
    frozen = msgspec.convert(window(purpose="Freeze", services=ONE_APP), MaintenanceWindow).spec
    assert frozen.services == Selected(match_labels={"app": "shop"})


# --- what is stored and cannot be read

NOW = datetime(2026, 6, 1, 23, tzinfo=UTC).timestamp()
SOUND = {"from_": "22:00", "for_": "6h"}
BROKEN: list[tuple[dict[str, str], str, str]] = [
    ({"from_": "24:00"}, "spec.opens[1].from must be a time from 00:00 to 23:59, not '24:00'", "midnight is 00:00"),
    ({"from_": "7:00"}, "spec.opens[1].from must be a time from 00:00 to 23:59, not '7:00'", "two figures"),
    ({"from_": ""}, "spec.opens[1].from must be a time from 00:00 to 23:59, not ''", "nothing"),
    ({"date": "2026-02-30"}, "spec.opens[1].date must be a day of the calendar such as 2026-12-23, not '2026-02-30'", "no such day"),
    ({"date": "2027-02-29"}, "spec.opens[1].date must be a day of the calendar such as 2026-12-23, not '2027-02-29'", "no leap year"),
    ({"date": "9999-12-31"}, "spec.opens[1].date must be a day of the calendar such as 2026-12-23, not '9999-12-31'", "beyond what can be reckoned"),
    ({"date": "20261223"}, "spec.opens[1].date must be a day of the calendar such as 2026-12-23, not '20261223'", "another way to write it"),
    ({"for_": "0s"}, "spec.opens[1].for must be between 1m and 744h, not '0s'", "no time at all"),
    ({"for_": "745h"}, "spec.opens[1].for must be between 1m and 744h, not '745h'", "too long"),
    ({"for_": "1d"}, "spec.opens[1].for must be between 1m and 744h, not '1d'", "no unit of ours"),
]


@pytest.mark.parametrize(("wrong", "sentence", "why"), BROKEN, ids=[row[-1] for row in BROKEN])
def test_what_cannot_be_read_never_opens_and_says_why(wrong: dict[str, str], sentence: str, why: str):
    """The API server refuses these by rules in CEL; an object that was stored under an older definition may have them all the same."""
    spec = MaintenanceWindowSpec(opens=(Hours(**SOUND), Hours(**{**SOUND, **wrong})))
    assert unreadable(spec) == sentence, why
    assert opening(spec, NOW) == Opening(open=False, until=None), "also by what could be read: half a window is none"


@pytest.mark.parametrize("zone", ["Europe/Berln", "America", "Europe/", "../etc", "", "Ünx", "A\0", "UTC ", ".", "X" * 300, "\ud800"])
def test_a_zone_that_is_not_known(zone: str):
    spec = MaintenanceWindowSpec(opens=(Hours(**SOUND),), time_zone=zone)
    assert unreadable(spec).startswith(f"spec.timeZone '{zone}' is no time zone that is known here")
    assert opening(spec, 0.0) == Opening(open=False, until=None)


def test_every_day_of_the_century_is_a_date_and_nothing_else():
    """The pattern knows the lengths of months and the leap years."""
    days = {date.fromordinal(day).isoformat() for day in range(date(2000, 1, 1).toordinal(), date(2100, 1, 1).toordinal())}
    for text in (f"{year}-{month:02}-{day:02}" for year in range(1999, 2102) for month in range(14) for day in range(33)):
        assert (_wrong(Hours(date=text, **SOUND)) == "") == (text in days), text
