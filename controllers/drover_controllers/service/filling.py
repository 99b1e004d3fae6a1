# SPDX-License-Identifier: Apache-2.0
"""Bring every revision to its wanted number of instances, within one budget: leave, enter, end, create.

Creates come after the leaving, so that surge is never exceeded by a leave that failed.
"""

import itertools

from msgspec import structs

from drover_controllers.service import build, drain, naming, ownership
from drover_controllers.service.draft import Draft, Judged
from drover_controllers.service.failover import cattle
from drover_controllers.service.rollout.recreate import alone
from drover_controllers.service.values import Facts, Instance, Revision, Roster, Wait
from drover_operator.api.resource import CONTROLLER_REVISIONS, PODS
from drover_operator.core.clock import parse_duration
from drover_operator.core.plan import Create, Delete
from drover_operator.core.reasons import Reason


def fill(draft: Draft) -> None:
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
    leave(draft, accepted)
    end(draft, [i for i in judged.roster if i.state == "Draining" and not i.terminating and i.name not in staying])
    draft.moves += cattle.buried(judged.roster, {name for name, count in judged.targets.items() if count}, gaps)
    if judged.demand.downtime and not alone(judged.roster, judged.course.target):
        draft.waits.append(Wait(step=f"create instances of {judged.course.target}", reason=Reason.OLD_VERSION_ENDS))
    _create(draft, gaps, staying, judged.demand.most - live + len(accepted) - len(kept))
    _forget(draft)


def _differences(judged: Judged) -> tuple[list[Instance], list[Instance], dict[str, int]]:
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


def _within_budget(draft: Draft, victims: list[Instance]) -> list[Instance]:
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


def _enter(draft: Draft, instances: list[Instance]) -> None:
    now, min_ready = draft.judged.facts.now, parse_duration(draft.judged.facts.service.spec.rollout.rolling.min_ready)
    for each in instances:
        if each.state == "InService":
            if not each.available:
                draft.waits.append(Wait(step="", reason=Reason.WAITING_FOR_HEALTH, seconds=each.since + min_ready - now))
        elif drain.may_enter(each.pod):
            draft.moves.append(drain.enter(each, now))


def leave(draft: Draft, accepted: list[Instance]) -> None:
    """Take instances out of service, or end those that need no drain."""
    judged = draft.judged
    for each in accepted:
        reason = _why_gone(judged, each)
        if drain.wanted(each, judged.facts.service.spec.restart):
            draft.moves.append(drain.leave(each, judged.facts.now, reason))
        else:
            draft.moves.append(drain.end(each, reason))


def end(draft: Draft, leaving: list[Instance]) -> None:
    """End instances that are drained."""
    facts = draft.judged.facts
    for each in leaving:
        wait = drain.drained(each, facts.service.spec.restart, facts.now)
        if wait is not None:
            draft.waits.append(wait)
        else:
            draft.moves.append(drain.end(each, _why_gone(draft.judged, each)))


def _why_gone(judged: Judged, instance: Instance) -> Reason:
    if judged.facts.service.metadata.deletion_timestamp is not None:
        return Reason.DESTROYING
    return Reason.SCALE_IN if instance.revision == judged.course.target else Reason.SUPERSEDED


def _create(draft: Draft, gaps: dict[str, int], staying: set[str], room: int) -> None:
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


def _create_one(draft: Draft, revision: Revision, slot: int, held: list[Instance]) -> None:
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


def _forget(draft: Draft) -> None:
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
