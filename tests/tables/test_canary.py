# SPDX-License-Identifier: Apache-2.0
"""What is decided while a canary goes through its steps: four replicas, surge 1; 25 % for five minutes, a pause, 50 %."""

from typing import Any

from tables.harness import Row, Told, table
from tables.world import LONG, NOW, accepted, at, given, revision

A, B, C = (revision(each) for each in "ABC")
STEPS = ({"weight": 25, "hold": "5m"}, {"pause": {}}, {"weight": 50})
OLD = "A-0 A-1 A-2 A-3"
QUARTER = "A-0 A-1 A-2 B-0"
BEGUN = at(NOW - 60)
PROMOTED, ABORTED = "drover.dev/promoted", "drover.dev/aborted"


def canary(pods: str, *, step: int = 0, progressed: int = 0, reached: float | None = None, steps: Any = STEPS, **more: Any) -> Any:
    """Facts in the middle of the rollout from A to B; `reached` is how many seconds ago the step was."""
    since = None if reached is None else at(NOW - reached)
    memory = {"target": "B", "stable": "A", "progressed": progressed, "step": step, "steps": len(steps), "reachedAt": since}
    memory |= {"settledReplicas": 4, "stepAt": at(NOW - 10), "begunAt": BEGUN, **more.pop("memory", {})}
    rollout = {"type": "Canary", "canary": {"steps": list(steps)}, **more.pop("rollout", {})}
    return given(pods, wanted="B", records=more.pop("records", "AB"), replicas=more.pop("replicas", 4), memory=memory, rollout=rollout, **more)


WAY = [
    Row(
        name="the first step makes its share and no more",
        why="a quarter of four is one; the old one that it replaces stays until it serves",
        given=canary(OLD),
        does=("create B-0 [Missing]",),
        wakes=590,
    ),
    Row(
        name="an old one leaves when the new one serves",
        why="three old and one new are the weight; until then the share is less, never more",
        given=canary(f"{OLD} B-0", progressed=1),
        does=("leave A-3 [Superseded]",),
        wakes=590,
    ),
    Row(
        name="a step that is reached is remembered first",
        why="the hold is counted from a time that the next leader knows as well",
        given=canary(QUARTER, progressed=1),
        waits=("pass step 1 of 3 [HoldsAtStep]",),
        wakes=300,
        write_ahead=True,
        memory={"step": 0, "target": B},
    ),
    Row(
        name="a step without a hold is passed when it is reached",
        why="one write for both: what is over at once need not be told",
        given=canary("A-0 A-1 B-0 B-1", step=2, progressed=2),
        write_ahead=True,
        memory={"step": 3, "reached_at": None},
    ),
    Row(
        name="a hold is waited out",
        why="nothing is done, and the clock alone wakes it; no progress deadline runs meanwhile",
        given=canary(QUARTER, progressed=1, reached=100),
        waits=("pass step 1 of 3 [HoldsAtStep]",),
        wakes=200,
    ),
    Row(
        name="a hold that is over passes the step",
        why="the step is remembered before its weight is made",
        given=canary(QUARTER, progressed=1, reached=300),
        write_ahead=True,
        memory={"step": 1, "reached_at": None},
    ),
    Row(
        name="a pause is reached with the weight before it",
        why="it asks for no share of its own",
        given=canary(QUARTER, step=1, progressed=1),
        waits=("pass step 2 of 3 [WaitsForPromotion]",),
        write_ahead=True,
        memory={"step": 1},
    ),
    Row(
        name="a pause waits for a person",
        why="no clock ends it, and no deadline",
        given=canary(QUARTER, step=1, progressed=1, reached=5000),
        waits=("pass step 2 of 3 [WaitsForPromotion]",),
    ),
    Row(
        name="the next step is made from where the last one was",
        why="one more of the new ones fits into the surge",
        given=canary(QUARTER, step=2, progressed=1),
        does=("create B-1 [Missing]",),
        wakes=590,
    ),
    Row(
        name="after the last step the rest is rolled",
        why="two of the new ones have proved themselves, so three may be there, and two old ones",
        given=canary("A-0 A-1 B-0 B-1", step=3, progressed=2),
        does=("create B-2 [Missing]",),
        wakes=590,
    ),
    Row(
        name="the first deployment has no steps",
        why="there is nothing to share the traffic with",
        given=canary("", memory={"stable": ""}, records="B"),
        does=("create B-0 [Missing]; create B-1 [Missing]; create B-2 [Missing]; create B-3 [Missing]",),
        wakes=590,
    ),
    Row(
        name="a small weight is made exact with the surge",
        why="one of five is nearer to 20 % than one of four, and the surge allows five",
        given=canary(OLD, steps=({"weight": 20},)),
        does=("create B-0 [Missing]",),
        wakes=590,
    ),
    Row(
        name="one replica without surge has no share to give",
        why="a canary beside it would be an instance too many: the step is reached without one, and the rest is rolled",
        given=canary("A-0", steps=({"weight": 50},), replicas=1, surge=0, unavailable=1),
        write_ahead=True,
        memory={"step": 1},
    ),
]

HAND = [
    Row(
        name="a person passes a pause",
        why="the annotation says how many steps are passed on the way to this revision, so that it can be said twice",
        given=canary(QUARTER, step=1, progressed=1, reached=60, notes={PROMOTED: f"{B}/2/{BEGUN}"}),
        write_ahead=True,
        memory={"step": 2, "reached_at": None},
    ),
    Row(
        name="what was passed before is no news",
        why="the annotation stays where it is",
        given=canary(QUARTER, step=1, progressed=1, reached=60, notes={PROMOTED: f"{B}/1/{BEGUN}"}),
        waits=("pass step 2 of 3 [WaitsForPromotion]",),
    ),
    Row(
        name="a promotion of another revision counts for nothing",
        why="else yesterday's word would wave today's revision through",
        given=canary(QUARTER, step=1, progressed=1, reached=60, notes={PROMOTED: f"{A}/3/{BEGUN}"}),
        waits=("pass step 2 of 3 [WaitsForPromotion]",),
    ),
    Row(
        name="a promotion of an earlier rollout to the same revision counts for nothing",
        why="somebody went back and forth: the second try has proved nothing yet",
        given=canary(QUARTER, step=1, progressed=1, reached=60, notes={PROMOTED: f"{B}/3/{at(NOW - 5000)}"}),
        waits=("pass step 2 of 3 [WaitsForPromotion]",),
    ),
    Row(
        name="what cannot be read counts for nothing",
        why="somebody has edited the annotation by hand",
        given=canary(QUARTER, step=1, progressed=1, reached=60, notes={PROMOTED: f"{B}/all/{BEGUN}"}),
        waits=("pass step 2 of 3 [WaitsForPromotion]",),
    ),
    Row(
        name="a promotion to the end passes all steps",
        why="more than there are is all of them",
        given=canary(QUARTER, progressed=1, notes={PROMOTED: f"{B}/100/{BEGUN}"}),
        write_ahead=True,
        memory={"step": 3},
    ),
    Row(
        name="an abort turns the target",
        why="as after a failed deadline, and remembered first in the same way",
        given=canary(QUARTER, progressed=1, reached=60, notes={ABORTED: B}),
        write_ahead=True,
        memory={"target": A, "step": 0, "reached_at": None},
    ),
    Row(
        name="after an abort capacity comes back before the new one goes",
        why="three of four serve at the old revision: the fourth is made, and the new one leaves when it serves",
        given=canary(QUARTER, memory={"target": "A", "progressed": 3}, notes={ABORTED: B}),
        does=("create A-3 [Missing]",),
        wakes=590,
    ),
    Row(
        name="an abort of another revision counts for nothing",
        why="a later template is another revision, and nobody has said anything about it",
        given=canary(QUARTER, progressed=1, reached=100, notes={ABORTED: A}),
        waits=("pass step 1 of 3 [HoldsAtStep]",),
        wakes=200,
    ),
    Row(
        name="paused by the spec, nothing is held or passed",
        why="repair goes on and the steps stand still",
        given=canary(QUARTER, progressed=1, reached=1000, paused=True, memory={"paused": True}),
    ),
    Row(
        name="after a pause by the spec a hold begins anew",
        why="nobody looked at the new revision while it was frozen",
        given=canary(QUARTER, progressed=1, reached=200, memory={"paused": True}),
        waits=("pass step 1 of 3 [HoldsAtStep]",),
        wakes=300,
        write_ahead=True,
        memory={"paused": False, "step": 0},
    ),
]

TROUBLE = [
    Row(
        name="a lost new one is replaced at its revision",
        why="the share of the step is what is wanted, whoever is lost; the old revision makes up for it meanwhile",
        given=canary("A-0 A-1 A-2 B-0:Failed", progressed=1, reached=100),
        does=("create A-3 [Missing]; create B-0' [Missing]",),
        waits=("pass step 1 of 3 [HoldsAtStep]",),
        wakes=200,
    ),
    Row(
        name="a lost old one is replaced at its revision",
        why="else a node loss would raise the share of what is not proved yet",
        given=canary("A-0 A-1 A-2:Failed B-0", progressed=1, reached=100),
        does=("create A-2' [Missing]",),
        waits=("pass step 1 of 3 [HoldsAtStep]",),
        wakes=200,
    ),
    Row(
        name="a sick old revision holds no step up",
        why="the new one may be the cure",
        given=canary("A-0:Suspect A-1:Suspect A-2:Suspect B-0", progressed=1),
        waits=("pass step 1 of 3 [HoldsAtStep]",),
        wakes=300,
        write_ahead=True,
        memory={"step": 0, "target": B},
    ),
    Row(
        name="a step that is not reached in time gives the revision up",
        why="the deadline acts at a step as it does without",
        given=canary(f"{OLD} B-0:Starting@700", memory={"startedAt": at(NOW - 700)}, record_age=700.0, rollout={"progressDeadline": "5s"}),
        does=("block B [ProgressDeadlineExceeded]",),
        doubt=True,
    ),
    Row(
        name="a hold longer than the deadline is no failure",
        why="it waits because it was told to",
        given=canary(QUARTER, progressed=1, reached=250, memory={"startedAt": at(NOW - 5000)}, record_age=LONG, rollout={"progressDeadline": "10s"}),
        waits=("pass step 1 of 3 [HoldsAtStep]",),
        wakes=50,
    ),
    Row(
        name="a hold that is over waits for its share",
        why="a new version that fails while it is held gets no more, by however many timers; the old one fills in",
        given=canary("A-0 A-1 A-2 B-0:Suspect", progressed=1, reached=400, memory={"startedAt": at(NOW - 5000), "stepAt": at(NOW - 401)}),
        waits=("pass step 1 of 3 [WaitingForHealth]",),
        wakes=500,
        does=("create A-3 [Missing]",),
    ),
    Row(
        name="a share that does not come back is given up",
        why="the deadline runs from the end of the hold",
        given=canary("A-0 A-1 A-2 B-0:Suspect", progressed=1, reached=1000, memory={"startedAt": at(NOW - 5000), "stepAt": at(NOW - 1001)}),
        does=("block B [ProgressDeadlineExceeded]",),
        doubt=True,
    ),
    Row(
        name="another template in the middle begins anew",
        why="what B has proved says nothing about C; its instances serve as long as they are needed",
        given=given(
            QUARTER,
            wanted="C",
            records="AB",
            replicas=4,
            memory={"target": "B", "stable": "A", "progressed": 1, "step": 2, "steps": 3, "settledReplicas": 4},
            rollout={"type": "Canary", "canary": {"steps": list(STEPS)}},
            verdicts=accepted("C"),
        ),
        write_ahead=True,
        held=1,
        memory={"target": C, "step": 0, "progressed": 0},
    ),
    Row(
        name="another strategy in the middle goes on from here",
        why="what serves counts as proved, and the rest is rolled",
        given=given(QUARTER, wanted="B", records="AB", replicas=4, memory={"target": "B", "stable": "A", "progressed": 1, "step": 1, "settledReplicas": 4}),
        does=("create B-1 [Missing]",),
        wakes=590,
    ),
]


@table([*WAY, *HAND, *TROUBLE])
def test_canary(row: Row):
    row.check()


TOLD = [
    Told(
        name="on the way back after an abort",
        why="the history says whose doing it was",
        given=canary(QUARTER, memory={"target": "A", "progressed": 3}, notes={ABORTED: B}, status={"phase": "Update"}),
        phase="Rollback",
        summary="Aborted",
        history=("Update>Rollback expected abort",),
        events=("Normal Rollback", "Warning Aborted"),
    ),
    Told(
        name="at a hold",
        why="a person sees which step it is, what share is wanted and what is there",
        given=canary(QUARTER, progressed=1, reached=100, status={"phase": "Update"}),
        phase="Update",
        summary="HoldsAtStep",
        conditions={"Ready": "False HoldsAtStep", "Reconciling": "True HoldsAtStep", "Progressing": "True RollingOut"},
    ),
    Told(
        name="at a pause",
        why="it is a person's turn, and nothing is wrong",
        given=canary(QUARTER, step=1, progressed=1, reached=100, status={"phase": "Update"}),
        phase="Update",
        summary="WaitsForPromotion",
        conditions={"Reconciling": "True WaitsForPromotion", "Stalled": "False Settled", "NeedsHuman": "False NotNeeded"},
    ),
    Told(
        name="after an abort",
        why="spec and reality differ, and the status says by whose hand",
        given=canary(OLD, memory={"target": "A", "progressed": 4}, notes={ABORTED: B}, status={"phase": "Rollback"}),
        phase="Run",
        summary="Aborted",
        conditions={"Stalled": "True Aborted", "Available": "True MinimumInService"},
        history=("Rollback>Run expected converged",),
        events=("Normal Run", "Warning Aborted"),
    ),
]


@table(TOLD)
def test_what_is_told(row: Told):
    row.check()
