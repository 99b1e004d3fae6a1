# SPDX-License-Identifier: Apache-2.0
"""Where the service is going: which revision is the target, which one to fall back to, and when a target is given up."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from drover_controllers.service import build
from drover_controllers.service.drain import gated
from drover_controllers.service.naming import GATE, place_of
from drover_controllers.service.rollout import gates, traffic
from drover_controllers.service.rollout.holds import hold
from drover_controllers.service.rollout.steps import held_until, place, steps_for, steps_of
from drover_controllers.service.values import Course, Demand, Facts, Memory, Population, Revision
from drover_operator.api.builtin import Pod
from drover_operator.api.meta import seconds_of, utc
from drover_operator.core.clock import parse_duration
from drover_operator.core.reasons import Reason

NOBODY = Population()


def remembered(facts: Facts, population: Mapping[str, Population]) -> tuple[Memory, bool]:
    """What the status remembers; when that is lost, what the revisions and the instances show. The flag says that it was lost.

    A revision that is alone and serves has proved itself, even if instances of it are missing just now; else the one that served before
    the newest one counts as stable. Where no instance is left that could show anything, the only revision there ever was is held.
    """
    memory = facts.service.status.rollout
    if memory.target or not facts.revisions:
        return memory, False
    alone = [name for name, each in population.items() if each.in_service and len(population) == 1]
    shown = [each for each in facts.revisions.values() if each.name in population or not population]
    newest = max(shown, key=lambda r: r.number, default=None)
    before = newest.stable_before if newest is not None and newest.stable_before in facts.revisions else ""
    only = newest.name if newest is not None and not population else ""
    return msgspec.structs.replace(memory, stable=alone[0] if alone else before or only), True


def course(facts: Facts, memory: Memory, *, memory_lost: bool = False) -> Course:
    """Target, stable revision and kind of movement."""
    stable = memory.stable if memory.stable in facts.revisions else ""
    target, problem, message = _target(facts, stable)
    back = target == stable and problem in (Reason.ROLLED_BACK, Reason.ABORTED)
    pinned = facts.service.spec.pin is not None and _older(facts, target, stable)
    forward = bool(stable) and target != stable and not pinned
    return Course(
        kind="Provision" if not stable else "Steady" if target == stable and not back else "Rollback" if back or pinned else "Update",
        hold=hold(facts, memory, target, update=forward),
        target=target,
        stable=stable,
        problem=problem,
        message=message,
        memory_lost=memory_lost,
    )


def _target(facts: Facts, stable: str) -> tuple[str, Reason | None, str]:
    wanted, pin = facts.wanted, facts.service.spec.pin
    if pin is not None:
        if pin.revision in facts.revisions:
            return pin.revision, None, ""
        held = stable or wanted.name
        return held, Reason.PIN_NOT_FOUND, f"spec.pin.revision '{pin.revision}' is not recorded; the service stays at '{held}'"
    if facts.collision:
        return stable or wanted.name, Reason.REVISION_COLLISION, f"another template is recorded as '{wanted.name}'; change any label of the template"
    if refused := rejected(facts, wanted):
        return stable or wanted.name, Reason.INVALID_TEMPLATE, refused
    if stable and stable != wanted.name and (reason := _unwanted(facts)) is not None:
        return stable, reason, f"revision '{wanted.name}' {_said(facts, reason)}; '{stable}' serves"
    return wanted.name, None, ""


def _unwanted(facts: Facts) -> Reason | None:
    """Why the wanted revision is not gone on with: a person's word comes before what was seen."""
    if facts.aborted:
        return Reason.ABORTED
    return Reason.ROLLED_BACK if given_up(facts, facts.wanted.name) else None


def _said(facts: Facts, reason: Reason) -> str:
    if reason is Reason.ABORTED:
        return "was aborted by hand"
    recorded = facts.revisions.get(facts.wanted.name)
    noted = recorded.blocked_for if recorded is not None else ""
    return noted or f"made no progress in {facts.service.spec.rollout.progress_deadline}"


def rejected(facts: Facts, revision: Revision) -> str:
    """Why no pod of this revision can be had: in our words when none can be built, in the server's when it refused one; else ""."""
    if why := build.unreadable(revision.template):
        return why
    verdict = facts.verdicts.get(f"try pods/{revision.name}")
    return verdict.message if verdict is not None and verdict.refused and not verdict.retryable else ""


def given_up(facts: Facts, name: str) -> bool:
    """Whether the revision failed under the spec as it is now."""
    revision = facts.revisions.get(name)
    return revision is not None and bool(revision.blocked) and revision.blocked == facts.spec_digest


def _older(facts: Facts, target: str, stable: str) -> bool:
    known = facts.revisions
    return target in known and stable in known and known[target].number < known[stable].number


def updated(memory: Memory, way: Course, facts: Facts, demand: Demand, population: Mapping[str, Population], *, settled_now: bool, by_itself: bool) -> Memory:
    """The Memory after this look: a new target begins anew, progress only grows, a full count makes the target stable.

    `settled_now` says that exactly the wanted number is live and nothing is leaving: then the replica number counts as reached. `by_itself` says
    that no other revision is there any more: with Recreate the time of the target begins then.
    """
    paused = way.hold is not None or _unroutable(facts)
    now = utc(facts.now)
    blocked = next((r.name for r in facts.revisions.values() if r.blocked == facts.spec_digest and r.blocked), "")
    if memory.target != way.target or _pardoned(facts, memory):
        afresh: dict[str, Any] = {"step": 0, "step_at": None, "reached_at": None, "progressed": 0, "progressed_at": None}
        afresh |= {} if way.target == way.stable else {"checks": ()}  # what was taken back keeps its verdicts
        memory = msgspec.structs.replace(memory, target=way.target, begun_at=now, started_at=now, **afresh)
    elif memory.paused and not paused:
        memory = msgspec.structs.replace(memory, started_at=now, reached_at=None)  # a hold begins anew
    available = population.get(way.target, NOBODY).available
    if available > memory.progressed:
        memory = msgspec.structs.replace(memory, progressed=available, progressed_at=now)
    if demand.downtime and by_itself and memory.step_at is None:
        memory = msgspec.structs.replace(memory, step_at=now)
    steps = len(steps_of(facts.service.spec.rollout))
    memory = msgspec.structs.replace(memory, stable=way.stable, paused=paused, blocked_revision=blocked, steps=steps)
    waiting = bool(demand.replicas) and memory.step < len(steps_for(facts.service.spec.rollout, way))
    if waiting or not complete(way, demand, population):
        return memory
    settled = demand.replicas if settled_now else memory.settled_replicas
    return msgspec.structs.replace(memory, stable=way.target, progressed=demand.replicas, settled_replicas=settled)


def _pardoned(facts: Facts, memory: Memory) -> bool:
    """Whether a target that failed a gate, with nothing to go back to, is to be tried again because the spec has changed."""
    tried = facts.revisions.get(memory.target)
    return not memory.stable and tried is not None and tried.blocked not in ("", facts.spec_digest) and gates.failed(memory, memory.target) is not None


def complete(way: Course, demand: Demand, population: Mapping[str, Population]) -> bool:
    """Whether the target serves at full count and no other revision is live any more."""
    others = sum(each.live for name, each in population.items() if name != way.target)
    return population.get(way.target, NOBODY).available >= demand.replicas and others == 0


def overdue(facts: Facts, memory: Memory, way: Course) -> float | None:
    """Seconds until the target is given up; 0 or less: now. None where no deadline runs.

    While it is not recorded (a quota refuses the try, say) it has not been tried, so that it cannot have failed. An instance that
    enters service is progress, and so is one that could: that we have not seen it earlier is no fault of the revision. But not while one
    of them has failed: instances that enter and fail again and again would never be given up. A step that is reached waits for its hold, and
    then for its share to serve, or for a person; the next one has the whole time anew. With Recreate the old instances end first. Without our
    Service nobody can enter: then no time runs, and it begins anew with it. Gates have the time that their measurements take on top.
    """
    waits = memory.step_at is None and way.kind == "Update" and facts.service.spec.rollout.type == "Recreate"
    held = held_until(facts.service.spec.rollout, memory, way)
    if waits or math.isinf(held) or (facts.service.spec.ports and facts.front is None):
        return None
    if _unroutable(facts):
        return None  # the route is no fault of the revision
    tried = facts.revisions.get(way.target)
    if tried is None or way.hold is not None or way.kind == "Steady" or memory.target != way.target:
        return None
    limit = parse_duration(facts.service.spec.rollout.progress_deadline)
    if memory.reached_at is not None:
        held += gates.allowance(facts, memory, place(facts.service.spec.rollout, memory, way))
    mine = [pod for pod in facts.pods if (place_of(pod.metadata.name) or ("",))[0] == way.target]
    failing = any(pod.status.phase in ("Failed", "Succeeded") for pod in mine)
    entered = 0.0 if failing else max((_entered(pod, facts.now, limit) for pod in mine), default=0.0)
    last = max(
        seconds_of(memory.started_at), seconds_of(memory.progressed_at), seconds_of(memory.step_at), _since_front(facts), held, tried.recorded_at, entered
    )
    return last + limit - facts.now


def _unroutable(facts: Facts) -> bool:
    """Whether the route that should give the weights cannot: the rollout stands still until it can."""
    return traffic.steers(facts) and traffic.shown(facts).problem is not None


def _since_front(facts: Facts) -> float:
    return seconds_of(facts.front.metadata.creation_timestamp) if facts.front is not None else 0.0


def _entered(pod: Pod, now: float, limit: float) -> float:
    """When an instance became ready to serve, in seconds since the epoch: now, if it is about to, or if its node is silent.

    Not later than one deadline after it was made: else one that becomes ready again and again would never be given up.
    """
    if _cut_off(pod):  # when it is given up, its successor has the whole time
        return min(now, seconds_of(pod.metadata.deletion_timestamp, now))
    if pod.metadata.deletion_timestamp is not None:
        return 0.0
    gate, ready = pod.status.condition(GATE), pod.status.condition("Ready")
    if gate is None and gated(pod):
        return now if pod.status.is_true("ContainersReady") else 0.0
    if (gate is not None and gate.status != "True") or ready is None or ready.status != "True":
        return 0.0
    return min(seconds_of(ready.last_transition_time), seconds_of(pod.metadata.creation_timestamp) + limit)


def _cut_off(pod: Pod) -> bool:
    """Whether the node of an instance says nothing: it was bound and its kubelet never spoke, or it was taken for not ready behind its kubelet's back.

    Kubernetes gives such a pod up by itself, after 340 s by default; a deadline below that would blame the revision for its node.
    """
    if not pod.spec.node_name:
        return False
    ours = all(gate.condition_type == GATE for gate in pod.spec.readiness_gates)
    behind = ours and pod.status.is_true("ContainersReady") and (not gated(pod) or pod.status.is_true(GATE)) and not pod.status.is_true("Ready")
    return pod.status.start_time is None or behind
