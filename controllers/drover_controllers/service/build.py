# SPDX-License-Identifier: Apache-2.0
"""The objects that a service owns, as they should be. Pure: the same service and revision give the same object.

Pods are built by the builder version that their revision records, so that an upgrade of the operator writes no pod: a new builder
makes the pods of new revisions only.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from drover_controllers.service import drain, naming, sidecar
from drover_controllers.service.values import Revision
from drover_operator.api.gateway import RouteRef
from drover_operator.api.managedservice import HealthCheck, ManagedService, Restart
from drover_operator.api.meta import seconds_of
from drover_operator.api.releasegate import JobMeasure
from drover_operator.api.resource import CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, JOBS, MANAGED_SERVICES, SERVICES
from drover_operator.core.clock import parse_duration

Body = dict[str, Any]
KEPT_FOR_LOGS = 86_400  # seconds
DISRUPTION: dict[str, int | str] = {"Vital": 1, "Important": 1, "Normal": "25%", "Expendable": "50%"}


def owner(service: ManagedService) -> Body:
    """The owner reference; it does not block deletion, or a foreground delete would remove pods past our drain."""
    return {
        "apiVersion": MANAGED_SERVICES.api_version,
        "kind": MANAGED_SERVICES.kind,
        "name": service.metadata.name,
        "uid": service.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def _meta(service: ManagedService, name: str, labels: dict[str, str]) -> Body:
    ours = {naming.SERVICE_LABEL: service.metadata.name, naming.MANAGED_BY_LABEL: naming.MANAGED_BY}
    return {"name": name, "namespace": service.metadata.namespace, "labels": {**labels, **ours}, "ownerReferences": [owner(service)]}


def front(service: ManagedService, revision: str = "") -> Body:
    """The Service of the same name: what clients connect to. It carries the labels of the ManagedService, for those who select Services."""
    return _front(service, service.metadata.name, service.metadata.labels, revision)


def candidate(service: ManagedService, revision: str) -> Body:
    """The Service of the revision that is being rolled out: what tests connect to."""
    return _front(service, naming.candidate(service.metadata.name), {}, revision)


def of_revision(service: ManagedService, revision: str, route: RouteRef) -> Body:
    """The Service of one revision, named like it: what a route gives weight to. It says which, so that the route is put to rest whatever the spec says then."""
    body = _front(service, revision, {}, revision)
    body["metadata"]["annotations"] = {naming.ROUTE: route.name + (f"/{route.rule}" if route.rule else "")}
    return body


def _front(service: ManagedService, name: str, labels: dict[str, str], revision: str) -> Body:
    spec: Body = {"selector": naming.selector(service.metadata.name, revision), "ports": ports(service)}
    return {"apiVersion": "v1", "kind": SERVICES.kind, "metadata": _meta(service, name, labels), "spec": spec}


def ports(service: ManagedService) -> list[Body]:
    """The ports of the Service."""
    return [
        {"name": port.name, "port": port.port, "targetPort": port.port if port.target_port is None else port.target_port, "protocol": port.protocol}
        for port in service.spec.ports
    ]


def disruption_budget(service: ManagedService) -> Body:
    """How many instances an eviction may take, by criticality; unhealthy ones never block a node drain."""
    spec = {"selector": {"matchLabels": naming.selector(service.metadata.name)}, **disruption(service)}
    name = service.metadata.name
    return {"apiVersion": DISRUPTION_BUDGETS.api_version, "kind": DISRUPTION_BUDGETS.kind, "metadata": _meta(service, name, {}), "spec": spec}


def disruption(service: ManagedService) -> Body:
    """The fields of the PodDisruptionBudget that are Drover's, beside its selector."""
    return {"maxUnavailable": DISRUPTION[service.spec.criticality], "unhealthyPodEvictionPolicy": "AlwaysAllow"}


def job(service: ManagedService, name: str, settings: JobMeasure, places: Mapping[str, str]) -> Body:
    """A Job that tests a revision: it runs once, ends by its deadline, and stays a day so that its logs can be read."""
    template: Body = _without_nulls(msgspec.json.decode(settings.template))
    spec: Body = template["spec"]
    spec.setdefault("restartPolicy", "Never")
    env = [{"name": f"DROVER_{key.upper()}", "value": value} for key, value in sorted(places.items())]
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        own = container.get("env", [])
        container["env"] = [*env, *own] if isinstance(own, list) else own  # what is no list the server refuses in its own words
    limits: Body = {"backoffLimit": 0, "activeDeadlineSeconds": max(1, int(parse_duration(settings.timeout))), "ttlSecondsAfterFinished": KEPT_FOR_LOGS}
    return {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "metadata": _meta(service, name, {}), "spec": {**limits, "template": template}}


def controller_revision(service: ManagedService, revision: Revision, number: int, stable: str) -> Body:
    """The record of a revision: what to go back to, who built it, and what served before it."""
    meta = _meta(service, revision.name, {})
    notes = {naming.BUILDER: str(revision.builder), naming.VERSION: revision.version, naming.STABLE_BEFORE: stable}
    meta["annotations"] = {**notes, naming.AGENT: revision.agent} if revision.agent else notes
    data = {"template": msgspec.json.decode(revision.template), "healthCheck": msgspec.to_builtins(revision.health_check)}
    return {"apiVersion": CONTROLLER_REVISIONS.api_version, "kind": CONTROLLER_REVISIONS.kind, "metadata": meta, "revision": number, "data": data}


class _Container(msgspec.Struct, rename="camel"):
    lifecycle: Body | None = None


class _Spec(msgspec.Struct, rename="camel"):
    containers: list[_Container]
    readiness_gates: list[Any] | None = None
    termination_grace_period_seconds: int | None = None


class _Template(msgspec.Struct):
    """What builders take for granted where the CRD leaves a template open."""

    spec: _Spec


@lru_cache(maxsize=4096)
def unreadable(template: bytes) -> str:
    """Why no pod can be built of this template, in words that name the field; "" when one can."""
    try:
        msgspec.json.decode(template, type=_Template)
    except msgspec.ValidationError as error:
        return f"spec.template cannot be read: {error}"
    return ""


def pod(service: ManagedService, revision: Revision, slot: int, predecessor_uid: str) -> Body:
    """The pod of one slot, by the builder that the revision records; by our newest when that is one of a later release."""
    return BUILDERS.get(revision.builder, BUILDERS[CURRENT_BUILDER])(service, revision, slot, predecessor_uid)


def _pod_v1(service: ManagedService, revision: Revision, slot: int, predecessor_uid: str) -> Body:
    return _pod(service, revision, slot, predecessor_uid, token="")


def _pod_v2(service: ManagedService, revision: Revision, slot: int, predecessor_uid: str) -> Body:
    """As version 1, and with the agent where its service needs one."""
    agent = bool(revision.agent) and sidecar.needed(revision.health_check, service.spec.restart)
    token = sidecar.token_of(service.metadata.uid, revision.name) if agent else ""
    return _pod(service, revision, slot, predecessor_uid, token=token)


def _pod(service: ManagedService, revision: Revision, slot: int, predecessor_uid: str, *, token: str) -> Body:
    """The pod, with an agent that takes this token; without one for ""."""
    wish = service.spec
    spread = wish.criticality in SPREAD or not wish.ports
    meta, spec = _prepared(revision, service.metadata.name, wish.criticality, wish.restart, token=token, spread=spread)
    name = naming.pod_name(revision.name, slot, predecessor_uid)
    labels = {**meta.get("labels", {}), **naming.identity_labels(service.metadata.name, revision.name, slot)}
    annotations = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true", **meta.get("annotations", {}), naming.SERVICE_UID: service.metadata.uid}
    if revision.version:
        annotations[naming.VERSION] = revision.version
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**_meta(service, name, labels), "annotations": annotations},
        "spec": spec,
    }


@lru_cache(maxsize=1024)
def _prepared(revision: Revision, service: str, criticality: str, restart: Restart, *, token: str, spread: bool) -> tuple[Body, Body]:
    """Metadata and spec that the pods of a revision have in common: made once for all of them, and never changed afterwards."""
    body: Body = _without_nulls(msgspec.json.decode(revision.template))
    spec: Body = body["spec"]
    spec.setdefault("priorityClassName", f"drover-{criticality.lower()}")
    if spread:
        spec.setdefault("topologySpreadConstraints", _spread(service))
    if drain.possible(restart):
        spec["readinessGates"] = [*spec.get("readinessGates", ()), {"conditionType": naming.GATE}]
    if token and revision.health_check is not None:
        sidecar.add(spec, revision.health_check, restart, revision.agent, token)
    else:
        _probe(spec["containers"], revision.health_check)
        _sleep_before_stop(spec, int(parse_duration(restart.settle)))
    return body.get("metadata", {}), spec


def _without_nulls(value: Any) -> Any:
    """The value without fields that are null: they mean the same as fields that are missing, and templating tools leave them."""
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if isinstance(value, list) else value


def _spread(service: str) -> list[Body]:
    """Over zones and nodes where that can be; tainted nodes do not count as places.

    Where a Service selects the pods, the scheduler spreads them by defaults of its own, less strictly. That will do for what is not important:
    two constraints in each pod were a fifth of what the API server and all who watch it spent on a rolling update.
    """
    return [
        {
            "topologyKey": key,
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "nodeTaintsPolicy": "Honor",
            "labelSelector": {"matchLabels": naming.selector(service)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _probe(containers: list[Body], check: HealthCheck | None) -> None:
    """The health check as a readiness probe of the container that has the port, unless the user wrote one there."""
    if check is None:
        return
    action = _action(check)
    port = next((value["port"] for value in action.values() if "port" in value), None)
    target = next((c for c in containers if any(p.get("containerPort") == port for p in c.get("ports", ()))), containers[0])
    target.setdefault(
        "readinessProbe",
        {
            **action,
            "periodSeconds": int(parse_duration(check.interval)),
            "timeoutSeconds": int(parse_duration(check.timeout)),
            "failureThreshold": check.unhealthy_threshold,
            "successThreshold": check.healthy_threshold,
        },
    )


def _action(check: HealthCheck) -> Body:
    if check.http is not None:
        return {"httpGet": {"path": check.http.path, "port": check.http.port}}
    if check.tcp is not None:
        return {"tcpSocket": {"port": check.tcp.port}}
    if check.grpc is not None:
        return {"grpc": {"port": check.grpc.port, "service": check.grpc.service}}
    return {"exec": {"command": list(check.exec.command if check.exec is not None else ())}}


def _sleep_before_stop(spec: Body, seconds: int) -> None:
    """So that deletions by others (a node drain, kubectl delete pod) give proxies the same time as ours.

    The API server refuses a sleep that is longer than the grace period: then that grows, so that the program keeps its own time.
    """
    grace = spec.get("terminationGracePeriodSeconds", 30)
    if seconds >= grace:
        spec["terminationGracePeriodSeconds"] = grace + seconds
    for container in spec["containers"] if seconds else ():
        lifecycle = container.setdefault("lifecycle", {})
        lifecycle.setdefault("preStop", {"sleep": {"seconds": seconds}})


Builder = Callable[[ManagedService, Revision, int, str], Body]
BUILDERS: dict[int, Builder] = {1: _pod_v1, 2: _pod_v2}
CURRENT_BUILDER = 2
SPREAD = ("Vital", "Important")  # criticalities whose instances are spread as evenly as can be


def identity_of(instance_pod: Any) -> str:
    """One run of the program: address, start time in seconds, restart count. A restarted container is another identity.

    The process id of requirement M12 is added by the agent; until then pod address, start and restart count tell runs apart.
    """
    status = instance_pod.status
    restarts = sum(container.restart_count for container in status.container_statuses)
    return f"{status.pod_ip}:{int(seconds_of(status.start_time))}:{restarts}" if status.pod_ip else ""
