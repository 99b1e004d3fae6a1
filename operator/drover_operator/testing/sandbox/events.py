# SPDX-License-Identifier: Apache-2.0
"""Events as core/v1 shows them: the objects of events.k8s.io under the names that kubectl still reads.

They are stored once, as the recorder of the operator writes them. Reads and watches are translated here, deletes go to the stored
object, other writes are refused.
"""

from collections.abc import AsyncIterator, Mapping

import msgspec

from drover_operator.kube.transport import JSON, Reply, Request
from drover_operator.testing.kinds import EVENTS, Kind, Target
from drover_operator.testing.objects import Json
from drover_operator.testing.refusal import not_found
from drover_operator.testing.selectors import Selection, selection
from drover_operator.testing.storage import Storage, Version

_REGARDING = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
CORE_EVENTS = Kind(
    plural="events",
    kind="Event",
    selectable=(*(f".involvedObject.{name}" for name in _REGARDING), ".reason", ".type", ".source", ".reportingComponent"),
)
# events.k8s.io on the left, core on the right; what is not named here is the same in both.
_FIELDS = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
}
_HEADERS = {"Content-Type": JSON}


def stored_path(path: str) -> str:
    """The path of events.k8s.io for one of core/v1."""
    return path.replace("/api/v1/", "/apis/events.k8s.io/v1/", 1)


def as_core(event: Json) -> Json:
    """An event of events.k8s.io as one of core/v1; kubectl wants the two old times to be there, even as null."""
    old: Json = {"firstTimestamp": None, "lastTimestamp": None, "source": {}}
    renamed = {_FIELDS.get(name, name): value for name, value in event.items()}
    return {**old, **renamed, "apiVersion": "v1", "kind": "Event"}


def read(storage: Storage, request: Request, target: Target) -> Reply:
    """Answer a get or a list; a list comes whole, whatever limit is asked for."""
    if target.name:
        found = storage.get(EVENTS, target.namespace, target.name)
        return not_found(CORE_EVENTS, target.name).reply if found is None else _answer(as_core(found.data))
    chosen = selection(CORE_EVENTS, target.namespace, "", request.query)
    items = [version.data for version in map(_version, storage.items(EVENTS, target.namespace)) if chosen.matches(version)]
    return _answer({"kind": "EventList", "apiVersion": "v1", "metadata": {"resourceVersion": str(storage.revision)}, "items": items})


def watch_request(request: Request) -> Request:
    """The watch on the stored events that one on core events stands for, without its selectors: they name fields of core/v1."""
    query = {name: value for name, value in request.query.items() if name not in ("fieldSelector", "labelSelector")}
    return Request(method="GET", path=stored_path(request.path), query=query)


async def translated(events: AsyncIterator[Json], target: Target, query: Mapping[str, str]) -> AsyncIterator[Json]:
    """The events of a watch as core/v1, those that the selectors of the request choose."""
    chosen = selection(CORE_EVENTS, target.namespace, target.name, query)
    async for event in events:
        if event["type"] == "ERROR":
            yield event
        elif event["type"] == "BOOKMARK" or _matches(event["object"], chosen):
            yield {"type": event["type"], "object": as_core(event["object"])}


def _matches(event: Json, chosen: Selection) -> bool:
    return chosen.matches(Version(CORE_EVENTS, as_core(event), 0))


def _version(stored: Version) -> Version:
    return Version(CORE_EVENTS, as_core(stored.data), stored.revision)


def _answer(body: Json) -> Reply:
    return Reply(status=200, body=msgspec.json.encode(body), headers=_HEADERS)


def target_of(path: str) -> Target | None:
    """What a path of core events means, or None when it means something else."""
    parts = path.strip("/").split("/")
    match parts:
        case ["api", "v1", "events"]:
            return Target(CORE_EVENTS)
        case ["api", "v1", "namespaces", namespace, "events"]:
            return Target(CORE_EVENTS, namespace)
        case ["api", "v1", "namespaces", namespace, "events", name]:
            return Target(CORE_EVENTS, namespace, name)
        case _:
            return None
