# SPDX-License-Identifier: Apache-2.0
"""What is decided about single instances: scaling, repair, drain, deletion."""

from dataclasses import replace

from tables.harness import Row, table
from tables.world import NOW, UID, at, given, in_the_way, pod_name, words

from drover_controllers.service import naming
from drover_controllers.service.decide import decide
from drover_operator.core.plan import Verdict

WHOLE = "A-0 A-1 A-2"
FIVE = "A-0 A-1 A-2 A-3 A-4"

SCALING = [
    Row(name="settled", why="nothing is sent when nothing differs, and no time is set to look again", given=given(WHOLE)),
    Row(
        name="out",
        why="the free slots from below, all at once: there is nothing to protect in adding",
        given=given(WHOLE, replicas=5, memory={"settledReplicas": 3}),
        does=("create A-3 [Missing]; create A-4 [Missing]",),
    ),
    Row(
        name="in takes the highest slots",
        why="all are alike and healthy: then the numbering stays dense",
        given=given(WHOLE, replicas=1, memory={"settledReplicas": 3}),
        does=("leave A-2 [ScaleIn]; leave A-1 [ScaleIn]",),
    ),
    Row(
        name="in takes those first that serve least",
        why="starting, then suspect, then ready, then those in service: what nobody misses goes first",
        given=given("A-0 A-1:Ready A-2:Suspect A-3:Starting A-4", replicas=2, memory={"settledReplicas": 5}),
        does=("delete A-3 [ScaleIn]; leave A-2 [ScaleIn]; delete A-1 [ScaleIn]",),
    ),
    Row(
        name="in by one takes the one that starts, though its slot is the lowest",
        why="service counts for more than the slot number",
        given=given("A-0:Starting A-1 A-2", replicas=2, memory={"settledReplicas": 3}),
        does=("delete A-0 [ScaleIn]",),
    ),
    Row(
        name="in keeps those that serve",
        why="two of four serve and two are wanted: exactly those that do not serve are too many",
        given=given("A-0:Starting A-1 A-2:Starting A-3", replicas=2, memory={"settledReplicas": 4}),
        does=("delete A-2 [ScaleIn]; delete A-0 [ScaleIn]",),
    ),
    Row(
        name="to nothing",
        why="0 is a number like any other: all are drained, none is cut off",
        given=given(WHOLE, replicas=0, memory={"settledReplicas": 3}),
        does=("leave A-2 [ScaleIn]; leave A-1 [ScaleIn]; leave A-0 [ScaleIn]",),
    ),
    Row(name="at nothing", why="0 wanted and 0 there is settled, and costs no look", given=given("", replicas=0)),
    Row(
        name="bounds hold whoever asks",
        why="the arbiter keeps the number within spec.scaling even where validation was passed by",
        given=given(WHOLE, replicas=9, scaling={"min": 1, "max": 4}, memory={"settledReplicas": 3}),
        does=("create A-3 [Missing]",),
    ),
    Row(
        name="a leaving one may stay when the number goes up again",
        why="it is healthy and warm: entering service again is one patch, a new one is a start",
        given=given("A-0 A-1 A-2:Draining@1"),
        does=("enter A-2 [EntersService]",),
    ),
    Row(
        name="one stays, and the new one takes another slot",
        why="the slot of the one that stays is filled: two instances of one slot would be two of one identity",
        given=given("A-0 A-1 A-2:Draining@1", replicas=4),
        does=("enter A-2 [EntersService]", "create A-3 [Missing]"),
    ),
    Row(
        name="as many stay as are wanted, from the lowest slot",
        why="three leave and one is wanted back: the others go on leaving",
        given=given("A-0 A-1:Draining@1 A-2:Draining@1 A-3:Draining@1", replicas=2),
        does=("enter A-1 [EntersService]",),
        waits=("drain A-2 [Settling]", "drain A-3 [Settling]"),
        wakes=1,
    ),
    Row(
        name="a leaving one that fell ill stays, too, and is waited for",
        why="it fills its slot as any sick one does; its kubelet starts it again",
        given=given("A-0 A-1 A-2:DrainingSick@1"),
    ),
    Row(
        name="a dying one cannot stay",
        why="nothing stops a deletion; its successor takes a name of its own beside it",
        given=given("A-0 A-1 A-2:Dying@1"),
        does=("create A-2' [Missing]",),
    ),
]

REPAIR = [
    Row(name="a gap is filled", why="the lost slot, not the next number", given=given("A-0 A-2"), does=("create A-1 [Missing]",)),
    Row(
        name="suspect is not dead",
        why="it may come back by itself; a second copy would be made on no evidence",
        given=given("A-0 A-1 A-2:Suspect"),
    ),
    Row(
        name="suspect and still listed is not dead either",
        why="discovery lags behind the kubelet; there is nothing to do but to wait for it",
        given=given("A-0 A-1 A-2:SuspectListed"),
    ),
    Row(
        name="a dying one is replaced beside itself",
        why="on a dead node it dies for ever: its name must not block the successor",
        given=given("A-0 A-1 A-2:DyingListed@100"),
        does=("create A-2' [Missing]",),
    ),
    Row(
        name="of two dead in one slot the newest is the predecessor",
        why="the name is made of its uid, so that a repeated create meets itself",
        given=given("A-0 A-1 A-2:Dying@200 A-2':Dying@100"),
        does=("create A-2'' [Missing]",),
    ),
    Row(
        name="failed soon after its start: the next one waits",
        why="10 s from the start of the failed one, so that a crash loop of pods costs six a minute at most",
        given=given("A-0 A-1 A-2:Failed@3"),
        waits=("create A-2' [BackOff]",),
        wakes=7,
    ),
    Row(
        name="failed after a long life: replaced at once",
        why="an eviction after hours is no crash loop",
        given=given("A-0 A-1 A-2:Failed@1000"),
        does=("create A-2' [Missing]",),
    ),
    Row(
        name="the second failure doubles the pause",
        why="20 s from the start of the last one, of which 15 are over",
        given=given("A-0 A-1 A-2:Failed@40 A-2':Failed@15"),
        waits=("create A-2'' [BackOff]",),
        wakes=5,
    ),
    Row(
        name="the third failure doubles it again",
        why="40 s from the start of the last one, of which 15 are over",
        given=given("A-0 A-1 A-2:Failed@100 A-2':Failed@60 A-2'':Failed@15"),
        waits=("create A-2''' [BackOff]",),
        wakes=25,
    ),
    Row(
        name="five failed ones are kept",
        why="they are the memory of the backoff: 10 s doubled four times are 160 s, of which 100 are over",
        given=given("A-0 A-1 A-2:Failed@900 A-2':Failed@800 A-2'':Failed@700 A-2''':Failed@400 A-2'''':Failed@100"),
        waits=("create A-2''''' [BackOff]",),
        wakes=60,
    ),
    Row(
        name="the sixth pushes out the oldest",
        why="a service that fails for a week must not leave ten thousand failed pods; with six the pause is at its longest, 300 s",
        given=given("A-0 A-1 A-2:Failed@900 A-2':Failed@800 A-2'':Failed@700 A-2''':Failed@600 A-2'''':Failed@400 A-2''''':Failed@100"),
        does=("delete A-2 [Lost]",),
        waits=("create A-2'''''' [BackOff]",),
        wakes=200,
    ),
    Row(
        name="when the slot serves its failed ones go",
        why="the slot has proved itself: the count begins anew",
        given=given("A-0 A-1 A-2:Failed@50 A-2'"),
        does=("delete A-2 [Lost]",),
    ),
    Row(
        name="while the successor starts the failed one stays",
        why="whether the slot works is not known yet: deleted now, the next failure would count as the first",
        given=given("A-0 A-1 A-2:Failed@50 A-2':Starting"),
    ),
    Row(
        name="the only instance failed: its backoff is remembered",
        why="no other instance of the revision is live, and yet it is wanted: the failed pod is the memory of the pause",
        given=given("A-0:Failed@3", replicas=1),
        waits=("create A-0' [BackOff]",),
        wakes=7,
    ),
    Row(
        name="every instance failed: all pauses are remembered",
        why="a storm that takes all of them must not restart them in a hot loop",
        given=given("A-0:Failed@3 A-1:Failed@4 A-2:Failed@5"),
        waits=("create A-0' [BackOff]", "create A-1' [BackOff]", "create A-2' [BackOff]"),
        wakes=5,
    ),
    Row(
        name="failed ones of a revision that is not wanted go",
        why="nobody will fill that slot: there is nothing to remember",
        given=given(WHOLE + " B-0:Failed@100", wanted="B", records="AB", blocked={"B": "now"}),
        does=("delete B-0 [Lost]",),
        wakes=590,
    ),
    Row(
        name="failed ones of nothing wanted go",
        why="at 0 replicas no slot will be filled",
        given=given("A-0:Failed@100", replicas=0),
        does=("delete A-0 [Lost]",),
    ),
    Row(
        name="a name that is ours with other labels is mended",
        why="somebody edited the labels, so that no cache of ours shows the pod; a second one would be too many",
        given=given("A-0 A-1", verdicts=in_the_way(f"pods/{pod_name('A-2')}", owner=UID, reason="LabelsChanged")),
        does=("restore labels of A-2 [Drift]",),
    ),
    Row(
        name="a name that is not ours is left alone",
        why="an unowned pod in the way is never overwritten; we look again every 30 s",
        given=given("A-0 A-1", verdicts=in_the_way(f"pods/{pod_name('A-2')}")),
        waits=("create A-2 [NameConflict]",),
        wakes=29,
        held=1,
    ),
    Row(
        name="a name that is not ours is looked at again",
        why="30 s are over: the other pod may be gone",
        given=given("A-0 A-1", verdicts=in_the_way(f"pods/{pod_name('A-2')}", age=30)),
        does=("create A-2 [Missing]",),
    ),
    Row(
        name="in a namespace that is being deleted nothing is made",
        why="its pods go first, and each would be tried anew under the name of a successor: 32 refusals a second were seen for three of them",
        given=given("A-0:Dying A-1:Dying", verdicts={"create pods/an-older-name": Verdict(at=NOW - 1, reason="NamespaceTerminating", message="it is")}),
        waits=tuple(f"create A-{slot} [NamespaceTerminating]" for slot in range(3)),
        wakes=29,
        held=3,
    ),
    Row(
        name="a namespace that was being deleted is tried again",
        why="30 s are over: nobody but the API server knows",
        given=given("A-0 A-1", verdicts={"create pods/an-older-name": Verdict(at=NOW - 30, reason="NamespaceTerminating", message="it is")}),
        does=("create A-2 [Missing]",),
    ),
]

TWO = {"replicas": 2, "memory": {"settledReplicas": 3}}
DRAIN = [
    Row(
        name="still in discovery",
        why="new requests may come as long as an EndpointSlice names it; an event tells when not, the deadline is the wake-up",
        given=given("A-0 A-1 A-2:DrainingListed@1", **TWO),
        waits=("drain A-2 [StillInDiscovery]",),
        wakes=29,
    ),
    Row(
        name="settling",
        why="out of discovery, but slow proxies may still send: 2 s from leaving, of which one is over",
        given=given("A-0 A-1 A-2:Draining@1", **TWO),
        waits=("drain A-2 [Settling]",),
        wakes=1,
    ),
    Row(
        name="settled: it ends",
        why="out of discovery and 2 s over: nobody misses it",
        given=given("A-0 A-1 A-2:Draining@2", **TWO),
        does=("delete A-2 [ScaleIn]",),
    ),
    Row(
        name="the deadline ends it all the same",
        why="a stuck EndpointSlice must not hold an instance for ever; the person set 30 s",
        given=given("A-0 A-1 A-2:DrainingListed@30", **TWO),
        does=("delete A-2 [ScaleIn]",),
    ),
    Row(
        name="without settle it ends as soon as it is out of discovery",
        why="restart.settle of 0 is a person's word that no proxy lags",
        given=given("A-0 A-1 A-2:Draining@0", restart={"settle": "0s"}, **TWO),
        does=("delete A-2 [ScaleIn]",),
    ),
    Row(
        name="without settle it still leaves discovery first",
        why="settle is about lagging proxies, not about those that were told nothing yet",
        given=given("A-0 A-1 A-2:DrainingListed@0", restart={"settle": "0s"}, **TWO),
        waits=("drain A-2 [StillInDiscovery]",),
        wakes=30,
    ),
    Row(
        name="the deadline cuts the settling short",
        why="the deadline is that of the whole drain: 10 s, of which 4 are over",
        given=given("A-0 A-1 A-2:Draining@4", restart={"settle": "1m", "drainTimeout": "10s"}, **TWO),
        waits=("drain A-2 [Settling]",),
        wakes=6,
    ),
    Row(
        name="no time to drain at all",
        why="drainTimeout of 0 is a person's word as well",
        given=given("A-0 A-1 A-2:DrainingListed@0", restart={"drainTimeout": "0s"}, **TWO),
        does=("delete A-2 [ScaleIn]",),
    ),
    Row(
        name="without time to drain one that serves is ended at once",
        why="taking it out of service first would cost a write that nobody waits for",
        given=given("A-0 A-1 A-2", restart={"drainTimeout": "0s"}, **TWO),
        does=("delete A-2 [ScaleIn]",),
    ),
    Row(
        name="one without a gate is in service when it is ready",
        why="it was made when nothing was drained: nobody's word is missing",
        given=given("A-0= A-1= A-2:Starting=", replicas=3),
    ),
    Row(
        name="one without a gate is ended at once, whatever time there is now",
        why="its kubelet would call it ready again after any word of ours, so that its drain would never end",
        given=given("A-0 A-1 A-2=", restart={"drainTimeout": "30s"}, **TWO),
        does=("delete A-2 [ScaleIn]",),
    ),
    Row(
        name="one without a gate that fell is suspect",
        why="a failure is one with and without a gate",
        given=given("A-0 A-1 A-2:Suspect=", **TWO),
        does=("delete A-2 [ScaleIn]",),
    ),
    Row(
        name="an old revision says that it was superseded",
        why="the reason stands in the log and in the plan: a person can tell a rollout from a scaling",
        given=given("A-0:Draining@5 B-0 B-1 B-2", wanted="B", records="AB", memory={"target": "B", "stable": "B"}),
        does=("delete A-0 [Superseded]",),
    ),
    Row(
        name="one that dies already is left to its kubelet",
        why="a second delete would cut its grace period short",
        given=given(WHOLE + " A-3:Dying@1"),
    ),
    Row(
        name="one that is ill leaves without a drain once it is out of discovery",
        why="nobody sends to it, so there is only the settling of proxies to wait for",
        given=given("A-0 A-1 A-2:DrainingSick@2", **TWO),
        does=("delete A-2 [ScaleIn]",),
    ),
    Row(
        name="one that is listed without our gate is drained as well",
        why="discovery sends to it, whatever put it there: what counts is who may still send",
        given=given("A-0 A-1 A-2:ReadyListed", **TWO),
        does=("leave A-2 [ScaleIn]",),
    ),
    Row(
        name="one that entered but is not listed yet is drained as well",
        why="its Ready condition is True: discovery may list it at any moment",
        given=given("A-0 A-1 A-2:Entering", **TWO),
        does=("leave A-2 [ScaleIn]",),
    ),
]

DELETION = [
    Row(
        name="deletion drains first",
        why="a deletion is no reason to cut off requests, and no budget holds it up",
        given=given(WHOLE, deleted=1),
        does=("leave A-0 [Destroying]; leave A-1 [Destroying]; leave A-2 [Destroying]",),
    ),
    Row(
        name="deletion ends at once what does not serve",
        why="nobody can be served by it",
        given=given("A-0:Starting A-1:Failed A-2", deleted=1),
        does=("delete A-0 [Destroying]; leave A-2 [Destroying]; delete A-1 [Destroying]",),
    ),
    Row(
        name="deletion waits for the drain",
        why="the same rules as for a single instance: 2 s to settle",
        given=given("A-0:Draining@1 A-1:Draining@5", deleted=6),
        does=("delete A-1 [Destroying]",),
        waits=("drain A-0 [Settling]",),
        wakes=1,
    ),
    Row(
        name="deletion makes nothing and restores nothing",
        why="the front and the budget go by their owner reference",
        given=given("A-0 A-1:Draining@1!", deleted=1, front=False, budget=False),
        does=("leave A-0 [Destroying]",),
        waits=("drain A-1 [Settling]",),
        wakes=1,
    ),
    Row(
        name="deletion waits for what dies",
        why="the finalizer goes last, so that nothing is left behind that nobody looks after",
        given=given("A-0:Dying@20", deleted=30),
        waits=("end A-0 [Destroying]",),
        wakes=40,
    ),
    Row(
        name="a dead node does not hold a deletion for ever",
        why="a minute after the grace period the kubelet has had its time; the garbage collector has the rest",
        given=given("A-0:Dying@60", deleted=90),
        does=("finalizer off [Destroying]",),
    ),
    Row(
        name="the patience is that of the slowest",
        why="one node is dead, on the other an instance dies in order: that one is waited for",
        given=given("A-0:Dying@61 A-1:Dying@50", deleted=90),
        waits=("end A-1 [Destroying]",),
        wakes=10,
    ),
    Row(
        name="the finalizer goes last",
        why="no instance is left: this write ends the object",
        given=given("", deleted=10),
        does=("finalizer off [Destroying]",),
    ),
    Row(
        name="nothing is done for others' finalizers",
        why="ours is off already: who else holds the object must let it go",
        given=given("", deleted=10, finalizers=("other.dev/keep",)),
    ),
    Row(
        name="a paused service can be deleted",
        why="a pause freezes the rollout, not a person's wish to end it",
        given=given("A-0", replicas=1, paused=True, deleted=1),
        does=("leave A-0 [Destroying]",),
    ),
]


@table([*SCALING, *REPAIR, *DRAIN, *DELETION])
def test_instances(row: Row):
    row.check()


def test_only_our_finalizer_is_taken_off():
    facts = given("", deleted=10, finalizers=("other.dev/keep", naming.FINALIZER))
    (action,) = decide(facts).actions
    assert action.body["metadata"]["finalizers"] == ["other.dev/keep"]


def test_times_of_leaving_are_rounded_up_and_of_entering_down():
    """A settle of 2 s must never be 1.1 s because the wire has whole seconds."""
    leaving = decide(replace(given("A-0 A-1", replicas=1, memory={"settledReplicas": 2}), now=NOW + 0.7)).actions[0]
    entering = decide(replace(given("A-0:Ready", replicas=1), now=NOW + 0.7)).actions[0]
    assert {c["lastTransitionTime"] for c in leaving.body["status"]["conditions"]} == {at(NOW + 1)}
    assert {c["lastTransitionTime"] for c in entering.body["status"]["conditions"]} == {at(NOW)}


def test_the_predecessor_is_told_by_names_where_times_are_equal():
    """Times have whole seconds: taken for the newest, the older one would give a name that is there, for ever on a dead node."""
    for slot in range(40):
        others = " ".join(f"A-{each}" for each in range(40) if each != slot)
        facts = given(f"A-{slot}:Dying@100 A-{slot}':Dying@100 {others}", replicas=40)
        assert words(facts, decide(facts))[0] == [[f"create A-{slot}'' [Missing]"]]
