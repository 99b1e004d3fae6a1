# SPDX-License-Identifier: Apache-2.0
"""Live views: golden frames at 80 and 120 columns, and lines for a log."""

from datetime import UTC, datetime

import msgspec
import pytest
from cli.samples import NOW, compare, failed, healthy_service, rolled_back, service, updating

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli import changes
from drover_operator.cli.frame import fit
from drover_operator.cli.layout import Look
from drover_operator.cli.pace import Course, Movement, Step
from drover_operator.cli.view import Moment, lines

UPDATING = updating()
COURSE = Course(Movement(("uid",), "rolled out", 4, 10), (Step(0, 1), Step(10, 2), Step(40, 4)))
SILENT = (42.0, "cannot reach https://cluster.example:6443: Connection refused")
WAITING = "Waiting for run, 4m10s left: phase Update, 3/3 in service, RollingOut"


def scaling(name: str, namespace: str = "shop") -> ManagedService:
    return service(name, namespace=namespace, phase="Scale", summary="ScalingOut", ready="3/9", scaleDirection="Out")


def renamed(shown: ManagedService, name: str) -> ManagedService:
    return msgspec.structs.replace(shown, metadata=msgspec.structs.replace(shown.metadata, name=name))


FLEET = [renamed(healthy_service(), "cart"), UPDATING, renamed(failed(), "payment"), renamed(rolled_back(), "search"), scaling("till"), scaling("web", "www")]
COURSES = {each.metadata.key: COURSE for each in (UPDATING, FLEET[4])}
FRAMES = [
    ("one", "progress, goal", Moment(services=[UPDATING], now=NOW, clock=42, name="checkout", courses=COURSES, waiting=WAITING)),
    ("silent", "no news, and how old they are", Moment(services=[healthy_service()], now=NOW, name="checkout", silent=SILENT)),
    ("table", "progress of all", Moment(services=FLEET, now=NOW, clock=42, namespaces=True, courses=COURSES, unread=1, waiting="Waiting for run of 4 of 6 services, 4m left: phase Update")),
    ("gone", "deleted meanwhile", Moment(services=[], now=NOW, name="checkout")),
]  # fmt: skip


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("name", "why", "moment"), FRAMES, ids=[row[0] for row in FRAMES])
def test_frames(name: str, why: str, moment: Moment, width: int) -> None:
    frame = lines(moment, Look(width=width), 50)
    compare(f"live-{name}-{width}", frame)
    assert fit(frame, width, 60) == frame, why


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (7, 3), (20, 5), (40, 12), (300, 200)])
def test_any_terminal_is_large_enough(columns: int, rows: int) -> None:
    for _, why, moment in FRAMES:
        frame = fit(lines(moment, Look(width=columns, unicode=True, colour=True), rows), columns, rows)
        assert len(frame) <= max(1, rows - 1), why


def test_what_happens_comes_first_where_not_all_fit() -> None:
    fleet = [renamed(healthy_service(), f"quiet-{number}") for number in range(30)] + [UPDATING]
    frame = lines(Moment(services=fleet, now=NOW), Look(), 12)
    assert frame[1].split()[0] == "checkout"
    assert frame[3] == "... 29 more services" and frame[-1].startswith("31 services")
    assert lines(Moment(services=fleet, now=NOW), Look(), 50)[1].split()[0] == "checkout"  # by name: c before q


def test_an_expectation_for_all_needs_one_for_each() -> None:
    unknown = Course(Movement((), "rolled out", 0, 5), (Step(0, 0),))
    frame = lines(Moment(services=FLEET, now=NOW, clock=42, courses={**COURSES, ("www", "web"): unknown}), Look(width=200), 50)
    assert frame[-1].endswith("; on their way: 8 of 25 instances")


def test_one_that_cannot_be_read_is_told() -> None:
    assert "another version" in lines(Moment(services=[], now=NOW, name="checkout", unread=1), Look(), 20)[0]
    assert lines(Moment(services=[], now=NOW), Look(), 20) == ["no services"]


def test_lines_for_a_log() -> None:
    text, wide = changes.heading([("shop", "a-name-that-is-longer-than-most")], namespaces=True)
    at = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    rows = [changes.line(each.metadata.key, changes.told(each), at, wide, namespaces=True) for each in FLEET]
    compare("changes", [text, *rows, changes.line(("shop", "cart"), changes.GONE, at, wide, namespaces=True)])
    assert changes.told(service(generation=9))[-1] == changes.BEHIND
    assert changes.told(service(phase=None)) == ("-", "-", "-", "-", "no status yet")
    assert "NAMESPACE" not in changes.heading([], namespaces=False)[0]
