# SPDX-License-Identifier: Apache-2.0
"""The flows that a service goes through, each from a service in Run (but the first), with the bounds that hold meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from scenarios.world import NAMESPACE, World, service

Flow = Callable[[World], Coroutine[Any, Any, None]]


async def started(world: World, **spec: Any) -> None:
    """A service in Run; write points are counted from here."""
    world.operator()
    world.cluster.apply(service(**spec))
    await world.until(world.converged)
    world.write_points = 0


async def create(world: World) -> None:
    world.operator()
    world.cluster.apply(service())
    await world.until(world.converged)


async def roll(world: World) -> None:
    world.bounds(3, 4)
    world.cluster.apply(service(image="app:2.0"))
    await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})


async def scale_out(world: World) -> None:
    world.cluster.scale(NAMESPACE, "web", 5)
    await world.until(lambda: world.converged() and len(world.pods()) == 5)


async def scale_in(world: World) -> None:
    world.bounds(1, 5)
    world.cluster.scale(NAMESPACE, "web", 1)
    await world.until(lambda: world.converged() and len(world.pods()) == 1)


async def change_of_mind(world: World) -> None:
    world.bounds(3, 4)
    world.cluster.apply(service(image="app:2.0"))
    await world.until(lambda: world.images().get("app:2.0", 0) >= 1)
    world.cluster.apply(service(image="app:3.0"))
    await world.until(lambda: world.converged() and world.images() == {"app:3.0": 3})


async def roll_back(world: World) -> None:
    world.bounds(3, 4)
    world.cluster.set_image_behaviour("app:bad", "never-ready")
    world.cluster.apply(service(image="app:bad", rollout={"progressDeadline": "30s"}))
    await world.until(lambda: world.status().get("summary") == "RolledBack" and world.images() == {"app:1.0": 3} and len(world.pods()) == 3, within=300)
    await world.until(lambda: world.status().get("phase") == "Run" and not world.status().get("plan"))


STEPS = [{"weight": 25}, {"weight": 50, "hold": "10s"}, {"pause": {}}]


async def to_the_pause(world: World, image: str = "app:2.0") -> str:
    """A new version goes through the steps of a canary up to the pause before the end; returns its revision."""
    world.bounds(3, 4)
    world.cluster.apply(service(image=image, rollout={"type": "Canary", "progressDeadline": "30s", "canary": {"steps": STEPS}}))
    await world.until(lambda: world.status().get("summary") == "WaitsForPromotion", within=120)
    return str(world.status()["rollout"]["target"])


def by_hand(world: World, annotation: str, value: str | None) -> None:
    """What `kubectl drover promote` and `abort` write."""
    world.cluster.patch("managedservices", NAMESPACE, "web", {"metadata": {"annotations": {f"drover.dev/{annotation}": value}}})


def promote(world: World, steps: int) -> None:
    """So many steps are passed in the rollout that is under way."""
    rollout = world.status()["rollout"]
    by_hand(world, "promoted", f"{rollout['target']}/{steps}/{rollout['begunAt']}")


async def canary(world: World) -> None:
    await to_the_pause(world)
    promote(world, len(STEPS))
    await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})


async def canary_aborted(world: World) -> None:
    by_hand(world, "aborted", await to_the_pause(world))
    await world.until(lambda: world.images() == {"app:1.0": 3} and len(world.pods()) == 3 and world.status().get("phase") == "Run")


async def canary_that_fails(world: World) -> None:
    world.bounds(3, 4)
    world.cluster.set_image_behaviour("app:bad", "never-ready")
    world.cluster.apply(service(image="app:bad", rollout={"type": "Canary", "progressDeadline": "30s", "canary": {"steps": STEPS}}))
    await world.until(lambda: world.status().get("summary") == "RolledBack" and world.images() == {"app:1.0": 3} and len(world.pods()) == 3, within=300)
    await world.until(lambda: world.status().get("phase") == "Run" and not world.status().get("plan"))


COLOURS = {"type": "BlueGreen", "progressDeadline": "30s", "blueGreen": {"keepFor": "10s"}}
TEST = {"job": {"template": {"spec": {"containers": [{"name": "test", "image": "test:1"}]}}, "timeout": "20s"}}


async def to_the_preview(world: World) -> str:
    """A second set of full size stands beside the first; returns its revision."""
    world.bounds(3, 6)
    world.cluster.apply(service(image="app:2.0", rollout=COLOURS))
    await world.until(lambda: world.status().get("summary") == "WaitsForPromotion", within=120)
    return str(world.status()["rollout"]["target"])


async def blue_green(world: World) -> None:
    await to_the_preview(world)
    promote(world, 1)
    await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})


async def blue_green_aborted(world: World) -> None:
    """After the switch."""
    target = await to_the_preview(world)
    promote(world, 1)
    await world.until(lambda: world.status().get("summary") == "HoldsAtStep")
    by_hand(world, "aborted", target)
    await world.until(lambda: world.images() == {"app:1.0": 3} and len(world.pods()) == 3 and world.status().get("phase") == "Run")


async def main_flow_test(world: World) -> None:
    world.bounds(3, 4)
    world.cluster.apply(service(image="app:2.0", rollout={"mainFlowTest": TEST}))
    await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})


async def main_flow_test_that_fails(world: World) -> None:
    world.bounds(3, 4)
    world.cluster.set_image_behaviour("test:1", "fail")
    world.cluster.apply(service(image="app:2.0", rollout={"mainFlowTest": TEST}))
    await world.until(lambda: world.status().get("summary") == "RolledBack" and world.images() == {"app:1.0": 3} and len(world.pods()) == 3, within=300)
    await world.until(lambda: world.status().get("phase") == "Run" and not world.status().get("plan"))


ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "shop", "namespace": NAMESPACE},
    "spec": {"parentRefs": [{"name": "gateway"}], "rules": [{"backendRefs": [{"name": "web", "port": 80, "weight": 1}]}]},
}


async def by_route(world: World) -> None:
    """A canary whose weights a router gives; nobody but one who matches gets it at first."""
    world.bounds(3, 6)
    world.cluster.apply(ROUTE)
    steps = [{"match": [{"name": "x-cohort", "value": "staff"}], "replicas": 1}, {"weight": 50, "hold": "2s"}]
    rollout = {"type": "Canary", "progressDeadline": "60s", "canary": {"steps": steps}}
    world.cluster.apply(service(image="app:2.0", rollout=rollout, traffic={"route": {"name": "shop"}, "settle": "1s"}))
    await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3} and at_rest(world))


def at_rest(world: World) -> bool:
    """The route is as its owner wrote it, and no Service of a revision is left."""
    rules = world.cluster.get("httproutes", NAMESPACE, "shop")["spec"]["rules"]
    return bool(rules == ROUTE["spec"]["rules"]) and len(world.cluster.objects("services", NAMESPACE)) == 1  # type: ignore[index]


async def recreate(world: World) -> None:
    world.cluster.apply(service(image="app:2.0", rollout={"type": "Recreate"}))
    await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})


async def recreate_that_fails(world: World) -> None:
    world.cluster.set_image_behaviour("app:bad", "never-ready")
    world.cluster.apply(service(image="app:bad", rollout={"type": "Recreate", "progressDeadline": "30s"}))
    await world.until(lambda: world.status().get("summary") == "RolledBack" and world.images() == {"app:1.0": 3} and len(world.pods()) == 3, within=300)
    await world.until(lambda: world.status().get("phase") == "Run" and not world.status().get("plan"))


async def pin(world: World) -> None:
    world.bounds(3, 4)
    first = next(r["metadata"]["name"] for r in world.cluster.objects("controllerrevisions", NAMESPACE) if r["revision"] == 1)
    world.cluster.apply(service(image="app:2.0", pin={"revision": first}))
    await world.until(lambda: world.images() == {"app:1.0": 3} and len(world.pods()) == 3 and world.status().get("phase") == "Run")


async def repair(world: World) -> None:
    victim = world.pods()[0]["metadata"]
    world.cluster.evict(NAMESPACE, victim["name"])
    await world.until(lambda: victim["uid"] not in [p["metadata"]["uid"] for p in world.pods()] and world.converged())


async def delete(world: World) -> None:
    world.cluster.delete("managedservices", NAMESPACE, "web")
    await world.until(lambda: world.cluster.find("managedservices", NAMESPACE, "web") is None and not world.pods())


FLOWS: dict[str, Flow] = {
    "create": create,
    "rolling update": roll,
    "scale out": scale_out,
    "scale in": scale_in,
    "change of mind": change_of_mind,
    "rollback by deadline": roll_back,
    "canary": canary,
    "canary aborted": canary_aborted,
    "canary that fails": canary_that_fails,
    "blue green": blue_green,
    "blue green aborted": blue_green_aborted,
    "main-flow test": main_flow_test,
    "main-flow test that fails": main_flow_test_that_fails,
    "canary by route": by_route,
    "recreate": recreate,
    "recreate that fails": recreate_that_fails,
    "pin": pin,
    "repair": repair,
    "delete": delete,
}


def scenario(name: str, prepare: Callable[[World], None] = lambda _: None) -> Flow:
    """A flow from its start to the last status; `prepare` is called when its write points begin to count."""

    async def played(world: World) -> None:
        if name != "create":
            await started(world)
        if name == "pin":
            await roll(world)
            world.write_points = 0
        prepare(world)
        await FLOWS[name](world)
        await asyncio.sleep(10)  # until the last status is told

    return played
