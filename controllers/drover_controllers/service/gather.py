# SPDX-License-Identifier: Apache-2.0
"""Everything that a pass looks at, read once from the caches. Nothing here asks the API server."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any

import msgspec

from drover_controllers.service import naming
from drover_controllers.service.build import CURRENT_BUILDER
from drover_controllers.service.values import Facts, Memory, Revision
from drover_operator.api.builtin import ControllerRevision, EndpointSlice, Service
from drover_operator.api.gateway import HTTPRoute, RouteRef
from drover_operator.api.managedservice import HealthCheck, ManagedService, ManagedServiceSpec
from drover_operator.api.meta import seconds_of
from drover_operator.api.releasegate import ReleaseGate, ReleaseGateSpec
from drover_operator.api.resource import (
    CONTROLLER_REVISIONS,
    DISRUPTION_BUDGETS,
    ENDPOINT_SLICES,
    HTTP_ROUTES,
    JOBS,
    MAINTENANCE_WINDOWS,
    PODS,
    RELEASE_GATES,
    SERVICES,
)
from drover_operator.api.rollout import ABORTED, PROMOTED, RETRIED, Rollout
from drover_operator.runtime.registry import View

AGENT_IMAGE = "DROVER_AGENT_IMAGE"  # of the operator's environment
SERVICE_NAME = "kubernetes.io/service-name"  # label of a slice
MOST_STEPS = 100
_STEPS = re.compile(r"[0-9]{1,4}")
VERSION_LENGTH = 128  # characters; an image tag has no more


class _Recorded(msgspec.Struct, rename="camel"):
    template: msgspec.Raw
    health_check: HealthCheck | None = None


def gather(service: ManagedService, view: View) -> Facts:
    """The facts about one service."""
    key, uid = service.metadata.key, service.metadata.uid
    revisions = {each.metadata.name: _recorded(each) for each in view.of(CONTROLLER_REVISIONS, key) if each.metadata.controller_uid() == uid}
    wanted = wanted_revision(service.spec, service.metadata.name)
    wanted = replace(wanted, name=view.name(wanted.name))
    recorded = revisions.get(wanted.name)
    backed = _backed(view.of(ENDPOINT_SLICES, key))
    ref = _ref(service, view.of(SERVICES, key))
    fronts = {each.metadata.name: each for each in view.of(SERVICES, key)}
    return Facts(
        service=service,
        now=view.now,
        wanted=wanted if recorded is None else replace(recorded, version=wanted.version),
        revisions=revisions,
        pods=tuple(pod for pod in view.of(PODS, key) if _ours(pod, uid)),
        listed=frozenset().union(*backed.values()),
        seen={name: frozenset(uids) for name, uids in backed.items()},
        route=_route(key[0], ref, view),
        route_ref=ref,
        windows=view.of(MAINTENANCE_WINDOWS, (key[0], "")),
        front=fronts.get(key[1]),
        fronts=fronts,
        budget=next((each for each in view.of(DISRUPTION_BUDGETS, key) if each.metadata.name == key[1]), None),
        verdicts=view.verdicts(key),
        spec_digest=view.name(spec_digest(service.spec, service.metadata.annotations.get(RETRIED, ""))),
        collision=recorded is not None and canonical(recorded.template) != canonical(wanted.template),
        promoted=promoted(service.metadata.annotations, service.status.rollout),
        aborted=service.metadata.annotations.get(ABORTED) == wanted.name,
        gates=_gates(service.spec.rollout, key[0], view),
        answers=view.answers(key),
        jobs={each.metadata.name: each for each in view.of(JOBS, key) if each.metadata.controller_uid() == uid},
    )


def _gates(rollout: Rollout, namespace: str, view: View) -> dict[str, ReleaseGateSpec]:
    """The gates that a rollout names, as far as they are there."""
    found: dict[str, ReleaseGateSpec] = {}
    for name in gates_of(rollout):
        for each in view.of(RELEASE_GATES, (namespace, name)):
            found[name] = each.spec
    return found


def gates_of(rollout: Rollout) -> frozenset[str]:
    """The names of all gates that a rollout names."""
    groups: list[tuple[str, ...]] = [rollout.gates]
    if rollout.canary is not None:
        groups += [each.gates for each in rollout.canary.steps]
        groups += [each.gates for each in rollout.canary.cohorts]
    groups += [rollout.blue_green.gates] if rollout.blue_green is not None else []
    groups += [rollout.ab_test.gates] if rollout.ab_test is not None else []
    return frozenset(name for names in groups for name in names)


def uses(service: ManagedService, gate: ReleaseGate) -> bool:
    """Whether a rollout of the service names the gate."""
    return service.metadata.namespace == gate.metadata.namespace and gate.metadata.name in gates_of(service.spec.rollout)


def promoted(notes: Mapping[str, str], memory: Memory) -> int:
    """How many steps a person has passed in this very rollout: the annotation is REVISION/STEPS/BEGUN, and counts for no other."""
    name, _, rest = notes.get(PROMOTED, "").partition("/")
    steps, _, begun = rest.partition("/")
    meant = name == memory.target and memory.begun_at is not None and begun == msgspec.to_builtins(memory.begun_at)
    return min(int(steps), MOST_STEPS) if meant and _STEPS.fullmatch(steps) else 0


@cache
def agent_image() -> str:
    """The image of the agent that new revisions get; "" where the operator was given none, and kubelets probe."""
    return os.environ.get(AGENT_IMAGE, "")


def wanted_revision(spec: ManagedServiceSpec, service: str) -> Revision:
    """The revision that the spec asks for: named by what the user declared of a pod, and by nothing of ours.

    Neither the replica number nor the rollout settings are in it (going back never cuts the count), nor is the builder (an upgrade
    of the operator rolls nothing).
    """
    template = bytes(spec.template)
    return Revision(
        name=f"{service}-{_hash(template, declared(spec.health_check))}",
        template=template,
        health_check=spec.health_check,
        version=(spec.version or _version(template))[:VERSION_LENGTH],
        builder=CURRENT_BUILDER,
        agent=agent_image(),
    )


def spec_digest(spec: ManagedServiceSpec, retried: str = "") -> str:
    """What a failed revision is blocked under: a change of any of these lets it be tried again; scaling and pausing do not.

    `retried` is whatever the last `kubectl drover retry` left.
    """
    parts = [canonical(bytes(spec.template)), declared(spec.health_check), declared(spec.rollout), declared(spec.restart)]
    parts += [retried.encode()] if retried else []
    return naming.digest(b"\n".join(parts), 12)


def declared(settings: msgspec.Struct | None) -> bytes:
    """What is set to something else than its default: a default that is written out, or a field of a later version, is no difference."""
    return msgspec.json.encode(_declared(settings)) if settings is not None else b""


def _declared(value: Any) -> Any:
    if not isinstance(value, msgspec.Struct):
        return value
    rows = ((each.encode_name, getattr(value, each.name), each.default) for each in _fields(type(value)))
    return {name: _declared(now) for name, now, default in rows if now != default}


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a type; msgspec reads its annotations anew each time, 10 us."""
    return msgspec.structs.fields(kind)


@lru_cache(maxsize=4096)
def canonical(template: bytes) -> bytes:
    """The template with sorted keys: the order in which somebody wrote it is no difference."""
    return msgspec.json.encode(msgspec.json.decode(template), order="deterministic")


@lru_cache(maxsize=4096)
def _hash(template: bytes, check: bytes) -> str:
    return naming.digest(canonical(template) + check, 8)


@lru_cache(maxsize=4096)
def _version(template: bytes) -> str:
    """The label app.kubernetes.io/version, else the tag of the first image, else its digest cut short."""
    outline = msgspec.json.decode(template, type=dict[str, Any])
    label = (outline.get("metadata") or {}).get("labels", {}).get("app.kubernetes.io/version")
    image: str = outline["spec"]["containers"][0]["image"]
    path, _, digest = image.partition("@")
    tag = path.rpartition("/")[2].partition(":")[2]
    return str(label or tag or digest[:19] or "latest")


def _recorded(item: ControllerRevision) -> Revision:
    data = msgspec.json.decode(item.data, type=_Recorded)
    notes, template = item.metadata.annotations, bytes(data.template)
    builder = notes.get(naming.BUILDER, "")
    return Revision(
        name=item.metadata.name,
        template=template,
        health_check=data.health_check,
        version=(notes.get(naming.VERSION) or _version(template))[:VERSION_LENGTH],
        builder=int(builder) if builder.isdecimal() else 1,
        agent=notes.get(naming.AGENT, ""),
        number=item.revision,
        uid=item.metadata.uid,
        resource_version=item.metadata.resource_version,
        recorded_at=seconds_of(item.metadata.creation_timestamp),
        stable_before=notes.get(naming.STABLE_BEFORE, ""),
        blocked=notes.get(naming.BLOCKED, ""),
        blocked_for=notes.get(naming.BLOCKED_FOR, ""),
    )


def _ours(pod: Any, uid: str) -> bool:
    """Controlled by this very service; or made for it and stripped of its owner, which is then restored."""
    controller = pod.metadata.controller_uid()
    return controller == uid or (not controller and pod.metadata.annotations.get(naming.SERVICE_UID) == uid)


def _backed(slices: tuple[EndpointSlice, ...]) -> dict[str, set[str]]:
    """Pods that discovery names as ready, by Service; an endpoint without the condition counts as ready, as the API says."""
    found: dict[str, set[str]] = {}
    for each in slices:
        ready = (one.target_ref.uid for one in each.endpoints or () if one.target_ref is not None and one.conditions.ready is not False)
        found.setdefault(each.metadata.labels.get(SERVICE_NAME, ""), set()).update(ready)
    return found


def _ref(service: ManagedService, fronts: tuple[Service, ...]) -> RouteRef | None:
    """The route that is meant: the one that a Service of a revision was made for, as long as there is such a Service; else what the spec names."""
    for each in fronts:
        name, _, rule = each.metadata.annotations.get(naming.ROUTE, "").partition("/")
        if name:
            return RouteRef(name=name, rule=rule or None)
    return service.spec.traffic.route if service.spec.traffic is not None else None


def _route(namespace: str, ref: RouteRef | None, view: View) -> HTTPRoute | None:
    return next(iter(view.of(HTTP_ROUTES, (namespace, ref.name))), None) if ref is not None else None


def routes(service: ManagedService, route: HTTPRoute) -> bool:
    """Whether the service names the route."""
    traffic = service.spec.traffic
    return traffic is not None and (service.metadata.namespace, traffic.route.name) == route.metadata.key
