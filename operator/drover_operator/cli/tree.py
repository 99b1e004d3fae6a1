# SPDX-License-Identifier: Apache-2.0
"""What runs, as lines for people: a table of services, or one service as a tree. Pure: status objects, a look and the time in, lines out."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import get_args

import msgspec

from drover_operator.api.managedservice import InstanceState, InstanceStatus, ManagedService, ManagedServiceStatus, Phase, VersionStatus
from drover_operator.api.meta import Condition
from drover_operator.cli.layout import WHOLE, Cell, Look, age, clean, columns, fold, paint
from drover_operator.cli.steps import steps
from drover_operator.core.reasons import MEANING, Reason

NONE = "-"
UNSEEN = "no status yet"
LAST_TRANSITIONS = 5
EVERY = 10**9
# How far columns of the table may be cut; together they fit 80 columns with any content.
LEAST = {"NAME": 13, "PHASE": WHOLE, "READY": WHOLE, "UP-TO-DATE": WHOLE, "STATUS": 10, "AGE": WHOLE}
PHASE_COLOUR: dict[str, str] = {"Run": "green", "Failed": "red", "Rollback": "red", "Destroy": "yellow"}
STATE_COLOUR: dict[str, str] = {"InService": "green", "Lost": "red", "Suspect": "red", "Parked": "red"}
MARK_COLOUR = {"stable": "green", "target": "cyan", "blocked": "red"}
# Worst first; a condition with any other status than this one is told.
NORMAL = {
    "Stalled": "False",
    "Degraded": "False",
    "NeedsHuman": "False",
    "Available": "True",
    "Ready": "True",
    "Reconciling": "False",
    "Progressing": "True",
    "ExactHealthCheck": "True",
}
SERIOUS = ("Stalled", "Degraded", "NeedsHuman", "Available")
GLYPHS = {False: ("|-- ", "`-- ", "|   ", "    "), True: ("├── ", "└── ", "│   ", "    ")}


def healthy(service: ManagedService) -> bool:
    """Whether nothing is wrong with it that a script should notice; being changed is not wrong."""
    return service.status.phase != "Failed" and _trouble(service.status) is None


def _trouble(status: ManagedServiceStatus) -> Condition | None:
    return next((each for kind in ("Stalled", "Degraded") for each in status.conditions if each.type == kind and each.status == "True"), None)


# --- all services


def table(
    services: Sequence[ManagedService],
    look: Look,
    now: datetime,
    *,
    namespaces: bool,
    progress: str = "",
    room: int = EVERY,
) -> list[str]:
    """One line a service with the columns of `kubectl get`, and a total below.

    Only the first `room` services get a line. `progress` says how far what is on its way has got.
    """
    headings = ("NAMESPACE", "NAME", "PHASE", "READY", "UP-TO-DATE", "VERSION", "STATUS", "AGE")
    rows = [tuple(Cell(each) for each in headings), *(_row(each, now) for each in services[:room])]
    if not namespaces:
        rows = [row[1:] for row in rows]
    least = {rows[0].index(Cell(each)): size for each, size in LEAST.items()}
    more = [f"... {len(services) - room} more services"] if len(services) > room else []
    return [*columns(rows, look, least=least), *more, "", *fold(_total(services) + (f"; {progress}" if progress else ""), look, indent="  ")]


def _row(service: ManagedService, now: datetime) -> tuple[Cell, ...]:
    status, about = service.status, service.metadata
    return (
        Cell(about.namespace),
        Cell(about.name),
        Cell(status.phase or NONE, PHASE_COLOUR.get(status.phase or "", "cyan")),
        Cell(status.ready or NONE),
        Cell(status.up_to_date or NONE),
        Cell(clean(status.version) or NONE),
        Cell(clean(status.summary) or UNSEEN, "" if healthy(service) else "red"),
        Cell(_since(about.creation_timestamp, now)),
    )


def _total(services: Sequence[ManagedService]) -> str:
    phases = Counter(each.status.phase or UNSEEN for each in services)
    counted = [f"{phases[each]} {each}" for each in (*get_args(Phase), UNSEEN) if phases[each]]
    reasons = Counter(_worst(each) for each in services if not healthy(each))
    worst = [f"{reason} x{count}" if count > 1 else reason for reason, count in reasons.most_common()]
    total = f"{len(services)} service{'s' if len(services) != 1 else ''}: {', '.join(counted)}"
    return total + (f"; not healthy: {', '.join(worst)}" if worst else "")


def _worst(service: ManagedService) -> str:
    trouble = _trouble(service.status)
    return trouble.reason if trouble else "Failed"


# --- one service


def tree(service: ManagedService, look: Look, now: datetime, progress: str = "") -> list[str]:
    """Everything about one service: what it is doing, its revisions and instances, what is wrong, and what happened last.

    `progress` says how far a change has got, where somebody has watched it.
    """
    parts = (
        _head(service, look, now, progress),
        _revisions(service, look),
        _conditions(service, look, now),
        _doing(service, look),
        _history(service, look, now),
    )
    lines: list[str] = []
    for part in parts:
        lines += ["", *part] if part and lines else part
    return lines


def _head(service: ManagedService, look: Look, now: datetime, progress: str) -> list[str]:
    status, spec, about = service.status, service.spec, service.metadata
    kind = ", ".join(filter(None, (spec.criticality, spec.environment, f"{_since(about.creation_timestamp, now)} old")))
    facts = {"Service": f"{about.name} in namespace {about.namespace}; {kind}", "Phase": _phase(service, now), "Version": _version(status)}
    if status.ready:
        facts["Instances"] = f"{status.ready} in service, {status.up_to_date} up to date"
    facts |= steps(service, now)
    if progress:
        facts["Progress"] = progress
    if spec.paused:
        facts["Paused"] = "spec.paused is set: the rollout is frozen"
    if spec.pin:
        facts["Pinned"] = f"to revision {spec.pin.revision} by spec.pin"
    if status.phase and status.observed_generation < about.generation:
        facts["Behind"] = (
            f"the operator has not looked at the last change yet (generation {about.generation}, seen {status.observed_generation}); is it running?"
        )
    lines: list[str] = []
    for name, value in facts.items():
        first, *rest = fold(value, look, first=f"{name + ':':<11}", indent=" " * 11)
        word = status.phase or ""
        if name == "Phase" and word:
            first = first.replace(word, paint(word, PHASE_COLOUR.get(word, "cyan"), look), 1)
        lines += [first, *rest]
    return lines


def _phase(service: ManagedService, now: datetime) -> str:
    status = service.status
    if status.phase is None:
        return "none yet: no operator has looked at this service; is it running?"
    direction = f" {status.scale_direction}" if status.scale_direction else ""
    since = f" for {_since(status.phase_since, now)}" if status.phase_since else ""
    return f"{status.phase}{direction}{since}: {status.summary}" if status.summary else f"{status.phase}{direction}{since}"


def _version(status: ManagedServiceStatus) -> str:
    wanted = next((each.version for each in status.versions if each.revision == status.target_revision), "") or status.target_revision
    going = status.current_revision and status.target_revision and status.current_revision != status.target_revision
    return f"{status.version or NONE} -> {wanted}" if going else status.version or NONE


def _revisions(service: ManagedService, look: Look) -> list[str]:
    """The tree: service, revisions, instances; what status leaves out is counted in its last line."""
    status = service.status
    revisions = _known_revisions(status)
    by_revision: dict[str, list[InstanceStatus]] = {each.revision: [] for each in revisions}
    for each in status.instances:
        by_revision.setdefault(each.revision, []).append(each)
    omitted = _omitted(status)
    told = any(each.reason for each in status.instances)
    branch, last_branch, trunk, blank = GLYPHS[look.unicode]
    heads, rows = [], [tuple(Cell(each) for each in (service.metadata.name, "STATE", "NODE", "RESTARTS", "REASON" if told else ""))]
    for number, revision in enumerate(revisions, 1):
        last = number == len(revisions) and not omitted
        heads.append(_revision(revision, status, last_branch if last else branch))
        mine = by_revision[revision.revision]
        rows += [_instance(each, (blank if last else trunk) + (branch if place < len(mine) else last_branch)) for place, each in enumerate(mine, 1)]
    instances = columns(rows, look, least={0: 24, 1: WHOLE, 3: WHOLE})
    lines = instances[:1] if status.instances else [service.metadata.name]
    following = iter(instances[1:])
    for revision, head in zip(revisions, columns(heads, look, least={1: 16, 2: WHOLE, 3: WHOLE, 4: WHOLE}), strict=True):
        lines += [head, *(next(following) for _ in by_revision[revision.revision])]
    if not revisions and not omitted:
        omitted = "no instances"
    return [*lines, last_branch + omitted] if omitted else lines


def _known_revisions(status: ManagedServiceStatus) -> list[VersionStatus]:
    """Those with instances, and those that the rollout speaks of: target first, then stable, blocked last."""
    known = {each.revision: each for each in status.versions}
    named = [each.revision for each in status.instances if each.revision not in known]
    for revision in (*named, status.target_revision, status.rollout.stable, status.rollout.blocked_revision):
        if revision:
            known.setdefault(revision, VersionStatus(revision=revision))
    for each in status.instances:
        if not each.revision:
            known.setdefault("", VersionStatus(revision=""))
        elif each.version and not known[each.revision].version:
            known[each.revision] = msgspec.structs.replace(known[each.revision], version=each.version)
    order = (status.target_revision, status.rollout.stable)
    return sorted(
        known.values(),
        key=lambda each: (
            each.revision == status.rollout.blocked_revision,
            order.index(each.revision) if each.revision in order else len(order),
            -each.instances,
            each.revision,
        ),
    )


def _revision(revision: VersionStatus, status: ManagedServiceStatus, lead: str) -> tuple[Cell, ...]:
    roles = {"stable": status.rollout.stable, "target": status.target_revision, "blocked": status.rollout.blocked_revision}
    marks = [name for name, each in roles.items() if each and each == revision.revision]
    return (
        Cell(clean(revision.version) or NONE, "bold", lead),
        Cell(revision.revision or "unknown revision", "bold"),
        Cell(", ".join(marks) or "old", MARK_COLOUR[marks[-1]] if marks else "dim"),
        Cell(f"{revision.instances} instance{'s' if revision.instances != 1 else ''}"),
        Cell(f"weight {revision.weight}%"),
    )


def _instance(instance: InstanceStatus, lead: str) -> tuple[Cell, ...]:
    return (
        Cell(instance.name, "", lead),
        Cell(instance.state, STATE_COLOUR.get(instance.state, "yellow")),
        Cell(instance.node or NONE),
        Cell(str(instance.restarts), "yellow" if instance.restarts else ""),
        Cell(clean(instance.reason), STATE_COLOUR.get(instance.state, "yellow")),
    )


def _omitted(status: ManagedServiceStatus) -> str:
    """How many instances status does not list, and in which states they must be; status lists the worst first."""
    if not status.instances_omitted:
        return ""
    listed = Counter(each.state for each in status.instances)
    counts = status.counts
    totals: dict[InstanceState, int] = {
        "Lost": counts.lost,
        "Suspect": counts.suspect,
        "Parked": counts.parked,
        "Starting": counts.starting,
        "Ready": counts.ready,
        "Draining": counts.draining,
        "InService": counts.in_service,
    }
    rest = [f"{total - listed[state]} {state}" for state, total in totals.items() if total > listed[state]]
    return f"... {status.instances_omitted} more, not listed" + (f": {', '.join(rest)}" if rest else "")


# --- what is wrong, what is done, what happened


def _conditions(service: ManagedService, look: Look, now: datetime) -> list[str]:
    """What is not normal, one entry a reason, worst first, with the next step for a person."""
    abnormal = [each for each in service.status.conditions if each.status != NORMAL.get(each.type, "False")]
    abnormal.sort(key=lambda each: list(NORMAL).index(each.type) if each.type in NORMAL else len(NORMAL))
    by_reason: dict[str, list[Condition]] = {}
    for each in abnormal:
        by_reason.setdefault(each.reason, []).append(each)
    lines = ["Conditions:"] if by_reason else []
    for reason, told in by_reason.items():
        lines += _condition(service.metadata.name, reason, told, look, now)
    return lines


def _condition(name: str, reason: str, told: list[Condition], look: Look, now: datetime) -> list[str]:
    meaning = MEANING.get(Reason(reason)) if reason in set(Reason) else None
    colour = "red" if any(each.type in SERIOUS for each in told) else "yellow"
    facts = ", ".join(f"{each.type}={each.status}" for each in told)
    since = told[0].last_transition_time
    told_for = f" for {_since(since, now)}" if since else ""
    title, *more = fold(f"{reason}{told_for}: {facts}", look, first="  ", indent="    ")
    message = next((each.message for each in told if each.message), "") or (meaning.what if meaning else "")
    lines = [title.replace(reason, paint(reason, colour, look), 1), *more]
    lines += fold(message, look, first="    ", indent="    ") if message else []
    if meaning and meaning.next_step:
        lines += fold(f"Next: {meaning.next_step.replace('NAME', name)}", look, first="    ", indent="    ")
    return lines


def _doing(service: ManagedService, look: Look) -> list[str]:
    steps = service.status.plan
    rows = [(Cell(each.state, "cyan" if each.state == "Running" else "dim"), Cell(clean(each.step)), Cell(clean(each.reason))) for each in steps]
    return ["Doing:", *columns(rows, look, indent="  ", least={0: WHOLE})] if rows else []


def _history(service: ManagedService, look: Look, now: datetime) -> list[str]:
    history = service.status.history
    last = history[-LAST_TRANSITIONS:]
    rows = [
        (
            Cell(f"{_since(each.time, now)} ago"),
            Cell(f"{each.source or 'new'} -> {each.to}", PHASE_COLOUR.get(each.to, "cyan")),
            Cell(clean(each.trigger)),
            Cell(each.revision),
            Cell("unexpected" if each.cause == "unexpected" else "", "red"),
        )
        for each in last
    ]
    title = f"History (last {len(last)} of {len(history)}):" if len(history) > len(last) else "History:"
    return [title, *columns(rows, look, indent="  ", least={0: WHOLE, 1: WHOLE})] if rows else []


def _since(moment: datetime | None, now: datetime) -> str:
    return age((now - moment).total_seconds()) if moment else NONE
