# SPDX-License-Identifier: Apache-2.0
"""/livez, /readyz and /metrics. Standbys are ready too: ready means that the caches are filled."""

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from drover_operator.kube.errors import ConfigurationError
from drover_operator.observe.metrics import Metrics

Checks = Mapping[str, Callable[[], bool]]
Handler = Callable[[web.Request], Awaitable[web.Response]]


class HealthServer:
    """Serves the three endpoints; `live` and `ready` are named checks, shown one a line."""

    def __init__(self, address: str, live: Checks, ready: Checks, metrics: Metrics) -> None:
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        app = web.Application()
        app.router.add_get("/livez", _answer(live))
        app.router.add_get("/readyz", _answer(ready))
        app.router.add_get("/metrics", _page(metrics))
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


def _answer(checks: Checks) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        results = {name: check() for name, check in checks.items()}
        lines = [f"[{'+' if good else '-'}]{name} {'ok' if good else 'failed'}" for name, good in results.items()]
        return web.Response(status=200 if all(results.values()) else 503, text="\n".join(lines) + "\n")

    return answer


def _page(metrics: Metrics) -> Handler:
    async def page(_: web.Request) -> web.Response:
        return web.Response(body=metrics.page(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    return page
