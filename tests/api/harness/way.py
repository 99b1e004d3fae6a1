# SPDX-License-Identifier: Apache-2.0
"""The way between a real operator and a real API server, on which the very troubles of the simulator happen.

A small HTTP server stands in between. It carries what the operator sends, with the operator's own credentials, and asks each trouble of
`scenarios.troubles` what becomes of requests, replies and events, as the simulator's transport does. A reply is lost by breaking the connection.
"""

import asyncio
import copy
import json
import threading
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

import yaml
from aiohttp import web
from api.harness.plane import Plane
from scenarios.crew import Trouble

from drover_operator.kube.auth import connect
from drover_operator.kube.errors import KubeError
from drover_operator.kube.http import HttpTransport
from drover_operator.kube.transport import Reply, Request
from drover_operator.testing import Deliver, Overtaken, Repeated, WatchEvent
from drover_operator.testing.faults import DEFAULT_LATENCY, Delivery

KEPT = ("accept", "content-type")
PROOF = "impersonate-"
REMEMBERED = 500  # replies to each read
NOBODY: Any = None  # the troubles here do not ask which life of an operator it is


class Way:
    """Interposed until the end of the `with`; `troubles` can be changed at any time, `counts` says what happened."""

    def __init__(self, plane: Plane) -> None:
        self.plane = copy.copy(plane)
        self.troubles: list[Trouble] = []
        self.counts: Counter[str] = Counter()
        self.closed = False  # to new watches; those that are open are broken by `break_watches`
        self._plane = plane
        self._past: dict[str, deque[tuple[float, Reply]]] = {}
        self._watches: list[web.Request] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="way", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        port = self._call(self._open())
        known = yaml.safe_load(self._plane.operator_kubeconfig.read_text())
        clusters = [{**each, "cluster": {"server": f"http://127.0.0.1:{port}"}} for each in known["clusters"]]
        self.plane.operator_kubeconfig = self._plane.folder / f"way-{port}.kubeconfig"
        self.plane.operator_kubeconfig.touch(mode=0o600)
        self.plane.operator_kubeconfig.write_text(yaml.safe_dump({**known, "clusters": clusters}))
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def break_watches(self) -> None:
        """Break every open watch."""
        self._call(self._break())

    def _call(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _open(self) -> int:
        self._upstream = HttpTransport(connect(str(self._plane.operator_kubeconfig)))
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{rest:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def _close(self) -> None:
        await self._break()
        await self._runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for each in left:
            each.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._upstream.close()
        await asyncio.sleep(0.25)  # aiohttp says so: TLS connections say goodbye to each other for a moment after `close`

    async def _break(self) -> None:
        for each in list(self._watches):
            _abort(each)

    async def _handle(self, asked: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in asked.headers.items() if name.lower() in KEPT or name.lower().startswith(PROOF)}
        request = Request(method=asked.method, path=asked.path, query=dict(asked.query), body=await asked.read(), headers=headers, timeout=60.0)
        try:
            return await self._watch(asked, request) if request.query.get("watch") else await self._answer(asked, request)
        except KubeError as error:
            self.counts[type(error).__name__] += 1
            _abort(asked)
            return web.Response()

    async def _answer(self, asked: web.Request, request: Request) -> web.StreamResponse:
        late = max((each.latency(NOBODY, request) for each in self.troubles), default=0.0)
        self.counts["slow"] += late > DEFAULT_LATENCY
        await asyncio.sleep(late / 2)
        reply = self._before(request) or self._remembered(request) or self._remember(request, await self._upstream.send(request))
        for each in self.troubles:
            result = each.after(NOBODY, request, reply)
            if isinstance(result, BaseException):
                self.counts["lost"] += 1
                _abort(asked)
                return web.Response()
            reply = result
        await asyncio.sleep(late / 2)
        return _response(reply)

    def _before(self, request: Request) -> Reply | None:
        for each in self.troubles:
            if isinstance(answer := each.before(NOBODY, request), Reply):
                self.counts[f"refused {answer.status}"] += 1
                return answer
        return None

    def _remember(self, request: Request, reply: Reply) -> Reply:
        if not request.mutating:
            self._past.setdefault(_read(request), deque(maxlen=REMEMBERED)).append((time.monotonic(), reply))
        return reply

    def _remembered(self, request: Request) -> Reply | None:
        """The newest answer to the same read that is so old, or the oldest that there is."""
        age = max((each.rewind(NOBODY, request) for each in self.troubles), default=0.0)
        past = self._past.get(_read(request))
        if request.mutating or not age or not past:
            return None
        self.counts["old"] += 1
        old = [reply for at, reply in past if at <= time.monotonic() - age]
        return old[-1] if old else past[0][1]

    async def _watch(self, asked: web.Request, request: Request) -> web.StreamResponse:
        if self.closed:
            _abort(asked)  # an answer, whatever it says, would let the watcher begin anew
            return web.Response()
        async with self._upstream.stream(request) as (reply, chunks):
            if reply.status != 200:
                return _response(reply)
            answer = web.StreamResponse(headers={"Content-Type": "application/json"})
            await answer.prepare(asked)
            self._watches.append(asked)
            try:
                async for line in _lines(chunks):
                    await self._deliver(answer, line)
            except (KubeError, ConnectionError):
                _abort(asked)  # one of the two ends is gone: the other one is told in the same way
            finally:
                self._watches.remove(asked)
            return answer

    async def _deliver(self, answer: web.StreamResponse, line: bytes) -> None:
        what = self._delivery(line)
        match what:
            case Deliver.DROP:
                return
            case float() | int():
                await asyncio.sleep(what)
            case Overtaken(seconds):
                self._later(answer, line, seconds)
                return
            case Repeated(seconds):
                self._later(answer, line, seconds)
            case _:
                pass
        await answer.write(line)

    def _delivery(self, line: bytes) -> Delivery:
        if not self.troubles:
            return Deliver.NOW
        told = json.loads(line)
        event = WatchEvent(told["type"], told["object"])
        found = next((what for each in self.troubles if (what := each.event(NOBODY, "", event)) is not Deliver.NOW), Deliver.NOW)
        if found is not Deliver.NOW:
            self.counts[found.value if isinstance(found, Deliver) else type(found).__name__] += 1
        return found

    def _later(self, answer: web.StreamResponse, line: bytes, seconds: float) -> None:
        self._loop.call_later(seconds, lambda: asyncio.ensure_future(_write(answer, line)))


async def _write(answer: web.StreamResponse, line: bytes) -> None:
    try:
        await answer.write(line)
    except (ConnectionError, RuntimeError):
        return  # the watch is over by now


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield line + b"\n"


def _abort(asked: web.Request) -> None:
    if asked.transport is not None:
        asked.transport.abort()


def _read(request: Request) -> str:
    return f"{request.path} {sorted(request.query.items())} {request.headers.get('Accept', '')}"


def _response(reply: Reply) -> web.Response:
    headers = {name: value for name, value in reply.headers.items() if name.lower() in ("content-type", "retry-after")}
    return web.Response(status=reply.status, body=reply.body, headers=headers)
