# SPDX-License-Identifier: Apache-2.0
"""Freezes by hand and by calendar, and the maintenance window of Recreate: what waits, what goes on all the same, and that nothing waits for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from scenarios.flows import by_hand, promote, started, to_the_pause
from scenarios.world import NAMESPACE, World, play, service

Json = dict[str, Any]
TEN = "2026-01-01T00:10:00Z"  # ten minutes after the simulated clock begins


def window(name: str = "freeze", *, at: str = "00:00", lasts: str = "10m", date: str = "2026-01-01", **spec: Any) -> Json:
    body = {"opens": [{"date": date, "from": at, "for": lasts}], **spec}
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "MaintenanceWindow", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": body}


def freeze(**spec: Any) -> Json:
    return window(purpose="Freeze", reason="sales day", **spec)


def scene(act: Callable[[World], Awaitable[None]], **spec: Any) -> None:
    async def played(world: World) -> None:
        await started(world, **spec)
        await act(world)

    play(played)


def new(world: World) -> bool:
    return world.converged() and world.images() == {"app:2.0": 3}


HOW: dict[str, Callable[[World], object]] = {
    "by hand": lambda world: by_hand(world, "frozen", TEN),
    "by calendar": lambda world: world.cluster.apply(freeze()),
}


@pytest.mark.parametrize("how", HOW)
def test_no_update_begins_before_its_end(how: str) -> None:
    async def act(world: World) -> None:
        HOW[how](world)
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: world.status().get("summary") == "Frozen")
        assert TEN in world.condition("Reconciling")["message"]
        await asyncio.sleep(500)
        assert world.images() == {"app:1.0": 3}
        await world.until(lambda: new(world), within=200)

    scene(act)


@pytest.mark.parametrize("how", HOW)
def test_repair_scaling_and_going_back_go_on(how: str) -> None:
    async def act(world: World) -> None:
        target = await to_the_pause(world)
        HOW[how](world)
        await world.until(lambda: world.status().get("summary") == "Frozen")
        promote(world, 3)
        await asyncio.sleep(20)
        assert world.images().get("app:1.0", 0) >= 1, "a step is no way round a freeze"
        world.bounds(2, 4)  # the eviction takes one
        victim = world.pods()[0]["metadata"]
        world.cluster.evict(NAMESPACE, victim["name"])
        await world.until(lambda: len(world.live()) >= 3 and victim["uid"] not in [p["metadata"]["uid"] for p in world.live()])
        by_hand(world, "aborted", target)
        took = await world.until(lambda: world.images() == {"app:1.0": 3})
        assert took < 60

    scene(act)


def test_a_person_lifts_the_calendar_for_one_service_and_a_time() -> None:
    async def act(world: World) -> None:
        world.cluster.apply(freeze(lasts="24h"))
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: world.status().get("summary") == "Frozen")
        by_hand(world, "thawed", TEN)
        await world.until(lambda: new(world))
        await asyncio.sleep(700)
        world.cluster.apply(service(image="app:3.0"))
        await world.until(lambda: world.status().get("summary") == "Frozen")

    scene(act)


def test_a_freeze_of_others_is_no_freeze() -> None:
    async def act(world: World) -> None:
        world.cluster.apply(freeze(services={"matchLabels": {"team": "payments"}}))
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: new(world))

    scene(act)


def test_a_freeze_that_is_deleted_ends_at_once() -> None:
    async def act(world: World) -> None:
        world.cluster.apply(freeze(lasts="24h"))
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: world.status().get("summary") == "Frozen")
        world.cluster.delete("maintenancewindows", NAMESPACE, "freeze")
        await world.until(lambda: new(world), within=20)

    scene(act)


def test_no_deadline_runs_while_it_is_frozen() -> None:
    async def act(world: World) -> None:
        world.cluster.set_image_behaviour("app:2.0", "never-ready")
        world.cluster.apply(service(image="app:2.0", rollout={"progressDeadline": "30s"}))
        await world.until(lambda: world.images().get("app:2.0", 0) == 1)
        by_hand(world, "frozen", TEN)
        await asyncio.sleep(300)
        assert world.status().get("summary") == "Frozen"
        world.cluster.set_image_behaviour("app:2.0", "normal")
        await world.until(lambda: new(world), within=600)

    scene(act)


def test_the_first_version_of_a_service_is_no_update() -> None:
    async def first(world: World) -> None:
        world.cluster.apply(freeze(lasts="24h"))
        world.operator()
        world.cluster.apply(service())
        await world.until(world.converged)

    play(first)


# --- the window of Recreate


def recreated(name: str = "night") -> Json:
    return service(image="app:2.0", rollout={"type": "Recreate", "recreate": {"acknowledge": "told everybody", "window": name}})


def test_the_downtime_begins_when_the_window_opens_and_ends_though_it_closes() -> None:
    async def act(world: World) -> None:
        world.cluster.apply(window("night", at="00:05", lasts="1m"))
        world.cluster.set_image_behaviour("app:2.0", "normal", start_delay=90.0)
        world.cluster.apply(recreated())
        await world.until(lambda: world.status().get("summary") == "WaitsForWindow")
        await asyncio.sleep(200)
        assert len(world.ready_endpoints()) == 3, "the old version serves until then"
        await world.until(lambda: not world.ready_endpoints(), within=150)
        await world.until(lambda: new(world), within=300)

    scene(act)


@pytest.mark.parametrize(("given", "reason"), [([], "WindowNotFound"), ([window("night", date="2025-12-31")], "WindowNeverOpens")], ids=["none", "past"])
def test_a_window_that_never_opens_is_told_and_nothing_is_taken_down(given: list[Json], reason: str) -> None:
    async def act(world: World) -> None:
        for each in given:
            world.cluster.apply(each)
        world.cluster.apply(recreated())
        await world.until(lambda: world.status().get("summary") == reason)
        assert world.condition("Stalled")["status"] == "True"
        await asyncio.sleep(100)
        assert world.images() == {"app:1.0": 3}
        world.cluster.apply(window("night", at="00:00", lasts="24h"))
        await world.until(lambda: new(world))

    scene(act)
