# SPDX-License-Identifier: Apache-2.0
"""The work queue: lanes, one worker per key, wake-ups, backoff; all in virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from drover_operator.runtime.queue import FIRST_BACKOFF, LONGEST_BACKOFF, SPACING, Lane, WorkQueue
from drover_operator.testing.virtualtime import run

A, B, C, D = (("shop", name) for name in "abcd")


def with_queue(scenario: Callable[[WorkQueue], Awaitable[None]], seed: int = 1) -> None:
    async def main() -> None:
        await scenario(WorkQueue(asyncio.get_running_loop().time, Random(seed)))

    run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


async def drained(queue: WorkQueue) -> list[str]:
    """The names in the order of service; each is done before the next is taken."""
    names = []
    while len(queue):
        key, _ = await queue.get()
        names.append(key[1])
        queue.done(key)
    return names


async def nothing_comes(queue: WorkQueue, within: float) -> bool:
    try:
        async with asyncio.timeout(within):
            await queue.get()
    except TimeoutError:
        return True
    return False


ORDERS = (
    ([(A, Lane.CHANGE), (B, Lane.CHANGE), (C, Lane.CHANGE)], "abc", "one lane is first in, first out"),
    ([(A, Lane.RESYNC), (B, Lane.TICK), (C, Lane.CHANGE), (D, Lane.URGENT)], "dcba", "lanes are served in the order of urgency"),
    ([(A, Lane.RESYNC), (B, Lane.TICK), (A, Lane.URGENT)], "ab", "a more urgent lane wins, and the key is served once"),
    ([(A, Lane.URGENT), (B, Lane.CHANGE), (A, Lane.RESYNC)], "ab", "a less urgent lane changes nothing"),
    ([(A, Lane.CHANGE), (B, Lane.CHANGE), (A, Lane.CHANGE)], "ab", "adding twice is adding once and keeps the place"),
    ([(A, Lane.RESYNC), (A, Lane.TICK), (A, Lane.CHANGE), (B, Lane.CHANGE)], "ab", "a key that moved twice leaves no ghosts"),
)


@pytest.mark.parametrize("added, order, why", ORDERS, ids=[why for *_, why in ORDERS])
def test_the_order_of_service(added: list[tuple[tuple[str, str], Lane]], order: str, why: str) -> None:
    async def scenario(queue: WorkQueue) -> None:
        for key, lane in added:
            queue.add(key, lane)
        assert len(queue) == len(set(order)), why
        assert "".join(await drained(queue)) == order, why
        assert await nothing_comes(queue, 100), why

    with_queue(scenario)


def test_a_key_is_never_given_to_two_workers_and_runs_once_more_when_added_meanwhile() -> None:
    async def scenario(queue: WorkQueue) -> None:
        queue.add(A)
        assert (await queue.get())[0] == A
        for lane in (Lane.RESYNC, Lane.URGENT, Lane.TICK):
            queue.add(A, lane)
        assert await nothing_comes(queue, 100), "a worker has it"
        queue.add(B, Lane.CHANGE)
        queue.done(A)
        assert await drained(queue) == ["a", "b"], "once more, in the most urgent lane of those it was added in"
        assert await nothing_comes(queue, 100), "and only once more"

    with_queue(scenario)


@pytest.mark.parametrize("seed", range(5))
def test_many_workers_serve_each_key_alone_and_miss_no_addition(seed: int) -> None:
    """Workers of random speed, keys added at random: at no instant two on one key, and a pass begins after the last addition."""

    async def scenario(queue: WorkQueue) -> None:
        random, at_work, begun = Random(seed), set(), {}
        keys = [("shop", str(n)) for n in range(7)]

        async def worker() -> None:
            while True:
                key, _ = await queue.get()
                assert key not in at_work, f"seed {seed}: two workers on {key}"
                at_work.add(key)
                begun[key] = now()
                await asyncio.sleep(random.uniform(0.0, 0.5))
                if random.random() < 0.3:
                    queue.retry(key)
                at_work.discard(key)
                queue.done(key)

        workers = [asyncio.create_task(worker()) for _ in range(4)]
        added = {}
        for _ in range(300):
            await asyncio.sleep(random.uniform(0.0, 0.1))
            key = random.choice(keys)
            added[key] = now()
            queue.add(key, random.choice(list(Lane)))
        await asyncio.sleep(600)
        assert not any(each.done() for each in workers)
        assert all(begun[key] >= at for key, at in added.items()), f"seed {seed}: an addition was lost"
        for each in workers:
            each.cancel()
        await asyncio.wait(workers)

    with_queue(scenario)


def test_workers_that_wait_share_what_comes_at_once() -> None:
    async def scenario(queue: WorkQueue) -> None:
        waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await asyncio.sleep(1)
        for key in (A, B):
            queue.wake(key, 5)
        queue.add(C)
        await asyncio.sleep(1)
        assert [task.done() for task in waiting].count(True) == 1
        await asyncio.sleep(5)
        assert sorted(task.result()[0][1] for task in waiting) == ["a", "b", "c"], "both alarms rang, for two workers"

    with_queue(scenario)


@pytest.mark.parametrize("workers", [1, 16])
def test_a_key_that_is_due_is_looked_at_by_one_worker(workers: int) -> None:
    """And not by all sixteen that wait: an idle operator should be idle."""

    async def scenario() -> int:
        looks = 0

        def clock() -> float:
            nonlocal looks
            looks += 1
            return now()

        queue = WorkQueue(clock, Random(1))
        waiting = [asyncio.create_task(queue.get()) for _ in range(workers)]
        queue.wake(A, 5)
        await asyncio.sleep(1)
        looks = 0
        await asyncio.sleep(10)
        assert [task.done() for task in waiting].count(True) == 1
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        return looks

    assert run(scenario) <= 3, "ringing, enqueueing, taking"


def test_a_worker_that_is_cancelled_takes_nobodys_key_along() -> None:
    async def scenario(queue: WorkQueue) -> None:
        first, second = (asyncio.create_task(queue.get()) for _ in range(2))
        await asyncio.sleep(1)
        queue.add(A)  # the first is woken by it, and ends in the same instant
        first.cancel()
        await asyncio.wait({first})
        assert (await second)[0] == A

    with_queue(scenario)


ALARMS = (
    ([(10.0, 0.0), (3.0, 0.0)], 3.0, "a new wake-up that is earlier wins"),
    ([(3.0, 0.0), (10.0, 0.0)], 3.0, "a new wake-up that is later is dropped"),
    ([(5.0, 4.0), (0.5, 0.0)], 4.5, "an earlier one set later, while a worker waits for the first"),
    ([(-3.0, 0.0)], 0.0, "the past is now"),
)


@pytest.mark.parametrize("wakes, at, why", ALARMS, ids=[why for *_, why in ALARMS])
def test_the_earliest_wake_up_wins(wakes: list[tuple[float, float]], at: float, why: str) -> None:
    async def scenario(queue: WorkQueue) -> None:
        taken = asyncio.create_task(queue.get())
        for after, then in wakes:
            queue.wake(A, after)
            await asyncio.sleep(then)
        key, waited = await taken
        assert (key, now()) == (A, pytest.approx(at)), why
        assert waited == 0.0, "sleeping is not waiting for a worker"
        queue.done(A)
        assert await nothing_comes(queue, 100), "the later one does not ring as well"

    with_queue(scenario)


def test_a_wake_up_that_rings_while_a_worker_has_the_key_runs_it_once_more() -> None:
    async def scenario(queue: WorkQueue) -> None:
        queue.add(A)
        await queue.get()
        queue.wake(A, 1)
        assert await nothing_comes(queue, 5)
        queue.done(A)
        assert await drained(queue) == ["a"]

    with_queue(scenario)


def test_the_wait_is_measured_from_the_first_addition() -> None:
    async def scenario(queue: WorkQueue) -> None:
        queue.add(A, Lane.RESYNC)
        await asyncio.sleep(3)
        queue.add(A, Lane.URGENT)
        await asyncio.sleep(1)
        assert await queue.get() == (A, 4.0)

    with_queue(scenario)


@pytest.mark.parametrize("seed", range(5))
def test_backoff_doubles_with_jitter_up_to_a_cap_and_starts_anew_after_success(seed: int) -> None:
    async def scenario(queue: WorkQueue) -> None:
        pauses = [queue.retry(A) for _ in range(30)]
        for n, pause in enumerate(pauses):
            whole = min(FIRST_BACKOFF * 2**n, LONGEST_BACKOFF)
            assert 0.75 * whole <= pause <= whole, f"seed {seed}: pause {n} is {pause}"
        assert len({round(pause, 9) for pause in pauses[-10:]}) > 1, "jitter stays at the cap"
        assert queue.retry(B) <= FIRST_BACKOFF, "keys are counted apart"
        queue.succeed(A)
        assert queue.retry(A) <= FIRST_BACKOFF

    with_queue(scenario, seed)


def test_a_retry_comes_after_its_pause_and_not_before() -> None:
    async def scenario(queue: WorkQueue) -> None:
        for _ in range(10):
            queue.succeed(A)
            for _ in range(4):
                asked, pause = now(), queue.retry(A)
                await queue.get()
                assert now() - asked == pytest.approx(pause)
                queue.done(A)
                await asyncio.sleep(1)

    with_queue(scenario)


NEWS: tuple[tuple[Callable[[WorkQueue], Any], str], ...] = (
    (lambda queue: None, "nothing at all"),
    (lambda queue: queue.add(A, Lane.URGENT), "the most urgent news"),
    (lambda queue: queue.add(A, Lane.RESYNC), "the least"),
    (lambda queue: queue.wake(A, 5.0), "a wake-up of the plan"),
    (lambda queue: queue.wake(A, 500.0), "one that would come later"),
    (lambda queue: queue.hold(A, 10.0), "another answer that asks for less"),
)


@pytest.mark.parametrize("early", [True, False], ids=["during the pass", "after it"])
@pytest.mark.parametrize("news, why", NEWS, ids=[why for _, why in NEWS])
def test_a_held_key_starts_when_its_time_has_come_and_not_before(news: Callable[[WorkQueue], Any], why: str, early: bool) -> None:
    async def scenario(queue: WorkQueue) -> None:
        queue.add(A)
        await queue.get()
        queue.hold(A, 30.0)
        if early:
            news(queue)
        assert queue.retry(A) == pytest.approx(30.0), "the backoff is what was asked for"
        queue.done(A)
        if not early:
            await asyncio.sleep(1)
            news(queue)
        queue.add(B)
        assert (await queue.get())[0] == B, "others are not held up"
        queue.done(B)
        assert (await queue.get())[0] == A
        assert now() == pytest.approx(30.0, abs=1e-3), why
        queue.done(A)

    with_queue(scenario)


def test_a_key_that_was_held_is_an_ordinary_one_afterwards() -> None:
    async def scenario(queue: WorkQueue) -> None:
        for _ in range(20):
            queue.hold(A, 1.0)
            queue.retry(A)
            assert queue.failures == {A: 0}, "it shows among those in backoff, though nothing of its own failed"
            await queue.get()
            queue.done(A)
        assert queue.retry(A) <= FIRST_BACKOFF, "the pauses of a busy server do not count for the backoff after an error"
        await queue.get()
        queue.hold(A, 30.0)
        queue.forget(A)
        queue.done(A)
        queue.add(A)
        assert not await nothing_comes(queue, 1), "a new object of the name owes nothing"

    with_queue(scenario)


SPACED = (
    (Lane.URGENT, 0.0, "what is urgent starts at once"),
    (Lane.CHANGE, 0.0, "and so does what a person asked for"),
    (Lane.TICK, SPACING, "small news wait for more of their kind"),
    (Lane.RESYNC, SPACING, "so does a look without cause"),
)


@pytest.mark.parametrize("lane, after, why", SPACED, ids=[why for *_, why in SPACED])
def test_two_starts_of_one_key_are_a_moment_apart(lane: Lane, after: float, why: str) -> None:
    async def scenario(queue: WorkQueue) -> None:
        await asyncio.sleep(1)
        queue.add(A, lane)
        await queue.get()
        begun = now()
        assert begun == 1.0, "the first start does not wait"
        for _ in range(10):
            queue.add(A, lane)
        queue.done(A)
        queue.add(B, lane)
        assert (await queue.get())[0] == (A if after == 0.0 else B), "others are not held up"
        if after:
            assert (await queue.get())[0] == A
        assert now() - begun == pytest.approx(after), why
        queue.done(A)
        assert await nothing_comes(queue, 5) is (after > 0.0), "ten additions are one start"

    with_queue(scenario)


def test_a_forgotten_key_neither_wakes_nor_remembers_its_failures() -> None:
    async def scenario(queue: WorkQueue) -> None:
        for _ in range(8):
            queue.retry(A)
        queue.wake(A, 500)
        queue.forget(A)
        assert await nothing_comes(queue, 1000)
        assert queue.retry(A) <= FIRST_BACKOFF
        assert (await queue.get())[0] == A, "it may come back"

    with_queue(scenario)
