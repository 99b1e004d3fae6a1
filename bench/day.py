# SPDX-License-Identifier: Apache-2.0
"""A day of fifty services: mostly idle, as clusters are, so that it shows what being there costs.

Each service has its troubles at some time of the day, 25 minutes apart: a new image, out to five, back to three, a second image, an
evicted pod. Between them there is nothing but the lease, the watches, and a look at every key each ten minutes.
"""

import asyncio
from collections.abc import Callable
from random import Random

from bench.rows import NotMeasured
from bench.simulated import NAMESPACE, converged, images, operated, pods, service
from drover_operator.testing import SimulatedCluster, virtualtime

SERVICES, REPLICAS = 50, 3
DAY, APART = 24 * 3600.0, 1500.0  # seconds
Event = tuple[float, Callable[[], object]]


def live_through() -> None:
    """Simulate the day.

    Raises:
        NotMeasured: it did not end with every service whole at its second image.
    """
    virtualtime.run(_day)


async def _day() -> None:
    loop, random = asyncio.get_running_loop(), Random(1)
    async with operated() as cluster:
        events: list[Event] = []
        for number in range(SERVICES):
            cluster.apply(service(f"web-{number}", replicas=REPLICAS))
            events += _events(cluster, f"web-{number}", random.uniform(600.0, DAY - 6 * APART))
        for at, happen in sorted(events, key=lambda event: event[0]):
            await asyncio.sleep(max(0.0, at - loop.time()))
            happen()
        await asyncio.sleep(DAY - loop.time())
        _check(cluster)


def _events(cluster: SimulatedCluster, name: str, begin: float) -> list[Event]:
    happen: tuple[Callable[[], object], ...] = (
        lambda: cluster.apply(service(name, replicas=REPLICAS, image="app:2.0")),
        lambda: cluster.scale(NAMESPACE, name, 5),
        lambda: cluster.scale(NAMESPACE, name, REPLICAS),
        lambda: cluster.apply(service(name, replicas=REPLICAS, image="app:3.0")),
        lambda: cluster.evict(NAMESPACE, pods(cluster, name)[0]["metadata"]["name"]),
    )
    return [(begin + APART * number, each) for number, each in enumerate(happen)]


def _check(cluster: SimulatedCluster) -> None:
    left = [f"web-{number}" for number in range(SERVICES) if not converged(cluster, f"web-{number}")]
    if left or images(cluster) != {"app:3.0": SERVICES * REPLICAS}:
        raise NotMeasured(f"not converged at the end of the day: {left}; pods by image: {images(cluster)}")
