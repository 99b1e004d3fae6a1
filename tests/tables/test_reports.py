# SPDX-License-Identifier: Apache-2.0
"""What is told: phase, summary, conditions, history and Events of a pass."""

from dataclasses import replace

import msgspec
from tables.harness import Told, table
from tables.world import NOW, at, given, in_the_way, refused, revision

from drover_controllers.service.decide import decide
from drover_controllers.service.report import report
from drover_operator.core.plan import Verdict

WHOLE = "A-0 A-1 A-2"
A, B = revision("A"), revision("B")
FIRST = {"target": "A", "stable": "", "progressed": 0, "settledReplicas": -1}
LOST = {"target": "", "stable": "", "progressed": 0, "settledReplicas": -1, "startedAt": None}
NONE = {"observedGeneration": -1}
FAILING = given("A-0:Starting A-1:Starting A-2:Starting", memory={**FIRST, "startedAt": at(NOW - 700)}, status={"phase": "Ready"})
CALM = {"Reconciling": "False Settled", "Stalled": "False Settled", "Degraded": "False Settled", "NeedsHuman": "False NotNeeded"}


def roll(progressed: int = 0, **more: object) -> dict[str, object]:
    return {"target": "B", "stable": "A", "progressed": progressed, **more}


def cond(kind: str, status: str, reason: str) -> dict[str, object]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": at(NOW - 500)}


COMING = [
    Told(
        name="the first look",
        why="a fresh object says at once that it is worked on: kstatus takes silence for done",
        given=given("", records="", memory=LOST, status=NONE),
        phase="Provision",
        summary="Provisioning",
        conditions={"Ready": "False Provisioning", "Reconciling": "True Provisioning", "Available": "False BelowMinimum", "Progressing": "True RollingOut"},
        history=("None>Provision expected specChange",),
        events=("Normal Provision",),
        fields={"ready": "0/3", "up_to_date": "0/3", "replicas": 0, "observed_generation": 2, "selector": "drover.dev/service=web"},
    ),
    Told(
        name="all have started",
        why="Ready means that all run, healthy or not: from here the wait is for health",
        given=given("A-0:Starting A-1:Starting A-2:Starting", memory=FIRST, status={"phase": "Provision"}),
        phase="Ready",
        summary="WaitingForHealth",
        conditions={"Reconciling": "True WaitingForHealth"},
        history=("Provision>Ready expected started",),
        events=("Normal Ready",),
        fields={"ready": "0/3", "up_to_date": "3/3", "replicas": 3},
    ),
    Told(
        name="serving for the first time",
        why="all wanted are in service: Run, and nothing else is true but that",
        given=given(WHOLE, memory=FIRST, status={"phase": "Ready"}),
        phase="Run",
        summary="Healthy",
        conditions={"Ready": "True Healthy", "Available": "True MinimumInService", "Progressing": "True Settled", **CALM},
        history=("Ready>Run expected converged",),
        events=("Normal Run",),
        fields={"ready": "3/3", "up_to_date": "3/3", "current_revision": A, "target_revision": A, "version": "A"},
    ),
    Told(
        name="phases in between are passed through",
        why="two looks may lie further apart than one edge: the history is a path in the table all the same",
        given=given(WHOLE, memory=FIRST, status=NONE),
        phase="Run",
        summary="Healthy",
        history=("None>Provision expected specChange", "Provision>Ready expected started", "Ready>Run expected converged"),
        events=("Normal Provision", "Normal Ready", "Normal Run"),
    ),
    Told(
        name="the same again",
        why="nothing changed, so nothing is told: no transition and no Event",
        given=given(WHOLE),
        phase="Run",
        summary="Healthy",
        conditions=CALM,
    ),
    Told(
        name="the first revision does not come up",
        why="nothing serves and nothing will without a person: Failed is the only phase that calls one",
        given=FAILING,
        phase="Failed",
        summary="ProgressDeadlineExceeded",
        conditions={
            "Ready": "False ProgressDeadlineExceeded",
            "Stalled": "True ProgressDeadlineExceeded",
            "Reconciling": "False Settled",
            "NeedsHuman": "True ProgressDeadlineExceeded",
            "Progressing": "False ProgressDeadlineExceeded",
        },
        history=("Ready>Failed unexpected unrecoverable",),
        events=("Warning Failed", "Warning ProgressDeadlineExceeded"),
    ),
    Told(
        name="it comes up after all",
        why="the loop never ended: the late instances serve, so Failed is left by its edges",
        given=given(WHOLE, memory={**FIRST, "startedAt": at(NOW - 700)}, status={"phase": "Failed"}),
        phase="Run",
        summary="Healthy",
        history=("Failed>Update expected specChange", "Update>Run expected converged"),
        events=("Normal Update", "Normal Run"),
    ),
    Told(
        name="a first template that is refused",
        why="nothing serves, and only a person can correct the field: Failed, in the server's words",
        given=given("", records="", memory=FIRST, verdicts=refused("A"), status={"phase": "Provision"}),
        phase="Failed",
        summary="InvalidTemplate",
        conditions={"Stalled": "True InvalidTemplate", "NeedsHuman": "True InvalidTemplate"},
        history=("Provision>Failed unexpected unrecoverable",),
        events=("Warning Failed", "Warning InvalidTemplate"),
    ),
    Told(
        name="a first template that a quota refuses",
        why="it is tried again by itself, so that it is neither stalled nor failed; the words stand on Reconciling",
        given=given(
            "",
            records="",
            memory={**FIRST, "startedAt": at(NOW - 7000)},
            verdicts=refused("A", reason="Forbidden", retryable=True),
            status={"phase": "Provision"},
        ),
        phase="Provision",
        summary="Refused",
        conditions={"Reconciling": "True Refused", "Stalled": "False Settled", "NeedsHuman": "False NotNeeded"},
    ),
]

CHANGING = [
    Told(
        name="an update begins",
        why="the template changed: Update, and Ready is False until it is over",
        given=given(WHOLE, wanted="B", memory=roll()),
        phase="Update",
        summary="RollingOut",
        conditions={"Ready": "False RollingOut", "Reconciling": "True RollingOut", "Available": "True MinimumInService", "Progressing": "True RollingOut"},
        history=("Run>Update expected specChange",),
        events=("Normal Update",),
        fields={"current_revision": A, "target_revision": B, "version": "A", "up_to_date": "0/3", "ready": "3/3"},
    ),
    Told(
        name="an update is over",
        why="all serve at the new revision and no other is live: that is what serves now",
        given=given("B-0 B-1 B-2", wanted="B", records="AB", memory=roll(2), status={"phase": "Update"}),
        phase="Run",
        summary="Healthy",
        conditions={"Ready": "True Healthy", **CALM},
        history=("Update>Run expected converged",),
        events=("Normal Run",),
        fields={"current_revision": B, "target_revision": B, "version": "B", "up_to_date": "3/3"},
    ),
    Told(
        name="an update is undone by its deadline",
        why="nobody asked for it: unexpected, a Warning, and the reason stays on Stalled until the spec changes",
        given=given(WHOLE + " B-0:Starting", wanted="B", records="AB", blocked={"B": "now"}, status={"phase": "Update"}),
        phase="Rollback",
        summary="RolledBack",
        conditions={"Stalled": "True RolledBack", "Ready": "False RolledBack", "Available": "True MinimumInService", "NeedsHuman": "False NotNeeded"},
        history=("Update>Rollback unexpected progressDeadline",),
        events=("Warning Rollback", "Warning RolledBack"),
    ),
    Told(
        name="undone and serving",
        why="Run, because the good revision serves; not Ready, because that is not what is declared",
        given=given(WHOLE, wanted="B", records="AB", blocked={"B": "now"}, status={"phase": "Rollback", "conditions": [cond("Stalled", "True", "RolledBack")]}),
        phase="Run",
        summary="RolledBack",
        conditions={"Ready": "False RolledBack", "Stalled": "True RolledBack", "Reconciling": "False Settled"},
        history=("Rollback>Run expected converged",),
        events=("Normal Run",),
    ),
    Told(
        name="a pin goes back",
        why="a person asked for it: expected, and no Warning",
        given=given("B-0 B-1 B-2", wanted="B", records="AB", pin="A", memory={"target": "A", "stable": "B", "progressed": 0}),
        phase="Rollback",
        summary="RollingBack",
        conditions={"Reconciling": "True RollingBack", "Stalled": "False Settled"},
        history=("Run>Rollback expected pin",),
        events=("Normal Rollback",),
    ),
    Told(
        name="a pin that names nothing",
        why="the service stays where it is and says why, in Run",
        given=given(WHOLE, pin="web-none"),
        phase="Run",
        summary="PinNotFound",
        conditions={"Stalled": "True PinNotFound", "Ready": "False PinNotFound"},
        events=("Warning PinNotFound",),
    ),
    Told(
        name="held by a pin",
        why="all is well and nothing moves, because a person said so: whoever wonders about the template reads it here",
        given=given(WHOLE, wanted="B", records="AB", pin="A"),
        phase="Run",
        summary="Healthy",
        conditions={"Progressing": "True Pinned", "Ready": "True Healthy"},
    ),
    Told(
        name="paused in an update",
        why="it is neither progressing nor stuck: Unknown is the honest answer, and the person is told what they set",
        given=given(WHOLE + " B-0", wanted="B", records="AB", paused=True, memory=roll(1, paused=True), status={"phase": "Update"}),
        phase="Update",
        summary="Paused",
        conditions={"Progressing": "Unknown Paused", "Reconciling": "True Paused", "Stalled": "False Settled"},
    ),
    Told(
        name="scaling out",
        why="Scale is a change of the number and of nothing else; more than the settled number is wanted",
        given=given(WHOLE, replicas=5, memory={"settledReplicas": 3}),
        phase="Scale",
        summary="ScalingOut",
        conditions={"Reconciling": "True ScalingOut", "Degraded": "False Settled"},
        history=("Run>Scale expected replicas",),
        events=("Normal Scale",),
        fields={"scale_direction": "Out", "ready": "3/5"},
    ),
    Told(
        name="scaling in",
        why="the surplus drains: all that are wanted serve, and yet it is not over",
        given=given("A-0 A-1 A-2:Draining@1", replicas=2, memory={"settledReplicas": 3}),
        phase="Scale",
        summary="ScalingIn",
        conditions={"Reconciling": "True ScalingIn", "Degraded": "False Settled"},
        history=("Run>Scale expected replicas",),
        events=("Normal Scale",),
        fields={"scale_direction": "In", "ready": "2/2", "replicas": 2},
    ),
    Told(
        name="a number that was reached between two looks",
        why="it is told all the same, or the history would show no cause for the number",
        given=given("A-0 A-1", replicas=2, memory={"settledReplicas": 3}),
        phase="Run",
        summary="Healthy",
        history=("Run>Scale expected replicas", "Scale>Run expected converged"),
        events=("Normal Scale", "Normal Run"),
    ),
    Told(
        name="scaled to zero",
        why="nothing runs, and that is what is wanted: healthy, by a name of its own",
        given=given("", replicas=0),
        phase="Run",
        summary="ScaledToZero",
        conditions={"Ready": "True ScaledToZero", "Available": "True MinimumInService"},
        fields={"ready": "0/0"},
    ),
]

TROUBLE = [
    Told(
        name="an instance is lost",
        why="a loss is no change of phase: Run, Degraded, under repair",
        given=given("A-0 A-1"),
        phase="Run",
        summary="InstancesMissing",
        conditions={"Degraded": "True InstancesMissing", "Ready": "False InstancesMissing", "Reconciling": "True Repairing", "Available": "False BelowMinimum"},
        events=("Warning InstancesMissing",),
    ),
    Told(
        name="an instance is lost within the budget",
        why="one may be missing by the person's own word, so that enough are Available; Degraded says that nobody wanted it",
        given=given("A-0 A-1", unavailable=1),
        phase="Run",
        summary="InstancesMissing",
        conditions={"Degraded": "True InstancesMissing", "Available": "True MinimumInService"},
        events=("Warning InstancesMissing",),
    ),
    Told(
        name="an instance is still missing",
        why="it was told when it began: an Event per pass would bury the others",
        given=given("A-0 A-1 A-2:Suspect", status={"phase": "Run", "conditions": [cond("Degraded", "True", "InstancesMissing")]}),
        phase="Run",
        summary="InstancesMissing",
        conditions={"Degraded": "True InstancesMissing"},
    ),
    Told(
        name="a replaced template that is refused",
        why="nothing was taken down: Run goes on, Stalled names the field",
        given=given(WHOLE, wanted="B", verdicts=refused("B")),
        phase="Run",
        summary="InvalidTemplate",
        conditions={"Stalled": "True InvalidTemplate", "Ready": "False InvalidTemplate", "NeedsHuman": "False NotNeeded", "Available": "True MinimumInService"},
        events=("Warning InvalidTemplate",),
    ),
    Told(
        name="another template under the same name",
        why="it cannot go on until the template is changed by a hair, and says so",
        given=given(WHOLE, wanted="B", records="AB", collide="B"),
        phase="Run",
        summary="RevisionCollision",
        conditions={"Stalled": "True RevisionCollision"},
        events=("Warning RevisionCollision",),
    ),
    Told(
        name="an object in the way",
        why="instances run and nobody finds them: that is not Ready",
        given=given(WHOLE, front=False, verdicts=in_the_way()),
        phase="Run",
        summary="NameConflict",
        conditions={"Stalled": "True NameConflict", "Ready": "False NameConflict"},
        events=("Warning NameConflict",),
    ),
    Told(
        name="a write that is refused for now",
        why="a quota may go away by itself: under way, in the server's words, and not Stalled",
        given=given("A-0 A-1", verdicts={"create pods/x": Verdict(at=NOW, reason="Forbidden", message="exceeded quota: q")}),
        phase="Run",
        summary="InstancesMissing",
        conditions={"Reconciling": "True Refused", "Stalled": "False Settled"},
        events=("Warning InstancesMissing",),
    ),
    Told(
        name="a namespace that ends",
        why="nothing can be made there any more: said once, as what it is",
        given=given("A-0 A-1", verdicts={"create pods/x": Verdict(at=NOW, reason="NamespaceTerminating", message="it is being terminated")}),
        phase="Run",
        summary="NamespaceTerminating",
        conditions={"Stalled": "True NamespaceTerminating"},
        events=("Warning NamespaceTerminating", "Warning InstancesMissing"),
    ),
    Told(
        name="memory lost",
        why="somebody cleared the status: a person should know that the rollout began anew",
        given=given(WHOLE, memory=LOST),
        phase="Run",
        summary="Healthy",
        events=("Warning MemoryLost",),
    ),
    Told(
        name="memory lost with the whole status",
        why="the way to Run is told from the start, after which the loss is told",
        given=given(WHOLE, memory=LOST, status=NONE),
        phase="Run",
        summary="Healthy",
        history=("None>Provision expected specChange", "Provision>Ready expected started", "Ready>Run expected converged"),
        events=("Normal Provision", "Normal Ready", "Normal Run", "Warning MemoryLost"),
    ),
    Told(
        name="a probe that the kubelet makes",
        why="it takes a redirect for healthy, which the person did not ask for: told on the object",
        given=given(WHOLE, healthCheck={"http": {"port": 80}}, memory={"progressed": 0}),
        phase="Update",
        summary="RollingOut",
        conditions={"ExactHealthCheck": "False KubeletProbe200to399"},
        history=("Run>Update expected specChange",),
        events=("Normal Update",),
    ),
    Told(
        name="deletion begins",
        why="Destroy comes before every other phase, with all that still drains",
        given=given(WHOLE, deleted=1),
        phase="Destroy",
        summary="Destroying",
        conditions={"Reconciling": "True Destroying"},
        history=("Run>Destroy expected deletion",),
        events=("Normal Destroy",),
    ),
    Told(
        name="deletion of what failed",
        why="Destroy is reached from Failed as well, and needs no person any more",
        given=given("A-0:Starting", memory={**FIRST, "startedAt": at(NOW - 700)}, deleted=1, status={"phase": "Failed"}),
        phase="Destroy",
        summary="Destroying",
        conditions={"NeedsHuman": "False NotNeeded", "Stalled": "False Settled"},
        history=("Failed>Destroy expected deletion",),
        events=("Normal Destroy",),
    ),
]


@table([*COMING, *CHANGING, *TROUBLE])
def test_reports(row: Told):
    row.check()


def told(facts):
    return report(facts, decide(facts)).status


def test_the_time_of_a_condition_stays_while_its_status_stays():
    facts = given(
        WHOLE,
        wanted="B",
        records="AB",
        blocked={"B": "now"},
        status={"phase": "Run", "conditions": [cond("Stalled", "True", "Other"), cond("Available", "False", "Other")]},
    )
    by = {each.type: each for each in told(facts).conditions}
    assert by["Stalled"].last_transition_time.timestamp() == NOW - 500
    assert by["Available"].last_transition_time.timestamp() == NOW, "it was False before"
    assert by["Ready"].last_transition_time.timestamp() == NOW, "it was not there before"
    assert {each.observed_generation for each in by.values()} == {2}


def test_the_words_of_the_server_reach_the_condition_and_are_cut():
    facts = given(WHOLE, wanted="B", verdicts=refused("B", message="spec.containers[0]: " + "x" * 2000))
    message = next(each.message for each in told(facts).conditions if each.type == "Stalled")
    assert message.startswith("spec.containers[0]: x")
    assert len(message) == 1024
    assert message.endswith("...")


def test_at_most_100_instances_are_listed_and_the_worst_come_first():
    names = " ".join(f"A-{slot}" for slot in range(118)) + " A-118:Failed@5 A-119:Suspect"
    status = told(given(names, replicas=120))
    assert [each.state for each in status.instances[:3]] == ["Lost", "Suspect", "InService"]
    assert (len(status.instances), status.instances_omitted) == (100, 20)
    assert sum(getattr(status.counts, field) for field in status.counts.__struct_fields__) == 120


def test_the_plan_in_the_status_is_cut_to_20_steps_and_the_history_to_20():
    old = [{"time": at(NOW - 500), "to": "Run", "from": "Scale", "cause": "expected", "trigger": "x", "revision": ""}] * 20
    status = told(given(WHOLE, replicas=60, memory={"settledReplicas": 3}, status={"phase": "Run", "history": old}))
    assert (len(status.plan), len(status.history)) == (20, 20)
    assert status.history[-1].to == "Scale"
    assert {each.state for each in status.plan} == {"Running"}


def test_what_waits_is_told_as_waiting():
    status = told(given("A-0 A-1 A-2:DrainingListed@1", replicas=2, memory={"settledReplicas": 3}))
    assert [(each.state, each.reason) for each in status.plan] == [("Waiting", "StillInDiscovery")]


def test_versions_and_weight_in_mid_roll():
    status = told(given("A-0 A-1 B-0 B-1:Starting", wanted="B", records="AB", memory=roll(1), status={"phase": "Update"}))
    assert {each.version: (each.instances, each.weight) for each in status.versions} == {"A": (2, 66), "B": (2, 33)}
    assert (status.rollout.weight.wanted, status.rollout.weight.actual) == (66, 33)


def test_a_second_report_of_the_same_facts_differs_in_nothing():
    """Else every pass would write a status."""
    facts = given("A-0 A-1:Suspect A-2", status={"phase": "Run"})
    first = told(facts)
    service = msgspec.structs.replace(facts.service, status=first)
    again = replace(facts, service=service, now=facts.now + 30)
    assert told(again) == first
