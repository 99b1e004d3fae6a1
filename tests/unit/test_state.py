# SPDX-License-Identifier: Apache-2.0
"""/state: what it says of a process at work, bounded, and without anything that could be a secret. And why watches and lists were made."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

import pytest
import structlog

from drover_controllers.service import CONTROLLER
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.election import Timing
from drover_operator.runtime.process import Process, Settings
from drover_operator.runtime.state import KEYS, state
from drover_operator.testing import SimulatedCluster, refusal
from drover_operator.testing.virtualtime import run

SECRET = "correct-horse"
Json = dict[str, Any]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(processors=[_drop])
    yield
    structlog.reset_defaults()


def _drop(*_: Any) -> Any:
    raise structlog.DropEvent


class Bench:
    def __init__(self, cluster: SimulatedCluster) -> None:
        self.cluster = cluster
        self.transport = cluster.transport(user="operator")
        timing = Timing(duration=3.0, renew_deadline=2.0, retry=0.5)
        settings = Settings(identity="op-1", shell=False, workers=4, timing=timing)
        self.process = Process(self.transport, (CONTROLLER,), settings, clock=cluster.now, random=Random(1))

    def told(self, key: str = "") -> Json:
        found = state(self.process.election, self.process.fence, self.process.engines, key)
        assert SECRET not in json.dumps(found)
        return found

    def service(self, key: str = "") -> Json:
        return self.told(key)["controllers"]["service"]

    def put(self, name: str, **spec: Any) -> None:
        container = {"name": "main", "image": "app:1", "env": [{"name": "PASSWORD", "value": SECRET}]}
        body = {"criticality": "Normal", "template": {"spec": {"containers": [container]}}, **spec}
        self.cluster.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": name, "namespace": "default"}, "spec": body})


def with_bench(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(nodes=2)
        await cluster.start()
        bench = Bench(cluster)
        running = asyncio.create_task(bench.process.run())
        await scenario(bench)
        running.cancel()
        await asyncio.wait({running})
        await cluster.stop()

    run(main)


def test_a_process_says_who_leads_and_how_fresh_its_caches_are() -> None:
    async def scenario(bench: Bench) -> None:
        before = bench.told()
        assert (before["lease"]["leading"], before["lease"]["epoch"]) == (False, None)
        assert not any(each["synced"] for each in before["controllers"]["service"]["caches"].values())
        bench.put("web", replicas=2)
        await asyncio.sleep(20)
        told = bench.told()
        assert told["identity"] == "op-1"
        assert {name: told["lease"][name] for name in ("name", "leading", "holder", "epoch")} == {
            "name": "drover-operator-0",
            "leading": True,
            "holder": "op-1",
            "epoch": 1,
        }
        assert 0 < told["lease"]["secondsLeft"] <= 2
        assert told["fence"] == "Enforced"
        caches = told["controllers"]["service"]["caches"]
        assert (caches["pods"]["objects"], caches["managedservices.drover.dev"]["objects"]) == (2, 1)
        assert all(each["synced"] and each["watermark"] > 0 and each["ageSeconds"] < 70 for each in caches.values())
        assert told["controllers"]["service"]["workers"] == []

    with_bench(scenario)


def test_a_standby_says_who_leads() -> None:
    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(1)
        other = Process(bench.cluster.transport(user="operator"), (CONTROLLER,), Settings(identity="op-2", shell=False), clock=bench.cluster.now)
        running = asyncio.create_task(other.run())
        await asyncio.sleep(3)
        lease = state(other.election, other.fence, other.engines)["lease"]
        assert (lease["leading"], lease["holder"]) == (False, "op-1")
        running.cancel()
        await asyncio.wait({running})

    with_bench(scenario)


def test_who_is_worked_on_and_for_how_long() -> None:
    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(1)
        bench.transport.faults.latency = lambda request: 10.0 if request.method == "POST" else 0.002
        bench.put("slow")
        await asyncio.sleep(5)
        (worker,) = bench.service()["workers"]
        assert worker["key"] == "default/slow" and 4 < worker["seconds"] < 6
        assert 4 < bench.service("default/slow")["workedOnSeconds"] < 6
        assert 'workqueue_longest_running_processor_seconds{name="service"} 4.' in bench.process.metrics.text()

    with_bench(scenario)


def test_keys_in_backoff_are_counted_and_the_worst_are_named() -> None:
    async def scenario(bench: Bench) -> None:
        def refuse(request: Request) -> Reply | None:
            made = request.method in ("POST", "PATCH") and "leases" not in request.path and "configmaps" not in request.path
            return refusal(403, "Forbidden", f"exceeded quota: {SECRET}") if made else None

        await asyncio.sleep(1)
        bench.transport.faults.before = refuse
        for number in range(KEYS + 20):
            bench.put(f"s{number:03}", replicas=1)
        await asyncio.sleep(30)
        backoff = bench.service()["backoff"]
        assert backoff["keys"] == KEYS + 20
        assert len(backoff["worst"]) == KEYS, "bounded, whatever the cluster holds"
        failures = [each["failures"] for each in backoff["worst"]]
        assert failures == sorted(failures, reverse=True) and failures[-1] >= 1
        assert all(each["nextInSeconds"] is not None for each in backoff["worst"])
        assert f'drover_keys_in_backoff{{controller="service"}} {KEYS + 20}.0' in bench.process.metrics.text()
        one = bench.service("default/s000")
        assert one["failures"] >= 1 and one["refused"], "the reason of a refusal, never the server's words"
        assert set(one["refused"].values()) == {"Forbidden"}

    with_bench(scenario)


def test_one_key_with_what_would_be_done_now() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("web", replicas=2)
        await asyncio.sleep(20)
        quiet = bench.service("default/web")
        assert quiet["plan"] == {"steps": [], "waits": [], "remembers": False, "lookAgainInSeconds": None}
        assert len(quiet["change"]) == 10 and quiet["failures"] == 0 and quiet["nextInSeconds"] > 60
        bench.process.stop()
        await asyncio.sleep(1)
        bench.cluster.patch("managedservices", "default", "web", {"spec": {"replicas": 3}})
        await asyncio.sleep(0.1)
        writes = len(bench.cluster.writes)
        assert bench.process.engines[0].would(("default", "nothing")) is None
        assert len(bench.cluster.writes) == writes, "nothing is done by asking"

    with_bench(scenario)


def test_a_key_that_nobody_has() -> None:
    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(1)
        for key in ("default/nothing", "nonsense", "a/b/c"):
            with pytest.raises(LookupError, match=f"no controller has an object '{key}'; give NAMESPACE/NAME"):
                bench.told(key)

    with_bench(scenario)


# --- why watches were begun again, and lists made


def reasons(bench: Bench) -> tuple[Json, Json]:
    """Of the reflector of services (the primary cache)."""
    reflector = bench.process.engines[0].reflectors[0]
    return dict(reflector.restarts), dict(reflector.relists)


async def nothing(_: Bench) -> None:
    await asyncio.sleep(5)


async def cut(bench: Bench) -> None:
    bench.transport.break_streams()
    await asyncio.sleep(5)


async def forgotten(bench: Bench) -> None:
    bench.put("web")
    bench.transport.down = "cut"
    bench.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}})
    bench.cluster.compact()
    bench.transport.down = None
    await asyncio.sleep(10)


async def refused(bench: Bench) -> None:
    bench.transport.faults.before = lambda request: refusal(403, "Forbidden") if "watch" in request.query else None
    bench.transport.break_streams()
    await asyncio.sleep(2)
    bench.transport.faults.clear()
    await asyncio.sleep(5)


async def asked(bench: Bench) -> None:
    bench.process.engines[0].reflectors[0].relist()
    await asyncio.sleep(1)


TURNS: tuple[tuple[str, Callable[[Bench], Awaitable[None]], str, str, bool], ...] = (
    ("the first list", nothing, "relists", "start", True),
    ("a connection that was cut", cut, "restarts", "broken", True),
    ("a cut needs no list", cut, "relists", "error", False),
    ("too old to go on from", forgotten, "relists", "expired", True),
    ("watches that are refused", refused, "relists", "error", True),
    ("somebody asks for a list", asked, "relists", "asked", True),
)


@pytest.mark.parametrize("why, trouble, which, reason, counted", TURNS, ids=[row[0] for row in TURNS])
def test_why_a_list_or_a_watch_was_made_anew(why: str, trouble: Callable[[Bench], Awaitable[None]], which: str, reason: str, counted: bool) -> None:
    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(2)
        await trouble(bench)
        restarts, relists = reasons(bench)
        assert ((restarts if which == "restarts" else relists).get(reason, 0) >= 1) is counted, (why, restarts, relists)

    with_bench(scenario)


def test_the_age_of_a_cache_grows_only_while_nothing_is_heard() -> None:
    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(600)
        pods = bench.process.engines[0].reflectors[1]
        assert pods.age < 70, "bookmarks come in an idle cluster too"
        bench.transport.down = "cut"
        await asyncio.sleep(300)
        assert pods.age > 290

    with_bench(scenario)
