# SPDX-License-Identifier: Apache-2.0
"""/livez, /readyz, /metrics and /state on a real port of the loopback."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest

from drover_operator.kube.errors import ConfigurationError
from drover_operator.observe import catalogue
from drover_operator.observe.metrics import Metrics
from drover_operator.runtime import health
from drover_operator.runtime.health import HealthServer

Get = Callable[..., Awaitable[tuple[int, str, str]]]


def with_server(
    scenario: Callable[[Get], Awaitable[None]],
    live: Mapping[str, Callable[[], bool]],
    ready: Mapping[str, Callable[[], bool]],
    metrics: Metrics | None = None,
    host: str = "127.0.0.1",
    state: Callable[[str], dict[str, Any]] | None = None,
) -> None:
    async def main() -> None:
        server = HealthServer(f"{host}:0", live, ready, metrics or Metrics(), state)
        port = await server.start()
        try:
            async with aiohttp.ClientSession(f"http://{host}:{port}") as session:

                async def get(path: str, accept: str = "*/*") -> tuple[int, str, str]:
                    async with session.get(path, headers={"Accept": accept}) as answer:
                        return answer.status, await answer.text(), answer.headers["Content-Type"]

                await scenario(get)
        finally:
            await server.stop()

    asyncio.run(main())


ANSWERS = (
    ("/livez", 200, "ok\n", "what a kubelet reads is short"),
    ("/livez?verbose", 200, "[+]loop ok\nlivez check passed\n", "as kube components say it"),
    ("/readyz", 503, "[+]loop ok\n[-]caches failed\nreadyz check failed\n", "a failure says which check, asked or not"),
    ("/readyz?verbose", 503, "[+]loop ok\n[-]caches failed\nreadyz check failed\n", "the same when asked"),
    ("/readyz?exclude=caches", 200, "ok\n", "a check can be left out"),
    ("/readyz?verbose&exclude=caches", 200, "[+]loop ok\n[+]caches excluded: ok\nreadyz check passed\n", "and that is said"),
    ("/readyz?exclude=nonsense", 503, "[+]loop ok\n[-]caches failed\nreadyz check failed\n", "a name that is no check leaves nothing out"),
    ("/healthz", 404, "404: Not Found", "there is one name for each question"),
    ("/state", 404, "404: Not Found", "no state where none is given"),
)


def test_checks_answer_as_those_of_kubernetes_components() -> None:
    async def scenario(get: Get) -> None:
        for path, status, text, why in ANSWERS:
            assert (await get(path))[:2] == (status, text), why

    with_server(scenario, {"loop": lambda: True}, {"loop": lambda: True, "caches": lambda: False})


def test_checks_are_asked_each_time() -> None:
    states = {"loop": True, "caches": False}

    async def scenario(get: Get) -> None:
        assert (await get("/readyz"))[0] == 503
        states["caches"] = True
        assert ((await get("/readyz"))[0], (await get("/livez"))[0]) == (200, 200)
        states["loop"] = False
        assert (await get("/livez"))[0] == 503

    with_server(scenario, {"loop": lambda: states["loop"]}, {name: lambda name=name: states[name] for name in states})


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"], ids=["the loopback", "every address"])
def test_metrics_in_the_form_that_was_asked_for(host: str) -> None:
    async def scenario(get: Get) -> None:
        status, page, kind = await get("/metrics")
        assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8"), "the version that every Prometheus reads"
        assert "# TYPE workqueue_adds_total counter" in page
        _, page, kind = await get("/metrics", "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5")
        assert kind.startswith("application/openmetrics-text; version=1.0.0")
        assert "# TYPE workqueue_adds counter" in page and page.endswith("# EOF\n")

    with_server(scenario, {}, {}, Metrics(), host)


def test_state_is_told_to_this_machine_as_json() -> None:
    def state(key: str) -> dict[str, Any]:
        if key == "shop/none":
            raise LookupError("no controller has an object 'shop/none'; give NAMESPACE/NAME")
        return {"key": key}

    async def scenario(get: Get) -> None:
        status, text, kind = await get("/state")
        assert (status, json.loads(text), kind) == (200, {"key": ""}, "application/json")
        assert json.loads((await get("/state?key=shop/web"))[1]) == {"key": "shop/web"}
        assert (await get("/state?key=shop/none"))[:2] == (404, "no controller has an object 'shop/none'; give NAMESPACE/NAME\n")

    with_server(scenario, {}, {}, state=state)


PEERS = (
    ("127.0.0.1", True, "the loopback"),
    ("127.8.8.8", True, "all of it"),
    ("::1", True, "that of IPv6"),
    ("::ffff:127.0.0.1", True, "IPv4 on a socket for both"),
    ("10.1.2.3", False, "a pod"),
    ("fd00::1", False, "a pod by IPv6"),
    ("::ffff:10.1.2.3", False, "a pod on a socket for both"),
    ("", False, "nobody knows who"),
)


@pytest.mark.parametrize("address, from_here, why", PEERS, ids=[why for *_, why in PEERS])
def test_who_counts_as_this_machine(address: str, from_here: bool, why: str) -> None:
    assert health._from_here(address) is from_here, why


def test_others_are_told_how_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_from_here", lambda _: False)

    async def scenario(get: Get) -> None:
        assert (await get("/state"))[:2] == (403, "state is told to this machine only: use kubectl port-forward\n")

    with_server(scenario, {}, {}, state=lambda _: {"secret": 1}, host="0.0.0.0")


def test_two_sets_of_metrics_know_nothing_of_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.counter(catalogue.FENCED).inc()
    assert ("drover_fence_refusals_total 1.0" in one.text(), "drover_fence_refusals_total 1.0" in other.text()) == (True, False)


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
