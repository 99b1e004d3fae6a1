# SPDX-License-Identifier: Apache-2.0
"""What is decided while a service comes up, rolls, goes back, is pinned, paused, or has lost its memory."""

import pytest
from tables.harness import Row, table
from tables.world import NOW, accepted, at, given, refused, revision

A, B, C = (revision(each) for each in "ABC")
WHOLE = "A-0 A-1 A-2"
FIRST = {"target": "A", "stable": "", "progressed": 0, "settledReplicas": -1}
LOST = {"target": "", "stable": "", "progressed": 0, "settledReplicas": -1, "startedAt": None}
OVERDUE = at(NOW - 700)


def roll(progressed: int = 0, **more: object) -> dict[str, object]:
    return {"target": "B", "stable": "A", "progressed": progressed, **more}


PROVISION = [
    Row(
        name="a new service is asked about first",
        why="a template that the server refuses is said at once, not told as under way and then taken back",
        given=given("", records="", memory=LOST, finalizers=(), front=False, budget=False),
        does=("try A [RollingOut]",),
    ),
    Row(
        name="a new service is remembered next",
        why="memory is write-ahead: the target must be stored before the first outside effect",
        given=given("", records="", memory=LOST, finalizers=(), front=False, budget=False, verdicts=accepted("A")),
        write_ahead=True,
        held=1,
        memory={"target": A, "stable": ""},
    ),
    Row(
        name="finalizer first, then the record, then own objects and pods",
        why="each stage is a legal place to crash: nothing outlives a service without the finalizer, no pod is made of what is not recorded",
        given=given("", records="", memory=FIRST, finalizers=(), front=False, budget=False, verdicts=accepted("A")),
        held=1,
        does=(
            "finalizer on [Provisioning]",
            "record A [RollingOut]",
            "create budget [Missing]; create front [Missing]; create A-0 [Missing]; create A-1 [Missing]; create A-2 [Missing]",
        ),
    ),
    Row(
        name="an accepted dry run is not repeated",
        why="the verdict is kept until the record is seen; asking again would cost a request per pass",
        given=given("", records="", memory=FIRST, verdicts=accepted("A")),
        does=("record A [RollingOut]", "create A-0 [Missing]; create A-1 [Missing]; create A-2 [Missing]"),
        held=1,
    ),
    Row(
        name="first instances all at once",
        why="there is nothing to protect yet, so surge does not limit the first instances",
        given=given("", memory=FIRST, replicas=5),
        does=("create A-0 [Missing]; create A-1 [Missing]; create A-2 [Missing]; create A-3 [Missing]; create A-4 [Missing]",),
        wakes=590,
    ),
    Row(
        name="starting instances are waited for until the deadline",
        why="an event tells when they are ready; only the progress deadline needs a wake-up",
        given=given("A-0:Starting A-1:Pending A-2:Starting", memory=FIRST),
        wakes=590,
    ),
    Row(
        name="a new instance is wanted in service before it is ready",
        why="the gate never says healthy: opened now, the kubelet alone decides when it serves, with one write less and without a round trip to us",
        given=given("A-0:New A-1:Starting A-2:Pending", memory=FIRST),
        does=("enter A-0 [EntersService]",),
        wakes=590,
    ),
    Row(
        name="a healthy instance enters service at once",
        why="the gate means wanted in service; there is no reason to wait for the others",
        given=given("A-0:Ready A-1:Starting A-2:Starting", memory=FIRST),
        does=("enter A-0 [EntersService]",),
        wakes=600,
    ),
    Row(
        name="an instance whose gate is open is not patched again",
        why="nothing is sent that the cache shows to be there already; discovery follows by itself",
        given=given("A-0:Entering A-1:Entering A-2:Entering", memory=FIRST),
        wakes=590,
    ),
    Row(
        name="a service without ports needs no discovery",
        why="without ports there is no Service to be listed in: ready is in service",
        given=given("A-0:Entering A-1:Entering A-2:Entering", ports=[], front=False),
    ),
    Row(
        name="the first full count makes the revision stable",
        why="what is to fall back to must be stored before anything rests on it",
        given=given(WHOLE, memory=FIRST),
        write_ahead=True,
        memory={"stable": A, "progressed": 3, "settled_replicas": 3},
    ),
    Row(
        name="min ready wakes when the first instance counts",
        why="no event tells that time has passed: the earliest of the three is the wake-up",
        given=given("A-0:InService@5 A-1:InService@10 A-2:InService@20", memory=FIRST, rolling={"minReady": "30s"}),
        wakes=10,
        memory={"stable": "", "progressed": 0},
    ),
    Row(
        name="an attempt that is overdue goes on where there is nothing to go back to",
        why="the loop never ends: there is no good revision, so the missing instance is still made; that it has failed is said after a look at the truth",
        given=given("A-0:Starting A-1:Starting", memory={**FIRST, "startedAt": OVERDUE}),
        does=("create A-2 [Missing]",),
        doubt=True,
    ),
    Row(
        name="no instance wanted, no template tried",
        why="with 0 replicas nothing would be made of the template, so no server is asked about it",
        given=given("", records="", replicas=0, memory={"target": "A", "stable": "A", "progressed": 0, "settledReplicas": 0}),
    ),
    Row(
        name="the number of 0 replicas is reached at once",
        why="0 of 0 in service is a full count, which is remembered first like any other",
        given=given("", records="", replicas=0, memory=FIRST),
        write_ahead=True,
        memory={"settled_replicas": 0},
    ),
    Row(
        name="a first template that is refused makes nothing",
        why="not even a record: pods of it would be refused one by one, at every pass",
        given=given("", records="", memory=FIRST, verdicts=refused("A")),
        waits=("try revision A [InvalidTemplate]",),
        wakes=299,
        held=1,
    ),
    Row(
        name="a quota does not make a template invalid",
        why="a retryable refusal says nothing about the fields: the try goes on, with the rest behind it",
        given=given("", records="", memory=FIRST, verdicts=refused("A", reason="Forbidden", retryable=True)),
        does=("try A [RollingOut]", "record A [RollingOut]", "create A-0 [Missing]; create A-1 [Missing]; create A-2 [Missing]"),
    ),
]

ROLLING = [
    Row(
        name="a new template is remembered first",
        why="a crash after the first pod must find the same target, with the time it began",
        given=given(WHOLE, wanted="B", verdicts=accepted("B")),
        write_ahead=True,
        held=1,
        memory={"target": B, "stable": A, "progressed": 0},
    ),
    Row(
        name="a new revision is tried before anything is touched",
        why="the dry run comes before the Memory, the record and the first pod: a refused template changes nothing",
        given=given(WHOLE, wanted="B"),
        does=("try B [RollingOut]",),
    ),
    Row(
        name="with surge the new one comes first",
        why="surge 1, unavailable 0: 4 exist, none of the old ones leaves before a new one serves",
        given=given(WHOLE, wanted="B", records="AB", memory=roll()),
        does=("create B-0 [Missing]",),
        wakes=590,
    ),
    Row(
        name="surge 2 makes two",
        why="the budget is used in full, since every step costs the start time of an instance",
        given=given(WHOLE, wanted="B", records="AB", surge=2, memory=roll()),
        does=("create B-0 [Missing]; create B-1 [Missing]",),
        wakes=590,
    ),
    Row(
        name="surge of 100 % makes all",
        why="100 % of 3 is 3: the new revision stands beside the old one",
        given=given(WHOLE, wanted="B", records="AB", surge="100%", memory=roll()),
        does=("create B-0 [Missing]; create B-1 [Missing]; create B-2 [Missing]",),
        wakes=590,
    ),
    Row(
        name="a percentage of surge is rounded up",
        why="25 % of 3 is 0.75, and 0 could never replace anything: as in a Deployment it is 1",
        given=given(WHOLE, wanted="B", records="AB", surge="25%", memory=roll()),
        does=("create B-0 [Missing]",),
        wakes=590,
    ),
    Row(
        name="a new one that starts is waited for",
        why="the surge is used up and nothing more is in service than before",
        given=given(WHOLE + " B-0:Starting", wanted="B", records="AB", memory=roll()),
        wakes=590,
    ),
    Row(
        name="one serves, one leaves, one more is made",
        why="draining ones do not count against surge, so that a drain overlaps the next start",
        given=given(WHOLE + " B-0", wanted="B", records="AB", memory=roll()),
        does=("leave A-2 [Superseded]", "create B-1 [Missing]"),
        wakes=600,
        memory={"progressed": 1},
    ),
    Row(
        name="min ready holds the next step",
        why="B-0 serves for 5 of 30 s: it does not count yet, so nothing may leave for it",
        given=given(WHOLE + " B-0:InService@5", wanted="B", records="AB", rolling={"minReady": "30s"}, memory=roll()),
        wakes=25,
        memory={"progressed": 0},
    ),
    Row(
        name="without surge one leaves first",
        why="surge 0, unavailable 1: the gap is the budget, and the new one takes its place",
        given=given(WHOLE, wanted="B", records="AB", surge=0, unavailable=1, memory=roll()),
        does=("leave A-2 [Superseded]", "create B-0 [Missing]"),
        wakes=590,
    ),
    Row(
        name="both 0 by rounding: one may be missing",
        why="25 % of 3 rounded down is 0; with surge 0 nothing could ever be replaced, so one may be missing, as in a Deployment",
        given=given(WHOLE, wanted="B", records="AB", surge=0, unavailable="25%", memory=roll()),
        does=("leave A-2 [Superseded]", "create B-0 [Missing]"),
        wakes=590,
    ),
    Row(
        name="the gap is used once",
        why="one of three is missing and one may be: no other leaves before B-0 serves",
        given=given("A-0 A-1 B-0:Starting", wanted="B", records="AB", surge=0, unavailable=1, memory=roll()),
        wakes=590,
    ),
    Row(
        name="surge and unavailability together",
        why="surge 1 and unavailable 1: two new ones at once, one old one leaves, 4 exist and 2 serve at least",
        given=given(WHOLE, wanted="B", records="AB", unavailable=1, memory=roll()),
        does=("leave A-2 [Superseded]", "create B-0 [Missing]; create B-1 [Missing]"),
        wakes=590,
    ),
    Row(
        name="the sick one of the old leaves first",
        why="A-0 does not serve: its leaving costs nothing, and A-2 goes on serving",
        given=given("A-0:Suspect A-1 A-2 B-0", wanted="B", records="AB", memory=roll()),
        does=("leave A-0 [Superseded]", "create B-1 [Missing]"),
        wakes=600,
    ),
    Row(
        name="a new one that falls ill stops the roll",
        why="progress is remembered as 1, but now only 3 serve: nothing leaves, and there is no room for another",
        given=given(WHOLE + " B-0:Suspect", wanted="B", records="AB", memory=roll(1)),
        waits=("retire A-2 [WaitsForBudget]", "create B-1 [WaitsForBudget]"),
        wakes=590,
    ),
    Row(
        name="the last old one leaves",
        why="three new ones serve: the fourth instance is one too many",
        given=given("A-0 B-0 B-1 B-2", wanted="B", records="AB", memory=roll(2)),
        does=("leave A-0 [Superseded]",),
        wakes=600,
        memory={"progressed": 3, "stable": A},
    ),
    Row(
        name="the roll is over when no other is live",
        why="only now is B what to go back to, and that is stored before anything else",
        given=given("B-0 B-1 B-2 A-0:Draining@1", wanted="B", records="AB", memory=roll(3)),
        write_ahead=True,
        memory={"stable": B, "target": B},
    ),
    Row(
        name="an old one lost in mid-roll comes back old",
        why="with a new version that hangs, replacing it by a new one would leave the service short",
        given=given("A-0 A-2 B-0:Starting", wanted="B", records="AB", memory=roll()),
        does=("create A-1 [Missing]",),
        wakes=590,
    ),
    Row(
        name="a new one lost in mid-roll comes back new",
        why="progress never falls: its slot belongs to the target, and two of the target are wanted at progress 1",
        given=given("A-0 A-1", wanted="B", records="AB", memory=roll(1)),
        does=("create B-0 [Missing]; create B-1 [Missing]",),
        wakes=590,
    ),
    Row(
        name="a change of mind keeps what serves and drops what starts",
        why="B is superseded: B-0 serves and is still needed for the number, B-1 never served and makes room for C",
        given=given("A-0 A-1 B-0 B-1:Starting", wanted="C", records="ABC", memory={"target": "C", "progressed": 0}),
        does=("delete B-1 [Superseded]", "create C-0 [Missing]"),
        wakes=590,
    ),
    Row(
        name="a change of mind fills up with the stable revision",
        why="no B serves: what is missing is made at A, which served, before C is tried",
        given=given("A-0 A-1 B-0:Starting B-1:Starting", wanted="C", records="ABC", memory={"target": "C", "progressed": 0}),
        does=("delete B-1 [Superseded]; delete B-0 [Superseded]", "create A-2 [Missing]; create C-0 [Missing]"),
        wakes=590,
    ),
    Row(
        name="a change of mind is remembered first",
        why="the deadline and the progress of C begin anew, A stays what to go back to",
        given=given("A-0 A-1 B-0 B-1:Starting", wanted="C", records="AB", memory=roll(1), verdicts=accepted("C")),
        write_ahead=True,
        held=1,
        memory={"target": C, "stable": A, "progressed": 0},
    ),
    Row(
        name="scaling out in mid-roll adds old ones",
        why="5 wanted at progress 1: two new and four old within 6; the new version has not proved itself",
        given=given("A-0 A-1 B-0 B-1:Starting", wanted="B", records="AB", replicas=5, memory=roll(1, settledReplicas=3)),
        does=("create A-2 [Missing]; create A-3 [Missing]",),
        wakes=590,
    ),
]

BACK = [
    Row(
        name="a revision without progress is blocked, after a look at the truth",
        why="that nothing has happened may be the cache's delay: doubt makes the engine prove its caches first",
        given=given(WHOLE + " B-0:Starting", wanted="B", records="AB", memory=roll(startedAt=OVERDUE)),
        does=("block B [ProgressDeadlineExceeded]",),
        doubt=True,
    ),
    Row(
        name="an instance that could enter is progress, though its deadline is over",
        why="we saw late that it is healthy: giving up now would blame the revision for events that were kept from us (argo-rollouts #3316)",
        given=given(WHOLE + " B-0:Ready", wanted="B", records="AB", memory=roll(startedAt=OVERDUE)),
        does=("enter B-0 [EntersService]",),
        wakes=600,
    ),
    Row(
        name="an instance that became ready again and again is no progress for ever",
        why="ready for 5 s, but made 1000 s ago: each time it comes back it would put off the end of a revision that never serves for 30 s",
        given=given(
            WHOLE + " B-0:InService@5",
            wanted="B",
            records="AB",
            memory=roll(startedAt=OVERDUE),
            rollout={"progressDeadline": "5m", "rolling": {"minReady": "30s"}},
        ),
        does=("block B [ProgressDeadlineExceeded]",),
        doubt=True,
    ),
    Row(
        name="progress moves the deadline",
        why="the last new one came into service 100 s ago: 500 s are left of ten minutes, whenever the roll began",
        given=given("A-0 A-1 B-0 B-1:Starting", wanted="B", records="AB", memory=roll(1, startedAt=OVERDUE, progressedAt=at(NOW - 100))),
        wakes=500,
    ),
    Row(
        name="a deadline of one's own",
        why="spec.rollout.progressDeadline is what counts: 10 of 30 s are over",
        given=given(WHOLE + " B-0:Starting", wanted="B", records="AB", memory=roll(), rollout={"progressDeadline": "30s"}),
        wakes=20,
    ),
    Row(
        name="a revision that a quota kept from being tried is not given up",
        why="it is not recorded, so nothing of it has run: there is nothing to block, and it is tried until the quota lets it through",
        given=given(WHOLE, wanted="B", memory=roll(startedAt=OVERDUE), verdicts=refused("B", reason="Forbidden", retryable=True)),
        does=("try B [RollingOut]", "record B [RollingOut]", "create B-0 [Missing]"),
    ),
    Row(
        name="the deadline begins when the revision is recorded",
        why="after an hour of quota the first pod deserves its ten minutes like any other",
        given=given(WHOLE + " B-0:Starting", wanted="B", records="AB", record_age=40.0, memory=roll(startedAt=OVERDUE)),
        wakes=560,
    ),
    Row(
        name="a blocked revision turns the target round, remembered first",
        why="going back is a new target like any other",
        given=given(WHOLE + " B-0:Starting", wanted="B", records="AB", blocked={"B": "now"}, memory=roll()),
        write_ahead=True,
        memory={"target": A, "stable": A, "blocked_revision": B},
    ),
    Row(
        name="going back ends what never served at once",
        why="B-0 never was in discovery: nobody has to be drained",
        given=given(WHOLE + " B-0:Starting", wanted="B", records="AB", blocked={"B": "now"}),
        does=("delete B-0 [Superseded]",),
        wakes=590,
    ),
    Row(
        name="going back keeps a bad one that serves until a good one is there",
        why="B-0 is one of three that serve; it leaves when A-2 serves",
        given=given("A-0 A-1 B-0 B-1:Starting", wanted="B", records="AB", blocked={"B": "now"}, memory={"progressed": 2}),
        does=("delete B-1 [Superseded]", "create A-2 [Missing]"),
        wakes=590,
    ),
    Row(
        name="gone back and left in peace",
        why="the bad revision is blocked under this very spec: it is not tried again",
        given=given(WHOLE, wanted="B", records="AB", blocked={"B": "now"}, memory={"blockedRevision": B}),
        wakes=590,
    ),
    Row(
        name="a block under another spec does not count",
        why="somebody changed the settings: that is the way to say try again",
        given=given(WHOLE, wanted="B", records="AB", blocked={"B": "another-digest"}),
        write_ahead=True,
        memory={"target": B},
    ),
    Row(
        name="a refused template leaves the good one in peace for five minutes",
        why="a policy may change, so it is tried again; but not at every pass",
        given=given(WHOLE, wanted="B", verdicts=refused("B")),
        waits=("try revision B [InvalidTemplate]",),
        wakes=299,
        held=1,
    ),
    Row(
        name="a refused template is tried again after five minutes",
        why="an admission policy may have been corrected meanwhile; until the answer the target stays",
        given=given(WHOLE, wanted="B", verdicts=refused("B", age=300)),
        does=("try B [RollingOut]",),
    ),
    Row(
        name="a pass that only remembers does not forget the refusal",
        why="forgotten, the template would be tried and refused and remembered again, some hundred times a second",
        given=given(WHOLE, wanted="B", memory=roll(), verdicts=refused("B")),
        write_ahead=True,
        held=1,
        memory={"target": A},
    ),
    Row(
        name="another template under the same name changes nothing",
        why="pods of it would be taken for pods of the recorded one",
        given=given(WHOLE, wanted="B", records="AB", collide="B"),
    ),
    Row(
        name="a pin goes back by the same steps, remembered first",
        why="the target is the pinned revision, whatever the template says",
        given=given("B-0 B-1 B-2", wanted="B", records="AB", pin="A", memory={"target": "B", "stable": "B"}),
        write_ahead=True,
        memory={"target": A, "stable": B},
    ),
    Row(
        name="a pinned roll back has no deadline",
        why="a person asked for it: there is nothing to go back to from there",
        given=given("B-0 B-1 B-2", wanted="B", records="AB", pin="A", memory={"target": "A", "stable": "B", "progressed": 0, "startedAt": OVERDUE}),
        does=("create A-0 [Missing]",),
    ),
    Row(
        name="a pin forward is not blocked by the deadline",
        why="a block is for what the template asks for; the pin is a person's word",
        given=given(WHOLE + " B-0:Starting", wanted="A", records="AB", pin="B", memory=roll(startedAt=OVERDUE)),
    ),
    Row(
        name="an unknown pin holds still",
        why="the revision may have been forgotten: guessing another would be worse than staying",
        given=given(WHOLE, wanted="B", pin="web-none"),
    ),
    Row(
        name="an unknown pin on a new service makes nothing",
        why="the person asked for a revision that is not there; the template is what the pin keeps off",
        given=given("", records="", pin="web-none", memory=FIRST),
    ),
]

HIJACKED = [
    Row(
        name="without our Service no deadline runs",
        why="somebody else's stands in its place: what cannot be listed has not failed",
        given=given("A-0 A-1 A-2 B-0:Entering", wanted="B", records="AB", memory=roll(startedAt=OVERDUE), record_age=700, front=False),
        does=("create front [Missing]",),
    ),
]

PAUSED = [
    Row(
        name="paused: a new template is only remembered",
        why="that it is paused is part of the memory, since the deadline starts anew afterwards",
        given=given(WHOLE, wanted="B", paused=True),
        write_ahead=True,
        memory={"target": B, "paused": True},
    ),
    Row(
        name="paused: nothing is tried and nothing made of it",
        why="frozen means frozen, and a deadline must not run out in a pause",
        given=given(WHOLE, wanted="B", paused=True, memory=roll(paused=True, startedAt=OVERDUE)),
    ),
    Row(
        name="paused: repair goes to what served",
        why="a pause freezes the rollout, not the care for the instances",
        given=given("A-0 A-1", wanted="B", paused=True, memory=roll(paused=True)),
        does=("create A-2 [Missing]",),
    ),
    Row(
        name="paused: scaling goes to what served",
        why="the new one has not proved itself, so that more of it would be no pause",
        given=given("A-0 A-1 B-0", wanted="B", records="AB", replicas=4, paused=True, memory=roll(1, paused=True)),
        does=("create A-2 [Missing]",),
    ),
    Row(
        name="paused: the surge settles to the number",
        why="the mix is three in all with the one that is there; the fourth was only the step",
        given=given(WHOLE + " B-0", wanted="B", records="AB", paused=True, memory=roll(1, paused=True)),
        does=("leave A-2 [Superseded]",),
    ),
    Row(
        name="resumed: the deadline starts anew, remembered first",
        why="the time of the pause is nobody's failure",
        given=given(WHOLE + " B-0:Starting", wanted="B", records="AB", memory=roll(paused=True, startedAt=OVERDUE)),
        write_ahead=True,
        memory={"paused": False, "target": B},
    ),
]

MEMORY = [
    Row(
        name="memory lost: a revision that alone fills the service is stable",
        why="it has proved itself in front of our eyes",
        given=given(WHOLE, memory=LOST),
        write_ahead=True,
        memory={"target": A, "stable": A},
    ),
    Row(
        name="memory lost in mid-roll: what served before the newest is stable",
        why="the record of B says that A served before it",
        given=given("A-0 A-1 B-0", wanted="B", records="AB", before={"B": "A"}, memory=LOST),
        write_ahead=True,
        memory={"target": B, "stable": A, "progressed": 1},
    ),
    Row(
        name="memory lost and the record of the former gone",
        why="a revision that is not recorded cannot be gone back to, so none is named",
        given=given("B-0:Starting", wanted="B", records="B", before={"B": "A"}, memory=LOST),
        write_ahead=True,
        memory={"target": B, "stable": ""},
    ),
    Row(
        name="memory lost with a blocked revision",
        why="the block stands on the record, not in the status, so that the bad one is not tried again",
        given=given(WHOLE, wanted="B", records="AB", before={"B": "A"}, blocked={"B": "now"}, memory=LOST),
        write_ahead=True,
        memory={"target": A, "stable": A, "blocked_revision": B},
    ),
    Row(
        name="memory lost and nothing runs holds the only revision there ever was",
        why="else a bad image that comes next would have nothing to go back to",
        given=given("", memory=LOST),
        write_ahead=True,
        memory={"target": A, "stable": A},
    ),
    Row(
        name="the stable revision was deleted by hand",
        why="what is not recorded cannot be made again: the memory says so before anything else",
        given=given("B-0", wanted="B", records="B", memory=roll()),
        write_ahead=True,
        memory={"target": B, "stable": ""},
    ),
]


@table([*PROVISION, *ROLLING, *BACK, *HIJACKED, *PAUSED, *MEMORY])
def test_rollouts(row: Row):
    row.check()


def test_a_row_that_is_wrong_fails_with_its_reason():
    row = Row(name="x", why="this sentence is what a person reads", given=given(WHOLE), does=("create A-9 [Missing]",))
    with pytest.raises(AssertionError, match="what a person reads"):
        row.check()
