# SPDX-License-Identifier: Apache-2.0
"""Both sides in turn on one control plane, again and again: what the groups with a real API server have in common."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from statistics import median

from bench.plane import UNTHROTTLED, Plane
from bench.race import Course, Lap, prepare
from bench.rows import NotMeasured
from bench.workloads import BUILT_IN, Side
from drover_operator.kube.client import Client
from tools.cluster.processes import Process

SETTLED = 1.0  # seconds between two stories, for what trails: slices, statuses, Events
READY = 120.0  # seconds for a controller to have its caches, or its Lease, and for the garbage collector to come to what it left last time


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of one side: both stories."""

    create: Lap
    change: Lap


@dataclass(frozen=True)
class Results:
    """All rounds of one side."""

    rounds: tuple[Round, ...]

    def create_seconds(self) -> float:
        """Median time until everything that was created served."""
        return median(each.create.seconds for each in self.rounds)

    def change_seconds(self) -> float:
        """Median time until everything served the new image."""
        return median(each.change.seconds for each in self.rounds)

    def cpu(self) -> float:
        """Median CPU seconds of the controller for both stories."""
        return median(each.create.cost.cpu + each.change.cost.cpu for each in self.rounds)

    def peak(self) -> float:
        """Median peak memory of the controller, in MB."""
        return median(each.change.cost.peak for each in self.rounds)


@asynccontextmanager
async def running(plane: Plane, side: Side, limits: tuple[int, int] = UNTHROTTLED) -> AsyncGenerator[tuple[Course, Client, Process]]:
    """One side at work: its controller proves that it is by a service of one pod."""
    with plane.deployments(limits) if side is BUILT_IN else plane.operator() as process:
        async with plane.client() as client:
            await prepare(client)
            course = Course(plane, client, process, side)
            following = asyncio.create_task(course.reflector.run())
            try:
                await _warm_up(course, side)
                yield course, client, process
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)


async def _warm_up(course: Course, side: Side) -> None:
    try:
        async with asyncio.timeout(READY):
            await course.create(["warm-up"], 1)
            await course.remove(["warm-up"])
    except TimeoutError as late:
        raise NotMeasured(f"{side.name}: a service of one pod did not come and go in {READY:.0f} s") from late


def contest(plane: Plane, sides: Sequence[Side], *, services: int, replicas: int, rounds: int, limits: tuple[int, int] = UNTHROTTLED) -> dict[str, Results]:
    """Rounds of all sides in turn, by the name of the side."""
    found: dict[str, list[Round]] = {each.name: [] for each in sides}
    with nullcontext() if plane.nodes else plane.stub():
        for _ in range(rounds):
            for side in sides:
                found[side.name].append(asyncio.run(_round(plane, side, services, replicas, limits)))
    return {name: Results(tuple(each)) for name, each in found.items()}


async def _round(plane: Plane, side: Side, services: int, replicas: int, limits: tuple[int, int]) -> Round:
    names = [f"s{number}" for number in range(services)]
    async with running(plane, side, limits) as (course, _, _):
        create = await course.create(names, replicas)
        await asyncio.sleep(SETTLED)
        change = await course.change(names, replicas, 2)
        await asyncio.sleep(SETTLED)
        await course.remove(names)
        return Round(create=create, change=change)
