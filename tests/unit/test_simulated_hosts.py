# SPDX-License-Identifier: Apache-2.0
"""Hosts in virtual time: clocks that go wrong, processes that stand still, and what they had sent before."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from drover_operator.kube.transport import Request
from drover_operator.testing import Host, SimulatedCluster
from drover_operator.testing.virtualtime import run


def in_virtual_time(scenario: Coroutine[Any, Any, None]) -> None:
    async def main() -> None:
        await scenario

    run(main)


async def _ticks(seen: list[float]) -> None:
    while True:
        await asyncio.sleep(1)
        seen.append(asyncio.get_running_loop().time())


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})


def test_a_fast_clock_ticks_eleven_times_in_ten_seconds_and_shows_its_own_time() -> None:
    async def scenario() -> None:
        fast, right = list[float](), list[float]()
        tasks = [Host(rate=1.1).run(_ticks(fast)), asyncio.create_task(_ticks(right))]
        await asyncio.sleep(10.05)
        assert (len(fast), round(fast[-1], 6), len(right)) == (11, 11.0, 10)
        for task in tasks:
            await _ended(task)

    in_virtual_time(scenario())


def test_a_frozen_host_stands_still_while_time_goes_on_and_finds_its_time_outs_due_after_the_thaw() -> None:
    async def scenario() -> None:
        loop, host = asyncio.get_running_loop(), Host()

        async def impatient() -> float:
            try:
                async with asyncio.timeout(5):
                    await asyncio.sleep(60)
            except TimeoutError:
                return loop.time()
            return -1.0

        task = host.run(impatient())
        await asyncio.sleep(1)
        host.freeze()
        await asyncio.sleep(30)
        assert not task.done()
        host.thaw()
        assert await task == 31.0

    in_virtual_time(scenario())


def test_tasks_born_on_a_host_stay_there_and_others_are_not_touched() -> None:
    async def scenario() -> None:
        host, inner, outer = Host(), list[float](), list[float]()

        async def parent() -> None:
            await asyncio.gather(asyncio.create_task(_ticks(inner)), asyncio.sleep(1000))

        tasks = [host.run(parent()), asyncio.create_task(_ticks(outer))]
        await asyncio.sleep(2.5)
        host.freeze()
        await asyncio.sleep(10)
        assert (len(inner), len(outer)) == (2, 12)
        host.thaw()
        for task in tasks:
            await _ended(task)

    in_virtual_time(scenario())


def test_an_appointment_is_kept_at_the_very_step() -> None:
    async def scenario() -> None:
        host, seen, steps = Host(), list[float](), list[int]()
        task = host.run(_ticks(seen))
        host.at_step(4, lambda: steps.append(len(seen)))
        await asyncio.sleep(10)
        assert steps == [3]
        await _ended(task)

    in_virtual_time(scenario())


@pytest.mark.parametrize("after", [0.5, 1.5], ids=["before it arrives", "before its answer arrives"])
def test_what_a_frozen_process_has_sent_arrives_all_the_same(after: float) -> None:
    async def scenario() -> None:
        cluster, host = SimulatedCluster(), Host()
        transport = cluster.transport()
        transport.faults.latency = 2.0
        body = b'{"metadata": {"name": "late"}, "data": {}}'
        request = Request(method="POST", path="/api/v1/namespaces/default/configmaps", body=body, headers={"Content-Type": "application/json"})
        task = host.run(transport.send(request))
        await asyncio.sleep(after)
        host.freeze()
        await asyncio.sleep(60)
        assert cluster.find("configmaps", "default", "late") is not None
        assert not task.done()
        host.thaw()
        await asyncio.wait({task})
        await cluster.stop()

    in_virtual_time(scenario())


def test_a_host_needs_virtual_time() -> None:
    async def scenario() -> None:
        with pytest.raises(TypeError, match="virtual time only"):
            Host()

    asyncio.run(scenario())
