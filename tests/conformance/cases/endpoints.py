# SPDX-License-Identifier: Apache-2.0
"""Pods behind a Service: how readiness, gates and deletion show in the slices that routers read."""

from tests.conformance.cases._bodies import running_pod
from tests.conformance.room import Json, Room

WEB = {"app": "web"}
SLICE = "endpoints.*.conditions endpoints.*.targetRef.name ports addressType"
OF_WEB = {"labelSelector": "kubernetes.io/service-name=web"}


def _service(**spec: object) -> Json:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"selector": WEB, "ports": ports, **spec}}


def _says(answer: Json, **conditions: bool) -> bool:
    endpoints = [each for item in answer.get("items", ()) for each in item.get("endpoints") or ()]
    return len(endpoints) == 1 and all(endpoints[0]["conditions"].get(name) == value for name, value in conditions.items())


async def a_ready_pod(room: Room) -> None:
    """It is in the slice once it is ready, and out when its gate closes."""
    await room.post("services", _service(), show="metadata.name")
    await room.post("pods", running_pod("p", {"readinessGates": [{"conditionType": "drover.dev/in-service"}]}, labels=WEB), show="metadata.name")
    await room.until("endpointslices", lambda each: _says(each, ready=False), show=SLICE, **OF_WEB)
    for value in ("True", "False"):
        gate = {"type": "drover.dev/in-service", "status": value}
        await room.strategic("pods/p/status", {"status": {"conditions": [gate]}}, show="metadata.name")
        await room.until("endpointslices", lambda each, is_open=value == "True": _says(each, ready=is_open), show=SLICE, **OF_WEB)
    shown = "metadata.labels metadata.ownerReferences metadata.generateName"
    await room.get("endpointslices", show=shown, **OF_WEB)


async def a_pod_that_ends(room: Room) -> None:
    """It is named as terminating first; here a finalizer keeps it in sight."""
    await room.post("services", _service(), show="metadata.name")
    await room.post("pods", running_pod("p", {"terminationGracePeriodSeconds": 1}, labels=WEB, finalizers=["drover.dev/x"]), show="metadata.name")
    await room.until("endpointslices", lambda each: _says(each, ready=True), show=SLICE, **OF_WEB)
    await room.delete("pods/p", show="metadata.deletionGracePeriodSeconds")
    await room.until("endpointslices", lambda each: len(each["items"]) == 1 and not each["items"][0].get("endpoints"), show=SLICE, **OF_WEB)
    await room.merge("pods/p", {"metadata": {"finalizers": None}}, show="metadata.name")


async def a_service_that_goes(room: Room) -> None:
    """Its slices go with it."""
    await room.post("services", _service(), show="metadata.name")
    await room.until("endpointslices", lambda each: len(each.get("items", ())) == 1, show="metadata.generateName", **OF_WEB)
    await room.delete("services/web", show="kind metadata.name")
    await room.until("endpointslices", lambda each: not each["items"], show="metadata.name", **OF_WEB)


async def a_pod_becomes_ready(room: Room) -> None:
    """Ready is the containers and every gate; the words for a closed gate are the kubelet's own business."""
    await room.post("pods", running_pod("gated", {"readinessGates": [{"conditionType": "drover.dev/in-service"}]}), show="metadata.name")
    await room.until("pods/gated", lambda each: _condition(each, "ContainersReady") == "True", show="status.phase")
    await room.until("pods/gated", lambda each: _condition(each, "Ready") == "False", show="status.phase")
    await room.strategic("pods/gated/status", {"status": {"conditions": [{"type": "drover.dev/in-service", "status": "True"}]}}, show="metadata.name")
    await room.until("pods/gated", lambda each: _condition(each, "Ready") == "True", show="status.phase")


def _condition(answer: Json, kind: str) -> str:
    return next((each["status"] for each in answer.get("status", {}).get("conditions", ()) if each["type"] == kind), "")
