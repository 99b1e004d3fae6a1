# SPDX-License-Identifier: Apache-2.0
"""The pages of the agent: what the kubelet asks, what people and the operator ask, and what Prometheus asks."""

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from drover_agent import __version__
from drover_agent.access import Gate
from drover_agent.agent import Agent, told
from drover_agent.core import State
from drover_agent.log import Log, utc
from drover_agent.server import JSON, Handler, Request, Response, Routes, refusal
from drover_agent.settings import shown

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
NO_RELOAD = "the delivery of configuration is not part of this agent yet, so there is nothing to reload: its own settings come from flags at its start"
Page = Callable[[], Awaitable[Response]]


def routes(agent: Agent, log: Log) -> Routes:
    """Every page, by path and method; those that change something only for whom the gate lets in."""
    pages, gate = _Pages(agent), Gate(agent.settings.token, log)
    reads: Mapping[str, Page] = {
        "/livez": pages.livez,
        "/readyz": pages.readyz,
        "/metrics": pages.metrics,
        "/admin/health": pages.health,
        "/admin/load": pages.load,
        "/admin/identity": pages.identity,
        "/admin/config": pages.config,
    }
    changes: Routes = {"/drain": {"GET": _gated(pages.drain, gate)}, "/admin/reload": {"POST": _gated(pages.reload, gate)}}
    return {**{path: {"GET": _open(page)} for path, page in reads.items()}, **changes}


def _open(page: Page) -> Handler:
    async def answer(_: Request) -> Response:
        return await page()

    return answer


def _gated(page: Page, gate: Gate) -> Handler:
    async def answer(request: Request) -> Response:
        why = gate.refusal(request)
        return refusal(HTTPStatus.FORBIDDEN, why, request.path) if why else await page()

    return answer


class _Pages:
    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    async def livez(self) -> Response:
        """An answer is the proof: the event loop works."""
        return Response(body=b"ok\n")

    async def readyz(self) -> Response:
        why = self._agent.why_not_ready()
        return Response(status=HTTPStatus.SERVICE_UNAVAILABLE, body=f"{why}\n".encode()) if why else Response(body=b"ok\n")

    async def drain(self) -> Response:
        return _json(told(await self._agent.drain()))

    async def metrics(self) -> Response:
        self._agent.refresh()
        return Response(kind=PROMETHEUS, body=series(self._agent.state).encode())

    async def health(self) -> Response:
        self._agent.refresh()
        health = self._agent.state.health
        return _json({
            "healthy": health.healthy,
            "since": utc(health.since),
            "consecutive": {"successes": health.successes, "failures": health.failures},
            "lastError": health.last_error or None,
            "probes": health.probes,
            "started": utc(health.started),
        })  # fmt: skip

    async def load(self) -> Response:
        if self._agent.load is None:
            return _json({"activeRequests": None, "error": "--active-requests was not given"})
        reading = await self._agent.load()
        return _json({"activeRequests": reading.count} | ({"error": reading.error} if reading.error else {}))

    async def identity(self) -> Response:
        self._agent.refresh()
        run, settings = self._agent.state.run, self._agent.settings
        return _json({
            "identity": self._agent.identity,
            "ip": settings.ip,
            "port": settings.probe_port,
            "startTime": run.start_time if run else None,
            "pid": run.pid if run else None,
            "ambiguous": self._agent.ambiguous,
            "runs": self._agent.state.runs,
        })  # fmt: skip

    async def config(self) -> Response:
        return _json({"version": __version__, **shown(self._agent.settings)})

    async def reload(self) -> Response:
        return _json({"error": NO_RELOAD}, HTTPStatus.NOT_IMPLEMENTED)


def _json(body: Mapping[str, object], status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(status=status, kind=JSON, body=json.dumps(body, indent=2).encode() + b"\n")


def series(state: State) -> str:
    """The text that Prometheus reads."""
    rows = (
        ("probes_total", "counter", "Probes of the watched process by result.", (('{result="success"}', state.passed), ('{result="failure"}', state.failed))),
        ("healthy", "gauge", "1 while the probes say healthy, else 0.", (("", int(state.health.healthy)),)),
        ("process_restarts_total", "counter", "Runs of the watched process that followed another one.", (("", state.restarts),)),
        ("drains_total", "counter", "Drains that were begun.", (("", state.drains),)),
    )
    lines: list[str] = []
    for name, kind, text, values in rows:
        lines += [f"# HELP drover_agent_{name} {text}", f"# TYPE drover_agent_{name} {kind}"]
        lines += [f"drover_agent_{name}{labels} {value}" for labels, value in values]
    return "\n".join([*lines, ""])
