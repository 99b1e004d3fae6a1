# SPDX-License-Identifier: Apache-2.0
"""The arbiter: one pass, one plan. The only place that sees rollout, scaling, failover and drain together, under one budget.

Order of the stages, each a legal prefix should the process end after it:
finalizer -> try the new revision -> record the revision -> leave, enter and end -> create -> tidy.
Creates come after the leaving, so that surge is never exceeded by a leave that failed. Service and disruption budget are created and
restored beside the pods, which need not wait for them: under load the API server takes a second to find an address for a Service, and
ports that it refuses it refuses for ever.
"""

import itertools
from dataclasses import dataclass, field

from msgspec import structs

from drover_controllers.service import build, drain, naming, ownership
from drover_controllers.service.failover import cattle
from drover_controllers.service.failover.detect import population, roster
from drover_controllers.service.rollout.canary import canary, moved, place, waits
from drover_controllers.service.rollout.course import course, overdue, remembered, updated
from drover_controllers.service.rollout.recreate import alone, recreate
from drover_controllers.service.rollout.rolling import frozen
from drover_controllers.service.scaling.demand import demand
from drover_controllers.service.values import Course, Demand, Facts, Instance, Memory, Place, Population, Revision, Roster, ServicePlan, Targets, Wait
from drover_operator.api.meta import seconds_of
from drover_operator.api.resource import CONTROLLER_REVISIONS, PODS
from drover_operator.core.clock import parse_duration
from drover_operator.core.plan import Action, Create, Deferred, Delete, Stage, TryOut
from drover_operator.core.reasons import Reason

DEADLINE_GRACE = 0.05  # seconds; wake just after a deadline, not just before it


@dataclass(frozen=True, kw_only=True)
class _Judged:
    facts: Facts
    roster: Roster
    population: dict[str, Population]
    demand: Demand
    memory: Memory
    course: Course
    at: Place | None
    targets: Targets


@dataclass
class _Draft:
    """The plan in the making."""

    judged: _Judged
    early: list[Action] = field(default_factory=list[Action])
    records: list[Action] = field(default_factory=list[Action])
    moves: list[Action] = field(default_factory=list[Action])
    creates: list[Action] = field(default_factory=list[Action])
    tidy: list[Action] = field(default_factory=list[Action])
    waits: list[Wait] = field(default_factory=list[Wait])

    def plan(self, *first: Action, write_ahead: bool = False, doubt: bool = False, question: bool = False) -> ServicePlan:
        judged = self.judged
        rows: tuple[list[Action], ...] = ([*first], self.early, self.records, self.moves, self.creates, self.tidy)
        stages: tuple[Stage, ...] = tuple(tuple(row) for row in rows if row)
        seconds = [wait.seconds for wait in self.waits if wait.seconds is not None]
        return ServicePlan(
            stages=() if write_ahead else stages,
            deferred=tuple(Deferred(step=wait.step, reason=wait.reason) for wait in self.waits if wait.step),
            wake_after=max(0.0, min(seconds)) + DEADLINE_GRACE if seconds else None,
            write_ahead=write_ahead,
            doubt=doubt,
            question=question,
            # A pass that only remembers answers no question: what is known of earlier actions stays known.
            held=tuple(judged.facts.verdicts) if write_ahead or question else tuple(wait.held for wait in self.waits if wait.held),
            memory=judged.memory,
            roster=judged.roster,
            population=judged.population,
            demand=judged.demand,
            course=judged.course,
            at=judged.at,
            targets=judged.targets,
        )


def decide(facts: Facts) -> ServicePlan:
    """What to do now for one service."""
    judged = judge(facts)
    draft = _Draft(judged)
    if facts.service.metadata.deletion_timestamp is not None:
        return _destroy(draft)
    if (attempt := _untried(judged)) is not None:
        return draft.plan(attempt, question=True)
    if _begins(facts.service.status.rollout, judged.memory):
        return draft.plan(write_ahead=True)
    left = overdue(facts, judged.memory, judged.course)
    late = left is not None and left <= 0
    if late and judged.course.kind == "Update" and facts.service.spec.pin is None:
        return draft.plan(ownership.block(facts, facts.wanted), doubt=True)
    if left is not None and not late:
        draft.waits.append(Wait(step="", reason=Reason.PROGRESS_DEADLINE_EXCEEDED, seconds=left))
    draft.waits += waits(judged.at, judged.memory, facts.now) if not facts.service.spec.paused else []
    _own(draft)
    _fill(draft)
    missing = naming.FINALIZER not in facts.service.metadata.finalizers
    failing = late and judged.course.kind == "Provision" and facts.service.status.phase != "Failed"
    return draft.plan(*([ownership.finalizer(facts.service, wanted=True)] if missing else []), doubt=failing)


def judge(facts: Facts) -> _Judged:
    """All the values of the pass."""
    instances, wanted = roster(facts), demand(facts.service.spec)
    counts = population(instances)
    memory, lost = remembered(facts, counts)
    way = course(facts, memory, memory_lost=lost)
    live, leaving = sum(each.live for each in counts.values()), any(i.state == "Draining" and not i.terminating for i in instances)
    by_itself = alone(instances, way.target)
    memory = updated(memory, way, facts, wanted, counts, settled_now=live == wanted.replicas and not leaving, by_itself=by_itself)
    at = place(facts.service.spec.rollout, memory, way)
    if facts.service.spec.paused:
        targets = frozen(wanted, way.target, way.stable, counts)
    elif wanted.downtime:
        targets = recreate(wanted, way.target, counts, by_itself=by_itself)
    else:
        memory = moved(at, memory, wanted, counts, promoted=facts.promoted, now=facts.now)
        at = place(facts.service.spec.rollout, memory, way)
        targets = canary(at, wanted, memory.progressed, way, counts)
    return _Judged(facts=facts, roster=instances, population=counts, demand=wanted, memory=memory, course=way, at=at, targets=targets)


def _untried(judged: _Judged) -> TryOut | None:
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
    return memory.target, memory.stable, memory.started_at, memory.paused, memory.step, memory.reached_at


def _own(draft: _Draft) -> None:
    """Own objects and the revision, before instances are made of it."""
    facts, judged = draft.judged.facts, draft.judged
    actions, waits = ownership.owned(facts, whole=lambda: _whole(judged))
    draft.creates += actions
    draft.early += ownership.restored(facts, judged.roster)
    draft.tidy += ownership.renamed(facts)
    if judged.memory.stable == judged.course.target:
        draft.tidy += ownership.pardoned(facts, judged.course.target)
    draft.waits += waits
    if not _new(judged):
        return
    attempt, wait = ownership.try_out(facts)
    draft.early += [attempt] if attempt else []
    draft.waits += [wait] if wait else []
    if judged.course.target == facts.wanted.name and (wait is None or wait.reason is not Reason.INVALID_TEMPLATE):
        create = ownership.record(facts, facts.wanted, judged.course.stable)
        draft.records.append(ownership.relabel(facts, create) or create)


def _whole(judged: _Judged) -> bool:
    """Whether all wanted instances are ready, in service or not."""
    ready = sum(1 for each in judged.roster if each.live and each.pod.status.is_true("Ready"))
    return ready >= judged.demand.replicas


def _new(judged: _Judged) -> bool:
    """Whether instances are wanted of a revision that is not recorded yet."""
    facts, spec = judged.facts, judged.facts.service.spec
    followed = spec.pin is None and not spec.paused and not facts.collision
    return followed and not facts.wanted.uid and judged.demand.replicas > 0 and not build.unreadable(facts.wanted.template)


def _fill(draft: _Draft) -> None:
    """Bring every revision to its wanted number: leave, enter, end, create."""
    judged = draft.judged
    victims, kept, gaps = _differences(judged)
    accepted = _within_budget(draft, victims)
    live = sum(each.live for each in judged.population.values())
    # One that discovery still lists comes back when that is over: else it would count as serving by an entry from before it left.
    gone = [each for each in kept if not each.listed]
    back = gone[: max(0, judged.demand.most - live)]  # the others come back when somebody has left: surge holds at every instant
    leaving, staying = {each.name for each in victims}, {each.name for each in kept}
    _enter(draft, [i for i in judged.roster if i.live and i.name not in leaving] + back)
    _leave(draft, accepted)
    _end(draft, [i for i in judged.roster if i.state == "Draining" and not i.terminating and i.name not in staying])
    draft.moves += cattle.buried(judged.roster, {name for name, count in judged.targets.items() if count}, gaps)
    if judged.demand.downtime and not alone(judged.roster, judged.course.target):
        draft.waits.append(Wait(step=f"create instances of {judged.course.target}", reason=Reason.OLD_VERSION_ENDS))
    _create(draft, gaps, staying, judged.demand.most - live + len(accepted) - len(kept))
    _forget(draft)


def _differences(judged: _Judged) -> tuple[list[Instance], list[Instance], dict[str, int]]:
    """Instances too many, leaving ones that may stay after all, and missing ones by revision."""
    victims: list[Instance] = []
    kept: list[Instance] = []
    gaps: dict[str, int] = {}
    for name in {**dict.fromkeys(judged.population), **dict.fromkeys(judged.targets)}:
        mine = [each for each in judged.roster if each.revision == name]
        live = [each for each in mine if each.live]
        surplus = len(live) - judged.targets.get(name, 0)
        if surplus > 0:
            victims += sorted(live, key=_expendable)[:surplus]
        elif surplus < 0:
            back = _may_stay(mine, {each.slot for each in live})[:-surplus]
            kept += back
            gaps[name] = -surplus - len(back)
    return victims, kept, gaps


def _may_stay(instances: list[Instance], taken: set[int]) -> list[Instance]:
    """Leaving instances that can go on serving: one to a slot that nobody else fills."""
    free = {each.slot: each for each in instances if each.state == "Draining" and not each.terminating and each.slot not in taken}
    return list(free.values())


def _expendable(instance: Instance) -> tuple[int, int, str]:
    """Order of leaving: those that do not serve first, then the highest slot."""
    return (("Starting", "Suspect", "Ready", "InService").index(instance.state), -instance.slot, instance.name)


def _within_budget(draft: _Draft, victims: list[Instance]) -> list[Instance]:
    """Those victims whose leaving keeps enough instances available."""
    if draft.judged.demand.downtime:
        return victims
    available = sum(each.available for each in draft.judged.population.values())
    accepted: list[Instance] = []
    for each in victims:
        if each.available and available - 1 < draft.judged.demand.fewest:
            draft.waits.append(Wait(step=f"retire {each.name}", reason=Reason.BUDGET))
            continue
        available -= each.available
        accepted.append(each)
    return accepted


def _enter(draft: _Draft, instances: list[Instance]) -> None:
    now, min_ready = draft.judged.facts.now, parse_duration(draft.judged.facts.service.spec.rollout.rolling.min_ready)
    for each in instances:
        if each.state == "InService":
            if not each.available:
                draft.waits.append(Wait(step="", reason=Reason.WAITING_FOR_HEALTH, seconds=each.since + min_ready - now))
        elif drain.may_enter(each.pod):
            draft.moves.append(drain.enter(each, now))


def _leave(draft: _Draft, accepted: list[Instance]) -> None:
    judged = draft.judged
    for each in accepted:
        reason = _why_gone(judged, each)
        if drain.wanted(each, judged.facts.service.spec.restart):
            draft.moves.append(drain.leave(each, judged.facts.now, reason))
        else:
            draft.moves.append(drain.end(each, reason))


def _end(draft: _Draft, leaving: list[Instance]) -> None:
    facts = draft.judged.facts
    for each in leaving:
        wait = drain.drained(each, facts.service.spec.restart, facts.now)
        if wait is not None:
            draft.waits.append(wait)
        else:
            draft.moves.append(drain.end(each, _why_gone(draft.judged, each)))


def _why_gone(judged: _Judged, instance: Instance) -> Reason:
    if judged.facts.service.metadata.deletion_timestamp is not None:
        return Reason.DESTROYING
    return Reason.SCALE_IN if instance.revision == judged.course.target else Reason.SUPERSEDED


def _create(draft: _Draft, gaps: dict[str, int], staying: set[str], room: int) -> None:
    """Fill gaps within the surge budget, the stable revision first: what served comes before what is tried."""
    judged = draft.judged
    closing = ownership.closing(judged.facts)
    makeable = [name for name in (judged.course.stable, judged.course.target) if name]
    for name in dict.fromkeys(makeable):
        revision = judged.facts.revisions.get(name) or (judged.facts.wanted if draft.records and judged.facts.wanted.name == name else None)
        if revision is None or not gaps.get(name):
            continue  # refused, or a pin that names nothing: no pod is made of what is not recorded
        slots = _slots(judged.roster, name)
        taken = {slot for slot, held in slots.items() if any(i.live or i.name in staying for i in held)}
        for slot in _free(taken, gaps[name]):
            if room <= 0:
                draft.waits.append(Wait(step=f"create {name}-{slot}", reason=Reason.BUDGET))
                continue
            if closing is not None:
                draft.waits.append(structs.replace(closing, step=f"create {name}-{slot}"))
                continue
            room -= 1
            _create_one(draft, revision, slot, slots.get(slot, []))


def _slots(instances: Roster, revision: str) -> dict[int, list[Instance]]:
    """The instances of a revision by slot: several where one is dead or dying."""
    slots: dict[int, list[Instance]] = {}
    for each in instances:
        if each.revision == revision:
            slots.setdefault(each.slot, []).append(each)
    return slots


def _free(taken: set[int], count: int) -> list[int]:
    """The lowest slots that are not taken."""
    return list(itertools.islice((slot for slot in itertools.count() if slot not in taken), count))


def _create_one(draft: _Draft, revision: Revision, slot: int, held: list[Instance]) -> None:
    """Create the pod of a slot, or say what it waits for; `held` is what the slot had before."""
    facts = draft.judged.facts
    former = cattle.predecessor(held, revision.name, slot) if held else None
    create = _pod(facts, revision, slot, former.pod.metadata.uid if former else "")
    if (left := cattle.pause(held, facts.now)) > 0:
        draft.waits.append(Wait(step=create.step, reason=Reason.BACKOFF, seconds=left))
        return
    if repair := ownership.relabel(facts, create):
        draft.early.append(repair)
        return
    verdict = facts.verdicts.get(create.id)
    if verdict is not None and verdict.found is not None and (left := verdict.at + ownership.CONFLICT_PAUSE - facts.now) > 0:
        draft.waits.append(Wait(step=create.step, reason=Reason.NAME_CONFLICT, seconds=left, held=create.id))
        return
    draft.creates.append(create)


def _pod(facts: Facts, revision: Revision, slot: int, predecessor_uid: str) -> Create:
    meta = facts.service.metadata
    name = naming.pod_name(revision.name, slot, predecessor_uid)
    return Create(
        resource=PODS,
        namespace=meta.namespace,
        name=name,
        body=build.pod(facts.service, revision, slot, predecessor_uid),
        status=drain.entering(facts.now) if drain.possible(facts.service.spec.restart) else None,
        owner_uid=meta.uid,
        labels=tuple(naming.identity_labels(meta.name, revision.name, slot).items()),
        step=f"create {name}",
        reason=Reason.MISSING,
    )


def _forget(draft: _Draft) -> None:
    """Drop revisions beyond the history limit."""
    judged, facts = draft.judged, draft.judged.facts
    pin = facts.service.spec.pin
    keep = {judged.course.target, judged.course.stable, facts.wanted.name, *(each.revision for each in judged.roster), *({pin.revision} if pin else ())}
    draft.tidy += [
        Delete(
            resource=CONTROLLER_REVISIONS,
            namespace=facts.service.metadata.namespace,
            name=old.name,
            uid=old.uid,
            version=old.resource_version,
            step=f"forget revision {old.name}",
            reason=Reason.HISTORY_LIMIT,
        )
        for old in ownership.outdated(facts, keep)
    ]


def _destroy(draft: _Draft) -> ServicePlan:
    """Everything out of service, drained, ended; the finalizer goes last, when no instance is left."""
    facts, instances = draft.judged.facts, draft.judged.roster
    _leave(draft, [each for each in instances if each.live])
    _end(draft, [each for each in instances if each.state == "Draining" and not each.terminating])
    draft.moves += [drain.end(each, Reason.DESTROYING) for each in instances if each.state == "Lost"]
    waiting = [each for each in instances if not _given_up(each, facts)]
    if not waiting and naming.FINALIZER in facts.service.metadata.finalizers:
        return draft.plan(ownership.finalizer(facts.service, wanted=False))
    draft.waits += [Wait(step=f"end {each.name}", reason=Reason.DESTROYING, seconds=_patience(each, facts)) for each in waiting if each.terminating]
    return draft.plan()


def _given_up(instance: Instance, facts: Facts) -> bool:
    return instance.terminating and _patience(instance, facts) <= 0


def _patience(instance: Instance, facts: Facts) -> float:
    """Seconds that a dying pod is waited for: its grace period, and a minute for the kubelet. A dead node must not hold us for ever."""
    return seconds_of(instance.pod.metadata.deletion_timestamp) + 60.0 - facts.now
