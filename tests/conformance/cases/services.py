# SPDX-License-Identifier: Apache-2.0
"""What the API server says about a wrong ManagedService: the schema of the definition and its rules in CEL."""

from copy import deepcopy
from typing import Any

from tests.conformance.cases._bodies import service
from tests.conformance.room import Json, Room

HTTP = {"http": {"port": 8080}}
PORT = {"name": "http", "port": 80}


def _changed(where: str, value: Any) -> Json:
    """A good service with one field set; `...` removes it."""
    body = deepcopy(service())
    *way, last = where.split(".")
    node: Any = body
    for step in way:
        node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return body


async def _refused(room: Room, rows: list[tuple[str, Any]]) -> None:
    """Each as a dry run, so that what is accepted by mistake is in nobody's way."""
    for where, value in rows:
        await room.post("managedservices", _changed(where, value), show="spec", dryRun="All")


async def missing_and_wrong_values(room: Room) -> None:
    """Required, type, enumeration: these keep the rules in CEL from being tried, and the answer says so."""
    rows: list[tuple[str, Any]] = [
        ("spec.criticality", ...),
        ("spec.template", ...),
        ("spec", ...),
        ("spec.criticality", "Huge"),
        ("spec.replicas", "two"),
        ("spec.replicas", True),
        ("spec.replicas", 1.5),
        ("spec.replicas", None),
        ("spec.ports", {}),
        ("spec.paused", "yes"),
        ("spec.template.spec.containers.0.image", ...),
        ("spec.template.spec.containers", ...),
        ("spec.template", "none"),
        ("spec.template.spec.restartPolicy", "Never"),
        ("spec.criticality", None),
    ]
    await _refused(room, rows)


async def bounds(room: Room) -> None:
    """Numbers, lengths and sizes, each just outside and just inside."""
    rows: list[tuple[str, Any]] = [
        ("spec.replicas", -1),
        ("spec.replicas", 5001),
        ("spec.replicas", 5000),
        ("spec.version", ""),
        ("spec.version", "v" * 129),
        ("spec.version", "v" * 128),
        ("spec.template.spec.containers", []),
        ("spec.ports", [{"name": f"p{number}", "port": number + 1} for number in range(33)]),
        ("spec.template.spec.containers.0.name", "A"),
        ("spec.template.spec.containers.0.ports", [{"containerPort": 0}]),
        ("spec.revisionHistoryLimit", 1),
        ("spec.healthCheck", {"exec": {"command": []}}),
    ]
    await _refused(room, rows)


async def lists_with_keys(room: Room) -> None:
    """Two ports of one name, two containers of one name, an entry without its key."""
    container = {"name": "app", "image": "i"}
    rows: list[tuple[str, Any]] = [
        ("spec.ports", [PORT, {**PORT, "port": 81}]),
        ("spec.ports", [{"name": "http"}]),
        ("spec.ports", [{"port": 80}]),
        ("spec.template.spec.containers", [container, container]),
        ("spec.ports", [PORT, PORT, PORT]),
        ("spec.ports", ["http"]),
        ("spec.ports", [None]),
    ]
    await _refused(room, rows)


async def patterns(room: Room) -> None:
    """Durations and percentages are strings with a form."""
    rows: list[tuple[str, Any]] = [
        ("spec.restart", {"settle": "5 s"}),
        ("spec.healthCheck", {**HTTP, "interval": "soon"}),
        ("spec.healthCheck", {"http": {"port": 8080, "path": "healthz"}}),
        ("spec.rollout", {"rolling": {"maxSurge": "101%"}}),
        ("spec.rollout", {"rolling": {"maxSurge": "half"}}),
        ("spec.rollout", {"rolling": {"maxUnavailable": -1}}),
        ("spec.rollout", {"rolling": {"maxUnavailable": True}}),
        ("spec.rollout", {"rolling": {"maxUnavailable": 1.5}}),
    ]
    await _refused(room, rows)


async def rules_in_cel(room: Room) -> None:
    """Rules across fields, with messages that name the values."""
    rows: list[tuple[str, Any]] = [
        ("spec.healthCheck", {**HTTP, "interval": "1s"}),
        ("spec.healthCheck", {**HTTP, "interval": "61s"}),
        ("spec.healthCheck", {**HTTP, "timeout": "4s"}),
        ("spec.healthCheck", {**HTTP, "tcp": {"port": 8080}}),
        ("spec.healthCheck", {"interval": "5s"}),
        ("spec.healthCheck", HTTP),
        ("spec.rollout", {"rolling": {"maxSurge": 0, "maxUnavailable": 0}}),
        ("spec.rollout", {"rolling": {"maxSurge": "0%", "maxUnavailable": "0%"}}),
        ("spec.rollout", {"rolling": {"maxSurge": 0}}),
        ("spec.rollout", {"progressDeadline": "9s"}),
        ("spec.rollout", {"progressDeadline": "25h"}),
        ("spec.template.metadata", {"labels": {"drover.dev/slot": "1"}}),
        ("spec.scaling", {"min": 2, "max": 5}),
        ("spec.scaling", {"min": 5, "max": 2}),
        ("spec.restart", {"drainTimeout": "0s"}),
        ("metadata.name", "x" * 41),
        ("metadata.name", "a.b"),
    ]
    await _refused(room, rows)


async def several_mistakes_at_once(room: Room) -> None:
    """All are told in one answer, in an order."""
    body = service(spec={"replicas": -1, "criticality": "Huge", "ports": [{"name": "a"}], "healthCheck": {"interval": "1s"}})
    await room.post("managedservices", body)
    body = service(spec={"replicas": -1, "ports": [{"name": "a", "port": 0}], "healthCheck": {"interval": "1s"}, "rollout": {"progressDeadline": "1s"}})
    await room.post("managedservices", body)


async def rules_that_look_at_the_old_object(room: Room) -> None:
    """A change is judged with what was there before; a status write is judged by the rules of the status."""
    await room.post("managedservices", service(spec={"ports": [PORT]}), show="metadata.name")
    await room.merge("managedservices/web", {"spec": {"mode": "Pet"}}, show="spec.mode")
    await room.merge("managedservices/web", {"spec": {"scaling": {"min": 2, "max": 3}}}, show="spec.scaling")
    await room.merge("managedservices/web", {"spec": {"replicas": 2, "scaling": {"min": 2, "max": 3}}}, show="spec.scaling")
    await room.merge("managedservices/web/scale", {"spec": {"replicas": 4}}, show="spec")
    await room.merge("managedservices/web/status", {"status": {"replicas": -1}}, show="status")
    await room.merge("managedservices/web/status", {"status": {"summary": "x" * 9000}}, show="status")
