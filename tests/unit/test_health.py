# SPDX-License-Identifier: Apache-2.0
"""/livez, /readyz and /metrics on a real port of the loopback."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
import pytest

from drover_operator.kube.errors import ConfigurationError
from drover_operator.observe.metrics import Metrics
from drover_operator.runtime.health import HealthServer

Get = Callable[[str], Awaitable[tuple[int, str, str]]]


def with_server(
    scenario: Callable[[Get], Awaitable[None]],
    live: Mapping[str, Callable[[], bool]],
    ready: Mapping[str, Callable[[], bool]],
    metrics: Metrics | None = None,
    host: str = "127.0.0.1",
) -> None:
    async def main() -> None:
        server = HealthServer(f"{host}:0", live, ready, metrics or Metrics())
        port = await server.start()
        try:
            async with aiohttp.ClientSession(f"http://{host}:{port}") as session:

                async def get(path: str) -> tuple[int, str, str]:
                    async with session.get(path) as answer:
                        return answer.status, await answer.text(), answer.headers["Content-Type"]

                await scenario(get)
        finally:
            await server.stop()

    asyncio.run(main())


def test_checks_are_asked_each_time_and_shown_by_name() -> None:
    state = {"loop": True, "caches": False}

    async def scenario(get: Get) -> None:
        assert (await get("/livez"))[:2] == (200, "[+]loop ok\n")
        assert (await get("/readyz"))[:2] == (503, "[+]loop ok\n[-]caches failed\n")
        state["caches"] = True
        assert (await get("/readyz"))[:2] == (200, "[+]loop ok\n[+]caches ok\n")
        state["loop"] = False
        assert (await get("/livez"))[0] == 503
        assert (await get("/healthz"))[0] == 404

    with_server(scenario, {"loop": lambda: state["loop"]}, {name: lambda name=name: state[name] for name in state})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"], ids=["the loopback", "every address"])
def test_metrics_under_the_names_that_dashboards_know(host: str) -> None:
    metrics = Metrics()
    metrics.passes.labels("service", "success").inc()
    metrics.depth.labels("service").set(3)
    for each in (metrics.adds, metrics.retries):
        each.labels("service").inc()
    for each in (metrics.waited, metrics.worked):
        each.labels("service").observe(0.002)
    metrics.took.labels("service").observe(0.002)
    metrics.failed.labels("service").inc()
    metrics.active.labels("service").set(1)
    metrics.workers.labels("service").set(16)

    async def scenario(get: Get) -> None:
        status, page, kind = await get("/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8"), "the version that every Prometheus reads"
        lines = page.splitlines()
        for expected in (
            'workqueue_depth{name="service"} 3.0',
            'workqueue_adds_total{name="service"} 1.0',
            'workqueue_retries_total{name="service"} 1.0',
            'workqueue_queue_duration_seconds_count{name="service"} 1.0',
            'workqueue_work_duration_seconds_count{name="service"} 1.0',
            'controller_runtime_reconcile_total{controller="service",result="success"} 1.0',
            'controller_runtime_reconcile_errors_total{controller="service"} 1.0',
            'controller_runtime_reconcile_time_seconds_bucket{controller="service",le="0.005"} 1.0',
            'controller_runtime_reconcile_time_seconds_bucket{controller="service",le="0.001"} 0.0',
            'controller_runtime_active_workers{controller="service"} 1.0',
            'controller_runtime_max_concurrent_reconciles{controller="service"} 16.0',
            "drover_leader 0.0",
        ):
            assert expected in lines, expected

    with_server(scenario, {}, {}, metrics, host)


def test_two_sets_of_metrics_know_nothing_of_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.leading.set(1)
    assert (b"drover_leader 1.0" in one.page(), b"drover_leader 1.0" in other.page()) == (True, False)


def test_an_address_that_is_taken_is_said_in_one_line() -> None:
    async def main() -> None:
        first = HealthServer("127.0.0.1:0", {}, {}, Metrics())
        port = await first.start()
        second = HealthServer(f"127.0.0.1:{port}", {}, {}, Metrics())
        try:
            with pytest.raises(ConfigurationError, match=f"^cannot serve health on '127.0.0.1:{port}': .*choose another --health-address$") as caught:
                await second.start()
            assert "\n" not in str(caught.value)
        finally:
            await second.stop()
            await first.stop()

    asyncio.run(main())


def test_a_host_that_is_not_ours_is_said_too() -> None:
    async def main() -> None:
        server = HealthServer("192.0.2.1:0", {}, {}, Metrics())
        try:
            with pytest.raises(ConfigurationError, match="choose another --health-address"):
                await server.start()
        finally:
            await server.stop()

    asyncio.run(main())
