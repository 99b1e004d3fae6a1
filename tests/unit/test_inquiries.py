# SPDX-License-Identifier: Apache-2.0
"""Questions beside the passes, in virtual time: when each is put, what becomes of its answer, and who waits for whom."""

import asyncio
from collections.abc import Awaitable, Callable

from drover_operator.core.plan import Answer, Ask, Plan
from drover_operator.runtime.inquiries import AT_ONCE, Inquiries
from drover_operator.testing.virtualtime import run

KEY, OTHER = ("shop", "web"), ("shop", "cart")
BEGIN = 1_000_000.0  # what the clock shows when a test begins


class Bench:
    """Inquiries to somebody who takes `seconds` for each answer, by the id of the question; `put` and `woken` are when what happened."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.put: list[tuple[float, str]] = []
        self.woken: list[tuple[float, tuple[str, str]]] = []
        self.ended: list[str] = []
        self._loop = asyncio.get_running_loop()
        self.inquiries = Inquiries(self._answer, self.clock, lambda key: self.woken.append((self.clock(), key)))

    def clock(self) -> float:
        return BEGIN + self._loop.time()

    async def _answer(self, ask: Ask) -> Answer:
        self.put.append((self.clock(), ask.id))
        number = len(self.put)
        try:
            await asyncio.sleep(self.seconds.get(ask.id, 1.0))
        finally:
            self.ended.append(ask.id)
        return Answer(at=0.0, status=200, body=f"{ask.id} {number}".encode())

    def ask(self, name: str = "a", *, after: float = 0.0, timeout: float = 10.0) -> Ask:
        """A question whose time comes so many seconds after the begin."""
        return Ask(id=name, url=f"http://there/{name}", at=BEGIN + after, timeout=timeout)

    def follow(self, *asks: Ask, key: tuple[str, str] = KEY) -> None:
        self.inquiries.follow(key, Plan(asks=asks))

    def known(self, key: tuple[str, str] = KEY) -> dict[str, str]:
        return {name: each.body.decode() or each.error for name, each in self.inquiries.of(key).items()}


def with_bench(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench()
        await scenario(bench)
        await bench.inquiries.close()

    run(main)


def test_an_answer_wakes_its_key_and_is_there_with_the_time_of_its_question():
    async def scenario(bench: Bench) -> None:
        bench.follow(bench.ask())
        assert bench.known() == {}, "nobody waits for it"
        await asyncio.sleep(5)
        assert bench.woken == [(BEGIN + 1.0, KEY)]
        assert bench.inquiries.of(KEY) == {"a": Answer(at=BEGIN, status=200, body=b"a 1")}, "what was measured later counts as of then"
        assert bench.inquiries.of(OTHER) == {}

    with_bench(scenario)


def test_a_question_is_not_put_before_its_time():
    """The pass that comes at that time puts it; nothing here has an alarm clock."""

    async def scenario(bench: Bench) -> None:
        bench.follow(bench.ask(after=30))
        await asyncio.sleep(29)
        bench.follow(bench.ask(after=30))
        assert bench.put == []
        await asyncio.sleep(1)
        bench.follow(bench.ask(after=30))
        await asyncio.sleep(0)
        assert bench.put == [(BEGIN + 30, "a")]

    with_bench(scenario)


def test_a_question_is_put_once_at_a_time():
    """A busy service has many passes while Prometheus thinks."""

    async def scenario(bench: Bench) -> None:
        for _ in range(10):
            bench.follow(bench.ask())
            await asyncio.sleep(0.05)
        assert len(bench.put) == 1
        bench.follow(bench.ask(), key=OTHER)
        bench.follow(bench.ask(), bench.ask("b"))
        await asyncio.sleep(0)
        assert [name for _, name in bench.put] == ["a", "a", "b"], "the same of another key, and another of the same key, are others"

    with_bench(scenario)


def test_an_answer_is_kept_until_a_newer_one_is_wanted():
    async def scenario(bench: Bench) -> None:
        bench.follow(bench.ask())
        await asyncio.sleep(5)
        bench.follow(bench.ask())
        await asyncio.sleep(5)
        assert (bench.known(), len(bench.put)) == ({"a": "a 1"}, 1), "whoever has not noted it yet finds it"
        bench.follow(bench.ask(after=30))
        assert bench.known() == {}, "it is older than what is wanted now"
        await asyncio.sleep(20)
        bench.follow(bench.ask(after=30))
        await asyncio.sleep(5)
        assert bench.known() == {"a": "a 2"}
        assert bench.inquiries.of(KEY)["a"].at == BEGIN + 30

    with_bench(scenario)


def test_an_answer_that_was_on_its_way_when_a_newer_one_became_wanted_does_not_count():
    async def scenario(bench: Bench) -> None:
        bench.seconds["a"] = 8.0
        bench.follow(bench.ask())
        await asyncio.sleep(6)
        bench.follow(bench.ask(after=5))
        assert len(bench.put) == 1, "still once at a time"
        await asyncio.sleep(3)
        assert bench.inquiries.of(KEY)["a"].at == BEGIN, "the pass sees for itself that it is too old"
        bench.follow(bench.ask(after=5))
        await asyncio.sleep(9)
        assert bench.inquiries.of(KEY)["a"].at == BEGIN + 9

    with_bench(scenario)


def test_a_slow_answer_holds_up_no_other():
    async def scenario(bench: Bench) -> None:
        bench.seconds["slow"] = 9.0
        bench.follow(bench.ask("slow"), bench.ask("quick"))
        bench.follow(bench.ask("quick"), key=OTHER)
        await asyncio.sleep(2)
        assert (bench.known(), bench.known(OTHER)) == ({"quick": "quick 2"}, {"quick": "quick 3"})
        assert [key for _, key in bench.woken] == [KEY, OTHER]
        bench.follow(bench.ask("slow"), bench.ask("quick"))
        await asyncio.sleep(8)
        assert bench.known() == {"slow": "slow 1", "quick": "quick 2"}, "what is known stays beside it"

    with_bench(scenario)


def test_no_answer_in_time_is_an_answer_in_words():
    async def scenario(bench: Bench) -> None:
        bench.seconds["a"] = 100.0
        bench.follow(bench.ask(timeout=2.5))
        await asyncio.sleep(3)
        assert bench.inquiries.of(KEY) == {"a": Answer(at=BEGIN, error="no answer in 2.5 s")}
        assert (bench.ended, bench.woken) == (["a"], [(BEGIN + 2.5, KEY)]), "and nobody goes on with it"

    with_bench(scenario)


def test_there_are_not_more_under_way_than_are_allowed():
    """Many services that roll at once must not open a connection each; whoever waits for a place has its time in full."""

    async def scenario(bench: Bench) -> None:
        names = [f"q{number}" for number in range(AT_ONCE + 3)]
        bench.seconds.update(dict.fromkeys(names, 4.0))
        bench.follow(*(bench.ask(name, timeout=5.0) for name in names))
        await asyncio.sleep(1)
        assert len(bench.put) == AT_ONCE
        await asyncio.sleep(10)
        assert len(bench.put) == len(names)
        assert {each.error for each in bench.inquiries.of(KEY).values()} == {""}
        assert {name: each.at for name, each in bench.inquiries.of(KEY).items()}[names[-1]] == BEGIN + 4.0

    with_bench(scenario)


def test_what_is_not_asked_any_more_is_forgotten():
    async def scenario(bench: Bench) -> None:
        bench.follow(bench.ask(), bench.ask("b"))
        await asyncio.sleep(5)
        bench.follow(bench.ask("b"))
        assert set(bench.known()) == {"b"}
        bench.follow()
        assert bench.known() == {}
        bench.follow(bench.ask())
        await asyncio.sleep(5)
        assert bench.known() == {"a": "a 3"}, "and asked anew when it is asked again"

    with_bench(scenario)


def test_a_plan_that_only_remembers_changes_nothing():
    """It lists what is open once it is stored; the pass after it does."""

    async def scenario(bench: Bench) -> None:
        bench.inquiries.follow(KEY, Plan(asks=(bench.ask(),), write_ahead=True))
        await asyncio.sleep(2)
        assert bench.put == []
        bench.follow(bench.ask())
        await asyncio.sleep(2)
        bench.inquiries.follow(KEY, Plan(write_ahead=True))
        assert bench.known() == {"a": "a 1"}

    with_bench(scenario)


def test_a_key_that_is_gone_is_forgotten_also_by_what_was_on_its_way():
    async def scenario(bench: Bench) -> None:
        bench.follow(bench.ask(), bench.ask("b"))
        bench.seconds["b"] = 6.0
        await asyncio.sleep(2)
        assert set(bench.known()) == {"a"}
        bench.inquiries.forget(KEY)
        assert bench.known() == {}
        await asyncio.sleep(6)
        assert bench.woken[-1] == (BEGIN + 6.0, KEY), "its key is looked at once more,"
        bench.inquiries.forget(KEY)
        assert bench.known() == {}, "and then nothing is left of it"
        bench.inquiries.forget(OTHER)

    with_bench(scenario)


def test_closing_ends_what_is_under_way_and_wakes_nobody():
    async def scenario(bench: Bench) -> None:
        bench.seconds.update(a=50.0, b=50.0)
        bench.follow(bench.ask(timeout=60.0), bench.ask("b", timeout=60.0))
        await asyncio.sleep(1)
        await bench.inquiries.close()
        assert sorted(bench.ended) == ["a", "b"]
        await asyncio.sleep(100)
        assert (bench.woken, bench.known()) == ([], {})
        await bench.inquiries.close()

    with_bench(scenario)
