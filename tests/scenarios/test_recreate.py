# SPDX-License-Identifier: Apache-2.0
"""Recreate at every instant: containers of two versions never run at the same time, whatever is lost or killed meanwhile."""

from collections.abc import Callable

import pytest
from scenarios.flows import FLOWS, started
from scenarios.world import World, play, service


def running(world: World) -> set[str]:
    """The images whose containers run now."""
    pods = (p for p in world.watcher.pods() if p.get("status", {}).get("phase") == "Running")
    return {p["spec"]["containers"][0]["image"] for p in pods}


def watched(world: World) -> list[set[str]]:
    """Every moment at which two versions ran."""
    both: list[set[str]] = []

    def look() -> None:
        if len(found := running(world)) > 1:
            both.append(found)

    world.cluster.on_change("pods", look)
    return both


def kill_at_every(share: int) -> Callable[[World], None]:
    return lambda world: world.crash_at(share, "after")


@pytest.mark.parametrize("name", ["recreate", "recreate that fails"])
@pytest.mark.parametrize("act", [lambda _: None, kill_at_every(3), kill_at_every(8)], ids=["calm", "killed early", "killed late"])
def test_two_versions_never_run_at_the_same_time(name: str, act: Callable[[World], None]):
    seen: list[list[set[str]]] = []

    async def scene(world: World) -> None:
        await started(world)
        seen.append(watched(world))
        act(world)
        await FLOWS[name](world)

    play(scene)
    assert seen[0] == []


def test_a_node_that_cannot_be_reached_holds_the_new_version_up():
    """Nothing proves that what ran there has ended; the status says what it waits for, and when the node is back it goes on."""

    async def scene(world: World) -> None:
        await started(world)
        both = watched(world)
        world.cluster.node_down("node-1")
        world.cluster.apply(service(image="app:2.0", rollout={"type": "Recreate"}))
        await world.until(lambda: any(each["reason"] == "WaitsForOldVersion" for each in world.status().get("plan", ())), within=120)
        assert "app:2.0" not in world.images()
        world.cluster.node_up("node-1")
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3}, within=600)
        assert both == []

    play(scene)
