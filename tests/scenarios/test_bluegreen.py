# SPDX-License-Identifier: Apache-2.0
"""Blue and green at every instant: the Service shows one version at a time, never fewer instances of it than are wanted, and goes back at once."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from scenarios.flows import by_hand, promote, started
from scenarios.world import World, play, service

Act = Callable[[World, "Colours"], Awaitable[None]]


class Colours:
    """What the proxies are told after each change: `problems` is what must never be, `seen` the versions in the order in which they came."""

    def __init__(self, world: World, replicas: int = 3) -> None:
        self.problems: list[str] = []
        self.seen: list[str] = []
        self.fewest = replicas
        self._world = world
        for resource in ("pods", "endpointslices", "services"):
            world.cluster.on_change(resource, self._look)

    def _look(self) -> None:
        listed = set(self._world.watcher.ready_endpoints())
        images = Counter(p["spec"]["containers"][0]["image"] for p in self._world.watcher.pods() if p["metadata"]["uid"] in listed)
        if not images:
            return
        if len(images) > 1:
            self.problems.append(f"two versions serve: {dict(images)}")
        if sum(images.values()) < self.fewest:
            self.problems.append(f"{dict(images)} of {self.fewest}")
        if (now := min(images)) not in self.seen[-1:]:
            self.seen.append(now)


def wish(image: str = "app:2.0", *, auto: bool = False, keep: str = "20s", **rollout: object) -> dict[str, object]:
    colours = {"autoPromote": auto, "keepFor": keep}
    return service(image=image, rollout={"type": "BlueGreen", "progressDeadline": "30s", "blueGreen": colours, **rollout})


def played(act: Act) -> Colours:
    found: list[Colours] = []

    async def scene(world: World) -> None:
        await started(world, rollout={"type": "BlueGreen"})
        found.append(Colours(world))
        await act(world, found[0])

    play(scene)
    return found[0]


async def to_the_preview(world: World) -> str:
    world.cluster.apply(wish())
    await world.until(lambda: world.status().get("summary") == "WaitsForPromotion")
    return str(world.status()["rollout"]["target"])


def test_a_whole_second_set_is_made_and_then_switched_to_by_one_write():
    async def act(world: World, colours: Colours) -> None:
        await to_the_preview(world)
        assert world.images() == {"app:1.0": 3, "app:2.0": 3}
        assert colours.seen == ["app:1.0"], "the preview serves nobody"
        begin = len(world.writes("patch"))
        promote(world, 1)
        await world.until(lambda: world.status().get("summary") == "HoldsAtStep")
        fronts = [w for w in world.writes("patch")[begin:] if w.resource == "services" and w.changed]
        assert len(fronts) == 1
        assert world.images() == {"app:1.0": 3, "app:2.0": 3}, "the old set is kept"
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})

    colours = played(act)
    assert (colours.problems, colours.seen) == ([], ["app:1.0", "app:2.0"])


def test_by_itself_where_nobody_needs_to_be_asked():
    async def act(world: World, _: Colours) -> None:
        world.cluster.apply(wish(auto=True, keep="0s"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})

    colours = played(act)
    assert (colours.problems, colours.seen) == ([], ["app:1.0", "app:2.0"])


def test_a_preview_that_does_not_come_up_serves_nobody():
    async def act(world: World, _: Colours) -> None:
        world.cluster.set_image_behaviour("app:bad", "never-ready")
        world.cluster.apply(wish("app:bad", auto=True))
        await world.until(lambda: world.status().get("summary") == "RolledBack" and world.images() == {"app:1.0": 3}, within=200)

    colours = played(act)
    assert (colours.problems, colours.seen) == ([], ["app:1.0"])


@pytest.mark.parametrize("after", ["the preview", "the switch"])
def test_aborted(after: str):
    async def act(world: World, _: Colours) -> None:
        target = await to_the_preview(world)
        if after == "the switch":
            promote(world, 1)
            await world.until(lambda: world.status().get("summary") == "HoldsAtStep")
        by_hand(world, "aborted", target)
        took = await world.until(lambda: set(world.images()) == {"app:1.0"} and world.status().get("phase") == "Run")
        assert took < 30

    colours = played(act)
    assert colours.problems == []
    assert colours.seen[-1] == "app:1.0"


def test_the_new_set_falls_ill_after_the_switch():
    """Traffic stays with it as long as it has anybody; the old set is there, and an abort brings all of it back."""

    async def act(world: World, _: Colours) -> None:
        target = await to_the_preview(world)
        promote(world, 1)
        await world.until(lambda: world.status().get("summary") == "HoldsAtStep")
        world.cluster.set_image_behaviour("app:2.0", "never-ready")
        for pod in [p for p in world.live() if p["spec"]["containers"][0]["image"] == "app:2.0"]:
            world.cluster.restart_containers("shop", pod["metadata"]["name"])
        await asyncio.sleep(2)
        by_hand(world, "aborted", target)
        await world.until(lambda: set(world.images()) == {"app:1.0"} and len(world.ready_endpoints()) == 3)

    assert played(act).seen[-1] == "app:1.0"


def test_paused_in_the_preview_nobody_leaves():
    async def act(world: World, _: Colours) -> None:
        await to_the_preview(world)
        world.cluster.patch("managedservices", "shop", "web", {"spec": {"paused": True}})
        await asyncio.sleep(30)
        assert world.images()["app:1.0"] == 3
        world.cluster.patch("managedservices", "shop", "web", {"spec": {"paused": False}})
        await world.until(lambda: world.status().get("summary") == "WaitsForPromotion")

    assert played(act).problems == []


def test_a_second_version_in_the_midst_of_the_first():
    async def act(world: World, _: Colours) -> None:
        await to_the_preview(world)
        world.cluster.apply(wish("app:3.0", auto=True, keep="0s"))
        await world.until(lambda: world.converged() and world.images() == {"app:3.0": 3})

    colours = played(act)
    assert (colours.problems, colours.seen) == ([], ["app:1.0", "app:3.0"])


@pytest.mark.parametrize("replicas", [1, 5])
def test_scaled_in_the_preview(replicas: int):
    async def act(world: World, colours: Colours) -> None:
        await to_the_preview(world)
        colours.fewest = min(3, replicas)
        world.cluster.scale("shop", "web", replicas)
        await world.until(lambda: world.images() == {"app:1.0": replicas, "app:2.0": replicas})
        promote(world, 1)
        await world.until(lambda: world.images() == {"app:2.0": replicas}, within=200)

    assert played(act).problems == []


def test_from_rolling_to_colours_in_the_midst_of_a_rollout():
    async def scene(world: World) -> None:
        await started(world)
        world.cluster.set_image_behaviour("app:2.0", "never-ready")
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: world.images().get("app:2.0", 0) == 1)
        world.bounds(3, 6)
        world.cluster.set_image_behaviour("app:2.0", "normal")
        world.cluster.apply(wish(auto=True, keep="0s"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})

    play(scene)


def test_back_by_pin_is_tested_and_switched_as_well():
    async def act(world: World, colours: Colours) -> None:
        world.cluster.apply(wish(auto=True, keep="0s"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})
        first = next(r["metadata"]["name"] for r in world.cluster.objects("controllerrevisions", "shop") if r["revision"] == 1)
        world.cluster.patch("managedservices", "shop", "web", {"spec": {"pin": {"revision": first}}})
        await world.until(lambda: world.images() == {"app:1.0": 3} and len(world.pods()) == 3 and world.status().get("phase") == "Run")
        assert colours.seen == ["app:1.0", "app:2.0", "app:1.0"]

    assert played(act).problems == []
