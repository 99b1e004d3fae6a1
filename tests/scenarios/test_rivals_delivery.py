# SPDX-License-Identifier: Apache-2.0
"""Bugs that rivals have or had in delivery with steps, each as a scenario with its repository and number in its name."""

import asyncio

from scenarios.flows import STEPS, by_hand, promote, started, to_the_pause
from scenarios.ledger import tally
from scenarios.world import World, play, service

CANARY = {"type": "Canary", "progressDeadline": "30s", "canary": {"steps": STEPS}}


def test_kubevela_2508_7170_going_back_works_while_a_step_waits_for_somebody():
    """A suspended workflow could not be ended or replaced; here a pause is left by an abort, by a promotion, and by another template."""

    async def scenario(world: World) -> None:
        await started(world)
        by_hand(world, "aborted", await to_the_pause(world))
        await world.until(lambda: world.images() == {"app:1.0": 3} and world.status().get("phase") == "Run" and len(world.pods()) == 3)
        await to_the_pause(world, "app:3.0")
        world.cluster.apply(service(image="app:1.0"))
        await world.until(lambda: world.converged() and world.images() == {"app:1.0": 3})

    play(scenario)
    tally(rival_bugs_passed=2)


def test_argo_rollouts_3284_a_canary_with_steps_keeps_the_budget():
    """More old instances were ended than new ones served; here the budget holds at every instant, and with steps as without."""

    async def scenario(world: World) -> None:
        await started(world)
        world.cluster.scale("shop", "web", 10)
        await world.until(lambda: world.converged() and len(world.pods()) == 10)
        world.bounds(9, 12)
        steps = [{"weight": 10}, {"weight": 50}, {"weight": 90}]
        rollout = {"type": "Canary", "rolling": {"maxSurge": 2, "maxUnavailable": 1}, "canary": {"steps": steps}}
        world.cluster.set_image_behaviour("app:2.0", "normal", start_delay=3.0, ready_after=2.0)
        world.cluster.apply(service(image="app:2.0", replicas=10, rollout=rollout))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 10}, within=300)

    play(scenario)
    tally(rival_bugs_passed=1)


def test_flagger_1202_the_candidate_stays_until_all_of_it_serves():
    """The candidate was scaled down before what replaces it was ready; here its instances are the ones that stay."""

    async def scenario(world: World) -> None:
        await started(world)
        await to_the_pause(world)
        proved = {p["metadata"]["uid"] for p in world.live() if p["spec"]["containers"][0]["image"] == "app:2.0"}
        world.cluster.set_image_behaviour("app:2.0", "normal", start_delay=20.0)
        promote(world, len(STEPS))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})
        assert proved <= {p["metadata"]["uid"] for p in world.pods()}

    play(scenario)
    tally(rival_bugs_passed=1)


def test_knative_12349_12971_a_timed_shift_stops_when_the_new_revision_fails():
    """Traffic went on to the new revision by the clock although it had failed; here a hold that is over waits for its share, and then goes back."""

    async def scenario(world: World) -> None:
        await started(world)
        world.bounds(2, 4)
        steps = [{"weight": 25, "hold": "60s"}, {"weight": 50}]
        world.cluster.apply(service(image="app:2.0", rollout={**CANARY, "canary": {"steps": steps}}))
        await world.until(lambda: world.status().get("summary") == "HoldsAtStep")
        world.cluster.set_image_behaviour("app:2.0", "never-ready")
        for pod in world.live():
            if pod["spec"]["containers"][0]["image"] == "app:2.0":
                world.cluster.restart_containers("shop", pod["metadata"]["name"])
        await asyncio.sleep(70)
        assert world.status()["rollout"].get("step", 0) == 0, "the hold is over, and the step is not passed"
        await world.until(lambda: world.status().get("summary") == "RolledBack" and world.images() == {"app:1.0": 3}, within=120)

    play(scenario)
    tally(rival_bugs_passed=2)
