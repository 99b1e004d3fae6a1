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
from drover_operator.api.builtin import ControllerRevision, EndpointSlice
from drover_operator.api.managedservice import HealthCheck, ManagedService, ManagedServiceSpec
from drover_operator.api.meta import seconds_of
from drover_operator.api.resource import CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, ENDPOINT_SLICES, PODS, SERVICES
from drover_operator.api.rollout import ABORTED, PROMOTED, RETRIED
from drover_operator.runtime.registry import View

AGENT_IMAGE = "DROVER_AGENT_IMAGE"  # of the operator's environment
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
    return Facts(
        service=service,
        now=view.now,
        wanted=wanted if recorded is None else replace(recorded, version=wanted.version),
        revisions=revisions,
        pods=tuple(pod for pod in view.of(PODS, key) if _ours(pod, uid)),
        listed=_listed(view.of(ENDPOINT_SLICES, key)),
        front=next((each for each in view.of(SERVICES, key) if each.metadata.name == key[1]), None),
        budget=next((each for each in view.of(DISRUPTION_BUDGETS, key) if each.metadata.name == key[1]), None),
        verdicts=view.verdicts(key),
        spec_digest=view.name(spec_digest(service.spec, service.metadata.annotations.get(RETRIED, ""))),
        collision=recorded is not None and canonical(recorded.template) != canonical(wanted.template),
        promoted=promoted(service.metadata.annotations, service.status.rollout),
        aborted=service.metadata.annotations.get(ABORTED) == wanted.name,
    )


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
    )


def _ours(pod: Any, uid: str) -> bool:
    """Controlled by this very service; or made for it and stripped of its owner, which is then restored."""
    controller = pod.metadata.controller_uid()
    return controller == uid or (not controller and pod.metadata.annotations.get(naming.SERVICE_UID) == uid)


def _listed(slices: tuple[EndpointSlice, ...]) -> frozenset[str]:
    """Pods that discovery names as ready; an endpoint without the condition counts as ready, as the API says."""
    return frozenset(
        endpoint.target_ref.uid
        for each in slices
        for endpoint in each.endpoints or ()
        if endpoint.target_ref is not None and endpoint.conditions.ready is not False
    )
