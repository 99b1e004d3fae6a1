# SPDX-License-Identifier: Apache-2.0
"""The small world against the large one: the undisturbed life of a service has the same writes and the same story in both.

In the large one the real process runs on the simulated cluster, in virtual time, with the real engine and executor.
"""

from collections import Counter

import pytest
from exhaustive.scenes import SCENES, Row
from exhaustive.server import edited
from exhaustive.values import Action, Spec
from scenarios.world import NAMESPACE, World, play, service

WRITES = {
    "create": "create pods",
    "enter": "patch pods/status",
    "leave": "patch pods/status",
    "end": "delete pods",
    "record": "create controllerrevisions.apps",
    "block": "patch controllerrevisions.apps",
    "finalizer": "patch managedservices.drover.dev",
    "front": "create services",
    "budget": "create poddisruptionbudgets.policy",
}
Told = tuple[Counter[str], list[str]]  # writes of objects, and the phases


def in_small(row: Row) -> Told:
    """The quiet continuation, with the user's next step whenever all is at rest."""
    writes, phases = Counter[str](), list[str]()
    space, here = Row(row.why, row.specs, new=True, bad=row.bad).space()
    while True:
        move = space.quiet(here)
        if move is None:
            edit = next(edited(space.world(here), row.specs), None)
            if edit is None:
                return writes, phases
            here = space.start(edit[1])
            continue
        label, here = move
        action = label[0] if isinstance(label, tuple) else None
        if isinstance(action, Action):
            writes.update([WRITES[action.verb]] if action.verb in WRITES else [])
            phases += [to for _, to in action.path]


async def applied(world: World, spec: Spec) -> None:
    if spec.deleted:
        world.cluster.delete("managedservices", NAMESPACE, "web")
        await world.until(lambda: world.cluster.find("managedservices", NAMESPACE, "web") is None and not world.pods())
        return
    rollout = {"rolling": {"maxSurge": spec.surge, "maxUnavailable": spec.unavailable}, "progressDeadline": "30s"}
    image = f"app:{spec.letter}"
    world.cluster.apply(service(image=image, replicas=spec.replicas, rollout=rollout, restart={"settle": "0s"}))
    await world.until(lambda: world.converged() and (world.images() == {image: spec.replicas} or world.status()["summary"] == "RolledBack"))


def in_large(row: Row) -> Told:
    phases: list[str] = []

    async def scenario(world: World) -> None:
        for letter in row.bad:
            world.cluster.set_image_behaviour(f"app:{letter}", "never-ready")
        world.operator()
        for spec in row.specs:
            await applied(world, spec)
            phases[:] = [each["to"] for each in world.status().get("history", ())] or [*phases, "Destroy"]

    world = play(scenario)
    done = [each for each in world.writes() if each.changed and not each.dry_run and each.resource != "configmaps"]
    names = [f"{each.verb} {each.resource}" + (f"/{each.subresource}" if each.subresource else "") for each in done]
    return Counter(name for name in names if name != "patch managedservices.drover.dev/status"), phases


@pytest.mark.parametrize("name", ["create 1", "roll 1", "roll 2", "roll bare", "roll bad", "out", "in 3", "out, in", "change of mind", "delete", "roll 3 by 2"])
def test_both_worlds_agree(name: str):
    assert in_small(SCENES[name]) == in_large(SCENES[name])
