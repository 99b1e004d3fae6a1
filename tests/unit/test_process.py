# SPDX-License-Identifier: Apache-2.0
"""One process around a small controller, in a simulated cluster: who works when, and how it ends. And kopf beside it."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from random import Random
from typing import Any

import msgspec
import pytest
import structlog

from drover_operator.api.meta import Object
from drover_operator.api.resource import CONFIG_MAPS
from drover_operator.core.plan import Create, Plan
from drover_operator.kube.auth import Connection
from drover_operator.kube.reflector import RestoredHistory
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.election import LostLeadership, Timing
from drover_operator.runtime.engine import BUSY_JITTER
from drover_operator.runtime.process import DRAIN, Process, Settings
from drover_operator.runtime.registry import Controller, Report
from drover_operator.runtime.shell import Shell
from drover_operator.testing import SimulatedCluster, refusal, times
from drover_operator.testing.virtualtime import run

TIMING = Timing(duration=3.0, renew_deadline=2.0, retry=0.5)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


class Copier:
    """A controller that wants a configmap NAME-copy for every configmap NAME; `decided` are its passes."""

    def __init__(self) -> None:
        self.decided: list[str] = []
        self.broken = ""
        self.wants = True
        self.controller = Controller(
            name="copier",
            resource=CONFIG_MAPS,
            watches=(),
            access=(),
            gather=lambda item, view: item if not item.metadata.name.endswith("-copy") and item.metadata.namespace == "default" else None,
            decide=self.decide,
            report=lambda facts, plan: Report(before={}, status={}),
        )

    def decide(self, item: Object) -> Plan:
        name = item.metadata.name
        self.decided.append(name)
        if name == self.broken:
            raise RuntimeError("a bug")
        if not self.wants:
            return Plan()
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{name}-copy", "namespace": "default"}}
        body["metadata"]["ownerReferences"] = [  # type: ignore[index]
            {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": item.metadata.uid, "controller": True}
        ]
        create = Create(resource=CONFIG_MAPS, namespace="default", name=f"{name}-copy", body=body, owner_uid=item.metadata.uid, step="copy", reason="Missing")
        return Plan(stages=((create,),))


class Bench:
    def __init__(self) -> None:
        self.cluster = SimulatedCluster()
        self.copier = Copier()
        self.transport = self.cluster.transport(user="operator")
        self.process, self.task = self.start("op-1")

    def start(self, identity: str) -> tuple[Process, asyncio.Task[None]]:
        transport = self.transport if identity == "op-1" else self.cluster.transport(user="operator")
        settings = Settings(identity=identity, timing=TIMING, workers=2, shell=False)
        process = Process(transport, (self.copier.controller,), settings, clock=self.cluster.now, random=Random(1))
        return process, asyncio.create_task(process.run())

    def put(self, name: str) -> None:
        self.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})

    def copies(self) -> set[str]:
        return {o["metadata"]["name"] for o in self.cluster.objects("configmaps", "default") if o["metadata"]["name"].endswith("-copy")}

    async def end(self) -> None:
        self.process.stop()
        await asyncio.wait_for(self.task, 30)


def with_bench(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench()
        await scenario(bench)
        bench.task.cancel()
        await asyncio.wait({bench.task})
        await bench.cluster.stop()

    run(main)


def leader(bench: Bench) -> bool:
    return 'leader_election_master_status{name="drover-operator-0"} 1.0' in bench.process.metrics.text()


def test_a_process_fills_its_caches_leads_and_works() -> None:
    async def scenario(bench: Bench) -> None:
        assert not bench.process.ready
        bench.put("a")
        await bench.cluster.until(lambda: bench.copies() == {"a-copy"}, 5)
        assert (bench.process.ready, leader(bench)) == (True, True)
        bench.put("b")
        await bench.cluster.until(lambda: bench.copies() == {"a-copy", "b-copy"}, 5)
        writes = [write for write in bench.cluster.writes if write.name.endswith("-copy")]
        assert {write.user for write in writes} == {"drover:operator:0"}, "as the fenced user"
        page = bench.process.metrics.text()
        assert 'drover_writes_total{action="create",controller="copier",result="done"}' in page
        assert 'controller_runtime_reconcile_total{controller="copier",result="success"}' in page
        assert 'controller_runtime_max_concurrent_reconciles{controller="copier"} 2.0' in page

    with_bench(scenario)


def test_without_the_fence_it_writes_as_itself() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.end()
        settings = Settings(identity="plain", timing=TIMING, shell=False, fence=False)
        process = Process(bench.transport, (bench.copier.controller,), settings, clock=bench.cluster.now, random=Random(1))
        running = asyncio.create_task(process.run())
        bench.put("a")
        await bench.cluster.until(lambda: bench.copies() == {"a-copy"}, 10)
        assert {write.user for write in bench.cluster.writes if write.name == "a-copy"} == {"operator"}
        process.stop()
        await running

    with_bench(scenario)


def test_a_standby_is_ready_decides_nothing_and_takes_over_at_once_after_a_clean_end() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.cluster.until(lambda: leader(bench), 5)
        second, running = bench.start("op-2")
        bench.put("a")
        await bench.cluster.until(lambda: bench.copies() == {"a-copy"}, 5)
        assert (second.ready, second.election.leading) == (True, False)
        await asyncio.sleep(5)
        passes = len(bench.copier.decided)
        await bench.end()
        assert not leader(bench)
        bench.put("b")
        took = await bench.cluster.until(lambda: bench.copies() == {"a-copy", "b-copy"}, 10)
        assert took < 1.5
        assert bench.copier.decided[passes:].count("a") >= 1, "everything is looked at anew"
        second.stop()
        await running

    with_bench(scenario)


def test_an_orderly_end_finishes_what_is_under_way() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.cluster.until(lambda: leader(bench), 5)
        bench.transport.faults.latency = lambda request: 4.0 if request.method == "POST" and "configmaps" in request.path else 0.002
        bench.put("a")
        await asyncio.sleep(1)
        begun = asyncio.get_running_loop().time()
        bench.process.stop()
        bench.put("b")
        await bench.task
        assert 2.5 < asyncio.get_running_loop().time() - begun < 5
        assert bench.copies() == {"a-copy"}, "the pass under way is finished, no new one is begun"
        assert bench.cluster.get("leases", "drover-system", "drover-operator-0")["spec"]["holderIdentity"] == ""

    with_bench(scenario)


def test_a_pass_that_hangs_does_not_hold_up_the_end_for_ever() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.cluster.until(lambda: leader(bench), 5)
        bench.transport.faults.latency = lambda request: 60.0 if request.method == "POST" else 0.002
        bench.put("a")
        await asyncio.sleep(1)
        begun = asyncio.get_running_loop().time()
        bench.process.stop()
        await asyncio.wait_for(bench.task, 14)
        assert asyncio.get_running_loop().time() - begun >= DRAIN, "it was waited for"

    with_bench(scenario)


def test_a_busy_server_holds_up_its_keys_and_no_worker() -> None:
    """There are more of them than workers. Each is asked for again when the server said, and then once; a stop waits for none."""

    async def scenario(bench: Bench) -> None:
        await bench.cluster.until(lambda: leader(bench), 5)
        tries: dict[str, list[float]] = {}

        def busy(request: Request) -> Reply | None:
            if request.method != "POST" or b'"late' not in request.body:
                return None
            tries.setdefault(msgspec.json.decode(request.body)["metadata"]["name"], []).append(asyncio.get_running_loop().time())
            return refusal(429, "TooManyRequests", retry_after=20)

        bench.transport.faults.before = busy
        late = [f"late{n}" for n in range(8)]
        for name in late:
            bench.put(name)
        await asyncio.sleep(1)
        bench.put("a")
        assert await bench.cluster.until(lambda: bench.copies() == {"a-copy"}, 5) < 0.1
        for name in late:  # news of a key do not bring it sooner
            bench.cluster.patch("configmaps", "default", name, {"data": {"new": "1"}})
        await asyncio.sleep(30)
        pauses = [later - earlier for earlier, later in tries.values()]
        assert len(pauses) == len(late)
        assert 20 <= min(pauses) < max(pauses) <= 20 * (1 + BUSY_JITTER) + 0.1, "not all at once"
        bench.transport.faults.clear()
        await bench.cluster.until(lambda: len(bench.copies()) == len(late) + 1, 30)

    with_bench(scenario)


def test_a_stop_does_not_wait_for_a_busy_server() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.cluster.until(lambda: leader(bench), 5)
        bench.transport.faults.before = lambda request: refusal(429, "TooManyRequests", retry_after=30) if request.method == "POST" else None
        bench.put("a")
        await asyncio.sleep(1)
        begun = asyncio.get_running_loop().time()
        await bench.end()
        assert asyncio.get_running_loop().time() - begun < 0.5

    with_bench(scenario)


def test_an_election_does_not_wait_for_a_busy_server_longer_than_for_its_next_attempt() -> None:
    """An attempt that slept for as long as it was asked to would be the last one of the term."""

    async def scenario(bench: Bench) -> None:
        await bench.cluster.until(lambda: leader(bench), 5)
        refused = times(2, lambda request: request.mutating and "/leases/" in request.path, refusal(429, "TooManyRequests", retry_after=30))
        bench.transport.faults.before = refused
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert bench.process.election.leading
        assert bench.process.election.term is not None
        assert bench.process.election.term.epoch == 1
        assert not bench.task.done()

    with_bench(scenario)


def test_a_process_without_a_server_waits_and_ends_when_told() -> None:
    async def scenario(bench: Bench) -> None:
        bench.cluster.api_down = True
        await asyncio.sleep(300)
        assert not bench.task.done()
        assert not bench.process.ready
        begun = asyncio.get_running_loop().time()
        await bench.end()
        assert asyncio.get_running_loop().time() - begun < 6

    with_bench(scenario)


def test_the_loss_of_the_lease_ends_the_process() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.cluster.until(lambda: leader(bench), 5)
        bench.cluster.patch("leases", "drover-system", "drover-operator-0", {"spec": {"holderIdentity": "other", "leaseTransitions": 9}})
        with pytest.raises(LostLeadership):
            await asyncio.wait_for(bench.task, 5)
        assert not leader(bench)
        assert bench.cluster.get("leases", "drover-system", "drover-operator-0")["spec"]["holderIdentity"] == "other"

    with_bench(scenario)


def test_a_restored_etcd_ends_the_process() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a")
        await bench.cluster.until(lambda: bench.copies() == {"a-copy"}, 5)

        def set_back(request: Request, reply: Reply) -> Reply:
            older = Reply(status=200, body=b'{"metadata":{"resourceVersion":"2"},"items":[]}')
            return older if request.path == "/api/v1/configmaps" and "watch" not in request.query else reply

        bench.transport.faults.after = set_back
        bench.transport.break_streams()
        bench.cluster.compact()
        bench.put("b")
        with pytest.raises(RestoredHistory):
            await asyncio.wait_for(bench.task, 1500)
        assert "a-copy" in bench.copies(), "nothing was done about what an older world lacks"

    with_bench(scenario)


def test_a_bug_in_one_keys_pass_costs_nobody_else_anything() -> None:
    async def scenario(bench: Bench) -> None:
        bench.copier.broken = "bad"
        bench.put("bad")
        bench.put("good")
        await bench.cluster.until(lambda: bench.copies() == {"good-copy"}, 5)
        await asyncio.sleep(300)
        assert not bench.task.done()
        tries = bench.copier.decided.count("bad")
        assert 10 <= tries <= 30, "tried again, ever more seldom"
        page = bench.process.metrics.text()
        assert f'controller_runtime_reconcile_errors_total{{controller="copier"}} {tries}.0' in page
        bench.copier.broken = ""
        await bench.cluster.until(lambda: bench.copies() == {"good-copy", "bad-copy"}, 70)

    with_bench(scenario)


def test_an_object_in_peace_is_looked_at_every_ten_minutes() -> None:
    async def scenario(bench: Bench) -> None:
        bench.copier.wants = False
        bench.put("a")
        await asyncio.sleep(60)
        begun = len(bench.copier.decided)
        await asyncio.sleep(1800)
        assert 2 <= len(bench.copier.decided) - begun <= 4
        assert [write for write in bench.cluster.writes if write.resource == "configmaps" and write.user.startswith("drover")] == []

    with_bench(scenario)


def test_liveness_fails_when_the_loop_stands_still() -> None:
    """The health server itself is proved on a real port; here only its checks, through the page that it would show."""

    async def scenario(bench: Bench) -> None:
        await asyncio.sleep(3)
        checks = _checks(bench.process)
        assert checks("live") == {"loop": True}
        assert checks("ready") == {"caches": True}
        await bench.end()
        await asyncio.sleep(20)
        assert checks("live") == {"loop": False}, "no sign of life for 15 s"

    with_bench(scenario)


def _checks(process: Process) -> Callable[[str], dict[str, bool]]:
    from drover_operator.runtime import process as module

    seen: dict[str, Any] = {}

    class Taken:
        def __init__(self, _: str, live: Any, ready: Any, metrics: Any, state: Any) -> None:
            seen.update(live=live, ready=ready)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "HealthServer", Taken)
        process.health()
    return lambda which: {name: check() for name, check in seen[which].items()}


def test_identities_are_never_the_same_twice() -> None:
    assert len({Settings().identity for _ in range(50)}) == 50, "a restarted pod is another candidate"


# -- kopf beside it


def test_kopf_runs_in_a_thread_of_its_own_posts_nothing_and_ends_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The boundary only; the whole of kopf runs beside a whole process in test_main."""
    told: dict[str, Any] = {}

    async def operator(**options: Any) -> None:
        told.update(options, thread=threading.current_thread().name)
        await asyncio.to_thread(options["stop_flag"].wait, 20)
        told["ended"] = True

    monkeypatch.setattr("kopf.operator", operator)
    shell = Shell(Connection(server="http://127.0.0.1:1"))
    shell.start()
    shell.stop(20)
    settings = told["settings"]
    assert (told["ended"], told["thread"], told["standalone"]) == (True, "kopf", True)
    assert (settings.posting.enabled, settings.scanning.disabled, settings.peering.standalone) == (False, True, True)
    assert settings.persistence.finalizer == "drover.dev/kopf"


def test_whatever_kopf_does_is_a_line_in_the_log_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def operator(**_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("kopf.operator", operator)
    shell = Shell(Connection(server="http://127.0.0.1:1"))
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as lines:
        shell.start()
        shell.stop(20)
    assert lines == [{"event": "kopf ended", "reason": "RuntimeError: broken", "log_level": "warning"}]


def test_a_shell_that_never_started_can_be_stopped() -> None:
    begun = time.monotonic()
    Shell(Connection(server="http://127.0.0.1:1")).stop()
    assert time.monotonic() - begun < 1
