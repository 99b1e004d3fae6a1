# SPDX-License-Identifier: Apache-2.0
"""The agent over time, which is virtual here: when it probes, what a restart does, how drains run, and which lines it logs."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drover_agent.agent import Agent, told
from drover_agent.core import Event, Reading, Run
from drover_agent.drain import Drained
from drover_agent.process import Found
from drover_agent.settings import read
from drover_operator.testing.virtualtime import run

SETTINGS = read(["--ip=10.0.0.7", "--probe-port=8080", "--interval=10s", "--timeout=4s"], {})
FIRST = Run(pid=7, ticks=100, start_time=1_000)
SECOND = Run(pid=8, ticks=900, start_time=9_000)


class Machine:
    """Whatever the agent sees, set by the test: the process, the results of probes, the active requests, and its log."""

    def __init__(self, **settings: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.process: Found | None = Found(run=FIRST, settled=True)
        self.error = ""
        self.probing: Callable[[], Awaitable[object]] | None = None  # what a probe waits for
        self.probed: list[float] = []
        self.under_way = 0
        self.asked: list[float] = []
        self.lines: list[Event] = []
        counting = "active" in settings
        self.active: Iterator[int | str] = iter(settings.pop("active", ()))
        self.agent = Agent(
            replace(SETTINGS, **settings), self, self.probe, self.load if counting else None, clock=self.loop.time, log=self.lines.append
        )  # fmt: skip

    def alive(self, each: Run) -> bool:
        return self.process is not None and self.process.run == each

    def look(self, known: Found | None) -> Found | None:
        return self.process

    async def probe(self) -> str:
        self.probed.append(self.loop.time())
        self.under_way += 1
        assert self.under_way == 1, "probes overlap"
        try:
            if self.probing is not None:
                await self.probing()
            return self.error
        finally:
            self.under_way -= 1

    async def load(self) -> Reading:
        self.asked.append(round(self.loop.time(), 3))
        said = next(self.active)
        return Reading(count=said) if isinstance(said, int) else Reading(error=said)

    def restart(self) -> None:
        self.process = Found(run=SECOND, settled=True)

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.lines]


def played(story: Callable[[Machine], Awaitable[None]], **settings: Any) -> None:
    """Run a story with an agent that probes."""

    async def main() -> None:
        machine = Machine(**settings)
        probing = asyncio.create_task(machine.agent.probe_forever())
        try:
            await story(machine)
        finally:
            probing.cancel()

    run(main)


# -- probes


def test_probes_begin_an_interval_apart() -> None:
    async def story(machine: Machine) -> None:
        await asyncio.sleep(31)
        assert machine.probed == [0.0, 10.0, 20.0, 30.0]
        assert machine.agent.why_not_ready() == ""
        assert machine.names == ["found", "healthy"], "and no line for each probe"

    played(story)


def test_a_slow_probe_is_followed_at_once_and_never_overlapped() -> None:
    async def story(machine: Machine) -> None:
        machine.probing = lambda: asyncio.sleep(25)
        await asyncio.sleep(101)
        assert machine.probed == [0.0, 25.0, 50.0, 75.0, 100.0]

    played(story, timeout=30.0)


def test_a_probe_is_cut_at_its_time_limit_and_has_failed() -> None:
    async def story(machine: Machine) -> None:
        machine.probing = asyncio.Event().wait
        await asyncio.sleep(3.9)
        assert machine.agent.state.failed == 0
        await asyncio.sleep(0.2)
        assert machine.under_way == 0
        assert machine.agent.why_not_ready() == "unhealthy: 1 failed in a row, the last: no answer within 4 s"
        await asyncio.sleep(10)
        assert machine.probed == [0.0, 10.0], "the interval counts from its beginning"

    played(story)


def test_detection_takes_at_most_interval_times_threshold_and_the_time_limit() -> None:
    """The bound of M10, with the worst moment: right after a probe that has succeeded."""

    async def story(machine: Machine) -> None:
        await asyncio.sleep(10.1)
        assert machine.agent.why_not_ready() == ""
        wedged = machine.loop.time()
        machine.probing = asyncio.Event().wait
        while machine.agent.why_not_ready() == "":
            await asyncio.sleep(0.1)
        assert machine.loop.time() - wedged <= 10.0 * 3 + 4.0 + 0.2

    played(story)


def test_where_there_is_no_process_it_is_looked_for_each_second_and_nothing_is_probed() -> None:
    async def story(machine: Machine) -> None:
        machine.process = None
        await asyncio.sleep(5.5)
        assert machine.probed == []
        assert machine.agent.why_not_ready().startswith("no process to watch")
        assert machine.agent.identity is None
        machine.restart()
        await asyncio.sleep(1)
        assert machine.probed == [6.0]
        assert machine.names == ["found"], "it was never there before: no restart"

    played(story)


def test_healthy_unhealthy_and_back_is_one_line_each() -> None:
    async def story(machine: Machine) -> None:
        await asyncio.sleep(15)
        machine.error = "status 500, not 200"
        await asyncio.sleep(60)
        machine.error = ""
        await asyncio.sleep(60)
        assert machine.names == ["found", "healthy", "unhealthy", "healthy"]
        assert machine.lines[2] == Event(name="unhealthy", level="warning", fields={"failures": 3, "error": "status 500, not 200"})

    played(story)


# -- runs


RESTARTS = (
    (Found(run=SECOND, settled=True), ["gone", "restarted"], "10.0.0.7:8080:9000:8", "another pid"),
    (Found(run=replace(FIRST, ticks=101, start_time=1_010), settled=True), ["gone", "restarted"], "10.0.0.7:8080:1010:7", "the same pid, started later"),
    (None, ["gone"], None, "it vanishes"),
)


@pytest.mark.parametrize("after, lines, identity, why", RESTARTS, ids=[row[-1] for row in RESTARTS])
def test_what_is_not_the_same_run_is_not_ready_from_the_moment_that_somebody_asks(
    after: Found | None, lines: list[str], identity: str | None, why: str
) -> None:
    async def story(machine: Machine) -> None:
        await asyncio.sleep(11)
        assert machine.agent.why_not_ready() == ""
        assert machine.agent.identity == "10.0.0.7:8080:1000:7"
        machine.process = after
        assert machine.agent.why_not_ready() != "", "9 s before the next probe"
        health = machine.agent.state.health
        assert (health.healthy, health.successes, health.probes, health.since, health.started) == (False, 0, 0, 11.0, 11.0), why
        assert machine.agent.identity == identity
        assert machine.names == ["found", "healthy", *lines]

    played(story)


def test_without_anybody_who_asks_the_next_probe_sees_it() -> None:
    async def story(machine: Machine) -> None:
        await asyncio.sleep(11)
        machine.restart()
        await asyncio.sleep(10)
        health = machine.agent.state.health
        assert (machine.agent.state.run, health.healthy, health.probes) == (SECOND, False, 1)
        await asyncio.sleep(10)
        assert machine.agent.why_not_ready() == "", "and the new run proves itself like the first"
        assert machine.agent.state.restarts == 1

    played(story)


def test_a_probe_that_ends_after_its_run_says_nothing() -> None:
    async def story(machine: Machine) -> None:
        machine.probing = lambda: asyncio.sleep(2)
        await asyncio.sleep(1)
        machine.restart()
        await asyncio.sleep(2)
        state = machine.agent.state
        assert (state.run, state.health.probes, state.passed, state.failed) == (SECOND, 0, 0, 0)

    played(story)


def test_a_better_guess_is_no_restart_but_begins_anew() -> None:
    async def story(machine: Machine) -> None:
        machine.process = Found(run=FIRST, ambiguous=True)
        machine.agent.look()
        assert machine.agent.ambiguous
        machine.alive = lambda each: True  # type: ignore[method-assign]
        machine.process = Found(run=SECOND, settled=True)
        machine.agent.refresh()
        assert machine.agent.state.run == FIRST, "a cheap look asks no more than whether it lives"
        machine.agent.look()
        assert (machine.agent.state.run, machine.agent.state.runs, machine.agent.ambiguous) == (SECOND, 1, False)
        assert machine.names == ["found", "found"]

    played(story)


def test_an_identity_in_ipv6_can_be_taken_apart() -> None:
    async def story(machine: Machine) -> None:
        machine.agent.look()
        assert machine.agent.identity == "[fd00::7]:8080:1000:7"

    played(story, ip="fd00::7")


# -- drain


async def drained(machine: Machine) -> dict[str, object]:
    return told(await machine.agent.drain())


DRAINS: tuple[tuple[list[int | str] | None, dict[str, Any], dict[str, Any], str], ...] = (
    (None, {}, {"drained": True, "activeRequests": None, "waited": 2.0}, "nobody counts: settle is all"),
    (None, {"settle": 0.0}, {"drained": True, "activeRequests": None, "waited": 0.0}, "no settle either"),
    (None, {"settle": 0.5}, {"drained": True, "activeRequests": None, "waited": 0.5}, "a settle that is no multiple of the poll is not rounded up"),
    ([0] * 99, {"settle": 1.9}, {"drained": True, "activeRequests": 0, "waited": 2.0}, "idle: slow proxies have their settle all the same, to the next poll"),
    ([0, 0], {"settle": 0.0}, {"drained": True, "activeRequests": 0, "waited": 0.2}, "two zeros, 200 ms apart"),
    ([3, 2, 1, 0, 0], {"settle": 0.0}, {"drained": True, "activeRequests": 0, "waited": 0.8}, "as soon as it is empty"),
    ([3, 0, 1, 0, 0], {"settle": 0.0}, {"drained": True, "activeRequests": 0, "waited": 0.8}, "a request that was on its way begins the row anew"),
    ([1] * 999, {}, {"drained": False, "activeRequests": 1, "waited": 30.0, "why": "30 s have passed"}, "never"),
    (["refused"] * 999, {}, {"drained": False, "activeRequests": None, "waited": 30.0, "why": "30 s have passed", "unreadable": ["refused"]}, "what cannot be read is not drained"),
    ([2, "refused", "status 500, not 200", 0, 0], {"settle": 0.0}, {"drained": True, "activeRequests": 0, "waited": 0.8, "unreadable": ["refused", "status 500, not 200"]}, "unreadable for a while, and named"),
    ([1] * 999, {"drain_timeout": 5.0}, {"drained": False, "activeRequests": 1, "waited": 5.0, "why": "5 s have passed"}, "the deadline is a setting"),
)  # fmt: skip


@pytest.mark.parametrize("active, settings, answer, why", DRAINS, ids=[row[-1] for row in DRAINS])
def test_drains(active: list[int | str] | None, settings: dict[str, Any], answer: dict[str, Any], why: str) -> None:
    async def story(machine: Machine) -> None:
        assert await drained(machine) == {**answer, "waited": pytest.approx(answer["waited"], abs=0.001)}, why
        assert machine.agent.why_not_ready() == "draining", "for good"
        await asyncio.sleep(100)
        assert machine.agent.state.health.healthy, "the probes go on"
        assert machine.agent.why_not_ready() == "draining"
        assert [line.name for line in machine.lines if line.name.startswith("drain")] == ["draining", "drained"]
        assert dict(machine.lines[machine.names.index("drained")].fields)["drained"] == answer["drained"]

    played(story, **settings, **({} if active is None else {"active": active}))


def test_active_requests_are_asked_for_each_200_ms() -> None:
    async def story(machine: Machine) -> None:
        await asyncio.sleep(1)
        await machine.agent.drain()
        assert machine.asked == [1.0, 1.2, 1.4, 1.6]

    played(story, settle=0.0, active=[5, 5, 0, 0])


def test_nothing_is_asked_after_the_end_of_a_drain() -> None:
    async def story(machine: Machine) -> None:
        await machine.agent.drain()
        asked = len(machine.asked)
        await asyncio.sleep(10)
        assert len(machine.asked) == asked

    played(story, active=[1] * 999)


def test_an_answer_that_never_comes_does_not_hold_the_deadline_up() -> None:
    async def story(machine: Machine) -> None:
        machine.agent.load = lambda: asyncio.Event().wait()  # type: ignore[assignment,return-value]
        answer = await drained(machine)
        assert (answer["drained"], answer["waited"]) == (False, 30.0)

    played(story, active=[])


def test_a_second_drain_joins_the_first_and_one_that_is_over_answers_at_once() -> None:
    async def story(machine: Machine) -> None:
        first = asyncio.create_task(drained(machine))
        await asyncio.sleep(1)
        second = asyncio.create_task(drained(machine))
        assert await first == await second
        assert machine.loop.time() == pytest.approx(2.0)
        assert await drained(machine) == await first
        assert machine.loop.time() == pytest.approx(2.0)
        assert machine.agent.state.drains == 1

    played(story)


def test_who_asked_for_a_drain_may_go_and_it_goes_on() -> None:
    async def story(machine: Machine) -> None:
        first = asyncio.create_task(drained(machine))
        await asyncio.sleep(1)
        first.cancel()
        assert (await drained(machine))["drained"] is True
        assert machine.loop.time() == pytest.approx(2.0)

    played(story)


def test_a_restart_in_mid_drain_ends_it_and_the_new_run_is_probed() -> None:
    async def story(machine: Machine) -> None:
        draining = asyncio.create_task(drained(machine))
        await asyncio.sleep(5)
        machine.restart()
        answer = await draining
        assert answer == {"drained": False, "activeRequests": 1, "waited": pytest.approx(5.0, abs=0.21), "why": "the process has ended"}
        assert machine.agent.why_not_ready() == "not proved yet: 0 of 2 successes in a row"
        await asyncio.sleep(25)
        assert machine.agent.why_not_ready() == "", "draining has ended with the run that was drained"
        again = asyncio.create_task(drained(machine))
        await asyncio.sleep(1)
        assert not again.done(), "a drain of the new run is another one"
        assert machine.agent.state.drains == 2
        assert machine.names == ["found", "draining", "gone", "restarted", "drained", "healthy", "draining"]

    played(story, active=[1] * 999)


def test_an_end_in_mid_drain_is_not_drained() -> None:
    """Requests of a process that crashed were lost, not finished."""

    async def story(machine: Machine) -> None:
        draining = asyncio.create_task(drained(machine))
        await asyncio.sleep(0.5)
        machine.process = None
        answer = await draining
        assert (answer["drained"], answer["why"]) == (False, "the process has ended")
        assert machine.agent.why_not_ready().startswith("no process to watch")

    played(story)


def test_a_drain_without_a_process_still_gives_proxies_their_time() -> None:
    async def story(machine: Machine) -> None:
        machine.process = None
        assert (await drained(machine))["drained"] is True
        assert machine.loop.time() == pytest.approx(2.0)

    played(story)


def test_a_fault_in_a_drain_is_told_to_who_asked() -> None:
    async def main() -> None:
        machine = Machine(active=[])

        async def faulty() -> Reading:
            raise ZeroDivisionError

        machine.agent.load = faulty
        with pytest.raises(ZeroDivisionError):
            await machine.agent.drain()
        assert "drained" not in machine.names

    run(main)


# -- the end


ENDS = (
    # seconds of drain before SIGTERM, grace, hurry after, end after, why
    (None, 30.0, None, 0.0, "no drain is under way"),
    (5.0, 30.0, None, 0.0, "it is over"),
    (0.5, 30.0, None, 1.5, "it is waited for"),
    (0.5, 1.0, None, 1.0, "but for no longer than the grace"),
    (0.5, 0.0, None, 0.0, "which may be nothing"),
    (0.5, 30.0, 0.7, 0.7, "nor after a second SIGTERM"),
)


@pytest.mark.parametrize("drained_for, grace, hurry_after, end_after, why", ENDS, ids=[row[-1] for row in ENDS])
def test_the_end_waits_for_a_drain(drained_for: float | None, grace: float, hurry_after: float | None, end_after: float, why: str) -> None:
    async def story(machine: Machine) -> None:
        hurry, asked = asyncio.Event(), list[asyncio.Task[Drained]]()
        if drained_for is not None:
            asked.append(asyncio.create_task(machine.agent.drain()))
            await asyncio.sleep(drained_for)
        told_to_end = machine.loop.time()
        if hurry_after is not None:
            machine.loop.call_later(hurry_after, hurry.set)
        await machine.agent.finish(hurry)
        assert machine.loop.time() - told_to_end == pytest.approx(end_after), why
        for each in asked:
            answer = await each
            assert answer.why in ("", "the agent was told to end")
            assert answer.drained == (answer.why == "")

    played(story, grace=grace)


def test_the_end_of_the_process_ends_the_wait_for_its_drain() -> None:
    """As it goes in a pod: SIGTERM to the application ends the drain that nobody needs any more."""

    async def story(machine: Machine) -> None:
        asked = asyncio.create_task(machine.agent.drain())
        await asyncio.sleep(0.5)
        machine.loop.call_later(0.3, lambda: setattr(machine, "process", None))
        await machine.agent.finish(asyncio.Event())
        assert (await asked).why == "the process has ended"
        assert machine.loop.time() == pytest.approx(0.8, abs=0.21)

    played(story, settle=60.0, drain_timeout=90.0, grace=90.0)


def test_a_drain_that_broke_does_not_hold_the_end_up() -> None:
    async def story(machine: Machine) -> None:
        async def faulty() -> Reading:
            await asyncio.sleep(1)
            raise ZeroDivisionError

        machine.agent.load = faulty
        asked = asyncio.create_task(machine.agent.drain())
        await asyncio.sleep(0.5)
        await machine.agent.finish(asyncio.Event())
        with pytest.raises(ZeroDivisionError):
            await asked

    played(story, active=[])


def test_what_the_tests_set_is_what_the_flags_say() -> None:
    assert (SETTINGS.interval, SETTINGS.timeout, SETTINGS.settle, SETTINGS.drain_timeout, SETTINGS.proc) == (10.0, 4.0, 2.0, 30.0, Path("/proc"))
