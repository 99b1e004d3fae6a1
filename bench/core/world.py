# SPDX-License-Identifier: Apache-2.0
"""Settled services for a server to list: one lives through its beginning in the simulated cluster, all others are copies under other names.

Settled means that an operator which meets them has nothing to write. Pods are brought to the 9 KB that they have in clusters: labels,
environment, a second container, and the managedFields of who wrote all that. Rejected: bodies written by hand, which drift from what the
operator makes until it finds something to mend in them.
"""

import asyncio
import re
from typing import Any

import msgspec

from bench.simulated import NAMESPACE, converged, operated, service
from drover_operator.testing import virtualtime

NAME, UID = "bench-00000", "00000001-0000-4000-8000-"
PLURALS = ("managedservices", "pods", "services", "endpointslices", "poddisruptionbudgets", "controllerrevisions")
POD_BYTES = 9000
CHANGE = "example.com/change"  # an annotation that every change of a pod raises: read by everybody, decisive for nobody
QUESTION, ANSWER = "Asked", "Seen"  # reasons in the status of a pod: operators that answer make the second of the first
LABELS = ("name", "instance", "version", "component", "part-of")
SETTLE = 60.0  # simulated seconds after the last phase
LONGEST = 600.0
_PLACES = re.compile(rb"(@[a-z]+@)")

Body = dict[str, Any]


class Template:
    """One object of every service, as JSON with places for what differs."""

    def __init__(self, body: Body) -> None:
        body["metadata"]["resourceVersion"] = "@version@"
        text = msgspec.json.encode(body).replace(NAME.encode(), b"bench-@number@").replace(UID.encode(), b"000@number@-0000-4000-8000-")
        self._parts = _PLACES.split(text)

    def fill(self, number: int, version: int, change: int = 0, reason: str = "") -> bytes:
        """The object of that service, in that version; `change` and `reason` show in pods only."""
        values = {b"@number@": b"%05d" % number, b"@version@": b"%d" % version, b"@change@": b"%d" % change, b"@reason@": reason.encode()}
        return b"".join([values.get(part, part) for part in self._parts])


Templates = dict[str, tuple[Template, ...]]


def templates(pods: int) -> tuple[Templates, Templates]:
    """What one settled service with so many pods consists of, by plural: the objects, and their metadata as lists of metadata show it."""
    settled = _settled(pods)
    head = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata"}
    brief = {plural: tuple(Template(head | {"metadata": body["metadata"]}) for body in bodies) for plural, bodies in settled.items()}
    return {plural: tuple(map(Template, bodies)) for plural, bodies in settled.items()}, brief


def _settled(pods: int) -> dict[str, list[Body]]:
    found: dict[str, list[Body]] = {}

    async def live() -> None:
        async with operated() as cluster:
            cluster.apply(service(NAME, replicas=pods))
            await cluster.until(lambda: converged(cluster, NAME), LONGEST)
            await asyncio.sleep(SETTLE)
            found.update({plural: list(cluster.objects(plural, NAMESPACE)) for plural in PLURALS})

    virtualtime.run(live)
    for pod in found["pods"]:
        _dress(pod)
    return found


def _dress(pod: Body) -> None:
    """Give a pod of the simulator what pods of clusters carry."""
    meta, (server, *_), status = pod["metadata"], pod["spec"]["containers"], pod["status"]
    meta["labels"] |= {f"app.kubernetes.io/{each}": NAME for each in LABELS} | {"team": "shop", "topology.kubernetes.io/zone": "zone-a"}
    meta["annotations"][CHANGE] = "@change@"
    pod["spec"]["containers"].append({**server, "name": "proxy", "image": "proxy:1.0"})
    status["containerStatuses"].append({**status["containerStatuses"][0], "name": "proxy", "image": "proxy:1.0"})
    status["reason"] = "@reason@"
    server["env"] = []
    while len(msgspec.json.encode(pod)) < POD_BYTES:
        server["env"].append({"name": f"SETTING_{len(server['env'])}", "value": f"https://{len(server['env'])}.example.com/path"})
        meta["managedFields"] = [_managed("drover", {"metadata": _without_history(meta), "spec": pod["spec"]}), _managed("kubelet", {"status": status})]


def _without_history(meta: Body) -> Body:
    return {name: value for name, value in meta.items() if name != "managedFields"}


def _managed(manager: str, owned: Body) -> Body:
    head = {"manager": manager, "operation": "Update", "apiVersion": "v1", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1"}
    return head | {"fieldsV1": _fields(owned)}


def _fields(value: Any) -> Body:
    """Who owns what, in the notation of managedFields: one entry for each member and for each named item of a list."""
    if isinstance(value, dict):
        return {f"f:{name}": _fields(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return {f"k:{msgspec.json.encode({key: each[key]}).decode()}": _fields(each) for each in value for key in _key(each)}
    return {}


def _key(item: Any) -> list[str]:
    return [key for key in ("name", "type", "topologyKey") if isinstance(item, dict) and key in item][:1]
