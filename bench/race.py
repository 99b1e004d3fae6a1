# SPDX-License-Identifier: Apache-2.0
"""One run of one side: create so many services, change the image of all, and how long until every pod serves.

Pods are the measure, not the status of either side: a pod counts when it is ready at the wanted image, and the end is reached when as
many count as are wanted and none of another image is left that is not leaving.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from bench.plane import Plane
from bench.pods import SEEN, Pod
from bench.processes import Cost, cost
from bench.rows import NotMeasured
from bench.workloads import NAMESPACE, Side, image, update
from drover_operator.api.meta import Object
from drover_operator.api.resource import MANAGED_SERVICES, Resource
from drover_operator.kube.cache import Cache, Key
from drover_operator.kube.client import Client
from drover_operator.kube.errors import AlreadyExists, NotFound
from drover_operator.kube.reflector import Reflector
from tools.cluster.processes import Process

AT_ONCE = 16  # requests of ours on the way
DEADLINE = 600.0  # seconds
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", Object)


@dataclass(frozen=True, kw_only=True)
class Lap:
    """What one story cost: seconds until every pod served, and what the controller used for it."""

    seconds: float
    cost: Cost


class Course:
    """The pods of the cluster as they come and go, and the services that are declared there."""

    def __init__(self, plane: Plane, client: Client, process: Process, side: Side) -> None:
        self._plane, self._client, self._process, self._side = plane, client, process, side
        self._cache: Cache[Pod] = Cache(SEEN, lambda pod: pod.metadata.key)
        self._changed = asyncio.Event()
        self._counted: dict[Key, tuple[str, bool]] = {}  # image, and whether it serves
        self._cache.listen(self._listen)
        self.reflector = Reflector(client, self._cache, random=Random(1))

    def _listen(self, key: Key | None, _old: Object | None, new: Object | None) -> None:
        if key is None:
            return
        if isinstance(new, Pod) and not new.leaving:
            found = new.spec.containers[0].image
            self._counted[key] = (found, new.serves(found))
        else:
            self._counted.pop(key, None)
        self._changed.set()

    async def create(self, names: list[str], replicas: int) -> Lap:
        """Declare services, and wait until their pods serve."""
        return await self._lap(lambda: self._all(names, lambda name: self._declare(name, replicas)), len(names) * replicas, image(1))

    async def change(self, names: list[str], replicas: int, version: int) -> Lap:
        """Change the image of services, and wait until nothing but the new one is there, serving."""
        return await self._lap(lambda: self._all(names, lambda name: self._patch(name, version)), len(names) * replicas, image(version))

    async def remove(self, names: list[str]) -> None:
        """Delete services and wait until their pods are gone."""
        await self._all(names, self._delete)
        await self._until(lambda: not len(self._cache))
        for resource, _ in self._side.bodies(names[0], 1):
            while (await self._client.page(resource, NAMESPACE, limit=1)).items:
                await asyncio.sleep(0.2)

    async def _lap(self, act: Callable[[], Any], wanted: int, wanted_image: str) -> Lap:
        before, begun = cost(self._process.pid), time.perf_counter()
        await act()
        await self._until(lambda: self._reached(wanted, wanted_image))
        seconds = time.perf_counter() - begun
        return Lap(seconds=seconds, cost=cost(self._process.pid).since(before))

    def _reached(self, wanted: int, wanted_image: str) -> bool:
        return len(self._counted) == wanted and all(each == (wanted_image, True) for each in self._counted.values())

    async def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not done():
            self._changed.clear()
            if not self._process.alive:
                raise NotMeasured(f"the {self._side.name} controller ended; see {self._plane.cluster.folder / 'logs'}")
            if time.monotonic() > deadline:
                serving = sum(serves for _, serves in self._counted.values())
                raise NotMeasured(f"{self._side.name}: {serving} of {len(self._counted)} pods serve after {DEADLINE:.0f} s")
            try:
                async with asyncio.timeout(1.0):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _all(self, names: list[str], act: Callable[[str], Any]) -> None:
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> None:
            async with slots:
                await act(name)

        await asyncio.gather(*(one(name) for name in names))

    async def _declare(self, name: str, replicas: int) -> None:
        for resource, body in self._side.bodies(name, replicas, bound=not self._plane.nodes):
            await self._client.create(resource, NAMESPACE, body)

    async def _patch(self, name: str, version: int) -> None:
        strategic = self._side.resource is not MANAGED_SERVICES
        await self._client.patch(self._side.resource, NAMESPACE, name, update(version), strategic=strategic)

    async def _delete(self, name: str) -> None:
        for resource, _ in reversed(self._side.bodies(name, 1)):
            found = await self._client.get(resource, NAMESPACE, name)
            await self._client.delete(resource, NAMESPACE, name, uid=found.metadata.uid)


async def prepare(client: Client) -> None:
    """The namespace, with the account that its pods run as."""
    with suppress(AlreadyExists):
        await client.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    accounts = Resource("", "v1", "serviceaccounts", "ServiceAccount", Object)
    async with asyncio.timeout(30.0):
        while True:
            try:
                await client.get(accounts, NAMESPACE, "default")
            except NotFound:
                await asyncio.sleep(0.1)
            else:
                return
