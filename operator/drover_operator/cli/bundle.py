# SPDX-License-Identifier: Apache-2.0
"""Reports: one JSON file with a service and all around it, redacted, from which the same plan can be decided again.

Rejected: a tar of YAML files, as other tools make them. Nothing could replay it, and nobody can read fifty files at once.
"""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from drover_operator.api.managedservice import ManagedService
from drover_operator.api.resource import EVENTS, LEASES, PODS, Resource
from drover_operator.cli.asking import LEASE_NAMESPACE, foretold, stage
from drover_operator.cli.cluster import Progress
from drover_operator.cli.forecast import Forecast, document, forecast
from drover_operator.cli.outcome import Failure, sentence
from drover_operator.cli.redaction import Redactor, scrubbed
from drover_operator.cli.scene import Scene, empty, keeper, listed
from drover_operator.core.plan import Action, Verdict
from drover_operator.kube.cache import Key
from drover_operator.kube.client import Client
from drover_operator.kube.errors import KubeError
from drover_operator.kube.transport import Request
from drover_operator.runtime.executor import Result
from drover_operator.runtime.snapshot import Snapshot

Json = dict[str, Any]
KIND, FORMAT = "DroverReport", 1
NODES = Resource[Any]("", "v1", "nodes", "Node", model=msgspec.Raw)
OPERATOR = "app.kubernetes.io/name=drover-operator"
EVENT_FIELDS = ("regarding", "reason", "action", "type", "note", "eventTime", "deprecatedLastTimestamp", "deprecatedCount", "series", "reportingController")


async def taken(client: Client, keys: list[Key], progress: Progress, clock: Callable[[], float] = time.time) -> Json:
    """A report on these services. What there is no right to read is named in it, and left out.

    Raises:
        Failure: a service is not there.
        KubeError: the API server does not answer, or the services themselves may not be read.
    """
    scene, notes = await stage(client, keys, progress, clock)
    redactor, missing = Redactor(), list[str]()
    objects = {name: [redactor.object(cache.resource, scene.raw[name, each]) for each in cache.everything()] for name, cache in scene.caches.items()}
    shown = _scene(objects, scene.now)
    services: list[Any] = list(scene.caches[str(scene.controller.resource)].values())
    forecasts = [each for service in services if (each := await _optional(f"plan of {service.metadata.name}", foretold(client, scene, service), missing))]
    around = await _around(client, scene, missing)
    told: Json = {
        "kind": KIND,
        "format": FORMAT,
        "takenBy": f"kubectl-drover {version('drover-operator')}",
        "takenAt": datetime.fromtimestamp(scene.now, tz=UTC).isoformat().replace("+00:00", "Z"),
        "now": scene.now,
        "notes": notes,
        "objects": objects,
        "names": {_path(service): _names(scene, service, shown) for service in services},
        "answers": {_path(each.service): _answers(each) for each in forecasts},
        "plans": [_outline(each) for each in forecasts],
        **around,
        "missing": missing,
    }
    found: Json = redactor.text(told)
    return found


def _path(service: ManagedService) -> str:
    return "/".join(service.metadata.key)


def _scene(objects: dict[str, list[Json]], now: float) -> Scene:
    """The scene that the objects of a report make up.

    Raises:
        Failure: an object is not as this version knows it.
    """
    scene = empty(keeper(), now)
    for name, cache in scene.caches.items():
        for each in objects.get(name, ()):
            try:
                scene.put(cache.resource, msgspec.json.encode(each))
            except (msgspec.ValidationError, ValueError) as error:
                raise Failure(f"{cache.resource.kind} {each.get('metadata', {}).get('name', '?')} in the report cannot be read: {sentence(error)}") from error
    return scene


def _names(scene: Scene, service: ManagedService, shown: Scene) -> dict[str, str]:
    """Names that are hashes of content: those of the redacted content, and what they were."""
    redacted: Any = shown.caches[str(scene.controller.resource)].get(service.metadata.key)
    before, after = Snapshot(scene.now, scene.caches, {}), Snapshot(scene.now, shown.caches, {})
    scene.controller.gather(service, before)
    scene.controller.gather(redacted, after)
    return {new: old for new, old in zip(after.derived, before.derived, strict=False) if new != old}


def _answers(found: Forecast) -> Json:
    """What the API server said to the questions, by the id of the action."""
    answers = [answer for each in found.passes for answer in each.answers if answer.verdict is not None]
    return {
        each.action.id: {"reason": each.verdict.reason, "message": scrubbed(each.verdict.message), "retryable": each.verdict.retryable}
        for each in answers
        if each.verdict is not None
    }


def _outline(found: Forecast) -> Json:
    """The plan to read: what and why, without the bodies."""
    told = document(found)
    kept = ("id", "step", "reason", "warning")
    stages = [{**stage, "actions": [{key: each[key] for key in kept if key in each} for each in stage.get("actions", ())]} for stage in told["stages"]]
    return {**told, "stages": stages}


# --- what is around the services


async def _around(client: Client, scene: Scene, missing: list[str]) -> Json:
    return {
        "events": await _optional("events", _events(client, scene), missing) or [],
        "nodes": await _optional("nodes", _collected(_nodes(client)), missing) or [],
        "leases": await _optional("leases", _collected(_leases(client)), missing) or [],
        "operator": await _optional("pods of the operator", _collected(_operator(client)), missing) or [],
        "server": await _optional("version of the API server", _server(client), missing) or {},
    }


async def _optional(what: str, reading: Awaitable[Any], missing: list[str]) -> Any:
    try:
        return await reading
    except KubeError as error:
        missing.append(f"{what}: {scrubbed(sentence(error))}")
        return None


async def _collected(found: AsyncIterator[Json]) -> list[Json]:
    return [each async for each in found]


async def _events(client: Client, scene: Scene) -> list[Json]:
    """Events about the objects of the scene."""
    names = {key for cache in scene.caches.values() for key in cache.everything()}
    found: list[Json] = []
    for namespace in sorted({space for space, _ in names}):
        async for each in listed(client, EVENTS, namespace):
            event = msgspec.json.decode(each, type=Json)
            about = event.get("regarding") or {}
            if (about.get("namespace", namespace), about.get("name")) in names:
                kept = {key: event[key] for key in EVENT_FIELDS if key in event}
                found.append({**kept, "regarding": {key: about.get(key, "") for key in ("kind", "name", "namespace")}, "note": scrubbed(event.get("note", ""))})
    return found


async def _nodes(client: Client) -> AsyncIterator[Json]:
    async for each in listed(client, NODES, ""):
        node = msgspec.json.decode(each, type=Json)
        status = node.get("status", {})
        ready: Json = next((each for each in status.get("conditions", ()) if each.get("type") == "Ready"), {})
        yield {
            "name": node["metadata"]["name"],
            "ready": ready.get("status", "Unknown"),
            "since": ready.get("lastTransitionTime", ""),
            "unschedulable": bool(node.get("spec", {}).get("unschedulable")),
            "kubelet": status.get("nodeInfo", {}).get("kubeletVersion", ""),
        }


async def _leases(client: Client) -> AsyncIterator[Json]:
    async for each in listed(client, LEASES, LEASE_NAMESPACE):
        lease = LEASES.decoder.decode(each)
        yield {"name": lease.metadata.name, "spec": msgspec.to_builtins(lease.spec)}


async def _operator(client: Client) -> AsyncIterator[Json]:
    async for each in listed(client, PODS, LEASE_NAMESPACE, OPERATOR):
        pod = msgspec.json.decode(each, type=Json)
        images = [scrubbed(container.get("image", "")) for container in pod.get("spec", {}).get("containers", ())]
        restarts = sum(container.get("restartCount", 0) for container in pod.get("status", {}).get("containerStatuses", ()))
        yield {"name": pod["metadata"]["name"], "images": images, "phase": pod.get("status", {}).get("phase", ""), "restarts": restarts}


async def _server(client: Client) -> Json:
    reply = await client.transport.send(Request(method="GET", path="/version"))
    try:
        found = msgspec.json.decode(reply.body, type=Json)
    except msgspec.DecodeError:
        return {}
    return {key: found[key] for key in ("gitVersion", "platform") if key in found}


# --- replay


async def replayed(report: Json, name: str = "") -> list[Forecast]:
    """What the operator would have done when the report was taken, for one service of it or, with "", for all.

    Raises:
        Failure: it has no such service, or an object in it is not as this version knows it.
    """
    scene = _scene(report["objects"], report["now"])
    services: list[Any] = [each for each in scene.caches[str(scene.controller.resource)].values() if name in ("", each.metadata.name)]
    if not services:
        known = sorted(key[1] for key in scene.caches[str(scene.controller.resource)].everything())
        raise Failure(f"no service '{name}' in the report; it has {', '.join(known) or 'none'}")
    return [await _replayed(scene, each, report) for each in services]


async def _replayed(scene: Scene, service: ManagedService, report: Json) -> Forecast:
    answers: dict[str, Json] = report.get("answers", {}).get(_path(service), {})
    unknown: list[str] = []

    async def ask(action: Action) -> Result:
        if action.id not in answers:
            unknown.append(f"what the API server said to {action.step} is not in the report; that it accepted is assumed")
        return Result(action, verdict=Verdict(at=scene.now, **answers.get(action.id, {})))

    found = await forecast(scene, service, ask, report.get("names", {}).get(_path(service), {}))
    return replace(found, notes=(f"replayed from a report of {report.get('takenAt', '?')}", *unknown))


def read(file: str) -> Json:
    """The report in a file.

    Raises:
        Failure: it cannot be read, is no report or not a whole one, or has another format.
    """
    try:
        found = json.loads(Path(file).read_bytes())
    except OSError as error:
        raise Failure(f"{file}: {error.strerror or error}") from error
    except ValueError as error:
        raise Failure(f"{file} is no whole report ({error}); was it cut off on its way? take it anew with kubectl drover report") from error
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise Failure(f"{file} is no report; kubectl drover report makes one, and manifests are read with -f")
    if found.get("format") != FORMAT:
        raise Failure(f"{file} has format {found.get('format')} ({found.get('takenBy', 'unknown')}), this command reads {FORMAT}: use that version")
    if not isinstance(found.get("objects"), dict) or not isinstance(found.get("now"), int | float):
        raise Failure(f"{file} is no whole report: objects or the time are missing; take it anew with kubectl drover report")
    return found


def counted(report: Json) -> str:
    """What is in a report, in a few words."""
    parts: Iterable[tuple[str, int]] = ((name.partition(".")[0], len(objects)) for name, objects in report["objects"].items())
    return ", ".join(f"{count} {name}" for name, count in (*parts, ("events", len(report["events"])), ("nodes", len(report["nodes"]))))
