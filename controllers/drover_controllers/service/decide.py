# SPDX-License-Identifier: Apache-2.0
"""The arbiter: one pass, one plan. The only place that sees rollout, scaling, failover and drain together, under one budget.

Order of the stages, each a legal prefix should the process end after it:
finalizer -> try the new revision -> record the revision -> leave, enter and end -> create -> tidy.
Creates come after the leaving, so that surge is never exceeded by a leave that failed. Service and disruption budget are created and
restored beside the pods, which need not wait for them: under load the API server takes a second to find an address for a Service, and
ports that it refuses it refuses for ever.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from drover_controllers.service import build, drain, naming, ownership
from drover_controllers.service.draft import Draft, Judged
from drover_controllers.service.failover.detect import population, roster
from drover_controllers.service.filling import end, fill, leave
from drover_controllers.service.rollout import gates, traffic
from drover_controllers.service.rollout.bluegreen import bluegreen, colour, selected, unmoved
from drover_controllers.service.rollout.canary import canary
from drover_controllers.service.rollout.course import course, given_up, overdue, remembered, updated
from drover_controllers.service.rollout.recreate import alone, recreate
from drover_controllers.service.rollout.rolling import frozen
from drover_controllers.service.rollout.steps import ALL, is_gated, moved, place, reached, steps_of, waits
from drover_controllers.service.rollout.traffic import Crossing, Shown
from drover_controllers.service.scaling.demand import demand
from drover_controllers.service.values import Course, Demand, Facts, Instance, Memory, Place, Population, Roster, ServicePlan, Targets, Wait
from drover_operator.api.meta import seconds_of
from drover_operator.api.rollout import Rollout
from drover_operator.core.plan import TryOut
from drover_operator.core.reasons import Reason


def decide(facts: Facts) -> ServicePlan:
    """What to do now for one service."""
    judged = judge(facts)
    draft = Draft(judged)
    if facts.service.metadata.deletion_timestamp is not None:
        return _destroy(draft)
    if (attempt := _untried(judged)) is not None:
        return draft.plan(attempt, question=True)
    if _begins(facts.service.status.rollout, judged.memory):
        _step(draft)  # what the step waits for is told with it
        return draft.plan(write_ahead=True)
    left = overdue(facts, judged.memory, judged.course)
    late = left is not None and left <= 0
    if (why := _lost(judged, late=late)) is not None:
        return draft.plan(ownership.block(facts, facts.wanted, why), doubt=late)
    if left is not None and not late:
        draft.waits.append(Wait(step="", reason=Reason.PROGRESS_DEADLINE_EXCEEDED, seconds=left))
    _step(draft)
    _own(draft)
    _route(draft)
    fill(draft)
    missing = naming.FINALIZER not in facts.service.metadata.finalizers
    failing = late and judged.course.kind == "Provision" and facts.service.status.phase != "Failed"
    return draft.plan(*([ownership.finalizer(facts.service, wanted=True)] if missing else []), doubt=failing)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What one pass sees and wants, before its Memory is carried on."""

    facts: Facts
    roster: Roster
    population: dict[str, Population]
    demand: Demand
    course: Course
    by_itself: bool  # no instance of another revision than the target is there
    route: Shown | None  # where a route gives the weights

    @property
    def rollout(self) -> Rollout:
        return self.facts.service.spec.rollout

    @property
    def paused(self) -> bool:
        return self.course.hold is not None

    def crossing(self, route: Shown, at: Place | None) -> Crossing:
        return Crossing(
            facts=self.facts, route=route, way=self.course, at=at, demand=self.demand, population=self.population, paused=self.course.hold is not None
        )


def judge(facts: Facts) -> Judged:
    """All the values of the pass."""
    instances, wanted = roster(facts), demand(facts.service.spec)
    counts = population(instances)
    memory, lost = remembered(facts, counts)
    way = course(facts, memory, memory_lost=lost)
    look = _Look(
        facts=facts,
        roster=instances,
        population=counts,
        demand=wanted,
        course=way,
        by_itself=alone(instances, way.target),
        route=traffic.shown(facts) if traffic.is_routed(facts) else None,
    )
    live, leaving = sum(each.live for each in counts.values()), any(i.state == "Draining" and not i.terminating for i in instances)
    memory = updated(memory, way, facts, wanted, counts, settled_now=live == wanted.replicas and not leaving, by_itself=look.by_itself)
    memory = _stepped(look, memory)
    at = place(look.rollout, memory, way)
    return Judged(
        facts=facts,
        roster=instances,
        population=counts,
        demand=wanted,
        memory=memory,
        course=way,
        at=at,
        targets=unmoved(_targets(look, memory, at), look.facts.bound, wanted, counts, _listed(look)),
        selected=_selected(look, memory, at),
        route=look.route,
    )


def _listed(look: _Look) -> dict[str, int]:
    """How many instances of each revision discovery has for the Service; asked only where that selects a single revision."""
    if not look.facts.bound:
        return {}
    seen = look.facts.seen.get(look.facts.service.metadata.name, frozenset())
    return dict(Counter(each.revision for each in look.roster if each.pod.metadata.uid in seen))


def _stepped(look: _Look, memory: Memory) -> Memory:
    """The Memory after the present step was looked at; nothing moves while the service is paused."""
    facts, at = look.facts, place(look.rollout, memory, look.course)
    if look.paused:
        return memory
    if at is None:
        return moved(at, memory, there=False, gates_passed=True, promoted=0, now=facts.now)
    there = reached(_targets(look, memory, at), look.course.target, look.population) and _switched(look, at)
    memory = gates.followed(facts, memory, look.course, at, look.roster)
    stored = facts.service.status.rollout
    promoted = facts.promoted if (memory.target, memory.begun_at) == (stored.target, stored.begun_at) else 0  # it is of the rollout that is stored
    return moved(at, memory, there=there, gates_passed=gates.passed(facts, memory, at), promoted=promoted, now=facts.now)


def _switched(look: _Look, at: Place) -> bool:
    """Whether requests go where the step wants them: by the weight of the route, or after the switch by the colour of the Service."""
    if look.route is not None and traffic.steers(look.facts) and look.course.kind != "Provision":
        return traffic.step_reached(look.crossing(look.route, at))
    colours = look.rollout.type == "BlueGreen" and bool(look.facts.service.spec.ports)
    return not colours or at.weight < ALL or look.course.kind == "Provision" or look.facts.bound == look.course.target


def _targets(look: _Look, memory: Memory, at: Place | None) -> Targets:
    """Wanted number of instances by revision, as the strategy has it; whoever still gets requests by a route stays."""
    if look.route is None:
        return _by_strategy(look, memory, at)
    crossing = look.crossing(look.route, at)
    return traffic.kept(crossing, traffic.routed(crossing) if traffic.steers(look.facts) else _by_strategy(look, memory, at))


def _by_strategy(look: _Look, memory: Memory, at: Place | None) -> Targets:
    way, counts = look.course, look.population
    if look.rollout.type == "BlueGreen" and at is not None and (not look.paused or memory.step):
        return bluegreen(at, look.demand, memory.progressed, way, counts)
    if look.paused:
        return frozen(look.demand, way.target, way.stable, counts)
    if look.demand.downtime:
        return recreate(look.demand, way.target, counts, by_itself=look.by_itself)
    return canary(at, look.demand, memory.progressed, way, counts)


def _selected(look: _Look, memory: Memory, at: Place | None) -> str:
    """The revision that the Service is to select, "" for all of them."""
    if look.rollout.type == "BlueGreen" or (at is not None and look.course.kind == "Provision"):
        return selected(look.facts.bound, colour(look.course, memory, at), look.demand, look.population)
    return ""


def _lost(judged: Judged, *, late: bool) -> str | None:
    """Why the target is given up now, in words, "" for want of progress; None while it is not, or is already."""
    facts, way = judged.facts, judged.course
    if facts.service.spec.pin is not None or way.hold is not None or way.kind not in ("Update", "Provision"):
        return None
    check = gates.failed(judged.memory, way.target)
    if check is not None and not given_up(facts, way.target) and facts.wanted.uid:
        return f"failed the gate '{check.gate}': {check.message}"
    if not late or way.kind == "Provision":
        return None
    silent = [each.check.gate for each in gates.still_open(facts, judged.memory, judged.at)]
    return f"had no verdict of the gate '{silent[0]}' in time" if silent else ""


def _step(draft: Draft) -> None:
    """What the present step waits for, and the tests that it needs."""
    judged, facts, hold = draft.judged, draft.judged.facts, draft.judged.course.hold
    if hold is not None:
        draft.waits.append(Wait(step="" if hold.reason is Reason.PAUSED else "go on", reason=hold.reason, seconds=hold.seconds))
        return
    passed = gates.passed(facts, judged.memory, judged.at)
    draft.waits += waits(judged.at, judged.memory, facts.now, gates_passed=passed)
    draft.waits += gates.waits(facts, judged.memory, judged.at)
    draft.creates += ownership.tests(facts, judged.memory, judged.at)


def _untried(judged: Judged) -> TryOut | None:
    """The trial of a revision that is not recorded, when this process has no answer to it yet.

    It comes before even the Memory: a process that has just come into office would else tell that a refused template is under way
    again.
    """
    facts = judged.facts
    if not _new(judged):
        return None
    attempt, _ = ownership.try_out(facts)
    return attempt if attempt is not None and attempt.id not in facts.verdicts else None


def _begins(stored: Memory, memory: Memory) -> bool:
    """Whether the Memory changed in what must be stored before anything is done.

    How far it got may ride along with any status: the instances show it again.
    """
    return _kept(stored) != _kept(memory)


def _kept(memory: Memory) -> tuple[object, ...]:
    return memory.target, memory.stable, memory.started_at, memory.paused, memory.step, memory.reached_at, memory.checks


def _own(draft: Draft) -> None:
    """Own objects and the revision, before instances are made of it."""
    facts, judged = draft.judged.facts, draft.judged
    actions, held = ownership.owned(facts, _fronts(judged), whole=lambda: _whole(judged))
    draft.creates += actions
    draft.early += ownership.restored(facts, judged.roster)
    draft.tidy += ownership.renamed(facts)
    tried = facts.revisions.get(judged.course.target)
    anew = tried is not None and tried.blocked not in ("", facts.spec_digest)  # what is noted on it is of a spec that is no more
    if judged.memory.stable == judged.course.target or anew:
        draft.tidy += ownership.pardoned(facts, judged.course.target)
    draft.waits += held
    if not _new(judged):
        return
    attempt, wait = ownership.try_out(facts)
    draft.early += [attempt] if attempt else []
    draft.waits += [wait] if wait else []
    if judged.course.target == facts.wanted.name and (wait is None or wait.reason is not Reason.INVALID_TEMPLATE):
        create = ownership.record(facts, facts.wanted, judged.course.stable)
        draft.records.append(ownership.relabel(facts, create) or create)


def _fronts(judged: Judged) -> list[dict[str, Any]]:
    """The Services that should be there: the one of the service's name, and one for tests where there is anything to try."""
    service, rollout = judged.facts.service, judged.facts.service.spec.rollout
    if not service.spec.ports:
        return []
    tried = rollout.type == "BlueGreen" or is_gated(rollout) or any(each.gates for each in steps_of(rollout))
    beside = [build.candidate(service, judged.course.target)] if tried else []
    crossing = _crossing(judged)
    if crossing is not None and crossing.facts.route_ref is not None:
        beside += [build.of_revision(service, name, crossing.facts.route_ref) for name in traffic.services(crossing)]
    return [build.front(service, judged.selected), *beside]


def _crossing(judged: Judged) -> Crossing | None:
    """What weights are decided by, where a route gives them and something has been recorded."""
    if judged.route is None or not judged.facts.revisions:
        return None
    facts, way = judged.facts, judged.course
    return Crossing(facts=facts, route=judged.route, way=way, at=judged.at, demand=judged.demand, population=judged.population, paused=way.hold is not None)


def _route(draft: Draft) -> None:
    """Bring the weights of the route in line, or say what they wait for."""
    crossing = _crossing(draft.judged)
    if crossing is None:
        return
    route = crossing.route
    patch = traffic.moved_route(crossing)
    if patch is not None:
        draft.early.append(patch)
    elif route.problem is not None and traffic.steers(crossing.facts):
        draft.waits.append(Wait(step="move weights", reason=route.problem))
    elif not route.settled and (traffic.steers(crossing.facts) or route.left):
        draft.waits.append(Wait(step="move weights", reason=Reason.ROUTER_SETTLES, seconds=route.left))


def _whole(judged: Judged) -> bool:
    """Whether all wanted instances are ready, in service or not."""
    ready = sum(1 for each in judged.roster if each.live and each.pod.status.is_true("Ready"))
    return ready >= judged.demand.replicas


def _new(judged: Judged) -> bool:
    """Whether instances are wanted of a revision that is not recorded yet."""
    facts, spec = judged.facts, judged.facts.service.spec
    followed = spec.pin is None and judged.course.hold is None and not facts.collision
    return followed and not facts.wanted.uid and judged.demand.replicas > 0 and not build.unreadable(facts.wanted.template)


def _destroy(draft: Draft) -> ServicePlan:
    """Everything out of service, drained, ended; the finalizer goes last, when no instance is left."""
    facts, instances = draft.judged.facts, draft.judged.roster
    _rest(draft)
    leave(draft, [each for each in instances if each.live])
    end(draft, [each for each in instances if each.state == "Draining" and not each.terminating])
    draft.moves += [drain.end(each, Reason.DESTROYING) for each in instances if each.state == "Lost"]
    waiting = [each for each in instances if not _given_up(each, facts)]
    if not waiting and naming.FINALIZER in facts.service.metadata.finalizers:
        return draft.plan(ownership.finalizer(facts.service, wanted=False))
    draft.waits += [Wait(step=f"end {each.name}", reason=Reason.DESTROYING, seconds=_patience(each, facts)) for each in waiting if each.terminating]
    return draft.plan()


def _rest(draft: Draft) -> None:
    """The route is given back as its owner wrote it: the Services of revisions go with the service."""
    crossing = _crossing(draft.judged)
    patch = traffic.moved_route(crossing) if crossing is not None else None
    draft.early += [patch] if patch is not None else []


def _given_up(instance: Instance, facts: Facts) -> bool:
    return instance.terminating and _patience(instance, facts) <= 0


def _patience(instance: Instance, facts: Facts) -> float:
    """Seconds that a dying pod is waited for: its grace period, and a minute for the kubelet. A dead node must not hold us for ever."""
    return seconds_of(instance.pod.metadata.deletion_timestamp) + 60.0 - facts.now
