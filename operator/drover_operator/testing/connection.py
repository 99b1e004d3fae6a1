# SPDX-License-Identifier: Apache-2.0
"""The way of one process to the simulated API server: the Transport that Drover's client is given."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from contextvars import copy_context

from drover_operator.kube.errors import OutcomeUnknown, Unsent
from drover_operator.kube.transport import JSON, Reply, Request
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.faults import Faults
from drover_operator.testing.watch import WatchStream

_ENDED = "the process has ended"


class SimulatedTransport:
    """Implements `drover_operator.kube.transport.Transport` in process, with its own fault hooks."""

    def __init__(self, server: ApiServer, user: str) -> None:
        self.user = user
        self.faults = Faults()
        self.requests = 0
        self._server = server
        self._streams: dict[WatchStream, None] = {}
        self._down: str | None = None
        self._context = copy_context()  # the server's own: its clocks are not those of the caller's host

    @property
    def down(self) -> str | None:
        """Why the server cannot be reached, or None; setting a reason breaks the open streams too."""
        return self._down

    @down.setter
    def down(self, why: str | None) -> None:
        self._down = why
        if why is not None:
            self.break_streams(why)

    def break_streams(self, why: str = "the connection was cut") -> None:
        """Cut all open watches; new ones can be opened."""
        for stream in self._streams:
            stream.break_off(why)

    def cut(self) -> None:
        """The process at this end has died: its streams are forgotten, nothing is sent any more, what is on its way arrives."""
        for stream in self._streams:
            stream.close()
        self.down = _ENDED

    async def send(self, request: Request) -> Reply:
        """Send and await the answer. What has left arrives, even if the caller is cancelled, frozen or dead by then."""
        self._check_reachable()
        loop = asyncio.get_running_loop()
        half = self.faults.latency_of(request) / 2
        deadline = loop.time() + request.timeout
        arrived: asyncio.Future[Reply | BaseException] = loop.create_future()
        self._context.run(loop.call_later, half, self._arrive, request, arrived)
        if half > request.timeout:
            await self._travel(half, deadline, request)
        outcome = await arrived
        await self._travel(half, deadline, request)
        if isinstance(outcome, BaseException):
            raise outcome
        if self._down is not None:
            raise OutcomeUnknown(f"{request.method} {request.path}: {self._down}")
        return outcome

    def _arrive(self, request: Request, arrived: "asyncio.Future[Reply | BaseException]") -> None:
        """The request is at the server."""
        try:
            outcome = self._carried_out(request)
        except Exception as error:  # noqa: BLE001  a mistake in a hook or the server is the caller's to see: nobody else would
            outcome = error
        if not arrived.done():
            arrived.set_result(outcome)

    def _carried_out(self, request: Request) -> Reply | BaseException:
        if self._down is not None and self._down is not _ENDED:
            return Unsent(self._down)
        self.requests += 1
        faults = self.faults
        outcome = faults.before(request)
        if outcome is not None:
            return outcome
        return faults.after(request, self._server.handle(request, self.user, lag=faults.lag, rewind=faults.rewind(request)))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[tuple[Reply, AsyncIterator[bytes]], None]:
        """Open a watch."""
        self._check_reachable()
        latency = self.faults.latency_of(request)
        await asyncio.sleep(latency)
        self._check_reachable()
        self.requests += 1
        fault = self.faults.before(request)
        if isinstance(fault, BaseException):
            raise fault
        opened = fault or self._context.run(self._server.watch, request, self.faults, latency / 2 + self.faults.lag)
        if isinstance(opened, Reply):
            yield opened, _nothing()
            return
        self._streams[opened] = None
        try:
            yield Reply(status=200, headers={"Content-Type": JSON}), opened
        finally:
            self._streams.pop(opened, None)
            opened.close()

    async def close(self) -> None:
        """Close all connections."""
        self.down = "the transport is closed"

    def _check_reachable(self) -> None:
        if self._down is not None:
            raise Unsent(self._down)

    async def _travel(self, seconds: float, deadline: float, request: Request) -> None:
        left = deadline - asyncio.get_running_loop().time()
        await asyncio.sleep(min(seconds, left))
        if seconds > left:
            raise OutcomeUnknown(f"{request.method} {request.path}: no answer in {request.timeout:g} s")


async def _nothing() -> AsyncIterator[bytes]:
    no_chunks: tuple[bytes, ...] = ()
    for chunk in no_chunks:
        yield chunk
