# SPDX-License-Identifier: Apache-2.0
"""Quotas: a namespace that is full refuses what the operator wants to create, and the refusal says what is missing."""

from tests.conformance.cases._bodies import config, pod, service
from tests.conformance.room import Json, Room

WEB = {"app": "web"}
FRONT: Json = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "selector": WEB}}


def _quota(hard: dict[str, str]) -> Json:
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard}}


async def _counted(room: Room, where: str, body: Json) -> None:
    """Wait until the quota has been counted, and admission knows of it: before that it refuses what would fit, "status unknown for quota"."""
    await room.until("resourcequotas/q", lambda each: "hard" in each.get("status", {}) and "used" in each["status"], show="status")
    await room.takes(where, body)


async def a_number_of_pods(room: Room) -> None:
    """A rollout with surge meets it: the pod is refused, the deletion of another makes room."""
    await room.post("resourcequotas", _quota({"pods": "1"}), show="spec")
    await _counted(room, "pods", pod("a"))
    await room.post("pods", pod("a"), show="metadata.name")
    await room.get("resourcequotas/q", show="status")
    await room.post("pods", pod("b"))
    await room.post("pods", pod("b"), dryRun="All")
    await room.delete("pods/a", show="metadata.name")
    await room.until("resourcequotas/q", lambda each: each["status"]["used"] == {"pods": "0"}, show="status")
    await room.takes("pods", pod("b"))
    await room.post("pods", pod("b"), show="metadata.name")


async def requests_of_pods(room: Room) -> None:
    """Where a quota counts requests, a pod without them is refused, and so is one that asks for too much."""
    await room.post("resourcequotas", _quota({"requests.cpu": "1", "requests.memory": "1Gi"}), show="spec")

    def wants(cpu: str, memory: str) -> Json:
        return {"containers": [{"name": "a", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]}

    await _counted(room, "pods", pod("a", wants("600m", "512Mi")))
    await room.post("pods", pod("none"))
    await room.post("pods", pod("a", wants("600m", "512Mi")), show="metadata.name")
    await room.post("pods", pod("b", wants("500m", "1Gi")))
    await room.post("pods", pod("b", wants("400m", "512Mi")), show="metadata.name")
    await room.get("resourcequotas/q", show="status")


async def numbers_of_objects(room: Room) -> None:
    """Our own kind can be limited by count too."""
    hard = {"count/managedservices.drover.dev": "1", "count/controllerrevisions.apps": "0", "services": "0"}
    await room.post("resourcequotas", _quota(hard), show="spec")
    await _counted(room, "managedservices", service())
    await room.refuses("services", FRONT)  # what admission does not know yet it lets through
    await room.post("managedservices", service(), show="metadata.name")
    await room.post("managedservices", service("two"))
    await room.post("controllerrevisions", {"metadata": {"name": "r"}, "revision": 1, "data": {}})
    await room.post("services", FRONT)
    await room.post("configmaps", config(), show="metadata.name")
