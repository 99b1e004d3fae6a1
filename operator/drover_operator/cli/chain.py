# SPDX-License-Identifier: Apache-2.0
"""Why a service is as it is: a chain of links from its summary down to the pod, and what to do next. Pure.

The first link is the service itself. What stands above everything else decides how it goes on: a deletion, an operator that does not
look, a state that only a person can change; else the revision that is wanted, its instance that is worst off, and what that has.
"""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

from drover_operator.api.managedservice import InstanceStatus, ManagedService
from drover_operator.api.meta import Condition
from drover_operator.cli.ailment import Ailment, Case, diagnose
from drover_operator.cli.layout import age, clean
from drover_operator.cli.sightings import REVISION_LABEL, PodSeen, Sightings
from drover_operator.cli.tree import healthy
from drover_operator.core.reasons import MEANING, Reason

DRAIN = "drover.dev/drain"  # the finalizer that is ours
PROMPT = 15.0  # seconds that an operator may take to look, a change of leaders included
FEW = 3  # waits and messages that are told
OPERATOR = "kubectl get lease,pods -n drover-system; docs: kubectl drover explain operator-away"
# With these the service has what it needs, and the pods have nothing to add.
FINAL = (Reason.INVALID_TEMPLATE, Reason.NAME_CONFLICT, Reason.PIN_NOT_FOUND, Reason.REVISION_COLLISION, Reason.NAMESPACE_TERMINATING)


@dataclass(frozen=True, kw_only=True)
class Link:
    """One step of the explanation: `subject` is what it is about, `word` one word for it where there is one."""

    subject: str
    what: str
    word: str = ""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The explanation: links from the service downwards, and next steps, the most useful first.

    `wrong` is False when all is well, or only takes its time.
    """

    links: tuple[Link, ...]
    steps: tuple[str, ...] = ()
    wrong: bool = False


def chain(sight: Sightings) -> Chain:
    """Why the service is as it is."""
    service = sight.service
    if service.metadata.deletion_timestamp is not None:
        return _destroyed(sight)
    if service.status.phase is None or service.status.observed_generation < service.metadata.generation:
        return _unseen(sight)
    stalled = _condition(service, "Stalled")
    if stalled is not None and stalled.status == "True":
        return _stalled(sight, stalled)
    ready = _condition(service, "Ready")
    if ready is not None and ready.status == "True":
        return _well(sight)
    return _unready(sight, ready)


# --- what stands above everything else


def _destroyed(sight: Sightings) -> Chain:
    """Only instances that do not end hold it up; what else they have is of no account any more."""
    meta = sight.service.metadata
    first = Link(subject=f"service {meta.name}", what=f"being deleted for {_since(sight, meta.deletion_timestamp)}", word=Reason.DESTROYING)
    ending = tuple(each for each in sight.pods or () if each.metadata.deletion_timestamp is not None)
    below = _worst(replace(sight, pods=ending))
    if below is not None and below.wrong:
        return Chain(links=(first, *below.links), steps=below.steps, wrong=True)
    others = [each for each in meta.finalizers if each != DRAIN]
    if others and not sight.pods:
        held = Link(subject="finalizers", what=f"others than Drover hold it: {', '.join(others)}", word="Finalizers")
        return Chain(links=(first, held), steps=(f"ask whoever set them: kubectl get msvc {meta.name} -n {meta.namespace} -o yaml",), wrong=True)
    if (idle := _idle(sight)) is not None:
        return Chain(links=(first, Link(subject="operator", what=idle)), steps=(OPERATOR,), wrong=True)
    count = len(sight.pods or ())
    left = "1 instance is left, it drains and ends" if count == 1 else f"{count} instances are left, they drain and end"
    return Chain(links=(first, Link(subject="instances", what=left if count else "none is left, only the object itself")))


def _idle(sight: Sightings) -> str | None:
    """How one sees that no operator works on a deletion; None while it may still come to it."""
    meta = sight.service.metadata
    waited = (sight.now - meta.deletion_timestamp).total_seconds() if meta.deletion_timestamp else 0.0
    if waited < PROMPT:
        return None
    if sight.service.status.observed_generation < meta.generation:
        return "it is not running, or does not reach the API server: it has not looked at the deletion"
    return "no instance is left, and it has not removed its finalizer" if not sight.pods and DRAIN in meta.finalizers else None


def _unseen(sight: Sightings) -> Chain:
    """Whatever the status says is of an earlier spec, or of none."""
    service = sight.service
    meta, status = service.metadata, service.status
    changed = sight.changed or (meta.creation_timestamp if status.phase is None else None)
    waited = (sight.now - changed).total_seconds() if changed else PROMPT
    what = "no operator has looked at it" if status.phase is None else f"the last change of its spec has not been looked at (generation {meta.generation})"
    first = Link(subject=f"service {meta.name}", what=f"{what}{f', {age(waited)} after it was made' if changed else ''}")
    if waited < PROMPT:
        return Chain(links=(first,), steps=("wait a moment and ask again",))
    cause = "the operator is not running, or does not reach the API server"
    seen = Link(subject="operator", what=f"{cause}; what status says is of generation {status.observed_generation}" if status.phase else cause)
    return Chain(links=(first, seen), steps=(OPERATOR,), wrong=True)


def _stalled(sight: Sightings, stalled: Condition) -> Chain:
    """Nothing changes until somebody changes something."""
    first = _first(sight, stalled)
    if stalled.reason in FINAL:
        return Chain(links=(first,), steps=_steps(sight, stalled.reason), wrong=True)
    if stalled.reason == Reason.ROLLED_BACK:
        return _rolled_back(sight, first)
    below = _worst(sight)
    links, steps = (below.links, below.steps) if below else ((), ())
    return Chain(links=(first, *links), steps=(*steps, *(() if steps else _steps(sight, stalled.reason))), wrong=True)


def _rolled_back(sight: Sightings, first: Link) -> Chain:
    """Which revision, why it was given up, and what serves instead. Its instances are gone; Events may still tell what they had."""
    status = sight.service.status
    bad, good = status.rollout.blocked_revision, status.target_revision
    tried = Link(subject=f"revision {bad}", what=f"{_fault(sight.service)}, so it was given up and is blocked", word="Blocked")
    serves = Link(subject=f"revision {good}", what=f"the service went back to it{_called(sight.service, good)}: {status.ready} in service")
    said = sorted((each for each in sight.events if bad and each.involved_object.name.startswith(f"{bad}-")), key=lambda each: -each.moment)
    words = list(dict.fromkeys(f"{each.reason}: {clean(each.message)}" for each in said))[:FEW]
    told = tuple(Link(subject="its instances said", what=each, word=each.partition(":")[0]) for each in words)
    # The links lead on from each other: what the bad one said stands below it, what serves now at the end.
    return Chain(links=(first, tried, *told, serves), steps=_steps(sight, Reason.ROLLED_BACK), wrong=True)


def _fault(service: ManagedService) -> str:
    """What a revision was given up for: a gate that it failed, or want of progress, which a gate without a verdict may be the cause of."""
    checks = service.status.rollout.checks
    failed = next((each for each in checks if each.state == "Failed"), None)
    if failed is not None:
        return f"it failed the gate '{failed.gate}' ({clean(failed.message)})"
    return f"no more of its instances came into service for {service.spec.rollout.progress_deadline}"


def _well(sight: Sightings) -> Chain:
    service = sight.service
    status = service.status
    ready = _condition(service, "Ready")
    count = f"{status.ready} in service at revision {status.current_revision}{_called(service, status.current_revision)}"
    first = Link(subject=f"service {service.metadata.name}", what=f"{status.summary}: {count}", word=ready.reason if ready else "")
    notes: list[Link] = []
    steps: tuple[str, ...] = ()
    if service.spec.paused:
        notes.append(Link(subject="spec.paused", what=MEANING[Reason.PAUSED].what, word=Reason.PAUSED))
        steps += _steps(sight, Reason.PAUSED)
    if service.spec.pin is not None:
        notes.append(Link(subject="spec.pin", what=f"it holds the service at {service.spec.pin.revision}, whatever the template says", word=Reason.PINNED))
        steps += _steps(sight, Reason.PINNED)
    if status.summary == Reason.SCALED_TO_ZERO:
        steps += _steps(sight, Reason.SCALED_TO_ZERO)
    return Chain(links=(first, *notes), steps=steps)


# --- on its way, or short of instances


def _unready(sight: Sightings, ready: Condition | None) -> Chain:
    service = sight.service
    reconciling = _condition(service, "Reconciling")
    degraded = not healthy(service)
    telling = reconciling if reconciling is not None and reconciling.status == "True" and not degraded else ready
    first = _first(sight, telling)
    if telling is not None and telling.reason == Reason.PAUSED:
        return Chain(links=(first,), steps=_steps(sight, Reason.PAUSED))
    below = _worst(sight)
    refused = reconciling is not None and reconciling.reason == Reason.REFUSED
    if refused and (below is None or not below.wrong):
        return Chain(links=(first,), steps=_steps(sight, Reason.REFUSED), wrong=True)
    if below is None:
        return Chain(links=(first, *_revision(sight, service.status.target_revision), *_waits(service)), wrong=degraded)
    waits = () if below.wrong else _waits(service)
    return Chain(links=(first, *below.links, *waits), steps=below.steps, wrong=below.wrong or degraded)


def _worst(sight: Sightings) -> Chain | None:
    """The instance that is worst off, with its revision above it; None when no instance has anything, or pods may not be read."""
    if sight.pods is None:
        return _from_status(sight)
    ill = [(each, found) for each in sight.pods if (found := diagnose(Case(each, sight.events, sight.nodes, sight.now))) is not None]
    if not ill:
        return None
    target = sight.service.status.target_revision
    pod, worst = min(ill, key=lambda row: (not row[1].wrong, _revision_of(row[0]) != target, not row[1].event, row[0].metadata.name))
    others = _others([found for each, found in ill if each is not pod and found.wrong], worst)
    links = [*_revision(sight, _revision_of(pod)), _instance(sight, pod, others), Link(subject=worst.subject, what=worst.what, word=worst.word)]
    if worst.event:
        links.append(Link(subject="it says", what=worst.event))
    return Chain(links=tuple(links), steps=(worst.step,) if worst.step else (), wrong=worst.wrong)


def _from_status(sight: Sightings) -> Chain | None:
    """What the status itself says of the worst instance; it lists the worst first."""
    found = next((each for each in sight.service.status.instances if each.state not in ("InService", "Draining")), None)
    if found is None:
        return None
    what = f"{found.state}{f' on node {found.node}' if found.node else ''}{f': {clean(found.reason)}' if found.reason else ''}"
    instance = Link(subject=f"instance {found.name}", what=what, word=found.reason or found.state)
    step = f"ask for the right to list pods in namespace {sight.service.metadata.namespace}: they say more"
    return Chain(links=(*_revision(sight, found.revision), instance), steps=(step,), wrong=bool(found.reason))


def _others(rest: list[Ailment], worst: Ailment) -> str:
    counts = Counter(each.word for each in rest)
    same = counts.pop(worst.word, 0)
    words = [f"{same} more like it"] if same else []
    return ", ".join([*words, *(f"{count} more with {reason}" for reason, count in counts.most_common(FEW))])


def _revision(sight: Sightings, name: str) -> tuple[Link, ...]:
    """The revision, its role, and how many of the wanted instances it has in service."""
    service = sight.service
    status = service.status
    if not name:
        return ()
    roles = {"wanted": status.target_revision, "stable": status.rollout.stable, "blocked": status.rollout.blocked_revision}
    role = " and ".join(each for each, revision in roles.items() if revision == name) or "old"
    count = f"{_serving(sight, name)} of {service.spec.replicas} in service" if name == status.target_revision else f"{_serving(sight, name)} in service"
    return (Link(subject=f"revision {name}", what=f"{role}{_called(service, name)}: {count}"),)


def _serving(sight: Sightings, name: str) -> int:
    if sight.pods is None:
        return sum(each.revision == name and each.state == "InService" for each in sight.service.status.instances)
    return sum(_revision_of(each) == name and each.status.is_true("Ready") and each.metadata.deletion_timestamp is None for each in sight.pods)


def _instance(sight: Sightings, pod: PodSeen, others: str) -> Link:
    listed: InstanceStatus | None = next((each for each in sight.service.status.instances if each.name == pod.metadata.name), None)
    state = listed.state if listed else pod.status.phase
    node = f" on node {pod.spec.node_name}" if pod.spec.node_name else ""
    what = f"{state}{node}, {_since(sight, pod.metadata.creation_timestamp)} old{f'; {others}' if others else ''}"
    return Link(subject=f"instance {pod.metadata.name}", what=what, word=state)


def _waits(service: ManagedService) -> tuple[Link, ...]:
    """What the operator does and waits for."""
    steps = sorted(service.status.plan, key=lambda each: each.state == "Running")[:FEW]
    return tuple(Link(subject="operator", what=_step(each.step, each.state, each.reason), word=each.reason) for each in steps)


def _step(step: str, state: str, reason: str) -> str:
    meaning = MEANING[Reason(reason)].what if reason in set(Reason) else ""
    words = f"{reason}: {meaning}" if meaning else reason
    return f"{'it waits to' if state == 'Waiting' else 'it does now:'} {clean(step)}{f' ({words})' if words else ''}"


# --- words


def _first(sight: Sightings, condition: Condition | None) -> Link:
    """The service, in the words of the condition that tells most."""
    service = sight.service
    if condition is None:
        return Link(subject=f"service {service.metadata.name}", what=f"in phase {service.status.phase}")
    reason = condition.reason
    words = clean(condition.message) or (MEANING[Reason(reason)].what if reason in set(Reason) else "")
    what = f"not ready for {_since(sight, _not_ready_since(service))}: {reason}{f': {words}' if words else ''}"
    return Link(subject=f"service {service.metadata.name}", what=what, word=reason)


def _not_ready_since(service: ManagedService) -> datetime | None:
    ready = _condition(service, "Ready")
    return ready.last_transition_time if ready else None


def _steps(sight: Sightings, reason: str) -> tuple[str, ...]:
    step = MEANING[Reason(reason)].next_step.replace("NAME", sight.service.metadata.name) if reason in set(Reason) else ""
    return (step,) if step else ()


def _called(service: ManagedService, revision: str) -> str:
    version = next((each.version for each in service.status.versions if each.revision == revision), "")
    return f" (version {clean(version)})" if version else ""


def _revision_of(pod: PodSeen) -> str:
    return pod.metadata.labels.get(REVISION_LABEL, "")


def _condition(service: ManagedService, kind: str) -> Condition | None:
    return next((each for each in service.status.conditions if each.type == kind), None)


def _since(sight: Sightings, moment: datetime | None) -> str:
    return age((sight.now - moment).total_seconds()) if moment else "an unknown time"
