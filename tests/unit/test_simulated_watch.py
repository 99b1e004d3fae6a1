# SPDX-License-Identifier: Apache-2.0
"""Watches of the simulated API server, and Drover's own reflector on top of them."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
import pytest

from drover_operator.api.resource import PODS
from drover_operator.kube.cache import Cache
from drover_operator.kube.client import Client
from drover_operator.kube.errors import AlreadyExists, Conflict, Unsent
from drover_operator.kube.reflector import Reflector
from drover_operator.kube.transport import Request
from drover_operator.testing import Deliver, Overtaken, Repeated, SimulatedCluster, SimulatedTransport, WatchEvent
from drover_operator.testing.virtualtime import run

Json = dict[str, Any]
PATH = "/api/v1/namespaces/default/pods"


def pod(name: str, **labels: str) -> Json:
    meta = {"name": name, "namespace": "default", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}


class Watch:
    """Collects the events of one watch."""

    def __init__(self, transport: SimulatedTransport, **query: str) -> None:
        self.events: list[Json] = []
        self.ended: BaseException | str | None = None
        self._task = asyncio.create_task(self._follow(transport, Request(method="GET", path=PATH, query={"watch": "true", **query})))

    async def _follow(self, transport: SimulatedTransport, request: Request) -> None:
        try:
            async with transport.stream(request) as (reply, chunks):
                assert reply.status == 200
                async for chunk in chunks:
                    self.events += [msgspec.json.decode(line) for line in chunk.splitlines()]
            self.ended = "quietly"
        except Unsent as error:
            self.ended = error

    def names(self) -> list[str]:
        return [f"{event['type']} {event['object']['metadata'].get('name', '')}".strip() for event in self.events]

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})


def simulate(scenario: Callable[[SimulatedCluster], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(seed=1)
        await scenario(cluster)
        await cluster.stop()

    run(main)


def test_a_watch_continues_from_a_version_and_ends_after_its_time() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        first = cluster.apply(pod("a"))
        cluster.apply(pod("b"))
        watch = Watch(cluster.transport(), resourceVersion=first["metadata"]["resourceVersion"], timeoutSeconds="10")
        await asyncio.sleep(1)
        cluster.patch("pods", "default", "a", {"metadata": {"labels": {"x": "y"}}})
        cluster.delete("pods", "default", "b")
        await asyncio.sleep(1)
        assert watch.names() == ["ADDED b", "MODIFIED a", "MODIFIED b", "DELETED b"], "a deleted pod is seen Terminating first"
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in watch.events]
        assert versions == sorted(set(versions)), "the deletion has a version of its own"
        await asyncio.sleep(10)
        assert watch.ended == "quietly"

    simulate(scenario)


def test_a_selector_adds_and_deletes_as_labels_change() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod("a", app="web"))
        cluster.apply(pod("b", app="other"))
        watch = Watch(cluster.transport(), labelSelector="app=web")
        await asyncio.sleep(1)
        cluster.patch("pods", "default", "b", {"metadata": {"labels": {"app": "web"}}})
        cluster.patch("pods", "default", "a", {"metadata": {"labels": {"app": None}}})
        cluster.delete("pods", "default", "a")
        await asyncio.sleep(1)
        assert watch.names() == ["ADDED a", "ADDED b", "DELETED a"], "leaving the selector is a deletion, the real one goes unseen"
        assert watch.events[-1]["object"]["metadata"]["labels"] == {"app": "web"}, "with the last state that matched"
        await watch.close()

    simulate(scenario)


def test_a_quiet_watch_carries_a_bookmark_a_minute_and_nothing_else() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        watch = Watch(cluster.transport(), resourceVersion="9", allowWatchBookmarks="true", timeoutSeconds="600")
        cluster.create_namespace("elsewhere")
        await asyncio.sleep(185)
        assert watch.names() == ["BOOKMARK"] * 3
        assert watch.events[-1]["object"]["metadata"]["resourceVersion"] == str(cluster.server.storage.revision), "it covers other resources' writes"
        await watch.close()

    simulate(scenario)


def test_a_compacted_version_is_an_error_event_inside_a_200() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.compact()
        watch = Watch(cluster.transport(), resourceVersion="2")
        await asyncio.sleep(1)
        assert (watch.events[0]["type"], watch.events[0]["object"]["code"], watch.ended) == ("ERROR", 410, "quietly")

    simulate(scenario)


def test_initial_events_end_with_a_marked_bookmark() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        cluster.apply(pod("a"))
        watch = Watch(cluster.transport(), sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true")
        await asyncio.sleep(1)
        assert watch.names() == ["ADDED a", "BOOKMARK"]
        assert watch.events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
        await watch.close()

    simulate(scenario)


def test_streams_break_with_the_server_and_hooks_hide_and_delay_events() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        def fault(resource: str, event: WatchEvent) -> Deliver | float:
            name = event.object["metadata"]["name"] if event.object else ""
            return {"hidden": Deliver.DROP, "late": 5.0}.get(name, Deliver.NOW) if resource == "pods" else Deliver.NOW

        faulty, sound = cluster.transport(), cluster.transport()
        faulty.faults.event = fault
        one, other = Watch(faulty), Watch(sound)
        await asyncio.sleep(1)
        for name in ("first", "hidden", "late", "behind"):
            cluster.apply(pod(name))
        await asyncio.sleep(1)
        assert (len(other.events), one.names()) == (4, ["ADDED first"]), "each transport has its own view"
        await asyncio.sleep(5)
        assert one.names() == ["ADDED first", "ADDED late", "ADDED behind"], "a stream is never reordered, a late event holds it up"
        cluster.api_down = True
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert isinstance(one.ended, Unsent)
        assert isinstance(other.ended, Unsent)

    simulate(scenario)


def test_events_can_be_overtaken_and_come_twice() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        transport = cluster.transport()
        transport.faults.event = lambda _, event: {"a": Overtaken(2.0), "b": Repeated(1.0)}.get(event.object["metadata"]["name"], Deliver.NOW)  # type: ignore[index]
        watch = Watch(transport)
        await asyncio.sleep(1)
        for name in ("a", "b", "c"):
            cluster.apply(pod(name))
        await asyncio.sleep(3)
        assert watch.names() == ["ADDED b", "ADDED c", "ADDED b", "ADDED a"]
        await watch.close()

    simulate(scenario)


def test_a_watch_of_an_api_server_that_trails_shows_everything_in_order_and_late() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        transport = cluster.transport()
        transport.faults.lag = 4.0
        watch = Watch(transport)
        await asyncio.sleep(1)
        for name in ("a", "b"):
            cluster.apply(pod(name))
            await asyncio.sleep(1)
        await asyncio.sleep(1.9)
        assert watch.names() == []
        await asyncio.sleep(0.2)
        assert watch.names() == ["ADDED a"], "events come as late as they are, not one after the other's lag"
        await asyncio.sleep(1)
        assert watch.names() == ["ADDED a", "ADDED b"]
        await watch.close()

    simulate(scenario)


def test_the_real_client_and_reflector_cannot_tell() -> None:
    async def scenario(cluster: SimulatedCluster) -> None:
        await cluster.start()
        transport = cluster.transport()
        client = Client(transport)
        cache = Cache(PODS, lambda item: item.metadata.key)
        reflector = Reflector(client, cache, random=Random(1))
        running = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        written = await client.create(PODS, "default", pod("a"))
        with pytest.raises(AlreadyExists):
            await client.create(PODS, "default", pod("a"))
        await cluster.until(lambda: bool(cache.get(("default", "a"))))
        await cluster.until(lambda: cache.get(("default", "a")).status.is_true("Ready"), 5)  # type: ignore[union-attr]
        with pytest.raises(Conflict):
            await client.patch(PODS, "default", "a", {"metadata": {"resourceVersion": str(written.version), "labels": {"x": "y"}}})
        transport.break_streams()
        cluster.compact()
        cluster.apply(pod("b"))
        await cluster.until(lambda: len(cache) == 2, 30)
        assert not (await client.delete(PODS, "default", "a", uid=written.uid)).gone, "its kubelet has yet to confirm"
        await cluster.until(lambda: len(cache) == 1, 30)
        await asyncio.sleep(600)
        assert cache.watermark == cluster.server.storage.revision, "bookmarks keep a quiet cache current"
        running.cancel()
        await asyncio.wait({running})

    simulate(scenario)
