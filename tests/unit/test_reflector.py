# SPDX-License-Identifier: Apache-2.0
"""The reflector on a simulated API server: whatever the watch does, the cache ends up equal to what is stored."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import msgspec
import pytest
import structlog

from drover_operator.api.meta import Object
from drover_operator.api.resource import CONFIG_MAPS
from drover_operator.kube.cache import Cache
from drover_operator.kube.client import Client
from drover_operator.kube.reflector import ABSENCE, PAGE, PATIENCE, SILENCE, Reflector, RestoredHistory
from drover_operator.kube.transport import METADATA_LIST, Reply, Request
from drover_operator.testing import Deliver, SimulatedCluster, SimulatedTransport, WatchEvent, refusal, times
from drover_operator.testing.virtualtime import run


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


class Tampered(SimulatedTransport):
    """A transport whose watches are given lines in front of what the server sends, and cut into chunks of any size."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        super().__init__(cluster.server, "operator")
        self.inserted: list[bytes] = []  # one for each watch, in order
        self.size = 0  # bytes in a chunk; 0: as they come
        self.silent = False

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[tuple[Reply, AsyncIterator[bytes]], None]:
        async with super().stream(request) as (reply, chunks):
            yield reply, self._tampered(chunks)

    async def _tampered(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        if self.silent:
            await asyncio.Event().wait()
        if self.inserted:
            yield self.inserted.pop(0)
        async for chunk in chunks:
            size = self.size or len(chunk)
            for start in range(0, len(chunk), size):
                yield chunk[start : start + size]


class Bench:
    """One cluster with configmaps, one reflector of them, and what its listener and the server saw."""

    def __init__(self, selector: str = "", *, optional: bool = False) -> None:
        self.cluster = SimulatedCluster()
        self.transport = Tampered(self.cluster)
        self.requests: list[Request] = []
        self.transport.faults.before = self.note
        self.cache: Cache[Object] = Cache(CONFIG_MAPS, lambda item: item.metadata.key)
        self.told: list[str] = []
        self.cache.listen(self._listen)
        self.reflector = Reflector(Client(self.transport), self.cache, selector=selector, random=Random(1), optional=optional)
        self.running = asyncio.create_task(self.reflector.run())

    def note(self, request: Request) -> Reply | BaseException | None:
        self.requests.append(request)
        return None

    def fault(self, hook: Callable[[Request], Reply | BaseException | None]) -> None:
        self.transport.faults.before = lambda request: self.note(request) or hook(request)

    def _listen(self, _: Any, old: Object | None, new: Object | None) -> None:
        name = (new or old).metadata.name  # type: ignore[union-attr]
        self.told.append(("+" if old is None else "-" if new is None else "~") + name)

    def put(self, name: str, value: str = "1", **labels: str) -> int:
        item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}, "data": {"value": value}}
        return int(self.cluster.apply(item)["metadata"]["resourceVersion"])

    def delete(self, name: str) -> None:
        self.cluster.delete("configmaps", "default", name)

    def stored(self) -> dict[str, int]:
        return {o["metadata"]["name"]: int(o["metadata"]["resourceVersion"]) for o in self.cluster.objects("configmaps")}

    def cached(self) -> dict[str, int]:
        return {o.metadata.name: o.metadata.version for o in self.cache.values()}

    async def equal(self, within: float = 5.0) -> float:
        return await self.cluster.until(lambda: self.cached() == self.stored(), within)

    def count(self, what: str) -> int:
        """Requests so far: list, metadata or watch."""
        return [_kind(each) for each in self.requests].count(what)


def _kind(request: Request) -> str:
    if "watch" in request.query:
        return "watch"
    return "metadata" if request.headers.get("Accept") == METADATA_LIST else "list"


def with_bench(
    scenario: Callable[[Bench], Awaitable[None]], selector: str = "", before: Callable[[Bench], None] = lambda _: None, *, optional: bool = False
) -> None:
    async def main() -> None:
        bench = Bench(selector, optional=optional)
        before(bench)
        await scenario(bench)
        bench.running.cancel()
        await asyncio.wait({bench.running})
        await bench.cluster.stop()

    run(main)


async def synced(bench: Bench, *names: str) -> None:
    for name in names:
        bench.put(name)
    await bench.reflector.synced.wait()
    await bench.equal()
    await bench.cluster.until(lambda: bench.count("watch") >= 1)
    bench.told.clear()


def error(code: int) -> bytes:
    return b'{"type":"ERROR","object":%b}\n' % refusal(code, "Expired" if code == 410 else "InternalError").body


def bookmark(version: int) -> bytes:
    item = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"resourceVersion": str(version)}}
    return msgspec.json.encode({"type": "BOOKMARK", "object": item}) + b"\n"


def test_a_long_list_comes_in_chunks_of_one_version() -> None:
    def fill(bench: Bench) -> None:
        for number in range(2 * PAGE + 1):
            bench.put(f"n{number:04}")

    async def scenario(bench: Bench) -> None:
        def meanwhile(request: Request) -> None:
            if request.query.get("continue") and bench.count("list") == 2:
                bench.put("n0000", "changed between the chunks")
                bench.delete("n1000")
                bench.put("late")

        bench.fault(meanwhile)
        await bench.reflector.synced.wait()
        assert bench.count("list") == 3
        assert "late" not in bench.cached(), "all chunks are of the version of the first"
        assert {each.query["limit"] for each in bench.requests} == {str(PAGE)}
        assert ["continue" in each.query for each in bench.requests] == [False, True, True]
        await bench.equal()
        assert len(bench.cache) == 2 * PAGE + 1, "what changed in between came by the watch"

    with_bench(scenario, before=fill)


def test_a_list_whose_continuation_has_expired_begins_anew() -> None:
    async def scenario(bench: Bench) -> None:
        bench.fault(times(1, lambda request: "continue" in request.query, refusal(410, "Expired")))
        await bench.reflector.synced.wait()
        assert len(bench.cache) == PAGE + 1
        assert bench.count("list") == 4, "two chunks, twice"

    with_bench(scenario, before=lambda bench: [bench.put(f"n{n}") for n in range(PAGE + 1)])  # type: ignore[func-returns-value]


@pytest.mark.parametrize("size", [0, 1, 7, 1000])
def test_events_are_followed_however_the_stream_is_cut(size: int) -> None:
    async def scenario(bench: Bench) -> None:
        bench.transport.size = size
        await synced(bench, "a", "b")
        bench.put("c")
        bench.put("a", "2")
        bench.delete("b")
        await bench.equal()
        assert bench.told == ["+c", "~a", "-b"]
        assert bench.count("list") == 1, "nothing but the watch was needed"

    with_bench(scenario)


def test_a_selector_goes_into_list_watch_and_proof() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("mine", app="web")
        bench.put("other", app="api")
        await bench.reflector.synced.wait()
        await bench.reflector.prove()
        bench.put("second", app="web")
        await bench.cluster.until(lambda: set(bench.cached()) == {"mine", "second"})
        bench.put("mine", app="api")
        await bench.cluster.until(lambda: set(bench.cached()) == {"second"})
        assert {each.query.get("labelSelector") for each in bench.requests} == {"app=web"}

    with_bench(scenario, selector="app=web")


TROUBLE = (
    ([error(410)], 1.0, True, "410 inside the stream: the history is gone"),
    ([error(500)], 2.0, True, "another error inside the stream"),
    ([b"this is no JSON\n"], 2.0, True, "a line that is no event"),
    ([b'{"type":"ADDED","object":{"metadata":{"labels":7}}}\n'], 2.0, True, "an object of the wrong shape"),
    ([b'{"type":"NEWS","object":{}}\n'], 2.0, True, "an event of a type that nobody knows"),
    ([b"\n\n"], 0.1, False, "empty lines are nothing"),
    ([error(410)] * 5, 5.0, True, "410 again and again"),
)


@pytest.mark.parametrize("lines, within, lists_again, why", TROUBLE, ids=[why for *_, why in TROUBLE])
def test_trouble_in_the_stream_ends_in_a_fresh_list_with_replace_semantics(lines: list[bytes], within: float, lists_again: bool, why: str) -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "stays", "goes", "changes")
        bench.transport.inserted = list(lines)
        bench.cluster.api_down = True  # from here on nothing is seen of what happens
        bench.transport.down = "away"
        bench.delete("goes")
        bench.put("changes", "2")
        bench.put("comes")
        bench.transport.down = None
        await bench.equal(within + 1.5)
        await asyncio.sleep(10)
        assert not bench.running.done(), why
        assert sorted(bench.told) == ["+comes", "-goes", "~changes"], "each change is told once, a deletion that no event told of too"
        assert (bench.count("list") > 1) is lists_again, why

    with_bench(scenario)


def test_a_compacted_history_is_listed_anew() -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a", "b")
        bench.transport.down = "away"
        bench.delete("a")
        bench.put("c")
        bench.cluster.compact()
        bench.transport.down = None
        await bench.equal(3)
        assert sorted(bench.told) == ["+c", "-a"]

    with_bench(scenario)


STATUSES = (410, 500, 403, 404, 429, 401)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("verb", ["list", "watch"])
def test_refused_requests_are_tried_again(verb: str, status: int) -> None:
    async def scenario(bench: Bench) -> None:
        bench.fault(times(3, lambda request: _kind(request) == verb, refusal(status, "Whatever")))
        bench.put("a")
        await bench.equal(10)
        bench.put("b")
        await bench.equal(10)
        assert not bench.running.done()

    with_bench(scenario)


NO_LISTS = (
    (b"<html>a proxy says hello</html>", "what is no JSON"),
    (b'{"metadata":{"resourceVersion":"5"},"items":[{"metadata":{"labels":7}}]}', "an object of the wrong shape"),
    (b'{"metadata":{"resourceVersion":"5","cont', "half an answer"),
    (b'{"metadata":{},"items":[]}', "a list without a version"),
)


@pytest.mark.parametrize("body, why", NO_LISTS, ids=[why for *_, why in NO_LISTS])
@pytest.mark.parametrize("verb", ["list", "metadata"])
def test_an_answer_that_is_no_list_ends_nothing(verb: str, body: bytes, why: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.fault(times(2, lambda request: _kind(request) == verb, Reply(status=200, body=body)))
        bench.put("a")
        await bench.equal(10)
        await bench.reflector.prove()
        assert not bench.running.done(), why
        bench.put("b")
        await bench.equal(10)

    with_bench(scenario)


def test_a_watch_that_is_always_refused_does_not_become_a_storm_of_lists() -> None:
    """A role with list and without watch: the pause between two lists grows as after any other error."""

    async def scenario(bench: Bench) -> None:
        bench.fault(lambda request: refusal(403, "Forbidden") if _kind(request) == "watch" else None)
        await asyncio.sleep(600)
        assert bench.count("list") < 40
        bench.transport.faults.before = bench.note
        bench.put("a")
        await bench.equal(35)

    with_bench(scenario)


def test_the_pause_after_errors_is_short_again_after_a_good_time() -> None:
    async def scenario(bench: Bench) -> None:
        bench.transport.down = "away"
        await asyncio.sleep(120)
        bench.transport.down = None
        bench.put("a")
        await bench.equal(35)
        await asyncio.sleep(300)
        bench.transport.inserted = [error(500)]
        bench.transport.break_streams()
        await asyncio.sleep(1.5)
        bench.put("b")
        await bench.equal(2)

    with_bench(scenario)


def test_a_silent_stream_is_taken_for_dead() -> None:
    async def scenario(bench: Bench) -> None:
        bench.transport.silent = True
        await synced(bench, "a")
        bench.put("b")
        await asyncio.sleep(SILENCE - 5)
        assert bench.count("watch") == 1, "bookmarks may take a minute"
        bench.transport.silent = False
        await bench.equal(10)
        assert bench.count("watch") == 2

    with_bench(scenario)


def test_a_quiet_cluster_is_watched_on_without_new_lists() -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a")
        await asyncio.sleep(3600)
        assert bench.count("list") == 1
        assert 6 <= bench.count("watch") <= 13, "watches of five to ten minutes"
        assert bench.told == []
        assert all(300 <= int(each.query["timeoutSeconds"]) <= 600 for each in bench.requests if _kind(each) == "watch")

    with_bench(scenario)


def test_a_history_that_went_back_ends_the_reflector() -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a")
        bench.transport.inserted = [bookmark(10**6) + error(410)]
        bench.transport.break_streams()
        with pytest.raises(RestoredHistory, match=r"was at version 1000000, the server now lists \d"):
            await asyncio.wait_for(bench.running, 10)
        assert "a" in bench.cached(), "nothing was replaced by the older world"

    with_bench(scenario)


@pytest.mark.parametrize("verb", ["whole", "prove"])
def test_a_silent_watch_does_not_hide_a_history_that_went_back(verb: str) -> None:
    """A watch from a version that a restored server has not reached says nothing; what is listed then is of another world."""

    async def scenario(bench: Bench) -> None:
        await synced(bench, "a")
        bench.transport.faults.after = lambda request, reply: (
            reply if _kind(request) == "watch" else Reply(status=200, body=b'{"metadata":{"resourceVersion":"2"},"items":[]}')
        )
        bench.transport.silent = True
        if verb == "prove":
            with pytest.raises(RestoredHistory):
                await asyncio.wait_for(bench.reflector.prove(), 1)
        else:
            bench.transport.break_streams()
        with pytest.raises(RestoredHistory):
            await asyncio.wait_for(bench.running, SILENCE + 5)
        assert "a" in bench.cached()

    with_bench(scenario)


def test_what_happens_during_a_proof_is_not_taken_for_a_history_that_went_back() -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a")
        bench.transport.faults.latency = lambda request: 2.0 if _kind(request) == "metadata" else 0.002
        proving = asyncio.create_task(bench.reflector.prove())
        await asyncio.sleep(1.5)  # it is listed, and the answer is on its way
        bench.put("b")
        await asyncio.sleep(0.2)
        assert "b" in bench.cached()
        await proving
        assert not bench.running.done()

    with_bench(scenario)


def hide(*names: str) -> Callable[[str, WatchEvent], Deliver | float]:
    return lambda _, event: Deliver.DROP if event.object and event.object["metadata"]["name"] in names else Deliver.NOW


HIDDEN: tuple[tuple[str, Callable[[Bench], Any], str], ...] = (
    ("new", lambda bench: bench.put("new"), "an addition that never came"),
    ("b", lambda bench: bench.put("b", "2"), "a change that never came"),
    ("b", lambda bench: bench.delete("b"), "a deletion that never came"),
)


@pytest.mark.parametrize("name, change, why", HIDDEN, ids=[why for *_, why in HIDDEN])
def test_a_proof_finds_what_the_watch_kept_back(name: str, change: Callable[[Bench], Any], why: str) -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a", "b")
        bench.transport.faults.event = hide(name)
        change(bench)
        await asyncio.sleep(20)
        assert bench.cached() != bench.stored(), "nobody tells"
        await asyncio.wait_for(bench.reflector.prove(), 2 * PATIENCE + 1)
        assert bench.cached() == bench.stored(), why

    with_bench(scenario)


@pytest.mark.parametrize("name, change, why", HIDDEN, ids=[why for *_, why in HIDDEN])
def test_what_the_watch_kept_back_is_found_in_minutes_even_if_nobody_asks(name: str, change: Callable[[Bench], Any], why: str) -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a", "b")
        bench.transport.faults.event = hide(name)
        change(bench)
        await asyncio.sleep(620)
        assert bench.cached() == bench.stored(), why

    with_bench(scenario)


def test_a_proof_of_a_current_cache_returns_at_once_for_one_list_of_metadata() -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a", "b")
        bench.put("c")
        await bench.equal()
        begun, before = asyncio.get_running_loop().time(), len(bench.requests)
        await bench.reflector.prove()
        assert [_kind(each) for each in bench.requests[before:]] == ["metadata"]
        assert asyncio.get_running_loop().time() - begun < 0.01

    with_bench(scenario)


def test_a_proof_covers_what_was_written_just_before_it() -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a")
        bench.transport.faults.event = lambda *_: 1.0
        version = bench.put("b")
        assert "b" not in bench.cached()
        await bench.reflector.prove()
        assert bench.cached()["b"] == version
        assert bench.count("list") == 1, "a watch that is only late is waited for"

    with_bench(scenario)


def test_a_proof_is_not_held_up_for_ever_by_what_goes_on_meanwhile() -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a", "b")
        bench.transport.faults.event = lambda *_: 0.5
        bench.put("b", "2")
        proving = asyncio.create_task(bench.reflector.prove())
        await asyncio.sleep(0.1)
        bench.delete("b")  # listed by the proof, and gone before the cache can show it
        await asyncio.wait_for(proving, 2 * PATIENCE + 2)
        await bench.equal()

    with_bench(scenario)


def test_a_proof_waits_for_the_server_to_come_back() -> None:
    async def scenario(bench: Bench) -> None:
        await synced(bench, "a")
        bench.transport.down = "away"
        proving = asyncio.create_task(bench.reflector.prove())
        bench.put("b")
        await asyncio.sleep(60)
        assert not proving.done(), "a cache that cannot be proved is not current"
        bench.transport.down = None
        await asyncio.wait_for(proving, 5)
        assert bench.cached() == bench.stored()

    with_bench(scenario)


def test_a_fresh_list_is_not_put_off_by_a_stream_that_always_has_something_to_say() -> None:
    """Asked for at the same instant at which events come, again and again: neither may win for ever."""

    async def scenario(bench: Bench) -> None:
        await bench.equal()
        talking = asyncio.create_task(_talk(bench))
        for number in range(2, 20):
            await asyncio.sleep(1.0)
            bench.reflector.relist()
            await bench.cluster.until(lambda wanted=number: bench.count("list") == wanted, 1.0)  # type: ignore[misc]
        talking.cancel()
        await bench.equal()

    with_bench(scenario)


async def _talk(bench: Bench) -> None:
    number = 0
    while True:
        number += 1
        bench.put("always", str(number))
        await asyncio.sleep(0.001)


# --- a resource that the server may not have, such as one of a definition that nobody has installed

UNKNOWN = Reply(status=404, body=b"404 page not found\n", headers={"Content-Type": "text/plain"})  # of a group that is not there
NO_SUCH_KIND = refusal(404, "NotFound", "the server could not find the requested resource")  # of a kind in a group that is
SOON = ABSENCE * 1.1 + 1.0


def absent(answer: Reply = UNKNOWN) -> Callable[[Bench], None]:
    return lambda bench: bench.fault(lambda _: answer)


@pytest.mark.parametrize("answer", [UNKNOWN, NO_SUCH_KIND], ids=["no such group", "no such kind"])
def test_what_the_server_does_not_know_is_synced_and_empty(answer: Reply) -> None:
    """An operator that waited for it would never begin."""

    async def scenario(bench: Bench) -> None:
        await asyncio.wait_for(bench.reflector.synced.wait(), 1.0)
        assert bench.cached() == {}
        assert bench.told == []
        await asyncio.sleep(10 * ABSENCE)
        assert 8 <= bench.count("list") <= 12, "it is looked for again, and not often"
        assert bench.reflector.age < SOON, "nobody who looks at ages takes it for a broken watch"
        assert bench.reflector.relists.total() == 0

    with_bench(scenario, before=absent(answer), optional=True)


def test_a_proof_of_what_the_server_does_not_know_returns_at_once() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.reflector.synced.wait()
        begun = asyncio.get_running_loop().time()
        await bench.reflector.prove()
        assert asyncio.get_running_loop().time() - begun < 0.1

    with_bench(scenario, before=absent(), optional=True)


def test_it_is_found_when_it_appears() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a")
        await asyncio.sleep(2 * ABSENCE)
        assert bench.cached() == {}
        bench.fault(lambda _: None)
        assert await bench.equal(SOON) > 0
        assert bench.told == ["+a"]
        bench.put("b")
        await bench.equal(1.0)  # and watched from then on
        await bench.reflector.prove()

    with_bench(scenario, before=absent(), optional=True)


def test_a_proof_right_after_it_appeared_waits_for_the_next_look() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a")
        await bench.reflector.synced.wait()
        bench.fault(lambda _: None)
        await asyncio.wait_for(bench.reflector.prove(), SOON)
        assert bench.cached() == bench.stored()

    with_bench(scenario, before=absent(), optional=True)


def test_what_was_there_is_gone_when_its_definition_is() -> None:
    """And is there again with it: whoever listens hears of both."""

    async def scenario(bench: Bench) -> None:
        await synced(bench, "a", "b")
        bench.fault(lambda _: UNKNOWN)
        bench.transport.break_streams()
        await bench.cluster.until(lambda: not bench.cached(), 5.0)
        assert sorted(bench.told) == ["-a", "-b"]
        bench.fault(lambda _: None)
        await bench.equal(SOON)
        assert sorted(bench.told) == ["+a", "+b", "-a", "-b"]

    with_bench(scenario, optional=True)


@pytest.mark.parametrize("code", [403, 500, 503])
def test_another_error_is_no_absence(code: int) -> None:
    """A right that is missing, or a server in trouble, says nothing of what is there."""

    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(5.0)
        assert not bench.reflector.synced.is_set()
        bench.put("a")
        bench.fault(lambda _: None)
        await bench.equal(40.0)

    with_bench(scenario, before=absent(refusal(code, "InternalError")), optional=True)


def test_what_is_not_optional_is_waited_for() -> None:
    """Without our own definition there is nothing to do, and a proof of nothing would be a lie."""

    async def scenario(bench: Bench) -> None:
        proving = asyncio.create_task(bench.reflector.prove())
        await asyncio.sleep(100.0)
        assert not bench.reflector.synced.is_set()
        assert not proving.done()
        bench.fault(lambda _: None)
        await asyncio.wait_for(proving, 40.0)

    with_bench(scenario, before=absent())
