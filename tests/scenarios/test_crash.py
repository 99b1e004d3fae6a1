# SPDX-License-Identifier: Apache-2.0
"""Kill the operator at every write of every flow, before it is sent and after it was applied, and look where it ends."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from scenarios.world import NAMESPACE, World, play, service, state

Flow = Callable[[World], Coroutine[Any, Any, None]]


async def started(world: World, **spec: Any) -> None:
    """A service in Run; crash points are counted from here."""
    world.operator()
    world.cluster.apply(service(**spec))
    await world.until(world.converged)
    world.write_points = 0


async def create(world: World) -> None:
    world.operator()
    world.cluster.apply(service())
    await world.until(world.converged)


async def roll(world: World) -> None:
    world.floor, world.ceiling = (lambda: 3), (lambda: 4)
    world.cluster.apply(service(image="app:2.0"))
    await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})


async def scale_out(world: World) -> None:
    world.cluster.scale(NAMESPACE, "web", 5)
    await world.until(lambda: world.converged() and len(world.pods()) == 5)


async def scale_in(world: World) -> None:
    world.floor = lambda: 1
    world.cluster.scale(NAMESPACE, "web", 1)
    await world.until(lambda: world.converged() and len(world.pods()) == 1)


async def change_of_mind(world: World) -> None:
    world.floor, world.ceiling = (lambda: 3), (lambda: 4)
    world.cluster.apply(service(image="app:2.0"))
    await world.until(lambda: world.images().get("app:2.0", 0) >= 1)
    world.cluster.apply(service(image="app:3.0"))
    await world.until(lambda: world.converged() and world.images() == {"app:3.0": 3})


async def roll_back(world: World) -> None:
    world.floor, world.ceiling = (lambda: 3), (lambda: 4)
    world.cluster.set_image_behaviour("app:bad", "never-ready")
    world.cluster.apply(service(image="app:bad", rollout={"progressDeadline": "30s"}))
    await world.until(lambda: world.status().get("summary") == "RolledBack" and world.images() == {"app:1.0": 3} and len(world.pods()) == 3, within=300)
    await world.until(lambda: world.status().get("phase") == "Run" and not world.status().get("plan"))


async def repair(world: World) -> None:
    victim = world.pods()[0]["metadata"]
    world.cluster.evict(NAMESPACE, victim["name"])
    await world.until(lambda: victim["uid"] not in [p["metadata"]["uid"] for p in world.pods()] and world.converged())


async def delete(world: World) -> None:
    world.cluster.delete("managedservices", NAMESPACE, "web")
    await world.until(lambda: world.cluster.find("managedservices", NAMESPACE, "web") is None and not world.pods())


FLOWS: dict[str, tuple[Flow, bool]] = {
    "create": (create, False),
    "rolling update": (roll, True),
    "scale out": (scale_out, True),
    "scale in": (scale_in, True),
    "change of mind": (change_of_mind, True),
    "rollback by deadline": (roll_back, True),
    "repair": (repair, True),
    "delete": (delete, True),
}


def run(name: str, crash: tuple[int, str] | None) -> World:
    flow, needs_service = FLOWS[name]

    async def scenario(world: World) -> None:
        if needs_service:
            await started(world)
        if crash:
            world.crash_at(*crash)
        await flow(world)
        await asyncio.sleep(10)  # until the last status is told

    return play(scenario)


@pytest.mark.parametrize("name", FLOWS)
def test_a_crash_at_any_write_ends_where_an_undisturbed_run_ends(name: str, record_property: Callable[[str, object], None]):
    calm = run(name, None)
    wanted, points = state(calm), calm.write_points
    record_property("write_points", points)
    assert points >= 3
    for point in range(1, points + 1):
        for when in ("before", "after"):
            world = run(name, (point, when))
            assert world.crashed, f"{name}: no crash at write {point} {when}"
            assert state(world) == wanted, f"{name}: crash {when} write {point} of {points}"
    print(f"{name}: {points} write points, {2 * points} crashes")
