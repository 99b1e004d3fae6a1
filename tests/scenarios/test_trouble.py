# SPDX-License-Identifier: Apache-2.0
"""Trouble around the operator: API server away, two operators, lost replies, hidden events, refused writes."""

import asyncio
from random import Random
from typing import Any

import pytest
from scenarios.world import NAMESPACE, OPERATOR, TIMING, World, play, service

from drover_controllers.service import CONTROLLER
from drover_operator.kube.errors import OutcomeUnknown
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.process import Process, Settings
from drover_operator.testing import Deliver, WatchEvent

HEADERS = {"Impersonate-User": OPERATOR, "Impersonate-Extra-drover.dev%2Fepoch": "1", "Impersonate-Extra-drover.dev%2Fholder": "op-1-1"}


async def run_web(world: World, **spec: Any) -> None:
    world.operator()
    world.cluster.apply(service(**spec))
    await world.until(world.converged)


def test_api_server_away_for_minutes_in_mid_update():
    async def scenario(world: World) -> None:
        await run_web(world, replicas=5)
        world.floor, world.ceiling = (lambda: 5), (lambda: 7)
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
        assert [p.election.leading for p in world.processes] == [True, False]
        first.cancel()
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3}, within=30)
        assert world.processes[1].election.leading

    play(scenario)


def test_a_clean_stop_hands_over_within_a_second():
    async def scenario(world: World) -> None:
        world.operator("a")
        await asyncio.sleep(1)
        world.operator("b")
        world.cluster.apply(service())
        await world.until(world.converged)
        world.processes[0].stop()
        took = await world.until(lambda: world.processes[1].election.leading, within=5)
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


@pytest.mark.parametrize("seed", range(8))
def test_lost_replies_double_nothing(seed: int):
    """One reply in five is lost after the write was applied: the operator looks, and does nothing twice."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=4)
        random = Random(seed)
        world.floor, world.ceiling = (lambda: 4), (lambda: 5)

        def lose(request: Request, reply: Reply) -> Reply | BaseException:
            world.check()
            return OutcomeUnknown("lost") if request.mutating and "leases" not in request.path and random.random() < 0.2 else reply

        for transport in world.cluster._transports:
            transport.faults.after = lose
        world.cluster.apply(service(replicas=4, image="app:2.0"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 4}, within=600)

    play(scenario, seed)


@pytest.mark.parametrize("seed", range(8))
def test_hidden_and_late_watch_events_lead_to_no_wrong_act(seed: int):
    """One event in ten is never delivered, two in ten come seconds late: invariants hold, and it converges."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=4)
        random = Random(seed)
        world.floor, world.ceiling = (lambda: 4), (lambda: 5)
        stop = [False]

        def tamper(_: str, event: WatchEvent) -> Deliver | float:
            chance = random.random()
            if stop[0] or event.type == "BOOKMARK" or chance > 0.3:
                return Deliver.NOW
            return Deliver.DROP if chance < 0.1 else random.uniform(0.5, 5.0)

        for transport in world.cluster._transports:
            transport.faults.event = tamper
        world.cluster.apply(service(replicas=4, image="app:2.0"))
        await asyncio.sleep(120)
        stop[0] = True
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 4}, within=1500)

    play(scenario, seed)


@pytest.mark.parametrize("status", [409, 422, 403, 404, 429, 500, 503])
def test_any_write_refused_once_is_made_good_without_an_outside_event(status: int):
    """kopf lost a retry after one refused PATCH; here every single write of an update is refused once, one run each."""
    from drover_operator.testing import refusal

    async def scenario(world: World, point: int) -> None:
        await run_web(world)
        count = [0]

        def refuse(request: Request) -> Reply | BaseException | None:
            if not world._counts(request):
                return None
            count[0] += 1
            return refusal(status, {403: "Forbidden", 409: "Conflict"}.get(status, "InternalError"), "for once") if count[0] == point else None

        for transport in world.cluster._transports:
            transport.faults.before = refuse
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3}, within=400)

    for point in range(1, 18):
        play(lambda world, point=point: scenario(world, point))


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
