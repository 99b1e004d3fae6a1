# SPDX-License-Identifier: Apache-2.0
"""How fast the test kit is: its speed decides how much can be tried before each change."""

import asyncio
from functools import cache
from typing import Any

import msgspec

from bench.day import live_through
from bench.measure import both_seconds, median_wall_seconds
from bench.rows import Figure, NotMeasured, at_least, at_most, row
from bench.simulated import NAMESPACE, converged, images, operated, service
from drover_operator.api.builtin import Pod
from drover_operator.api.resource import PODS
from drover_operator.kube.cache import Cache
from drover_operator.kube.client import Client
from drover_operator.kube.reflector import Reflector
from drover_operator.kube.transport import JSON, Request
from drover_operator.testing import SimulatedCluster, virtualtime

LONGEST_DAY = 20.0  # seconds
SCENARIOS, RUNS, WRITES = 20, 5, 2000
IN_TURN, PAUSE = 20, 0.01  # pods that change one after the other, and the seconds after each round of them


@cache
def _day() -> tuple[float, float]:
    return both_seconds(live_through)


@row("simulation.day", unit="s", goal=at_most(LONGEST_DAY))
def day() -> Figure:
    """24 simulated hours of 50 services under one operator, each with two updates, a scaling out and in, and an eviction."""
    return Figure(_day()[0])


@row("simulation.day.cpu", unit="s", goal=at_most(LONGEST_DAY))
def day_of_cpu() -> Figure:
    """The same in CPU time: the wall time of a machine that has nothing else to do."""
    return Figure(_day()[1])


@row("simulation.scenarios", unit="1/min", goal=at_least(300.0))
def scenarios() -> Figure:
    """Scenarios a minute in one process: a cluster and an operator from nothing, three instances, a rolling update; by the median."""
    return Figure(60.0 / median_wall_seconds(lambda: virtualtime.run(_update), SCENARIOS))


async def _update() -> None:
    async with operated() as cluster:
        cluster.apply(service())
        await cluster.until(lambda: converged(cluster), 60.0)
        cluster.apply(service(image="app:2.0"))
        await cluster.until(lambda: converged(cluster), 60.0)
        if images(cluster) != {"app:2.0": 3}:
            raise NotMeasured(f"pods by image: {images(cluster)}")


@row("simulation.creates", unit="1/s")
def creates() -> Figure:
    """Pods created a second, one request after the other, on a cluster in which nobody acts."""
    return Figure(WRITES / median_wall_seconds(lambda: virtualtime.run(_create), RUNS))


async def _create() -> None:
    cluster = SimulatedCluster()
    cluster.create_namespace(NAMESPACE)
    transport = cluster.transport()
    for number in range(WRITES):
        request = Request(method="POST", path=PODS.path(NAMESPACE), body=msgspec.json.encode(_pod(number)), headers={"Content-Type": JSON})
        reply = await transport.send(request)
        if reply.status != 201:
            raise NotMeasured(f"pod {number}: {reply.status} {reply.body!r}")


@row("simulation.events", unit="1/s")
def events() -> Figure:
    """Changes of pods a second that are written by a node and have come through a watch into the operator's cache."""
    return Figure(WRITES / median_wall_seconds(lambda: virtualtime.run(_change), RUNS))


async def _change() -> None:
    cluster = SimulatedCluster()
    cluster.create_namespace(NAMESPACE)
    for number in range(IN_TURN):
        cluster.apply(_pod(number))
    cache: Cache[Pod] = Cache(PODS, lambda pod: pod.metadata.key)
    following = asyncio.create_task(Reflector(Client(cluster.transport()), cache).run())
    for number in range(WRITES):
        change = {"status": {"phase": "Running", "podIP": f"10.0.{number // 250}.{number % 250}"}}
        cluster.patch("pods", NAMESPACE, f"pod-{number % IN_TURN}", change, "status")
        if number % IN_TURN == 0:
            await asyncio.sleep(PAUSE)
    await cluster.until(lambda: cache.watermark >= cluster.server.storage.revision)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def _pod(number: int) -> dict[str, Any]:
    meta = {"name": f"pod-{number}", "namespace": NAMESPACE, "labels": {"drover.dev/service": "web"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "server", "image": "app:1.0"}]}}
