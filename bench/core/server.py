# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.core.server SERVICES PODS`: an API server with so many settled services of so many pods; its port is what it prints.

It lists, watches, patches the status of pods, keeps Leases and ConfigMaps, and lets pods change when it is asked to. Rejected: the simulated
cluster over HTTP, which checks so much of a request that it would be slower than what is measured on it.
"""

import asyncio
import contextlib
import sys
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from bench.core.cluster import Cluster
from bench.core.world import templates
from drover_operator.observe import logs

BATCH = 8  # events in one write: 72 KB
LISTED = {  # plural: where it is
    "pods": "/api/v1",
    "services": "/api/v1",
    "managedservices": "/apis/drover.dev/v1alpha1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "controllerrevisions": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "httproutes": "/apis/gateway.networking.k8s.io/v1",
    "releasegates": "/apis/drover.dev/v1alpha1",
    "maintenancewindows": "/apis/drover.dev/v1alpha1",
}
KEPT = (
    "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
    "/api/v1/namespaces/{namespace}/configmaps",
)


def _resource(name: str, kind: str, *, namespaced: bool = True) -> dict[str, Any]:
    return {"name": name, "singularName": kind.lower(), "namespaced": namespaced, "kind": kind, "verbs": ["get", "list", "watch", "patch"]}


CORE = (_resource("pods", "Pod"), _resource("pods/status", "Pod"), _resource("events", "Event"), _resource("namespaces", "Namespace", namespaced=False))
DEFINITIONS = _resource("customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
EXTENSIONS = {"groupVersion": "apiextensions.k8s.io/v1", "version": "v1"}
DISCOVERY: dict[str, dict[str, Any]] = {  # what kopf waits for before it begins
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": [{"name": "apiextensions.k8s.io", "versions": [EXTENSIONS], "preferredVersion": EXTENSIONS}]},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": list(CORE)},
    "/api/v1/namespaces": {"kind": "NamespaceList", "metadata": {"resourceVersion": "1"}, "items": []},
    "/apis/apiextensions.k8s.io/v1": {
        "kind": "APIResourceList",
        "resources": [_resource("customresourcedefinitions", "CustomResourceDefinition", namespaced=False)],
    },
}


async def serve(cluster: Cluster) -> None:
    """Serve on the loopback until killed."""
    runner = web.AppRunner(application(cluster), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


def application(cluster: Cluster) -> web.Application:
    """All paths of the server."""
    app = web.Application()
    app.add_routes([web.get(f"{group}/{plural}", partial(_collection, cluster, plural)) for plural, group in LISTED.items()])
    app.add_routes([web.get(path, partial(_say, body)) for path, body in DISCOVERY.items()])
    for path in KEPT:
        one, kept = path + "/{name}", partial(_kept, cluster)
        app.add_routes([web.post(path, partial(_keep, cluster)), web.get(one, kept), web.patch(one, kept)])
    app.router.add_patch("/api/v1/namespaces/{namespace}/pods/{name}/status", partial(_answered, cluster))
    app.router.add_post("/bench/change/{events}", partial(_change, cluster))
    app.router.add_get("/bench/writes", partial(_writes, cluster))
    app.router.add_route("*", "/{path:.*}", partial(_other, cluster))
    return app


async def _say(body: dict[str, Any], _request: web.Request) -> web.Response:
    return web.json_response(body)


async def _collection(cluster: Cluster, plural: str, request: web.Request) -> web.StreamResponse:
    """A list in pages, or a watch."""
    if request.query.get("watch"):
        return await _watch(cluster, plural, request)
    places, begin = cluster.places(plural), int(request.query.get("continue") or 0)
    end = begin + int(request.query.get("limit") or len(places))
    brief = "PartialObjectMetadataList" in request.headers.get("Accept", "")
    items = b",".join([cluster.show(plural, place, brief=brief) for place in places[begin:end]])
    meta = msgspec.json.encode({"resourceVersion": str(cluster.version), "continue": str(end) if end < len(places) else ""})
    return _json(b'{"kind":"List","apiVersion":"v1","metadata":%b,"items":[%b]}' % (meta, items))


async def _watch(cluster: Cluster, plural: str, request: web.Request) -> web.StreamResponse:
    """From now on: nobody who lists first misses anything here."""
    waiting: asyncio.Queue[bytes] = asyncio.Queue()
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    if plural == "pods":
        cluster.watches.add(waiting)
    with contextlib.suppress(ConnectionError):
        await response.prepare(request)
        while not _gone(request):
            await response.write(await waiting.get())
    cluster.watches.discard(waiting)
    return response


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


async def _change(cluster: Cluster, request: web.Request) -> web.Response:
    """Let so many pods change, one after the other; the answer comes when the watches have been told."""
    events, reason, places = int(request.match_info["events"]), request.query["reason"], cluster.places("pods")
    for begin in range(0, events, BATCH):
        cluster.tell(b"".join([cluster.event(places[number % len(places)], reason) for number in range(begin, min(begin + BATCH, events))]))
        await cluster.caught_up()
    return web.Response()


async def _answered(cluster: Cluster, request: web.Request) -> web.Response:
    """Take the status of a pod, tell the watches, and answer with as much as was asked for."""
    place, body = cluster.pod(request.match_info["name"]), msgspec.json.decode(await request.read())
    cluster.writes += 1
    cluster.tell(cluster.event(place, body["status"]["reason"]))
    return _json(cluster.show("pods", place, brief="PartialObjectMetadata" in request.headers.get("Accept", "")))


async def _keep(cluster: Cluster, request: web.Request) -> web.Response:
    body = msgspec.json.decode(await request.read())
    cluster.kept[f"{request.path}/{body['metadata']['name']}"] = body
    return _new_version(cluster, body)


async def _kept(cluster: Cluster, request: web.Request) -> web.Response:
    body = cluster.kept.get(request.path)
    if body is None:
        return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound"}, status=404)
    if request.method == "GET":
        return web.json_response(body)
    for name, value in msgspec.json.decode(await request.read()).items():
        body[name] = {**body.get(name, {}), **value}
    return _new_version(cluster, body)


def _new_version(cluster: Cluster, body: dict[str, Any]) -> web.Response:
    cluster.version += 1
    body["metadata"] |= {"uid": body["metadata"].get("uid", "kept"), "resourceVersion": str(cluster.version)}
    return web.json_response(body, status=201)


async def _writes(cluster: Cluster, _request: web.Request) -> web.Response:
    return web.json_response(cluster.writes)


async def _other(cluster: Cluster, request: web.Request) -> web.Response:
    cluster.writes += request.method != "GET"
    return web.json_response({"kind": "Status", "code": 404, "reason": "NotFound"}, status=404)


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")


if __name__ == "__main__":
    logs.configure("console", "critical")
    asyncio.run(serve(Cluster(int(sys.argv[1]), *templates(int(sys.argv[2])))))
