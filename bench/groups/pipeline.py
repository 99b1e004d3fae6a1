# SPDX-License-Identifier: Apache-2.0
"""The whole way on a real API server: scheduler without client limits, kwok for ten nodes, both sides with a Service in front.

Pods are ready and gone at once there, so that these are the costs of the control plane, not what people see with real images.
"""

import asyncio
from dataclasses import dataclass
from functools import cache
from statistics import median

from bench.audit import Audit
from bench.contest import Results, contest, running
from bench.floor import Floor, floor
from bench.plane import Plane, plane
from bench.rows import Figure, at_least, at_most, row
from bench.workloads import BUILT_IN, OURS, OURS_CAREFUL, Side

SERVICES, REPLICAS, ROUNDS = 100, 10, 3
PODS = SERVICES * REPLICAS
PATCHES = 5
IDLE_SERVICES, IDLE_SECONDS = 500, 60.0


@dataclass(frozen=True)
class Single:
    """One service of ten: seconds from the patch of its image to the last pod serving, and writes of its controller meanwhile."""

    seconds: float
    writes: float


@cache
def _many() -> dict[str, Results]:
    with plane(nodes=True) as built:
        return contest(built, (BUILT_IN, OURS), services=SERVICES, replicas=REPLICAS, rounds=ROUNDS)


@cache
def _floor() -> Floor:
    with plane(nodes=True) as built:
        return floor(built, services=SERVICES, replicas=REPLICAS)


@cache
def _few() -> tuple[dict[str, Single], float]:
    """On a plane of its own, whose API server keeps an audit log of both sides."""
    with plane(nodes=True, audited=True) as built:
        return {side.name: asyncio.run(_single(built, side)) for side in (BUILT_IN, OURS, OURS_CAREFUL)}, asyncio.run(_idle(built))


async def _single(built: Plane, side: Side) -> Single:
    """One service, updated again and again, each time after a pause in which everything that trails has ended."""
    audit, seconds, writes = Audit(built.audit_log), list[float](), list[float]()
    async with running(built, side) as (course, _, _):
        await course.create(["one"], REPLICAS)
        for version in range(2, PATCHES + 2):
            await asyncio.sleep(3.0)
            mark = audit.mark()
            seconds.append((await course.change(["one"], REPLICAS, version)).seconds)
            await asyncio.sleep(3.0)
            writes.append(audit.writes(side, mark))
        await course.remove(["one"])
    return Single(median(seconds), median(writes))


async def _idle(built: Plane) -> float:
    """Writes that the API server counted in a minute with services that nothing happens to, but for leases."""
    names = [f"s{number}" for number in range(IDLE_SERVICES)]
    async with running(built, OURS) as (course, _, _):
        await course.create(names, 1)
        await asyncio.sleep(15.0)
        before = built.writes()
        await asyncio.sleep(IDLE_SECONDS)
        found = built.writes() - before
        await course.remove(names)
    return found


@row("pipeline.create", unit="pods/s", goal=at_least(1.2, of="ratio"))
def create() -> Figure:
    """Pods created, scheduled and serving, a second: 100 services of 10."""
    many = _many()
    return Figure(PODS / many[OURS.name].create_seconds(), PODS / many[BUILT_IN.name].create_seconds())


@row("pipeline.create.floor", unit="pods/s")
def create_floor() -> Figure:
    """The same by a loop that writes nothing but pods: no controller that makes them one by one is faster here."""
    return Figure(PODS / _floor().create, PODS / _many()[BUILT_IN.name].create_seconds())


@row("pipeline.roll", unit="pods/s", goal=at_least(1.5, of="ratio"))
def roll() -> Figure:
    """Pods replaced in rolling updates of all of them, a second; neither side drains."""
    many = _many()
    return Figure(PODS / many[OURS.name].change_seconds(), PODS / many[BUILT_IN.name].change_seconds())


@row("pipeline.roll.floor", unit="pods/s")
def roll_floor() -> Figure:
    """The same by a loop that writes nothing but pods."""
    return Figure(PODS / _floor().change, PODS / _many()[BUILT_IN.name].change_seconds())


@row("pipeline.cpu", unit="s", goal=at_most(0.5, of="ratio"))
def cpu() -> Figure:
    """CPU of the controller process for both."""
    many = _many()
    return Figure(many[OURS.name].cpu(), many[BUILT_IN.name].cpu())


@row("pipeline.memory", unit="MB", goal=at_most(0.6, of="ratio"))
def memory() -> Figure:
    """Most memory of the controller process."""
    many = _many()
    return Figure(many[OURS.name].peak(), many[BUILT_IN.name].peak())


@row("pipeline.single", unit="s", goal=at_most(0.6, of="ratio"))
def single() -> Figure:
    """One service of ten: from the patch of its image to the last pod serving; neither side drains."""
    found, _ = _few()
    return Figure(found[OURS.name].seconds, found[BUILT_IN.name].seconds)


@row("pipeline.single.drained", unit="s")
def single_drained() -> Figure:
    """The same with our defaults: drained, settled for 2 s, and nobody missing meanwhile."""
    found, _ = _few()
    return Figure(found[OURS_CAREFUL.name].seconds, found[BUILT_IN.name].seconds)


@row("pipeline.writes", unit="writes", goal=at_most(48))
def writes() -> Figure:
    """Writes of the controller for it, Events apart, as the API server counts them."""
    found, _ = _few()
    return Figure(found[OURS.name].writes, found[BUILT_IN.name].writes)


@row("pipeline.writes.drained", unit="writes", goal=at_most(48))
def writes_drained() -> Figure:
    """The same with our defaults."""
    found, _ = _few()
    return Figure(found[OURS_CAREFUL.name].writes, found[BUILT_IN.name].writes)


@row("pipeline.idle", unit="writes", goal=at_most(0))
def idle() -> Figure:
    """Writes in a minute with 500 services that nothing happens to, but for leases, as the API server counts them."""
    return Figure(_few()[1])
