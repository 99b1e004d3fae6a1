# SPDX-License-Identifier: Apache-2.0
"""Gates that hold, pass and fail rollouts, of every strategy: what Prometheus or a Job says is all that differs."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from scenarios.flows import by_hand, started
from scenarios.world import NAMESPACE, World, play, service

from drover_operator.core.plan import Answer, Ask

Json = dict[str, Any]
TEST = {"job": {"template": {"spec": {"containers": [{"name": "test", "image": "test:1"}]}}, "timeout": "20s"}}


def gate(name: str = "errors", **spec: Any) -> Json:
    measure = {"prometheus": {"address": "http://prometheus:9090", "query": 'errors{revision="$revision"}'}}
    wish = {"measure": measure, "limit": {"atMost": "0.05"}, "interval": "2s", "samples": 3, **spec}
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ReleaseGate", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": wish}


def says(value: str, status: int = 200) -> Callable[[Ask], Answer]:
    """Prometheus, which has one number for everything."""
    body = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [0, value]}]}}
    return lambda ask: Answer(at=ask.at, status=status, body=json.dumps(body).encode())


def checks(world: World) -> dict[str, str]:
    return {each["gate"]: each["state"] for each in world.status().get("rollout", {}).get("checks", ())}


ROLLOUTS: dict[str, Json] = {
    "Rolling": {"gates": ["errors"]},
    "Canary": {"type": "Canary", "canary": {"steps": [{"weight": 25, "gates": ["errors"]}, {"weight": 50}]}},
    "BlueGreen": {"type": "BlueGreen", "blueGreen": {"autoPromote": True, "keepFor": "2s", "gates": ["errors"]}},
    "Recreate": {"type": "Recreate", "gates": ["errors"]},
}
TESTED: dict[str, Json] = {
    "Rolling": {"mainFlowTest": TEST},
    "Canary": {"type": "Canary", "mainFlowTest": TEST, "canary": {"steps": [{"weight": 25}]}},
    "BlueGreen": {"type": "BlueGreen", "mainFlowTest": TEST, "blueGreen": {"autoPromote": True, "keepFor": "2s"}},
    "Recreate": {"type": "Recreate", "mainFlowTest": TEST},
}


def wish(kind: str, image: str = "app:2.0", rollouts: dict[str, Json] | None = None, **more: Any) -> Json:
    return service(image=image, rollout={"progressDeadline": "30s", **(rollouts or ROLLOUTS)[kind], **more})


def scene(act: Callable[[World], Awaitable[None]]) -> World:
    async def played(world: World) -> None:
        world.cluster.apply(gate())
        world.outside = says("0.01")
        await started(world)
        await act(world)

    return play(played)


def done(world: World, image: str = "app:2.0") -> bool:
    return world.converged() and world.images() == {image: 3}


def back(world: World) -> bool:
    return world.status().get("summary") == "RolledBack" and world.images() == {"app:1.0": 3} and world.status().get("phase") == "Run"


@pytest.mark.parametrize("kind", ROLLOUTS)
def test_a_good_version_passes(kind: str) -> None:
    async def act(world: World) -> None:
        world.cluster.apply(wish(kind))
        await world.until(lambda: done(world))
        (check,) = world.status()["rollout"]["checks"]
        assert check["good"] >= 3
        assert check["samples"][-1]["value"] == "0.01", "the verdict shows what it rests on"
        revision = world.status()["rollout"]["target"]
        assert all(revision in ask.url for ask in world.asked), "it was the new revision that was asked for"

    scene(act)


@pytest.mark.parametrize("kind", ROLLOUTS)
def test_a_bad_version_is_taken_back_and_the_reason_is_told(kind: str) -> None:
    async def act(world: World) -> None:
        world.cluster.apply(wish(kind))
        await world.until(lambda: world.images().get("app:2.0", 0) > 0)
        world.outside = says("0.5")
        await world.until(lambda: back(world))
        assert checks(world) == {"errors": "Failed"}, "the verdict stays after the rollback"
        assert "failed the gate 'errors'" in world.condition("Stalled")["message"]

    scene(act)


@pytest.mark.parametrize("kind", ROLLOUTS)
@pytest.mark.parametrize("answer", ["NaN", "", "error", "late"])
def test_silence_is_never_consent(kind: str, answer: str) -> None:
    """The progress deadline takes the version back, and says which gate had no data."""

    async def act(world: World) -> None:
        broken = {
            "NaN": says("NaN"),
            "": lambda ask: Answer(at=ask.at, status=200, body=b'{"status":"success","data":{"resultType":"vector","result":[]}}'),
            "error": says("0.01", status=503),
            "late": lambda ask: Answer(at=ask.at, error="no answer in 10 s"),
        }
        world.outside = broken[answer]
        world.cluster.apply(wish(kind))
        await world.until(lambda: back(world), within=300)
        assert checks(world) == {"errors": "Measuring"}
        assert "no verdict of the gate 'errors'" in world.condition("Stalled")["message"]

    scene(act)


def test_a_gate_that_is_missing_holds_the_rollout_and_wakes_it_when_it_comes() -> None:
    async def act(world: World) -> None:
        world.cluster.delete("releasegates", NAMESPACE, "errors")
        world.cluster.apply(wish("Canary"))
        await world.until(lambda: any(each["reason"] == "GateNotFound" for each in world.status().get("plan", ())))
        world.cluster.apply(gate())
        await world.until(lambda: done(world))

    scene(act)


@pytest.mark.parametrize("kind", TESTED)
def test_the_main_flow_is_tested_before_the_old_version_is_given_up(kind: str) -> None:
    async def act(world: World) -> None:
        world.cluster.apply(wish(kind, rollouts=TESTED))
        if kind != "Recreate":
            await world.until(lambda: bool(world.cluster.objects("jobs", NAMESPACE)))
            assert world.images()["app:1.0"] >= 2
        await world.until(lambda: done(world))
        assert len(world.cluster.objects("jobs", NAMESPACE)) == 1, "one Job for one test"
        assert checks(world) == {"mainFlowTest": "Passed"}

    scene(act)


@pytest.mark.parametrize("mode", ["fail", "never-ready"])
@pytest.mark.parametrize("kind", TESTED)
def test_a_version_whose_main_flow_is_broken_is_taken_back(kind: str, mode: str) -> None:
    async def act(world: World) -> None:
        world.cluster.set_image_behaviour("test:1", mode)
        world.cluster.apply(wish(kind, rollouts=TESTED))
        await world.until(lambda: back(world), within=200)
        assert checks(world) == {"mainFlowTest": "Failed"}

    scene(act)


def test_retry_after_the_gate_was_to_blame() -> None:
    async def act(world: World) -> None:
        world.outside = says("0.5")
        world.cluster.apply(wish("Canary"))
        await world.until(lambda: back(world))
        world.outside = says("0.01")
        by_hand(world, "retried", "now")
        await world.until(lambda: done(world))

    scene(act)


@pytest.mark.parametrize("kind", ROLLOUTS)
def test_retry_of_a_version_that_is_still_bad(kind: str) -> None:
    """It is taken back again, not tried for ever."""

    async def act(world: World) -> None:
        world.cluster.apply(wish(kind))
        await world.until(lambda: world.images().get("app:2.0", 0) > 0)
        world.outside = says("0.5")
        await world.until(lambda: back(world))
        by_hand(world, "retried", "now")
        await world.until(lambda: world.status().get("summary") != "RolledBack")
        await world.until(lambda: back(world), within=300)
        assert world.status()["history"][-2]["trigger"] == "gate"

    scene(act)


@pytest.mark.parametrize("good", [True, False])
def test_the_first_version_of_all_is_tested_too_and_serves_nobody_before(good: bool) -> None:
    async def first(world: World) -> None:
        world.operator()
        world.cluster.set_image_behaviour("test:1", "normal" if good else "fail")
        world.cluster.apply(wish("Rolling", image="app:1.0", rollouts=TESTED))
        await world.until(lambda: bool(world.cluster.objects("jobs", NAMESPACE)))
        assert not world.ready_endpoints(), "nobody is sent to what is not tested"
        if good:
            await world.until(lambda: done(world, "app:1.0") and len(world.ready_endpoints()) == 3)
            return
        await world.until(lambda: world.status().get("phase") == "Failed")
        assert world.status()["summary"] == "GateFailed"
        await asyncio.sleep(30)
        assert not world.ready_endpoints()
        world.cluster.set_image_behaviour("test:1", "normal")
        by_hand(world, "retried", "now")
        await world.until(lambda: done(world, "app:1.0"))

    play(first)


def test_a_person_who_promotes_goes_past_a_gate_of_a_step() -> None:
    async def act(world: World) -> None:
        world.outside = lambda ask: Answer(at=ask.at, error="away")
        world.cluster.apply(wish("Canary"))
        await world.until(lambda: any(each["reason"] == "GateWithoutData" for each in world.status().get("plan", ())))
        rollout = world.status()["rollout"]
        by_hand(world, "promoted", f"{rollout['target']}/1/{rollout['begunAt']}")
        await world.until(lambda: done(world))

    scene(act)


def test_a_new_leader_goes_on_with_the_samples_of_the_last() -> None:
    async def act(world: World) -> None:
        world.cluster.apply(gate(samples=8))
        world.cluster.apply(wish("Canary"))
        await world.until(lambda: any(each.get("good") == 4 for each in world.status().get("rollout", {}).get("checks", ())))
        world.operators[0].kill()
        await world.until(lambda: done(world))
        (check,) = world.status()["rollout"]["checks"]
        assert check["good"] == 8

    scene(act)


def test_a_test_that_runs_for_a_rollout_that_is_over_is_ended() -> None:
    async def act(world: World) -> None:
        world.cluster.set_image_behaviour("test:1", "never-ready")
        world.cluster.apply(wish("Rolling", rollouts=TESTED))
        await world.until(lambda: bool(world.cluster.objects("jobs", NAMESPACE)))
        by_hand(world, "aborted", world.status()["rollout"]["target"])
        await world.until(lambda: not world.cluster.objects("jobs", NAMESPACE) and world.images() == {"app:1.0": 3})

    scene(act)
