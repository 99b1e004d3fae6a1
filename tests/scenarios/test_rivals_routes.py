# SPDX-License-Identifier: Apache-2.0
"""Bugs that rivals have or had with routers and measurements, each as a scenario with its repository and number in its name."""

import asyncio

import pytest
from scenarios import test_gates as gates
from scenarios import test_traffic as routes
from scenarios.flows import by_hand, promote
from scenarios.ledger import tally
from scenarios.test_gates import says
from scenarios.test_traffic import TEN, Requests, at_the_pause, rules, weights, wish
from scenarios.world import NAMESPACE, World

from drover_operator.core.plan import Answer

BY_HEADER = {
    "name": "beta",
    "matches": [{"headers": [{"name": "x-beta", "value": "1"}]}],
    "backendRefs": [{"name": "beta-a", "port": 80, "weight": 3}, {"name": "beta-b", "port": 80, "weight": 1}],
}


def listed(world: World, service: str) -> int:
    slices = [s for s in world.cluster.objects("endpointslices", NAMESPACE) if s["metadata"]["labels"].get("kubernetes.io/service-name") == service]
    return sum(1 for s in slices for e in s.get("endpoints") or () if e.get("conditions", {}).get("ready") is not False)


@pytest.mark.parametrize("lag", [0.3, 10.0, 60.0])
def test_argo_rollouts_2864_4433_4195_587_4926_the_end_of_a_good_canary_waits_for_the_router(lag: float):
    """503 at the end: selectors had changed, or old instances were gone, while the router still sent to them. Here nobody ends who gets requests."""

    async def act(world: World, requests: Requests) -> None:
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=900)
        promote(world, len(routes.STEPS))
        await world.until(lambda: routes.promoted(world), within=900)
        assert 100 in requests.shares, "the router sent all to the new ones, and then the old ones ended"

    assert routes.played(act, lag=lag).problems == []
    tally(rival_bugs_passed=5 if lag == 10.0 else 0)


def test_argo_rollouts_3888_4035_an_abort_sends_no_more_back_than_the_old_ones_can_take():
    """All traffic fell on the stable set at once, however small that was by then. Here the weight follows the instances that are listed."""

    async def act(world: World, _: Requests) -> None:
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=300)
        target, stable = str(world.status()["rollout"]["target"]), str(world.status()["currentRevision"])
        world.cluster.set_image_behaviour("app:1.0", "normal", start_delay=20.0)
        for pod in [each for each in world.live() if each["spec"]["containers"][0]["image"] == "app:1.0"][:4]:
            world.cluster.evict(NAMESPACE, pod["metadata"]["name"])
        await world.until(lambda: listed(world, stable) == 6)
        too_much: list[str] = []

        def look() -> None:
            share, able = weights(world).get(stable, 0), 100 * listed(world, stable) // TEN
            if share > able:
                too_much.append(f"{share} % for {able} %")

        world.cluster.on_change("httproutes", look)
        by_hand(world, "aborted", target)
        await world.until(lambda: world.images() == {"app:1.0": TEN} and weights(world) == {"web": 100}, within=300)
        assert too_much == []

    routes.played(act)
    tally(rival_bugs_passed=2)


def test_gateway_plugin_158_115_weights_leave_rules_on_headers_as_they_are():
    """setWeight wrote all rules of the route, and the group that a header rule had was lost."""

    async def act(world: World, _: Requests) -> None:
        world.cluster.apply(routes.route(BY_HEADER, routes.route()["spec"]["rules"][1]))
        seen: list[object] = []
        world.cluster.on_change("httproutes", lambda: seen.append([rule for rule in rules(world) if rule.get("name") == "beta"]))
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=300)
        promote(world, len(routes.STEPS))
        await world.until(lambda: routes.promoted(world), within=300)
        assert seen
        assert all(each == [BY_HEADER] for each in seen)

    routes.played(act)
    tally(rival_bugs_passed=2)


def test_argo_rollouts_4612_a_weight_is_set_when_the_router_knows_both_sides():
    """The mesh was told a weight before it knew the subset. Here a backend stands in the route, and has instances there, before it gets any weight."""

    async def act(world: World, _: Requests) -> None:
        unknown: list[str] = []
        known: set[str] = {"web"}

        def look() -> None:
            refs = next(rule["backendRefs"] for rule in rules(world) if rule.get("name") == "web")
            unknown.extend(each["name"] for each in refs if each["weight"] and each["name"] not in known)
            known.update(each["name"] for each in refs)

        world.cluster.on_change("httproutes", look)
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=300)
        promote(world, len(routes.STEPS))
        await world.until(lambda: routes.promoted(world), within=300)
        assert unknown == []

    assert routes.played(act, lag=2.0).problems == []
    tally(rival_bugs_passed=1)


BROKEN = {
    "no result": b'{"status":"success","data":{"resultType":"vector","result":[]}}',
    "not a number": b'{"status":"success","data":{"resultType":"scalar","result":[0,"NaN"]}}',
    "an error": b'{"status":"error","errorType":"timeout","error":"query timed out"}',
    "no JSON": b"<html>bad gateway</html>",
}


@pytest.mark.parametrize("answer", BROKEN)
def test_argo_rollouts_4479_4393_1329_943_1411_2026_521_1466_a_measurement_that_failed_is_no_success(answer: str):
    """Runs whose measurements had all failed, or were none, ended as Successful. Here they hold the rollout, and its deadline takes it back."""

    async def act(world: World) -> None:
        world.outside = lambda ask: Answer(at=ask.at, status=200, body=BROKEN[answer])
        world.cluster.apply(gates.wish("Canary"))
        await world.until(lambda: gates.back(world), within=300)
        (check,) = world.status()["rollout"]["checks"]
        assert (check["state"], check.get("good", 0)) == ("Measuring", 0)
        assert check["missing"] > 0

    gates.scene(act)
    tally(rival_bugs_passed=8 if answer == "no result" else 0)


def test_kruise_rollouts_16_a_gate_asks_for_metrics():
    """The step for analysis was never more than a name. Here numbers decide."""

    async def act(world: World) -> None:
        world.outside = says("0.9")
        world.cluster.apply(gates.wish("Canary"))
        await world.until(lambda: gates.back(world))
        assert world.asked

    gates.scene(act)
    tally(rival_bugs_passed=1)


def test_flagger_1801_going_back_works_while_a_gate_is_asked():
    """A canary that waited for its confirmation could not be rolled back. Here an abort ends the wait."""

    async def act(world: World) -> None:
        world.outside = lambda ask: Answer(at=ask.at, error="no answer in 10 s")
        world.cluster.apply(gates.wish("Canary"))
        await world.until(lambda: world.status().get("summary") == "MeasuresGates")
        by_hand(world, "aborted", world.status()["rollout"]["target"])
        took = await world.until(lambda: world.images() == {"app:1.0": 3} and world.status().get("phase") == "Run")
        assert took < 30
        await asyncio.sleep(5)
        begin = len(world.asked)
        await asyncio.sleep(30)
        assert len(world.asked) == begin, "nobody is asked any more"

    gates.scene(act)
    tally(rival_bugs_passed=1)
