# SPDX-License-Identifier: Apache-2.0
"""The least that any controller has to write: pods made, pods deleted, by a loop that knows nothing else and tells nobody.

No record of a revision, no status, no Event, no owner, no budget, no fence. It is what both sides could reach at best with this API server
on this machine: a goal beyond it cannot be met here by any controller that replaces pods a quarter at a time.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from math import ceil
from random import Random

from bench.plane import Plane
from bench.pods import SEEN, Pod
from bench.race import AT_ONCE, DEADLINE, prepare
from bench.workloads import APP, NAMESPACE, front, image, plain_pod
from drover_operator.api.meta import Object
from drover_operator.api.resource import PODS, SERVICES
from drover_operator.kube.cache import Cache, Key
from drover_operator.kube.client import Client
from drover_operator.kube.reflector import Reflector


@dataclass(frozen=True)
class Floor:
    """Seconds until everything served that was created, and until everything served another image."""

    create: float
    change: float


def floor(plane: Plane, *, services: int, replicas: int) -> Floor:
    """Take both stories, once."""
    with nullcontext() if plane.nodes else plane.stub():
        return asyncio.run(_floor(plane, [f"s{number}" for number in range(services)], replicas))


async def _floor(plane: Plane, names: list[str], replicas: int) -> Floor:
    async with plane.client() as client:
        await prepare(client)
        loop = _Loop(client, replicas, bound=not plane.nodes)
        following = asyncio.create_task(loop.reflector.run())
        try:
            async with asyncio.timeout(DEADLINE):
                create = await _seconds(loop.create(name) for name in names)
                change = await _seconds(loop.change(name) for name in names)
                await _seconds(loop.remove(name) for name in names)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
    return Floor(create, change)


async def _seconds(work: Iterable[Coroutine[None, None, None]]) -> float:
    begun = time.perf_counter()
    await asyncio.gather(*work)
    return time.perf_counter() - begun


class _Loop:
    """One task for each service, which looks at its own pods only."""

    def __init__(self, client: Client, replicas: int, *, bound: bool) -> None:
        self._client, self._replicas, self._bound = client, replicas, bound
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._pods: defaultdict[str, dict[Key, Pod]] = defaultdict(dict)
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        cache: Cache[Pod] = Cache(SEEN, lambda pod: pod.metadata.key)
        cache.listen(self._listen)
        self.reflector = Reflector(client, cache, random=Random(1))

    def _listen(self, key: Key | None, old: Object | None, new: Object | None) -> None:
        pod = new or old
        if key is None or not isinstance(pod, Pod):
            return
        name = pod.metadata.labels.get(APP, "")
        if new is None:
            self._pods[name].pop(key, None)
        else:
            self._pods[name][key] = pod
        self._changed[name].set()

    async def create(self, name: str) -> None:
        """A Service and its pods, until they serve."""
        async with self._slots:
            await self._client.create(SERVICES, NAMESPACE, front(name))
        await asyncio.gather(*(self._make(name, 1, number) for number in range(self._replicas)))
        await self._until(name, lambda: all(self._serves(name, 1, number) for number in range(self._replicas)))

    async def change(self, name: str) -> None:
        """Pods of another image in their place: some made before the old one goes, and some after it."""
        left = list(range(self._replicas))
        lanes = [True] * (self._replicas // 4) + [False] * ceil(self._replicas / 4)
        await asyncio.gather(*(self._lane(name, left, ends_first=each) for each in lanes))
        await self._until(name, lambda: len(self._pods[name]) == self._replicas)

    async def remove(self, name: str) -> None:
        """Take all of it away."""
        await asyncio.gather(*(self._end(name, 2, number) for number in range(self._replicas)))
        async with self._slots:
            found = await self._client.get(SERVICES, NAMESPACE, name)
            await self._client.delete(SERVICES, NAMESPACE, name, uid=found.metadata.uid)
        await self._until(name, lambda: not self._pods[name])

    async def _lane(self, name: str, left: list[int], *, ends_first: bool) -> None:
        while left:
            number = left.pop()
            if ends_first:
                await self._end(name, 1, number)
            await self._make(name, 2, number)
            await self._until(name, partial(self._serves, name, 2, number))
            if not ends_first:
                await self._end(name, 1, number)

    async def _make(self, name: str, version: int, number: int) -> None:
        async with self._slots:
            await self._client.create(PODS, NAMESPACE, plain_pod(name, version, number, bound=self._bound))

    async def _end(self, name: str, version: int, number: int) -> None:
        pod = self._pods[name][(NAMESPACE, f"{name}-{version}-{number}")]
        async with self._slots:
            await self._client.delete(PODS, NAMESPACE, pod.metadata.name, uid=pod.metadata.uid)

    def _serves(self, name: str, version: int, number: int) -> bool:
        pod = self._pods[name].get((NAMESPACE, f"{name}-{version}-{number}"))
        return pod is not None and pod.serves(image(version))

    async def _until(self, name: str, done: Callable[[], bool]) -> None:
        while not done():
            self._changed[name].clear()
            await self._changed[name].wait()
