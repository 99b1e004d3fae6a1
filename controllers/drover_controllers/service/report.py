# SPDX-License-Identifier: Apache-2.0
"""What is told about a service: status, conditions, history and Events, from the same values that the plan was made of.

All of it is derived; nothing but the Memory is ever read back. The phase comes last and is for people.
"""

from typing import Literal

import msgspec

from drover_controllers.service import naming, sidecar
from drover_controllers.service.build import identity_of
from drover_controllers.service.lifecycle import failed, path, phase, stuck
from drover_controllers.service.rollout import gates
from drover_controllers.service.rollout.bluegreen import serving
from drover_controllers.service.rollout.holds import STALLING
from drover_controllers.service.rollout.steps import holds
from drover_controllers.service.values import Facts, Instance, Place, ServicePlan
from drover_operator.api.managedservice import (
    Counts,
    InstanceStatus,
    ManagedServiceStatus,
    Phase,
    PlanStep,
    Transition,
    VersionStatus,
    Weight,
)
from drover_operator.api.meta import Condition, utc
from drover_operator.core.conditions import renewed
from drover_operator.core.reasons import MEANING, Reason
from drover_operator.runtime.registry import Notice, Report

INSTANCES, STEPS, TRANSITIONS, VERSIONS = 100, 20, 20, 20
REASON = 253  # characters; what others write has no bound
WORST_FIRST = ("Lost", "Suspect", "Parked", "Starting", "Ready", "Draining", "InService")
NEWS: dict[Phase, str] = {
    "Provision": "creating the first instances",
    "Ready": "instances have started",
    "Run": "serving",
    "Update": "rolling out",
    "Rollback": "going back",
    "Scale": "scaling",
    "Destroy": "draining and ending all instances",
    "Failed": "cannot go on without a person",
}


def report(facts: Facts, plan: ServicePlan) -> Report:
    """The whole status, and Events for what changed."""
    old = facts.service.status
    now = utc(facts.now)
    target_phase = phase(facts, plan)
    was = _before(old, target_phase)
    way = path(was, target_phase) or _quick_scale(old, plan, target_phase)
    reached = way[-1] if way else (was or target_phase)
    transitions = tuple(_transition(facts, plan, before, after) for before, after in zip((was, *way), way, strict=False))
    conditions = renewed(old.conditions, _conditions(facts, plan, reached), facts.now, facts.service.metadata.generation)
    stable = facts.revisions.get(plan.memory.stable or plan.course.target)
    live = [each for each in plan.roster if each.live]
    up_to_date = sum(1 for each in live if each.revision == plan.course.target)
    in_service = _in_service(facts, plan)
    status = ManagedServiceStatus(
        phase=reached,
        phase_since=now if way else old.phase_since or now,
        scale_direction=_direction(plan) if reached == "Scale" else None,
        observed_generation=facts.service.metadata.generation,
        current_revision=plan.memory.stable,
        target_revision=plan.course.target,
        version=stable.version if stable else facts.wanted.version,
        replicas=len(live),
        selector=f"{naming.SERVICE_LABEL}={facts.service.metadata.name}",
        ready=f"{in_service}/{plan.demand.replicas}",
        up_to_date=f"{up_to_date}/{plan.demand.replicas}",
        summary=_summary(conditions),
        step=f"{plan.at.number}/{plan.at.of}" if plan.at is not None else None,
        counts=_counts(plan),
        versions=_versions(facts, plan),
        instances=_instances(facts, plan),
        instances_omitted=max(0, len(plan.roster) - INSTANCES),
        rollout=msgspec.structs.replace(plan.memory, weight=_weight(facts, plan, in_service)),
        plan=_steps(plan),
        history=(*old.history, *transitions)[-TRANSITIONS:],
        conditions=conditions,
    )
    lost = (Notice(reason=Reason.MEMORY_LOST, action="Remember", note=MEANING[Reason.MEMORY_LOST].what, type="Warning"),) if plan.course.memory_lost else ()
    return Report(
        before=old if old.observed_generation > 0 else None,
        status=status,
        urgent=bool(way) or _told(old.conditions) != _told(conditions),
        last=bool(way) and reached == "Destroy",
        notices=(*(_notice(plan, each) for each in transitions), *lost, *_troubles(old, conditions)),
    )


def _before(old: ManagedServiceStatus, now: Phase) -> Phase | None:
    """The phase to go on from. Nothing leads out of Destroy: where nothing is deleted somebody wrote that by hand, and the story begins anew."""
    return None if old.phase == "Destroy" and now != "Destroy" else old.phase


def _quick_scale(old: ManagedServiceStatus, plan: ServicePlan, now: Phase) -> tuple[Phase, ...]:
    """A change of the replica number that was reached between two writes of the status is told all the same."""
    before, after = old.rollout.settled_replicas, plan.memory.settled_replicas
    return ("Scale", "Run") if old.phase == now == "Run" and before not in (-1, after) else ()


def _transition(facts: Facts, plan: ServicePlan, before: Phase | None, after: Phase) -> Transition:
    by_fault = after == "Failed" or (after == "Rollback" and plan.course.problem is Reason.ROLLED_BACK)
    triggers: dict[Phase, str] = {
        "Provision": "specChange",
        "Ready": "started",
        "Run": "converged",
        "Update": "specChange",
        "Rollback": _fault(facts) if by_fault else "abort" if plan.course.problem is Reason.ABORTED else "pin",
        "Scale": "replicas",
        "Destroy": "deletion",
        "Failed": "unrecoverable",
    }
    return Transition(
        time=utc(facts.now),
        source=before,
        to=after,
        cause="unexpected" if by_fault else "expected",
        trigger=triggers[after],
        revision=plan.course.target,
    )


def _fault(facts: Facts) -> str:
    """What took the wanted revision back."""
    recorded = facts.revisions.get(facts.wanted.name)
    return "gate" if recorded is not None and recorded.blocked_for else "progressDeadline"


def _notice(plan: ServicePlan, change: Transition) -> Notice:
    bad = change.cause == "unexpected"
    note = f"{change.source or 'new'} -> {change.to}: {NEWS[change.to]} ({change.trigger}, revision {change.revision})"
    detail = f": {plan.course.message}" if bad and plan.course.message else ""
    return Notice(reason=change.to, action="ChangePhase", note=note + detail, type="Warning" if bad else "Normal")


def _troubles(old: ManagedServiceStatus, new: tuple[Condition, ...]) -> tuple[Notice, ...]:
    """An Event when the service becomes stalled or degraded, with the words of the condition."""
    before = {each.type: each for each in old.conditions}
    return tuple(
        Notice(reason=each.reason, action="Observe", note=each.message or each.reason, type="Warning")
        for each in new
        if each.type in ("Stalled", "Degraded")
        and each.status == "True"
        and (each.type not in before or before[each.type].reason != each.reason or before[each.type].status != "True")
    )


def _conditions(facts: Facts, plan: ServicePlan, reached: Phase) -> list[Condition]:
    stalled, trouble = _stalled(facts, plan)
    reconciling, going = _reconciling(facts, plan, reached)
    in_service = _in_service(facts, plan)
    enough = in_service >= plan.demand.fewest
    degraded = reached in ("Run", "Scale") and in_service < min(plan.demand.replicas, plan.memory.settled_replicas)
    healthy = Reason.HEALTHY if plan.demand.replicas else Reason.SCALED_TO_ZERO
    ready = stalled is None and reconciling is None and not degraded
    needed = reached == "Failed" or stuck(facts, plan)
    told = [
        _condition("Ready", ready, healthy if ready else stalled or (Reason.INSTANCES_MISSING if degraded else reconciling) or Reason.REPAIRING, trouble),
        _condition("Reconciling", reconciling is not None and stalled is None, reconciling or Reason.SETTLED, going),
        _condition("Stalled", stalled is not None, stalled or Reason.SETTLED, trouble),
        _condition(
            "Available", enough, Reason.MINIMUM_IN_SERVICE if enough else Reason.BELOW_MINIMUM, f"{in_service} of at least {plan.demand.fewest} in service"
        ),
        _progressing(facts, plan, stalled),
        _condition(
            "Degraded",
            degraded,
            Reason.INSTANCES_MISSING if degraded else Reason.SETTLED,
            f"{in_service} of {plan.demand.replicas} in service" if degraded else "",
        ),
        _condition("NeedsHuman", needed, (stalled or Reason.PROGRESS_DEADLINE_EXCEEDED) if needed else Reason.NOT_NEEDED, trouble),
    ]
    return told + _exact(facts, plan)


def _in_service(facts: Facts, plan: ServicePlan) -> int:
    """How many instances get requests: where the Service shows one colour, those of it."""
    return serving(facts.bound, plan.population)


def _exact(facts: Facts, plan: ServicePlan) -> list[Condition]:
    """Whether HTTP is judged by 200 alone: by the pods of the revision that is wanted, since each is built as it was recorded."""
    check = facts.service.spec.health_check
    if check is None or check.http is None:
        return []
    wanted = facts.revisions.get(plan.course.target) or facts.wanted
    if sidecar.probes(wanted):
        return [_condition("ExactHealthCheck", True, Reason.AGENT_PROBES)]
    return [_condition("ExactHealthCheck", False, Reason.KUBELET_PROBE, MEANING[Reason.KUBELET_PROBE].what)]


def _condition(kind: str, status: object, reason: str, message: str = "") -> Condition:
    """True by the truth of `status`."""
    return Condition(type=kind, status="True" if status else "False", reason=reason, message=message)


def _progressing(facts: Facts, plan: ServicePlan, stalled: Reason | None) -> Condition:
    if plan.course.hold is not None:
        return Condition(type="Progressing", status="Unknown", reason=plan.course.hold.reason, message=plan.course.hold.message)
    if stalled is not None:
        return _condition("Progressing", False, stalled)
    if not plan.whole:
        return _condition("Progressing", True, Reason.ROLLING_OUT)
    return _condition("Progressing", True, Reason.PINNED if facts.service.spec.pin is not None else Reason.SETTLED)


def _stalled(facts: Facts, plan: ServicePlan) -> tuple[Reason | None, str]:
    """What keeps the wanted state from being reached until something is changed, in the words that name it."""
    if facts.service.metadata.deletion_timestamp is not None:
        return None, ""  # what was wanted is not wanted any more
    if stuck(facts, plan):
        return _stuck(facts, plan)
    if plan.course.problem is not None:
        return plan.course.problem, plan.course.message
    return _in_the_way(facts, plan) or (_hopeless(facts, plan) if failed(facts, plan) else (None, ""))


def _in_the_way(facts: Facts, plan: ServicePlan) -> tuple[Reason, str] | None:
    """What of others keeps the service from going on: an object, a window that never opens, a route."""
    for verdict in facts.verdicts.values():
        if verdict.reason in (Reason.NAME_CONFLICT, Reason.NAMESPACE_TERMINATING):
            return Reason(verdict.reason), verdict.message
    if plan.course.hold is not None and plan.course.hold.reason in STALLING:
        return plan.course.hold.reason, plan.course.hold.message
    return plan.trouble if not plan.whole else None


def _stuck(facts: Facts, plan: ServicePlan) -> tuple[Reason, str]:
    """Why the way back, or to a pin, does not end."""
    deadline, name = facts.service.spec.rollout.progress_deadline, plan.course.target
    if (check := gates.failed(plan.memory, name)) is not None:
        return Reason.GATE_FAILED, f"revision '{name}', which spec.pin names, failed the gate '{check.gate}': {check.message}"
    why = f"; {plan.course.message.partition('; ')[0]}" if plan.course.message else ""
    return Reason.PROGRESS_DEADLINE_EXCEEDED, f"revision '{name}', which the service is to go to, made no progress in {deadline}{why}"


def _hopeless(facts: Facts, plan: ServicePlan) -> tuple[Reason, str]:
    """Why the first revision of all cannot serve."""
    if (check := gates.failed(plan.memory, plan.course.target)) is not None:
        return Reason.GATE_FAILED, f"revision '{plan.course.target}' failed the gate '{check.gate}': {check.message}; there is none to go back to"
    deadline = facts.service.spec.rollout.progress_deadline
    return Reason.PROGRESS_DEADLINE_EXCEEDED, f"revision '{plan.course.target}' made no progress in {deadline}, and there is none to go back to"


def _reconciling(facts: Facts, plan: ServicePlan, reached: Phase) -> tuple[Reason | None, str]:
    """What is under way, and in whose words it is held up."""
    refused = next((v.message for v in facts.verdicts.values() if v.refused), "")
    doing: dict[Phase, Reason] = {
        "Provision": Reason.PROVISIONING,
        "Ready": Reason.WAITING_FOR_HEALTH,
        "Update": Reason.ROLLING_OUT,
        "Rollback": Reason.ROLLING_BACK,
        "Scale": Reason.SCALING_OUT if _direction(plan) == "Out" else Reason.SCALING_IN,
        "Destroy": Reason.DESTROYING,
    }
    if plan.course.hold is not None and reached in ("Update", "Provision"):
        return plan.course.hold.reason, plan.course.hold.message or MEANING[plan.course.hold.reason].what
    if refused:
        return Reason.REFUSED, refused
    if plan.at is not None and (reached == "Update" or plan.memory.reached_at is not None):
        return _stepping(facts, plan, plan.at)
    if reached in doing:
        return doing[reached], MEANING[doing[reached]].what
    whole = plan.whole
    return (None, "") if whole or reached == "Failed" else (Reason.REPAIRING, MEANING[Reason.REPAIRING].what)


def _stepping(facts: Facts, plan: ServicePlan, at: Place) -> tuple[Reason, str]:
    """Where a rollout with steps is."""
    reason = Reason.ROLLING_OUT
    if plan.memory.reached_at is not None:
        held = holds(at, plan.memory, facts.now)
        if not gates.passed(facts, plan.memory, at) and not held:
            reason = Reason.MEASURING
        else:
            reason = Reason.HOLDING if at.step.pause is None else Reason.WAITS_FOR_PROMOTION
    return reason, f"Step {at.number} of {at.of}, {at.weight} %. {MEANING[reason].what}"


def _summary(conditions: tuple[Condition, ...]) -> str:
    """The most telling reason: what stalls, then what is missing, then what is being done, else health."""
    by = {each.type: each for each in conditions}
    for kind in ("Stalled", "Degraded", "Reconciling"):
        if by[kind].status == "True":
            return by[kind].reason
    return by["Ready"].reason


def _told(conditions: tuple[Condition, ...]) -> list[tuple[str, str, str]]:
    return [(each.type, each.status, each.reason) for each in conditions]


def _direction(plan: ServicePlan) -> Literal["Out", "In"]:
    return "Out" if plan.demand.replicas > plan.memory.settled_replicas else "In"


def _counts(plan: ServicePlan) -> Counts:
    tally = dict.fromkeys(WORST_FIRST, 0)
    for each in plan.roster:
        tally[each.state] += 1
    return Counts(
        starting=tally["Starting"],
        ready=tally["Ready"],
        in_service=tally["InService"],
        suspect=tally["Suspect"],
        draining=tally["Draining"],
        lost=tally["Lost"],
        parked=tally["Parked"],
    )


def _versions(facts: Facts, plan: ServicePlan) -> tuple[VersionStatus, ...]:
    counts = plan.population
    bound = facts.bound
    total = serving(bound, counts) or 1
    rows = [
        VersionStatus(
            revision=name,
            version=facts.revisions[name].version if name in facts.revisions else "",
            instances=each.live,
            weight=min(100, 100 * each.in_service // total) if bound in ("", name) else 0,
        )
        for name, each in counts.items()
    ]
    return tuple(rows[:VERSIONS])


def _instances(facts: Facts, plan: ServicePlan) -> tuple[InstanceStatus, ...]:
    worst = sorted(plan.roster, key=lambda each: (WORST_FIRST.index(each.state), each.name))
    return tuple(_instance(facts, each) for each in worst[:INSTANCES])


def _instance(facts: Facts, each: Instance) -> InstanceStatus:
    pod = each.pod
    revision = facts.revisions.get(each.revision)
    waiting = next((c.state.waiting.reason for c in pod.status.container_statuses if c.state.waiting is not None), "")
    return InstanceStatus(
        name=each.name,
        state=each.state,
        identity=identity_of(pod),
        node=pod.spec.node_name,
        version=revision.version if revision else "",
        revision=each.revision,
        restarts=sum(c.restart_count for c in pod.status.container_statuses),
        reason=(pod.status.reason or waiting)[:REASON],
    )


def _weight(facts: Facts, plan: ServicePlan, in_service: int) -> Weight:
    """The share of the target while it is rolled out, as a route gives it, else by the number of instances; all of it when nothing is."""
    bound, counts = facts.bound, plan.population
    mine = counts[plan.course.target].in_service if plan.course.target in counts and bound in ("", plan.course.target) else 0
    wanted = min(100, 100 * plan.targets.get(plan.course.target, 0) // max(1, plan.demand.replicas))
    actual = 100 * mine // max(1, in_service) if plan.share is None else plan.share
    return Weight(wanted=plan.at.weight if plan.at is not None else wanted, actual=min(100, actual))


def _steps(plan: ServicePlan) -> tuple[PlanStep, ...]:
    running = [PlanStep(step=each.step, state="Running", reason=each.reason) for each in plan.actions]
    waiting = [PlanStep(step=each.step, state="Waiting", reason=each.reason) for each in plan.deferred]
    return tuple((running + waiting)[:STEPS])
