# SPDX-License-Identifier: Apache-2.0
"""/livez, /readyz, /metrics and /state. Standbys are ready too: ready means that the caches are filled.

Checks answer as those of Kubernetes' own components do: `ok`, or one line a check with `?verbose` and on a failure; `?exclude=NAME` leaves
one out. /state names services, so it answers nobody but this machine, whatever address is served: `kubectl port-forward` counts as that.
"""

from collections.abc import Awaitable, Callable, Mapping
from ipaddress import ip_address
from typing import Any

import msgspec
from aiohttp import web

from drover_operator.kube.errors import ConfigurationError
from drover_operator.observe.metrics import Metrics

Checks = Mapping[str, Callable[[], bool]]
State = Callable[[str], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.Response]]
NOT_FROM_HERE = "state is told to this machine only: use kubectl port-forward\n"


class HealthServer:
    """Serves the endpoints; `live` and `ready` are named checks, `state` tells about the process, or about one key ("" for none)."""

    def __init__(self, address: str, live: Checks, ready: Checks, metrics: Metrics, state: State | None = None) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        app = web.Application()
        app.router.add_get("/livez", _answer("livez", live))
        app.router.add_get("/readyz", _answer("readyz", ready))
        app.router.add_get("/metrics", _page(metrics))
        if state is not None:
            app.router.add_get("/state", _state(state))
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self) -> int:
        """Begin to serve and return the port.

        Raises:
            ConfigurationError: the address cannot be used.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host.strip("[]") or None, self._port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigurationError(f"cannot serve health on '{self._host}:{self._port}': {error.strerror}; choose another --health-address") from error
        addresses = self._runner.addresses
        return int(addresses[0][1]) if addresses else self._port

    async def stop(self) -> None:
        """Stop serving."""
        await self._runner.cleanup()


def _answer(name: str, checks: Checks) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        left_out = set(request.query.getall("exclude", []))
        results = {each: check() for each, check in checks.items() if each not in left_out}
        good = all(results.values())
        if good and "verbose" not in request.query:
            return web.Response(text="ok\n")
        lines = [_line(each, results) for each in checks]
        return web.Response(status=200 if good else 503, text="\n".join([*lines, f"{name} check {'passed' if good else 'failed'}", ""]))

    return answer


def _line(name: str, results: Mapping[str, bool]) -> str:
    """A check without a result was left out."""
    if name not in results:
        return f"[+]{name} excluded: ok"
    return f"[+]{name} ok" if results[name] else f"[-]{name} failed"


def _page(metrics: Metrics) -> Handler:
    async def page(request: web.Request) -> web.Response:
        body, kind = metrics.page(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": kind})

    return page


def _state(state: State) -> Handler:
    async def told(request: web.Request) -> web.Response:
        if not _from_here(request.remote or ""):
            return web.Response(status=403, text=NOT_FROM_HERE)
        try:
            found = state(request.query.get("key", ""))
        except LookupError as error:
            return web.Response(status=404, text=f"{error.args[0]}\n")
        return web.Response(body=msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n", content_type="application/json")

    return told


def _from_here(address: str) -> bool:
    try:
        found = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)
