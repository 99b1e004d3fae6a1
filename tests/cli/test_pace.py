# SPDX-License-Identifier: Apache-2.0
"""Progress and pace: told only as far as something was seen."""

import pytest
from cli.samples import rolled_back, service, updating

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.pace import Course, Movement, movement, pace, progress, seen

MOVEMENTS = [
    ("nothing is on its way", service(), None),
    ("rolled back and done", rolled_back(), None),
    ("an old status says nothing about what is on its way now", service(phase="Update", generation=9), None),
    ("no status", service(phase=None), None),
    ("an update counts instances of the target in service", service(phase="Update", rollout={"progressed": 2}), ("rolled out", 2, 3)),
    ("provisioning goes on through phase Ready", service(phase="Provision", rollout={"progressed": 1}), ("started", 1, 3)),
    ("scaling out counts all", service(phase="Scale", scaleDirection="Out", counts={"inService": 2, "starting": 1}), ("in service", 2, 3)),
    ("scaling in counts those too many", service(phase="Scale", scaleDirection="In", counts={"inService": 3, "draining": 2}), ("to go", -2, 0)),
    ("an end counts down", service(phase="Destroy", counts={"draining": 2, "inService": 1}), ("to go", -3, 0)),
]


@pytest.mark.parametrize(("why", "shown", "expected"), MOVEMENTS, ids=[row[0] for row in MOVEMENTS])
def test_movement(why: str, shown: ManagedService, expected: tuple[str, int, int] | None) -> None:
    found = movement(shown)
    assert (found and (found.verb, found.done, found.total)) == expected, why


def test_provision_and_ready_are_one_movement_and_another_target_is_another() -> None:
    first, then = movement(service(phase="Provision")), movement(service(phase="Ready"))
    assert first is not None and then is not None and first.key == then.key
    other, updated = movement(service(phase="Provision", targetRevision="x")), movement(updating())
    assert other is not None and other.key != first.key
    assert updated is not None and updated.key != first.key


def watched(*steps: tuple[float, int], total: int = 10) -> Course:
    course = None
    for at, done in steps:
        course = seen(course, Movement(("uid",), "rolled out", done, total), at)
    assert course is not None
    return course


PROGRESS = [
    ("nothing yet", watched((0, 0)), 5, "rolled out 0 of 10"),
    ("the first arrival says nothing about a pace: when its turn began is not known", watched((0, 0), (9, 1)), 10, "rolled out 1 of 10"),
    ("two arrivals have a pause between them", watched((0, 0), (10, 1), (20, 2)), 20, "rolled out 2 of 10, 6 a minute, about 80s left"),
    ("time that has passed is taken off", watched((0, 0), (10, 1), (20, 2)), 26, "rolled out 2 of 10, 6 a minute, about 75s left"),
    ("looking again is no arrival", watched((0, 0), (10, 1), (15, 1), (20, 2)), 20, "rolled out 2 of 10, 6 a minute, about 80s left"),
    ("arrivals of one moment are one step", watched((0, 0), (10, 1), (10.3, 2), (20, 3), (20.2, 4)), 20.2, "rolled out 4 of 10, 12 a minute, about 30s left"),
    ("a next step that is long overdue ends the guessing", watched((0, 0), (10, 1), (20, 2)), 60, "rolled out 2 of 10, none for 40s"),
    ("slow ones", watched((0, 0), (100, 1), (700, 2)), 700, "rolled out 2 of 10, one in 10m, about 80m left"),
    ("what is lost is no progress", watched((0, 4), (10, 5), (20, 3)), 20, "rolled out 3 of 10"),
    ("the pace is that of late", watched(*((second, second) for second in range(9)), *((8 + 60 * n, 8 + n) for n in range(1, 12)), total=30), 668, "rolled out 19 of 30, one in 60s, about 11m left"),
    ("all are there, and old ones leave", watched((0, 8), (1, 9), (3, 10)), 4, "rolled out 10 of 10"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "course", "now", "expected"), PROGRESS, ids=[row[0] for row in PROGRESS])
def test_progress(why: str, course: Course, now: float, expected: str) -> None:
    assert progress(course, now) == expected, why


def test_those_to_go() -> None:
    course = seen(seen(None, Movement((), "to go", -4, 0), 0), Movement((), "to go", -3, 0), 5)
    assert course is not None
    assert progress(course, 5) == "3 to go"


def test_another_movement_begins_anew_and_an_end_ends_it() -> None:
    course = watched((0, 0), (10, 1), (20, 2))
    assert pace(course) == pytest.approx(0.1)
    other = seen(course, Movement(("other",), "rolled out", 0, 10), 30)
    assert other is not None and pace(other) is None and len(other.steps) == 1
    assert seen(course, None, 30) is None
