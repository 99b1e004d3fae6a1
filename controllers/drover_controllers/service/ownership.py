# SPDX-License-Identifier: Apache-2.0
"""What a service owns beside its instances: finalizer, Service, disruption budget, recorded revisions; and our marks on pods.

Only our fields are compared and restored. An object of a name we need that is not ours is left alone, until `spec.adopt` says
otherwise and nobody else controls it.
"""

from collections.abc import Callable, Sequence
from typing import Any

from drover_controllers.service import build, naming
from drover_controllers.service.rollout import gates
from drover_controllers.service.values import Facts, Instance, Memory, Place, Revision, Roster, Wait
from drover_operator.api.builtin import Job, PodDisruptionBudget, Service
from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import Object
from drover_operator.api.resource import CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, JOBS, MANAGED_SERVICES, PODS, SERVICES, Resource
from drover_operator.core.plan import Action, Create, Delete, Patch, TryOut, Verdict
from drover_operator.core.reasons import Reason

CONFLICT_PAUSE = 30.0  # seconds between two looks at a name that is taken, or a namespace that is being deleted
REJECTION_PAUSE = 300.0  # seconds between two tries of a template that was refused: a policy may have changed
Body = dict[str, Any]


def finalizer(service: ManagedService, *, wanted: bool) -> Patch:
    """Add our finalizer before the first outside effect, or remove it as the last act."""
    others = [each for each in service.metadata.finalizers if each != naming.FINALIZER]
    return _patch(
        MANAGED_SERVICES,
        service,
        {"metadata": {"finalizers": [*others, naming.FINALIZER] if wanted else others}},
        "add finalizer" if wanted else "remove finalizer",
        Reason.PROVISIONING if wanted else Reason.DESTROYING,
    )


def owned(facts: Facts, fronts: Sequence[Body], *, whole: Callable[[], bool]) -> tuple[list[Action], list[Wait]]:
    """Actions on the Services and the disruption budget, and what is held up by objects in the way; `fronts` are the Services that are wanted.

    `whole` says whether all wanted instances are ready. Before that nothing is adopted: a Service would cut off those who serve it
    now, and a disruption budget would leave them unguarded, so that one drained node could take all of them.
    """
    service, actions, waits = facts.service, list[Action](), list[Wait]()
    budget = build.disruption_budget(service)
    wanted: list[tuple[Resource[Object], Object | None, Body, Body]] = [(DISRUPTION_BUDGETS, facts.budget, budget, _budget_drift(service, facts.budget))]
    for body in fronts:
        front = facts.fronts.get(body["metadata"]["name"])
        wanted.append((SERVICES, front, body, _front_drift(service, body, front)))
    for resource, held, body, drift in wanted:
        if held is None:
            action, wait = _take(facts, resource, body, whole=whole())
            actions += [action] if action else []
            waits += [wait] if wait else []
        elif drift:
            actions.append(_patch(resource, held, drift, f"restore {resource.kind} {held.metadata.name}", Reason.DRIFT))
    kept = {body["metadata"]["name"] for body in fronts}
    actions += [_remove(each) for name, each in facts.fronts.items() if name not in kept and each.metadata.controller_uid() == service.metadata.uid]
    return actions, waits


def _remove(front: Service) -> Delete:
    """A Service that is not wanted any more: its service declares no ports, or nothing to try."""
    meta = front.metadata
    return Delete(
        resource=SERVICES,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        version=meta.resource_version,
        step=f"remove Service {meta.name}",
        reason=Reason.NO_PORTS if meta.name == meta.labels.get(naming.SERVICE_LABEL) else Reason.SUPERSEDED,
    )


def _take(facts: Facts, resource: Resource[Object], body: Body, *, whole: bool) -> tuple[Action | None, Wait | None]:
    """Create the object, or take over the one that is in the way if that is asked for; else wait and look again."""
    meta, name = facts.service.metadata, body["metadata"]["name"]
    create = Create(
        resource=resource,
        namespace=meta.namespace,
        name=name,
        body=body,
        owner_uid=meta.uid,
        labels=((naming.SERVICE_LABEL, meta.name),),
        step=f"create {resource.kind} {name}",
        reason=Reason.MISSING,
    )
    verdict = facts.verdicts.get(create.id)
    if verdict is None or verdict.found is None:
        return create, None
    left = verdict.at + CONFLICT_PAUSE - facts.now
    ours = verdict.found.owner_uid == meta.uid
    if left <= 0:
        return create, None
    if ours or (facts.service.spec.adopt and not verdict.found.owner_uid and whole):
        return _adopt(resource, meta.namespace, name, verdict, body), None
    waits_for_health = facts.service.spec.adopt and not verdict.found.owner_uid
    return None, Wait(step=create.step, reason=Reason.WAITING_FOR_HEALTH if waits_for_health else Reason.NAME_CONFLICT, seconds=left, held=create.id)


def _adopt(resource: Resource[Object], namespace: str, name: str, verdict: Verdict, body: Body) -> Patch:
    found = verdict.found
    spec = body["spec"]
    if resource is SERVICES:  # nothing of the former selector may stay, not even until the next pass: it would match no pod
        spec = {"selector": {"$patch": "replace", **spec["selector"]}, "ports": [{"$patch": "replace"}, *spec["ports"]]}
    else:
        spec = {**spec, "minAvailable": None}  # the server refuses both numbers at once
    return Patch(
        resource=resource,
        namespace=namespace,
        name=name,
        uid=found.uid if found else "",
        version=found.version if found else "",
        body={"metadata": {"labels": body["metadata"]["labels"], "ownerReferences": body["metadata"]["ownerReferences"]}, "spec": spec},
        strategic=True,
        step=f"adopt {resource.kind} {name}",
        reason=Reason.DRIFT,
    )


def _front_drift(service: ManagedService, body: Body, held: Service | None) -> Body:
    if held is None:
        return {}
    wanted, selector = body["spec"]["ports"], body["spec"]["selector"]
    have = [{"name": p.name, "port": p.port, "targetPort": p.target_port, "protocol": p.protocol} for p in held.spec.ports]
    spec: Body = {} if wanted == have else {"ports": wanted}
    if held.spec.selector != selector:
        spec["selector"] = {**dict.fromkeys(held.spec.selector), **selector}
    return {**({"spec": spec} if spec else {}), **_meta_drift(service, held)}


def _budget_drift(service: ManagedService, held: PodDisruptionBudget | None) -> Body:
    if held is None:
        return {}
    wanted, ours = build.disruption(service), naming.selector(service.metadata.name)
    have = {"maxUnavailable": held.spec.max_unavailable, "unhealthyPodEvictionPolicy": held.spec.unhealthy_pod_eviction_policy}
    spec: Body = {} if wanted == have else {**wanted}
    if held.spec.min_available is not None:  # the server refuses both numbers at once
        spec |= {**wanted, "minAvailable": None}
    labels = held.spec.selector.match_labels
    if labels != ours or held.spec.selector.match_expressions:
        spec["selector"] = {"matchLabels": {**dict.fromkeys(labels), **ours}, "matchExpressions": None}
    return {**({"spec": spec} if spec else {}), **_meta_drift(service, held)}


def _meta_drift(service: ManagedService, held: Object) -> Body:
    ours = {naming.SERVICE_LABEL: service.metadata.name, naming.MANAGED_BY_LABEL: naming.MANAGED_BY}
    if isinstance(held, Service) and held.metadata.name == service.metadata.name:
        ours = {**service.metadata.labels, **ours}
    drift: Body = {}
    if not ours.items() <= held.metadata.labels.items():
        drift["labels"] = ours
    if held.metadata.controller_uid() != service.metadata.uid:
        drift["ownerReferences"] = [build.owner(service)]
    return {"metadata": drift} if drift else {}


def try_out(facts: Facts) -> tuple[TryOut | None, Wait | None]:
    """Ask the server whether it takes pods of a revision that was never recorded, before anything is touched."""
    revision, meta = facts.wanted, facts.service.metadata
    action = TryOut(
        resource=PODS,
        namespace=meta.namespace,
        name=revision.name,
        body=build.pod(facts.service, revision, 0, "dry-run"),
        step=f"try revision {revision.name}",
        reason=Reason.ROLLING_OUT,
    )
    verdict = facts.verdicts.get(action.id)
    if verdict is None or (verdict.refused and verdict.retryable):
        return action, None
    left = verdict.at + REJECTION_PAUSE - facts.now
    if verdict.refused and left > 0:
        return None, Wait(step=action.step, reason=Reason.INVALID_TEMPLATE, seconds=left, held=action.id)
    return (action, None) if verdict.refused else (None, Wait(step="", reason=Reason.ROLLING_OUT, held=action.id))


def record(facts: Facts, revision: Revision, stable: str) -> Create:
    """Record a revision with the next number."""
    meta = facts.service.metadata
    number = max((each.number for each in facts.revisions.values()), default=0) + 1
    return Create(
        resource=CONTROLLER_REVISIONS,
        namespace=meta.namespace,
        name=revision.name,
        body=build.controller_revision(facts.service, revision, number, stable),
        owner_uid=meta.uid,
        labels=((naming.SERVICE_LABEL, meta.name),),
        step=f"record revision {revision.name}",
        reason=Reason.ROLLING_OUT,
    )


def renamed(facts: Facts) -> list[Action]:
    """What people call the wanted revision now, on its record: spec.version may change alone, or somebody changed the record."""
    wanted = facts.wanted
    if not wanted.uid or facts.collision or facts.revisions[wanted.name].version == wanted.version:
        return []
    note = {"metadata": {"annotations": {naming.VERSION: wanted.version}}}
    return [_note(facts, wanted, note, f"rename revision {wanted.name}", Reason.DRIFT)]


def pardoned(facts: Facts, serving: str) -> list[Action]:
    """A revision that serves after all is blocked no more: else nobody could go back to it."""
    revision = facts.revisions.get(serving)
    if revision is None or not revision.blocked:
        return []
    return [
        _note(facts, revision, {"metadata": {"annotations": {naming.BLOCKED: None, naming.BLOCKED_FOR: None}}}, f"unblock revision {serving}", Reason.DRIFT)
    ]


def block(facts: Facts, revision: Revision, why: str = "") -> Patch:
    """Note on the revision that it failed under the spec as it is, and why: it is not tried again until the spec changes."""
    note = {"metadata": {"annotations": {naming.BLOCKED: facts.spec_digest, naming.BLOCKED_FOR: why or None}}}
    return _note(facts, revision, note, f"block revision {revision.name}", Reason.GATE_FAILED if why else Reason.PROGRESS_DEADLINE_EXCEEDED)


def _note(facts: Facts, revision: Revision, body: Body, step: str, reason: Reason) -> Patch:
    return Patch(
        resource=CONTROLLER_REVISIONS,
        namespace=facts.service.metadata.namespace,
        name=revision.name,
        uid=revision.uid,
        version=revision.resource_version,
        body=body,
        step=step,
        reason=reason,
    )


def outdated(facts: Facts, keep: set[str]) -> list[Revision]:
    """Recorded revisions beyond the history limit, oldest first; those in use are always kept."""
    old = sorted((r for r in facts.revisions.values() if r.name not in keep), key=lambda r: r.number)
    surplus = len(old) - facts.service.spec.revision_history_limit
    return old[: max(0, surplus)]


def restored(facts: Facts, instances: Roster) -> list[Action]:
    """Our labels and our owner reference on pods, where somebody changed them."""
    actions: list[Action] = []
    for each in instances:
        drift = _pod_drift(facts.service, each)
        if drift and not each.terminating:
            actions.append(_patch(PODS, each.pod, {"metadata": drift}, f"restore labels of {each.name}", Reason.DRIFT))
    return actions


def _pod_drift(service: ManagedService, instance: Instance) -> Body:
    ours = naming.identity_labels(service.metadata.name, instance.revision, instance.slot)
    drift: Body = {}
    if not ours.items() <= instance.pod.metadata.labels.items():
        drift["labels"] = ours
    if instance.pod.metadata.controller_uid() != service.metadata.uid:
        drift["ownerReferences"] = [build.owner(service)]
    return drift


def tests(facts: Facts, memory: Memory, at: Place | None) -> list[Action]:
    """Jobs of gates that are to be made, and those that run for a rollout that is over."""
    meta, due = facts.service.metadata, gates.jobs_due(facts, memory, at)
    places = {"revision": memory.target, "stable": memory.stable, "service": meta.name, "candidate": f"{naming.candidate(meta.name)}.{meta.namespace}.svc"}
    made: list[Action] = [_test(facts, name, build.job(facts.service, name, settings, places)) for name, settings in due]
    wanted = {gates.job_name(facts, each.check) for each in gates.still_open(facts, memory, at)}
    return made + [_ended(job) for name, job in facts.jobs.items() if name not in wanted and not job.status.conditions and not job.metadata.deletion_timestamp]


def _test(facts: Facts, name: str, body: Body) -> Create:
    meta = facts.service.metadata
    return Create(
        resource=JOBS,
        namespace=meta.namespace,
        name=name,
        body=body,
        owner_uid=meta.uid,
        labels=((naming.SERVICE_LABEL, meta.name),),
        step=f"create Job {name}",
        reason=Reason.MEASURING,
    )


def _ended(job: Job) -> Delete:
    meta = job.metadata
    return Delete(
        resource=JOBS,
        namespace=meta.namespace,
        name=meta.name,
        uid=meta.uid,
        version=meta.resource_version,
        step=f"end Job {meta.name}",
        reason=Reason.SUPERSEDED,
    )


def relabel(facts: Facts, create: Create) -> Patch | None:
    """What we wanted to make is there and is ours, only its labels were changed, so that no cache shows it: restore them."""
    verdict = facts.verdicts.get(create.id)
    if verdict is None or verdict.reason != "LabelsChanged" or verdict.found is None:
        return None
    return Patch(
        resource=create.resource,
        namespace=create.namespace,
        name=create.name,
        uid=verdict.found.uid,
        version=verdict.found.version,
        body={"metadata": {"labels": dict(create.labels)}},
        step=f"restore labels of {create.name}",
        reason=Reason.DRIFT,
    )


def _patch(resource: Resource[Object], held: Object, body: Body, step: str, reason: Reason) -> Patch:
    meta = held.metadata
    return Patch(resource=resource, namespace=meta.namespace, name=meta.name, uid=meta.uid, version=meta.resource_version, body=body, step=step, reason=reason)


def closing(facts: Facts) -> Wait | None:
    """The namespace is being deleted: its pods go before its services, and each that goes would be tried again under a new name."""
    for identity, verdict in facts.verdicts.items():
        left = verdict.at + CONFLICT_PAUSE - facts.now
        if verdict.reason == Reason.NAMESPACE_TERMINATING and left > 0:
            return Wait(step="", reason=Reason.NAMESPACE_TERMINATING, seconds=left, held=identity)
    return None
