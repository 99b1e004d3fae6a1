# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.core.server SERVICES PODS`: an API server with as many settled services, and as little else as operators can live with.

It lists, watches, patches the status of pods and keeps Leases. `POST /bench/change?events=N` has N pods change, one of each service in turn
or all of one service after the other; the answer comes at once. Rejected: the simulated cluster over HTTP, which checks so much that it would be
slower than what is measured on it.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec
from aiohttp import web

from bench.core.world import PLURALS, Template, metadata_templates, templates
from bench.simulated import NAMESPACE

FIRST_VERSION = 1000
BATCH = 8  # events in one write: 72 KB
PATHS = {
    "/api/v1": ("pods", "services"),
    "/apis/drover.dev/v1alpha1": ("managedservices",),
    "/apis/discovery.k8s.io/v1": ("endpointslices",),
    "/apis/policy/v1": ("poddisruptionbudgets",),
    "/apis/apps/v1": ("controllerrevisions",),
}
Body = dict[str, Any]
Place = tuple[int, int]  # number of the service, number of the object within it


@dataclass
class State:
    """What a pod shows now."""

    version: int = FIRST_VERSION
    change: int = 0
    reason: str = ""


@dataclass
class World:
    """Everything there is."""

    services: int
    whole: dict[str, tuple[Template, ...]]
    brief: dict[str, tuple[Template, ...]]
    version: int = FIRST_VERSION
    pods: dict[Place, State] = field(default_factory=dict[Place, State])
    kept: dict[str, Body] = field(default_factory=dict[str, Body])  # Leases and ConfigMaps by path
    watches: set[asyncio.Queue[bytes]] = field(default_factory=set[asyncio.Queue[bytes]])  # of pods
    writes: int = 0  # to anything but Leases and ConfigMaps
    names: dict[str, Place] = field(default_factory=dict[str, Place])

    def places(self, plural: str) -> list[Place]:
        """All objects of that plural."""
        return [(number, inner) for number in range(self.services) for inner in range(len(self.whole[plural]))]

    def show(self, plural: str, place: Place, *, brief: bool = False) -> bytes:
        """One object as it is now."""
        number, inner = place
        state = self.pods.get(place, State()) if plural == "pods" else State()
        template = (self.brief if brief else self.whole)[plural][inner]
        return template.fill(number, state.version, state.change, state.reason)

    def event(self, place: Place, *, change: int = 0, reason: str = "") -> bytes:
        """Have a pod change, and say so as a watch does."""
        self.version += 1
        old = self.pods.get(place, State())
        self.pods[place] = State(self.version, old.change + change, reason)
        return b'{"type":"MODIFIED","object":' + self.show("pods", place) + b"}\n"

    def place_of(self, pod: str) -> Place:
        """Where the pod of that name is."""
        if not self.names:
            self.names = {msgspec.json.decode(self.show("pods", place))["metadata"]["name"]: place for place in self.places("pods")}
        return self.names[pod]


WORLD = web.AppKey("world", World)


async def collection(request: web.Request) -> web.StreamResponse:
    """A list in pages, or a watch."""
    world, plural = request.app[WORLD], request.match_info.route.name or ""
    if request.query.get("watch"):
        return await _watch(request, plural)
    places, begin = world.places(plural), int(request.query.get("continue") or 0)
    end = begin + int(request.query.get("limit") or len(places))
    brief = "PartialObjectMetadataList" in request.headers.get("Accept", "")
    items = b",".join([world.show(plural, place, brief=brief) for place in places[begin:end]])
    meta = {"resourceVersion": str(world.version), "continue": str(end) if end < len(places) else ""}
    return web.Response(body=b'{"kind":"List","apiVersion":"v1","metadata":' + msgspec.json.encode(meta) + b',"items":[' + items + b"]}", content_type="application/json")


async def _watch(request: web.Request, plural: str) -> web.StreamResponse:
    world, waiting = request.app[WORLD], asyncio.Queue[bytes]()
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    if plural == "pods":
        world.watches.add(waiting)
    try:
        while True:
            await response.write(await waiting.get())
    finally:
        world.watches.discard(waiting)


async def change(request: web.Request) -> web.Response:
    """Let so many pods change."""
    world, events, app = request.app[WORLD], int(request.query["events"]), request.app
    app[TASKS].append(asyncio.create_task(_change(world, events)))
    return web.Response()


async def _change(world: World, events: int) -> None:
    places = world.places("pods")
    batch: list[bytes] = []
    for number in range(events):
        batch.append(world.event(places[number % len(places)], change=1))
        if len(batch) == BATCH or number == events - 1:
            await _send(world, b"".join(batch))
            batch.clear()


async def _send(world: World, text: bytes) -> None:
    """To all who watch pods; waits while they are behind, so that what is not read yet does not fill the memory."""
    for waiting in world.watches:
        waiting.put_nowait(text)
    await asyncio.sleep(0)
    while any(waiting.qsize() > BATCH for waiting in world.watches):
        await asyncio.sleep(0.001)
