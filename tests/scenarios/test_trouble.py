# SPDX-License-Identifier: Apache-2.0
"""Trouble around the operator, one kind at a time and with its own assertions; all of it together is in the schedules."""

import asyncio
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from scenarios.world import NAMESPACE, OPERATOR, TIMING, Life, Trouble, World, is_effect, leaving, play, service

from drover_controllers.service import CONTROLLER
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.engine import BUSY_JITTER
from drover_operator.runtime.process import Process, Settings
from drover_operator.testing import Deliver, WatchEvent, refusal
from drover_operator.testing.faults import Delivery

HEADERS = {"Impersonate-User": OPERATOR, "Impersonate-Extra-drover.dev%2Fepoch": "1", "Impersonate-Extra-drover.dev%2Fholder": "op-1-1"}


async def run_web(world: World, **spec: Any) -> None:
    world.operator()
    world.cluster.apply(service(**spec))
    await world.until(world.converged)


def test_api_server_away_for_minutes_in_mid_update():
    async def scenario(world: World) -> None:
        await run_web(world, replicas=5)
        world.bounds(5, 7)
        world.cluster.apply(service(replicas=5, image="app:2.0"))
        await world.until(lambda: world.images().get("app:2.0", 0) >= 1)
        world.cluster.api_down = True
        await asyncio.sleep(300)
        world.cluster.api_down = False
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 5})

    play(scenario)


def test_of_two_operators_one_leads_and_the_other_takes_over():
    async def scenario(world: World) -> None:
        first = world.operator("a")
        await asyncio.sleep(1)
        world.operator("b")
        world.cluster.apply(service())
        await world.until(world.converged)
        assert [life.leading for life in world.lives] == [True, False]
        first.remove()
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3}, within=30)
        assert world.lives[1].leading

    play(scenario)


def test_a_clean_stop_hands_over_within_a_second():
    async def scenario(world: World) -> None:
        world.operator("a")
        await asyncio.sleep(1)
        world.operator("b")
        world.cluster.apply(service())
        await world.until(world.converged)
        world.operators[0].stop()
        took = await world.until(lambda: world.lives[1].leading, within=5)
        assert took <= 1.0

    play(scenario)


def test_late_writes_of_a_deposed_leader_are_refused_by_the_server():
    async def scenario(world: World) -> None:
        await run_web(world)
        lease = world.cluster.get("leases", "drover-system", "drover-operator-0")
        assert lease["spec"]["leaseTransitions"] == 1
        transport = world.cluster.transport(user="operator")
        name = world.pods()[0]["metadata"]["name"]
        request = Request(method="DELETE", path=f"/api/v1/namespaces/{NAMESPACE}/pods/{name}", headers={**HEADERS, "Impersonate-Extra-drover.dev%2Fepoch": "0"})
        reply = await transport.send(request)
        assert reply.status == 422, reply.body
        assert world.cluster.find("pods", NAMESPACE, name) is not None

    play(scenario)


def test_a_leader_whose_lease_was_deleted_begins_anew_with_a_higher_epoch():
    async def scenario(world: World) -> None:
        await run_web(world)
        world.cluster.delete("leases", "drover-system", "drover-operator-0")
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})
        assert world.cluster.get("leases", "drover-system", "drover-operator-0")["spec"]["leaseTransitions"] > 1

    play(scenario)


def test_expired_watches_and_a_compacted_history():
    async def scenario(world: World) -> None:
        await run_web(world)
        world.cluster.api_down = True
        await asyncio.sleep(5)
        world.cluster.delete("pods", NAMESPACE, world.pods()[0]["metadata"]["name"])
        world.cluster.apply(service(image="app:2.0"))
        world.cluster.compact()
        world.cluster.api_down = False
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})

    play(scenario)


def test_a_leader_frozen_past_its_lease_has_no_effect_after_the_thaw():
    """It froze with a write on its lips: the answer to its next one is the fence's, and it ends."""

    async def scenario(world: World) -> None:
        first, _ = world.operator("a"), world.operator("b")
        world.cluster.apply(service(replicas=5))
        await world.until(world.converged)
        leader = world.leader
        assert leader is not None
        world.bounds(5, 7)
        world.cluster.apply(service(replicas=5, image="app:2.0"))
        await world.until(lambda: world.images().get("app:2.0", 0) >= 1)
        leader.host.freeze()
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 5})
        await asyncio.sleep(10)  # until the last status is told
        before = [write for write in world.writes() if write.changed]
        leader.host.thaw()
        await asyncio.sleep(30)
        assert [write for write in world.writes() if write.changed] == before
        assert leader.died_of is not None
        assert len(first.lives) + len(world.operators[1].lives) == 3

    play(scenario)


def test_a_write_that_was_on_its_way_when_the_lease_changed_hands_is_refused_by_the_server():
    async def scenario(world: World) -> None:
        world.operator("a")
        world.cluster.apply(service())
        await world.until(world.converged)
        world.troubles.append(Slow(8.0))
        world.cluster.apply(service(image="app:2.0"))
        await asyncio.sleep(0.5)
        world.lives[0].kill()
        world.operator("b")
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})
        late = [write for write in world.writes() if write.status == 422]
        assert late, "the write of the dead must have arrived after the hand-over"
        assert not any(write.changed for write in late)

    play(scenario)


class Slow(Trouble):
    """The first life's writes take seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def latency(self, life: Life, request: Request) -> float:
        return self._seconds if is_effect(request) and life.identity == "a-1" else 0.002


@pytest.mark.parametrize("rate", [0.9, 1.1])
def test_a_clock_that_runs_wrong_by_a_tenth_never_makes_two_leaders(rate: float):
    async def scenario(world: World) -> None:
        world.operator("a", rate=rate)
        world.operator("b")
        world.cluster.apply(service())
        await world.until(world.converged)
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert sum(life.leading for life in world.lives) <= 1
        assert len(world.lives) == 2, "and the one that leads keeps leading"

    play(scenario)


def test_a_standby_with_an_old_cache_takes_over_and_fills_no_slot_twice():
    """It has never seen a pod. The names of the first ones are free again, so that only a cache proved current keeps it from making them."""

    async def scenario(world: World) -> None:
        world.operator("a")
        await world.until(lambda: world.leader is not None)
        world.troubles.append(NoPods("b-1"))
        world.operator("b")
        await asyncio.sleep(1)
        world.cluster.apply(service())
        await world.until(world.converged)
        first = [pod["metadata"] for pod in world.pods()]
        for meta in first:
            world.cluster.delete("pods", NAMESPACE, meta["name"])
        await asyncio.sleep(20)
        await world.until(lambda: world.converged() and len(world.ready_endpoints()) == 3)
        uids = {pod["metadata"]["uid"] for pod in world.pods()}
        assert not uids & {meta["uid"] for meta in first}
        world.operators[0].remove()
        await world.until(lambda: world.leader is not None and world.leader.identity == "b-1")
        await asyncio.sleep(30)
        assert {pod["metadata"]["uid"] for pod in world.pods()} == uids

    play(scenario)


class NoPods(Trouble):
    """One process hears nothing of pods."""

    def __init__(self, identity: str) -> None:
        self._identity = identity

    def event(self, life: Life, resource: str, event: WatchEvent) -> Delivery:
        return Deliver.DROP if resource == "pods" and life.identity == self._identity else Deliver.NOW


def test_the_deadline_does_not_fire_on_healthy_pods_that_the_cache_does_not_show():
    """That nothing happened is believed only after the caches were proved; argo-rollouts #3316 marks such a rollout as failed."""

    async def scenario(world: World) -> None:
        rollout = {"progressDeadline": "30s"}
        await run_web(world, rollout=rollout)
        world.cluster.apply(service(image="app:2.0", rollout=rollout))
        await world.until(lambda: world.images().get("app:2.0", 0) >= 1)
        world.troubles.append(NoPods("op-1-1"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3}, within=600)
        assert "Rollback" not in [change["to"] for change in world.status()["history"]]

    play(scenario)


def test_a_strangers_pod_that_took_the_name_of_ours_is_not_touched():
    """The cache still shows ours, which is to be ended: uid and version keep the stranger from it."""

    async def scenario(world: World) -> None:
        await run_web(world)
        world.cluster.scale(NAMESPACE, "web", 2)
        await world.until(lambda: len(world.live()) == 2)
        ours = next(pod["metadata"]["name"] for pod in world.pods() if leaving(pod))
        world.troubles.append(NoPods("op-1-1"))
        world.cluster.delete("pods", NAMESPACE, ours, grace=0)
        meta = {"name": ours, "namespace": NAMESPACE, "labels": {"app": "stranger"}}
        stranger = world.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "c", "image": "x:1"}]}})
        await asyncio.sleep(120)
        found = world.cluster.find("pods", NAMESPACE, ours)
        assert found is not None
        assert (found["metadata"]["uid"], "deletionTimestamp" in found["metadata"]) == (stranger["metadata"]["uid"], False)

    play(scenario)


class Throttled(Trouble):
    """Priority and fairness lets no write through that is about one of those services."""

    def __init__(self, names: tuple[str, ...], seconds: int) -> None:
        self._names, self._seconds = names, seconds
        self.refused: dict[str, list[float]] = {name: [] for name in names}

    def before(self, life: Life, request: Request) -> Reply | None:
        about = request.path.encode() + request.body
        name = next((name for name in self._names if name.encode() in about), "")
        if not name or not is_effect(request):
            return None
        self.refused[name].append(asyncio.get_running_loop().time())
        return refusal(429, "TooManyRequests", "too many requests", retry_after=self._seconds)


def test_services_that_the_server_makes_wait_hold_up_nobody_else():
    """A pass that slept until the server would hear it held one of four workers and its places among the writes: a scale-out of another
    service took 35 s in place of one."""
    names, asked = tuple(f"busy{n}" for n in range(6)), 30

    async def scenario(world: World) -> None:
        await run_web(world)
        for name in names:
            world.cluster.apply(service(name))
        await world.until(lambda: all(world.converged(name) for name in names))
        world.cluster.scale(NAMESPACE, "web", 4)
        calm = await world.until(world.converged)
        throttle = Throttled(names, asked)
        world.troubles.append(throttle)
        for name in names:
            world.cluster.scale(NAMESPACE, name, 5)
        await asyncio.sleep(0.5)
        world.cluster.scale(NAMESPACE, "web", 5)
        took = await world.until(lambda: world.converged() and len(world.pods()) == 5)
        assert took < calm + 0.5, "as if nobody was told to wait, but for the chance in the start of a pod"
        world.troubles.remove(throttle)
        left = asked + max(max(times) for times in throttle.refused.values()) - asyncio.get_running_loop().time()
        took = await world.until(lambda: all(world.converged(name) and len(world.pods(name)) == 5 for name in names))
        assert left - 1 < took < left + asked * BUSY_JITTER + 5, "when the server said, and no later"
        for name, times in throttle.refused.items():
            assert 1 <= len(times) <= 3, f"two pods and a status, once: {name} {times}"
            assert "TooManyRequests" not in str(world.status(name)), "that nobody is told of as a refusal"

    play(scenario)


def test_a_service_that_the_server_makes_wait_for_long_asks_as_often_as_it_may():
    """Pods of its own that come and go are news of it, and no reason to ask sooner."""
    asked, rounds = 10, 6

    async def scenario(world: World) -> None:
        await run_web(world)
        throttle = Throttled(("web",), asked)
        world.troubles.append(throttle)
        for n in range(asked * rounds):
            world.cluster.patch("pods", NAMESPACE, world.pods()[0]["metadata"]["name"], {"metadata": {"labels": {"news": str(n)}}})
            if n == 1:
                world.cluster.scale(NAMESPACE, "web", 5)
            await asyncio.sleep(1)
        times = throttle.refused["web"]
        starts = [later for earlier, later in zip([-1.0 * asked, *times], times, strict=False) if later - earlier > 1]
        assert all(later - earlier >= asked for earlier, later in pairwise(starts))
        assert rounds / (1 + BUSY_JITTER) - 1 <= len(starts) <= rounds
        assert len(times) <= 3 * len(starts), "two pods and a status with each try"
        world.troubles.remove(throttle)
        took = await world.until(lambda: world.converged() and len(world.pods()) == 5)
        assert took <= asked * (1 + BUSY_JITTER) + 5, "no backoff has grown meanwhile"

    play(scenario)


def test_a_stop_between_the_lease_and_its_answer_gives_the_lease_back():
    """The Lease was ours on the server before we knew: a standby would have waited for it to run out."""

    async def scenario(world: World) -> None:
        transport = world.cluster.transport(user="operator")
        transport.faults.latency = 0.2
        process = Process(transport, (CONTROLLER,), Settings(identity="a", timing=TIMING, shell=False), clock=world.cluster.now, random=Random(1))
        running = asyncio.create_task(process.run())
        await world.until(lambda: world.cluster.find("leases", "drover-system", "drover-operator-0") is not None)
        assert process.election.term is None
        process.stop()
        await running
        assert world.cluster.get("leases", "drover-system", "drover-operator-0")["spec"]["holderIdentity"] == ""

    play(scenario)
