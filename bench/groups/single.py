# SPDX-License-Identifier: Apache-2.0
"""One service of ten on a real API server with scheduler and kwok: how long an image takes, how many writes that costs, and what rest costs.

The API server's audit log says who wrote what.
"""

import asyncio
from dataclasses import dataclass
from functools import cache
from statistics import median

from bench.audit import Audit
from bench.contest import running
from bench.plane import Plane, plane
from bench.rows import Figure, at_most, row
from bench.workloads import BUILT_IN, OURS, OURS_CAREFUL, Side

REPLICAS, PATCHES = 10, 5
IDLE_SERVICES, IDLE_SECONDS = 500, 60.0


@dataclass(frozen=True)
class Single:
    """One service of ten: seconds from the patch of its image to the last pod serving, and writes of its controller meanwhile."""

    seconds: float
    writes: float


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
    """Writes of the operator in a minute with services that nothing happens to, but for leases."""
    audit = Audit(built.audit_log)
    names = [f"s{number}" for number in range(IDLE_SERVICES)]
    async with running(built, OURS) as (course, _, _):
        await course.create(names, 1)
        await asyncio.sleep(15.0)
        mark = audit.mark()
        await asyncio.sleep(IDLE_SECONDS)
        found = float(audit.writes(OURS, mark))
        await course.remove(names)
    return found


@row("single.roll", unit="s", goal=at_most(0.6, of="ratio"))
def single() -> Figure:
    """One service of ten: from the patch of its image to the last pod serving; neither side drains."""
    found, _ = _few()
    return Figure(found[OURS.name].seconds, found[BUILT_IN.name].seconds)


@row("single.roll.drained", unit="s")
def single_drained() -> Figure:
    """The same with our defaults: drained, settled for 2 s, and nobody missing meanwhile."""
    found, _ = _few()
    return Figure(found[OURS_CAREFUL.name].seconds, found[BUILT_IN.name].seconds)


@row("single.writes", unit="writes", goal=at_most(48))
def writes() -> Figure:
    """Writes of the controller for it, Events apart, as the API server counts them."""
    found, _ = _few()
    return Figure(found[OURS.name].writes, found[BUILT_IN.name].writes)


@row("single.writes.drained", unit="writes", goal=at_most(48))
def writes_drained() -> Figure:
    """The same with our defaults."""
    found, _ = _few()
    return Figure(found[OURS_CAREFUL.name].writes, found[BUILT_IN.name].writes)


@row("single.idle", unit="writes", goal=at_most(0))
def idle() -> Figure:
    """Writes of the operator in a minute with 500 services that nothing happens to, but for leases, as the API server's audit log tells."""
    return Figure(_few()[1])
