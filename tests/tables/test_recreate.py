# SPDX-License-Identifier: Apache-2.0
"""What is decided where two versions must never run at the same time."""

from typing import Any

from tables.harness import Row, Told, table
from tables.world import LONG, NOW, at, given, revision

A, B = revision("A"), revision("B")
OLD = "A-0 A-1 A-2"
WAITS = ("create instances of B [WaitsForOldVersion]",)


def rolled(pods: str, **more: Any) -> Any:
    """Facts in the middle of the rollout from A to B."""
    memory = {"target": "B", "stable": "A", "progressed": 0, "settledReplicas": 3, **more.pop("memory", {})}
    rollout = {"type": "Recreate", **more.pop("rollout", {})}
    return given(pods, wanted=more.pop("wanted", "B"), records=more.pop("records", "AB"), memory=memory, rollout=rollout, **more)


ROWS = [
    Row(
        name="all old instances leave at once",
        why="there is no budget to keep: the downtime is wanted, and the shorter the better",
        given=rolled(OLD),
        does=("leave A-2 [Superseded]; leave A-1 [Superseded]; leave A-0 [Superseded]",),
        waits=WAITS,
    ),
    Row(
        name="none is made while one is draining",
        why="it answers its last requests, so that it runs",
        given=rolled("A-0:DrainingListed@1"),
        waits=("drain A-0 [StillInDiscovery]", *WAITS),
        wakes=29,
    ),
    Row(
        name="none is made while one is ending",
        why="its program has until its grace period is over, and nobody can see into it",
        given=rolled("A-0:Dying@1"),
        waits=WAITS,
    ),
    Row(
        name="one that has failed is no obstacle",
        why="nothing of it runs any more",
        given=rolled("A-0:Failed"),
        does=("delete A-0 [Lost]", "create B-0 [Missing]; create B-1 [Missing]; create B-2 [Missing]"),
        wakes=600,
    ),
    Row(
        name="all new ones are made when nobody else is there",
        why="they need not wait for each other",
        given=rolled(""),
        does=("create B-0 [Missing]; create B-1 [Missing]; create B-2 [Missing]",),
        wakes=600,
    ),
    Row(
        name="no deadline runs while the old ones end",
        why="the new revision has not been tried yet, however long that takes",
        given=rolled("A-0:Dying@500", memory={"startedAt": at(NOW - 700)}, record_age=700.0),
        waits=WAITS,
    ),
    Row(
        name="the deadline runs from when it was alone",
        why="then it had its chance",
        given=rolled("B-0:Starting B-1:Starting B-2:Starting", memory={"startedAt": at(NOW - 5000), "stepAt": at(NOW - 100)}, record_age=LONG),
        wakes=500,
    ),
    Row(
        name="a revision that does not come up is given up",
        why="the old one is made again, as after any rollout that fails",
        given=rolled("B-0:Starting B-1:Starting B-2:Starting", memory={"startedAt": at(NOW - 5000), "stepAt": at(NOW - 700)}, record_age=LONG),
        does=("block B [ProgressDeadlineExceeded]",),
        doubt=True,
    ),
    Row(
        name="on the way back the new ones end first",
        why="two versions never run at the same time, whichever way it goes",
        given=rolled("B-0:Starting B-1:Starting", wanted="B", memory={"target": "A"}, blocked={"B": "now"}),
        does=("delete B-1 [Superseded]; delete B-0 [Superseded]",),
        waits=("create instances of A [WaitsForOldVersion]",),
        wakes=590,
    ),
    Row(
        name="scaling out needs nobody to end",
        why="there is one version only",
        given=given(OLD, replicas=4, memory={"settledReplicas": 3}, rollout={"type": "Recreate"}),
        does=("create A-3 [Missing]",),
    ),
    Row(
        name="the first deployment is made at once",
        why="there is nobody who would have to end before",
        given=given("", memory={"target": "A", "stable": "", "settledReplicas": -1}, rollout={"type": "Recreate"}),
        does=("create A-0 [Missing]; create A-1 [Missing]; create A-2 [Missing]",),
        wakes=600,
    ),
]


@table(ROWS)
def test_recreate(row: Row):
    row.check()


@table(
    [
        Told(
            name="nobody serves meanwhile, and it says so",
            why="a downtime is one, planned or not",
            given=rolled("A-0:Dying@1", status={"phase": "Update"}),
            phase="Update",
            summary="RollingOut",
            conditions={"Available": "False BelowMinimum", "Reconciling": "True RollingOut", "Stalled": "False Settled"},
        )
    ]
)
def test_what_is_told(row: Told):
    row.check()
