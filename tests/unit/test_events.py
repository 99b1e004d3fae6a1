# SPDX-License-Identifier: Apache-2.0
"""Events: one for each change, repeats counted in a series, and never in the way."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from drover_operator.api.meta import Object, ObjectMeta
from drover_operator.api.resource import MANAGED_SERVICES
from drover_operator.kube.client import Client
from drover_operator.kube.errors import OutcomeUnknown, Unsent
from drover_operator.kube.events import QUEUE, REMEMBERED, SERIES, EventRecorder, News
from drover_operator.kube.transport import Reply
from drover_operator.runtime.election import LostLeadership
from drover_operator.testing import SimulatedCluster, SimulatedTransport, refusal
from drover_operator.testing.virtualtime import run


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


class Bench:
    def __init__(self, fence: Any = None) -> None:
        self.cluster = SimulatedCluster()
        self.transport: SimulatedTransport = self.cluster.transport(user="operator")
        self.recorder = EventRecorder(Client(self.transport, fence, patience=0.0), self.cluster.now, "op-1")
        self.writing = asyncio.create_task(self.recorder.run())

    def say(self, note: str = "made web-0", *, reason: str = "Missing", kind: str = "Normal", name: str = "web") -> None:
        item = Object(metadata=ObjectMeta(name=name, namespace="default", uid=f"uid-{name}"))
        self.recorder.record(MANAGED_SERVICES, item, News(kind=kind, reason=reason, action="Create", note=note))

    async def events(self) -> list[dict[str, Any]]:
        await asyncio.sleep(1)
        return sorted(self.cluster.objects("events.events.k8s.io"), key=lambda each: (each["eventTime"], each["note"]))


def with_bench(scenario: Callable[[Bench], Awaitable[None]], fence: Any = None) -> None:
    async def main() -> None:
        bench = Bench(fence)
        await scenario(bench)
        bench.writing.cancel()
        await asyncio.wait({bench.writing})
        await bench.cluster.stop()

    run(main)


def test_an_event_says_what_happened_to_what() -> None:
    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(0.25)
        bench.say(kind="Warning")
        (event,) = await bench.events()
        assert event["metadata"]["namespace"] == "default"
        assert event["metadata"]["name"].startswith("web.")
        told = {name: event[name] for name in ("type", "reason", "action", "note", "reportingController", "reportingInstance", "eventTime")}
        assert told == {
            "type": "Warning",
            "reason": "Missing",
            "action": "Create",
            "note": "made web-0",
            "reportingController": "drover.dev/operator",
            "reportingInstance": "op-1",
            "eventTime": "2026-01-01T00:00:00.250000Z",
        }
        assert event["regarding"] == {
            "apiVersion": "drover.dev/v1alpha1",
            "kind": "ManagedService",
            "namespace": "default",
            "name": "web",
            "uid": "uid-web",
        }

    with_bench(scenario)


def test_repeats_are_counted_in_one_series() -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(3):
            bench.say()
            await asyncio.sleep(10)
        (event,) = await bench.events()
        assert event["series"]["count"] == 3
        assert event["series"]["lastObservedTime"] == "2026-01-01T00:00:20.000000Z"
        await asyncio.sleep(SERIES)
        bench.say()
        assert ["series" in each for each in await bench.events()] == [True, False], "after ten minutes it is another story"
        bench.say()
        assert [each["series"]["count"] for each in await bench.events()] == [3, 2]

    with_bench(scenario)


DIFFERENT: tuple[tuple[dict[str, str], str], ...] = (
    ({"note": "made web-1"}, "another note"),
    ({"reason": "Superseded"}, "another reason"),
    ({"kind": "Warning"}, "another type"),
    ({"name": "api"}, "another object"),
)


@pytest.mark.parametrize("change, why", DIFFERENT, ids=[why for _, why in DIFFERENT])
def test_what_is_no_repeat(change: dict[str, str], why: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.say()
        bench.say(**change)
        assert len({each["metadata"]["name"] for each in await bench.events()}) == 2, why

    with_bench(scenario)


REFUSED: tuple[tuple[Reply | BaseException, str], ...] = (
    (refusal(403, "Forbidden", "it is being terminated"), "the namespace is being deleted"),
    (refusal(422, "Invalid"), "an event that the server finds wrong"),
    (refusal(404, "NotFound"), "no such namespace"),
    (refusal(429, "TooManyRequests", retry_after=30), "a busy server: the news of others do not wait for this one"),
    (refusal(500, "InternalError"), "a server in trouble"),
    (Unsent("away"), "no server"),
    (OutcomeUnknown("lost"), "a lost answer"),
)


@pytest.mark.parametrize("outcome, why", REFUSED, ids=[why for _, why in REFUSED])
def test_a_refused_event_is_no_error(outcome: Reply | BaseException, why: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.transport.faults.before = lambda _: outcome
        bench.say("one")
        bench.say("one")
        await asyncio.sleep(1)
        bench.transport.faults.clear()
        bench.say("two")
        assert [each["note"] for each in await bench.events()] == ["two"], why
        assert not bench.writing.done(), why

    with_bench(scenario)


def test_an_event_that_has_expired_is_told_anew() -> None:
    async def scenario(bench: Bench) -> None:
        bench.say()
        (event,) = await bench.events()
        bench.cluster.delete("events.events.k8s.io", "default", event["metadata"]["name"])
        bench.say()
        assert await bench.events() == [], "this repeat finds nothing to count on"
        bench.say()
        (anew,) = await bench.events()
        assert anew["metadata"]["name"] != event["metadata"]["name"]

    with_bench(scenario)


@dataclass(frozen=True)
class Noise:
    """`news` Events about one object, one each `every` seconds; all alike, or each of another note."""

    news: int
    every: float
    alike: bool
    written: int
    limited: int
    why: str


NOISE = (
    Noise(25, 0.0, False, 25, 0, "a burst that a person can read goes out whole"),
    Noise(40, 0.0, False, 25, 15, "what is beyond it is held back"),
    Noise(40, 0.0, True, 25, 15, "repeats cost writes too: a series is no way around it"),
    Noise(120, 60.0, False, 25 + 23, 120 - 48, "a story without end: one every five minutes"),
    Noise(50, 300.0, False, 50, 0, "news every five minutes are never held back"),
)


@pytest.mark.parametrize("noise", NOISE, ids=[noise.why for noise in NOISE])
def test_an_object_that_makes_much_noise_is_held_back(noise: Noise) -> None:
    async def scenario(bench: Bench) -> None:
        for n in range(noise.news):
            bench.say("again" if noise.alike else f"n{n}")
            await asyncio.sleep(noise.every)
        await asyncio.sleep(1)
        assert bench.recorder.fates == {key: count for key, count in (("written", noise.written), ("limited", noise.limited)) if count}, noise.why
        bench.say("another object", name="api")
        assert "another object" in [each["note"] for each in await bench.events()], "which costs nobody else anything"

    with_bench(scenario)


def test_what_was_held_back_of_a_series_is_in_its_next_count() -> None:
    async def scenario(bench: Bench) -> None:
        for _ in range(40):
            bench.say()
        await asyncio.sleep(SERIES / 2 + 1)
        bench.say()
        (event,) = await bench.events()
        assert event["series"]["count"] == 41

    with_bench(scenario)


def test_a_series_whose_first_event_was_held_back_is_told_by_the_next_one() -> None:
    async def scenario(bench: Bench) -> None:
        for n in range(25):
            bench.say(f"n{n}")
        bench.say("late")
        assert "late" not in [each["note"] for each in await bench.events()]
        await asyncio.sleep(SERIES / 2)
        bench.say("late")
        (late,) = [each for each in await bench.events() if each["note"] == "late"]
        assert late["series"]["count"] == 2

    with_bench(scenario)


def test_an_event_names_the_change_that_it_belongs_to() -> None:
    async def scenario(bench: Bench) -> None:
        item = Object(metadata=ObjectMeta(name="web", namespace="default", uid="uid-web"))
        bench.recorder.record(MANAGED_SERVICES, item, News(kind="Normal", reason="Update", action="ChangePhase", note="begun", change="c0ffee12"))
        (event,) = await bench.events()
        assert event["metadata"]["annotations"] == {"drover.dev/change": "c0ffee12"}

    with_bench(scenario)


def test_a_server_that_is_away_costs_old_events_and_nothing_else() -> None:
    async def scenario(bench: Bench) -> None:
        bench.transport.faults.latency = 20.0
        bench.say("first")
        await asyncio.sleep(0)  # it is on its way now
        for n in range(QUEUE + 10):
            bench.say(f"n{n:05}", name=f"web-{n}")
        bench.transport.faults.latency = 0.0
        await asyncio.sleep(30)
        notes = sorted(each["note"] for each in await bench.events())
        assert notes == ["first", *(f"n{n:05}" for n in range(10, QUEUE + 10))], "the oldest are dropped, never the newest"
        assert bench.recorder.fates == {"written": QUEUE + 1, "dropped": 10}

    with_bench(scenario)


def test_only_so_many_series_are_known() -> None:
    async def scenario(bench: Bench) -> None:
        for n in range(REMEMBERED + 1):
            bench.say(f"n{n:05}", name=f"web-{n}")
            if n % 500 == 0:
                await asyncio.sleep(5)
        await asyncio.sleep(10)
        bench.say("n00000", name="web-0")
        bench.say(f"n{REMEMBERED:05}", name=f"web-{REMEMBERED}")
        events = await bench.events()
        assert [each["note"] for each in events].count("n00000") == 2, "forgotten, so told anew"
        assert [each["series"]["count"] for each in events if each["note"] == f"n{REMEMBERED:05}"] == [2]

    with_bench(scenario)


def test_long_words_are_cut_to_what_the_api_takes() -> None:
    async def scenario(bench: Bench) -> None:
        bench.say("x" * 5000, reason="R" * 500, name="n" * 253)
        (event,) = await bench.events()
        assert (len(event["note"]), len(event["reason"])) == (1024, 128)
        assert len(event["metadata"]["name"]) <= 253

    with_bench(scenario)


def test_the_loss_of_office_ends_the_writing() -> None:
    class Deposed:
        def headers(self) -> dict[str, str]:
            raise LostLeadership("over")

    async def scenario(bench: Bench) -> None:
        bench.say()
        assert await bench.events() == []
        assert isinstance(bench.writing.exception(), LostLeadership)

    with_bench(scenario, Deposed())
