# SPDX-License-Identifier: Apache-2.0
"""What is decided about objects beside the instances: our marks, the Service, the budget, the history."""

from tables.harness import Row, table
from tables.world import UID, given, in_the_way

from drover_controllers.service import naming
from drover_controllers.service.decide import decide

WHOLE = "A-0 A-1 A-2"
BUDGET = "poddisruptionbudgets/web"

MARKS = [
    Row(
        name="labels restored",
        why="a changed slot label hides the pod from people and from tools",
        given=given("A-0 A-1! A-2"),
        does=("restore labels of A-1 [Drift]",),
    ),
    Row(
        name="owner restored",
        why="without its owner the pod would outlive the service",
        given=given("A-0 A-1~ A-2"),
        does=("restore ownerReferences of A-1 [Drift]",),
    ),
    Row(
        name="both in one write",
        why="one patch a pod, or the second would be refused for its version",
        given=given("A-0 A-1~! A-2"),
        does=("restore labels+ownerReferences of A-1 [Drift]",),
    ),
    Row(
        name="marks of a dying pod stay as they are",
        why="nobody will use them any more",
        given=given(WHOLE + " A-3:Dying@1!"),
    ),
    Row(
        name="marks of a leaving pod are restored",
        why="it is still ours to drain and to end",
        given=given("A-0 A-1 A-2:Draining@1!", replicas=2, memory={"settledReplicas": 3}),
        does=("restore labels of A-2 [Drift]",),
        waits=("drain A-2 [Settling]",),
        wakes=1,
    ),
    Row(
        name="a lost finalizer comes back before anything else",
        why="somebody removed it: from now on a deletion would not drain",
        given=given("A-0 A-1", finalizers=("other.dev/keep",)),
        does=("finalizer on [Provisioning]", "create A-2 [Missing]"),
    ),
]

OBJECTS = [
    Row(name="a missing Service is made", why="somebody deleted it: clients find nobody", given=given(WHOLE, front=False), does=("create front [Missing]",)),
    Row(
        name="a missing budget is made", why="without it a node drain may take all at once", given=given(WHOLE, budget=False), does=("create budget [Missing]",)
    ),
    Row(name="no ports, no Service", why="an empty Service would be refused by the API server", given=given(WHOLE, ports=[], front=False)),
    Row(
        name="a changed selector is restored",
        why="requests would go to somebody else's pods",
        given=given(WHOLE, front={"spec": {"selector": {"app": "evil"}}}),
        does=("restore front [Drift]",),
    ),
    Row(
        name="changed ports are restored",
        why="the ports are declared on the ManagedService, nowhere else",
        given=given(WHOLE, front={"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 80, "protocol": "TCP"}]}}),
        does=("restore front [Drift]",),
    ),
    Row(
        name="fields of a Service that are not ours are left alone",
        why="the API server fills in clusterIP and more; only our fields are compared",
        given=given(WHOLE, front={"spec": {"clusterIP": "10.0.0.1"}, "metadata": {"annotations": {"who": "else"}}}),
    ),
    Row(
        name="labels of the ManagedService are on the Service",
        why="people select Services by them, as monitoring does",
        given=given(WHOLE, labels={"team": "shop"}, front={"metadata": {"labels": {naming.SERVICE_LABEL: "web", naming.MANAGED_BY_LABEL: naming.MANAGED_BY}}}),
        does=("restore front [Drift]",),
    ),
    Row(
        name="a Service that lost its owner gets it back",
        why="else it would stay behind when the service is deleted",
        given=given(WHOLE, front={"metadata": {"ownerReferences": []}}),
        does=("restore front [Drift]",),
    ),
    Row(
        name="a changed budget is restored",
        why="0 would block node drains, 100 % would allow an outage",
        given=given(WHOLE, budget={"spec": {"maxUnavailable": "100%"}}),
        does=("restore budget [Drift]",),
    ),
    Row(
        name="criticality changes the budget in place",
        why="Vital allows one eviction at a time; no pod is touched for it",
        given=given(WHOLE, criticality="Vital", budget={"spec": {"maxUnavailable": "25%"}}),
        does=("restore budget [Drift]",),
    ),
]

CONFLICTS = [
    Row(
        name="a Service of somebody else is left alone",
        why="an unowned object in the way is never overwritten; it is looked at every 30 s",
        given=given(WHOLE, front=False, verdicts=in_the_way()),
        waits=("create Service web [NameConflict]",),
        wakes=29,
        held=1,
    ),
    Row(
        name="after half a minute the name is tried again",
        why="the other one may be gone, and no event tells: it carries no label of ours",
        given=given(WHOLE, front=False, verdicts=in_the_way(age=30)),
        does=("create front [Missing]",),
    ),
    Row(
        name="a Service is adopted when all instances are ready",
        why="adopt is set, nobody controls it, and those who come after can serve",
        given=given(WHOLE, front=False, adopt=True, verdicts=in_the_way()),
        does=("adopt front [Drift]",),
    ),
    Row(
        name="a Service is not adopted before",
        why="its present pods serve: turned round now, it would send requests to those that start",
        given=given("A-0 A-1 A-2:Starting", front=False, adopt=True, verdicts=in_the_way()),
        waits=("create Service web [WaitingForHealth]",),
        wakes=29,
        held=1,
    ),
    Row(
        name="what another controls is never adopted",
        why="two controllers would fight over it",
        given=given(WHOLE, front=False, adopt=True, verdicts=in_the_way(owner="uid-of-another")),
        waits=("create Service web [NameConflict]",),
        wakes=29,
        held=1,
    ),
    Row(
        name="what is ours without labels is taken back without asking",
        why="its owner is this very service: only the label was removed, so that no cache shows it",
        given=given(WHOLE, front=False, verdicts=in_the_way(owner=UID)),
        does=("adopt front [Drift]",),
    ),
    Row(
        name="a budget is adopted when all instances are ready",
        why="those whom it guarded are no longer needed",
        given=given(WHOLE, budget=False, adopt=True, verdicts=in_the_way(BUDGET)),
        does=("adopt budget [Drift]",),
    ),
    Row(
        name="a budget is not adopted before",
        why="it guards those who serve now: taken away from them, one drained node could end them all",
        given=given("A-0 A-1 A-2:Starting", budget=False, adopt=True, verdicts=in_the_way(BUDGET)),
        waits=("create PodDisruptionBudget web [WaitingForHealth]",),
        wakes=29,
        held=1,
    ),
    Row(
        name="a budget in the way is left alone without adopt",
        why="the rule is the same for every object",
        given=given(WHOLE, budget=False, verdicts=in_the_way(BUDGET)),
        waits=("create PodDisruptionBudget web [NameConflict]",),
        wakes=29,
        held=1,
    ),
    Row(
        name="a conflict holds up nothing else",
        why="instances are still repaired: the Service is only how they are found",
        given=given("A-0 A-1", front=False, verdicts=in_the_way()),
        does=("create A-2 [Missing]",),
        waits=("create Service web [NameConflict]",),
        wakes=29,
        held=1,
    ),
]

AT_F = {"target": "F", "stable": "F"}
HISTORY = [
    Row(
        name="the oldest go beyond the limit",
        why="two old ones are kept beside the one in use, the newest of them",
        given=given("F-0 F-1 F-2", wanted="F", records="ABCDEF", revisionHistoryLimit=2, memory=AT_F),
        does=("forget A [HistoryLimit]; forget B [HistoryLimit]; forget C [HistoryLimit]",),
    ),
    Row(
        name="within the limit all stay",
        why="a person may want to go back to any of them",
        given=given("F-0 F-1 F-2", wanted="F", records="ABCDEF", revisionHistoryLimit=5, memory=AT_F),
    ),
    Row(
        name="the stable one stays however old",
        why="it is what the service goes back to in the middle of this very rollout",
        given=given("A-0 A-1 A-2 F-0:Starting", wanted="F", records="ABCDEF", revisionHistoryLimit=1, memory={"target": "F", "stable": "A", "progressed": 0}),
        does=("forget B [HistoryLimit]; forget C [HistoryLimit]; forget D [HistoryLimit]",),
        wakes=590,
    ),
    Row(
        name="the pinned one stays however old",
        why="the pin names it: forgotten, the service could not stay there",
        given=given(WHOLE, wanted="D", records="ABCD", revisionHistoryLimit=1, pin="A"),
        does=("forget B [HistoryLimit]",),
    ),
    Row(
        name="the wanted one stays while it is blocked",
        why="the block is written on it: forgotten, the bad revision would be tried again",
        given=given("B-0 B-1 B-2", wanted="A", records="ABCD", blocked={"A": "now"}, revisionHistoryLimit=1, memory={"target": "B", "stable": "B"}),
        does=("forget C [HistoryLimit]",),
        wakes=590,
    ),
    Row(
        name="one that still has an instance stays",
        why="a draining instance is told with its version until it is gone",
        given=given("F-0 F-1 F-2 A-0:Draining@1", wanted="F", records="ABCDEF", revisionHistoryLimit=3, memory=AT_F),
        does=("forget B [HistoryLimit]",),
        waits=("drain A-0 [Settling]",),
        wakes=1,
    ),
]


@table([*MARKS, *OBJECTS, *CONFLICTS, *HISTORY])
def test_ownership(row: Row):
    row.check()


def test_a_restored_selector_keeps_nothing_of_the_other():
    """A merge patch adds: keys that are not ours must be named to go."""
    (action,) = decide(given(WHOLE, front={"spec": {"selector": {"app": "evil"}}})).actions
    assert action.body == {"spec": {"selector": {"app": None, "drover.dev/service": "web"}}}


def test_restoring_writes_exactly_what_was_seen():
    for mark in ("A-1!", "A-1~", "A-1!~"):
        (action,) = decide(given(f"A-0 {mark} A-2")).actions
        assert (action.uid, action.version) == ("uid-A-1", "5")
