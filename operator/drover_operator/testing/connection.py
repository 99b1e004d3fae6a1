# SPDX-License-Identifier: Apache-2.0
"""The way of one process to the simulated API server: the Transport that Drover's client is given."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from drover_operator.kube.errors import OutcomeUnknown, Unsent
from drover_operator.kube.transport import JSON, Reply, Request
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.faults import Faults
from drover_operator.testing.watch import WatchStream


class SimulatedTransport:
    """Implements `drover_operator.kube.transport.Transport` in process, with its own fault hooks."""

    def __init__(self, server: ApiServer, user: str) -> None:
        self.user = user
        self.faults = Faults()
        self.requests = 0
        self._server = server
        self._streams: dict[WatchStream, None] = {}
        self._down: str | None = None

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

    async def send(self, request: Request) -> Reply:
        """Send and await the answer; a cancelled caller leaves the request either applied or not, never half."""
        self._check_reachable()
        half = self.faults.latency_of(request) / 2
        deadline = asyncio.get_running_loop().time() + request.timeout
        await self._travel(half, deadline, request)
        self._check_reachable()
        self.requests += 1
        outcome = self.faults.before(request)
        if outcome is None:
            outcome = self.faults.after(request, self._server.handle(request, self.user))
        await self._travel(half, deadline, request)
        if isinstance(outcome, BaseException):
            raise outcome
        if self._down is not None:
            raise OutcomeUnknown(f"{request.method} {request.path}: {self._down}")
        return outcome

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
        opened = fault or self._server.watch(request, self.faults, latency / 2)
        if isinstance(opened, Reply):
            yield opened, _nothing()
            return
        self._streams[opened] = None
        try:
            yield Reply(status=200, headers={"Content-Type": JSON}), opened
        finally:
            del self._streams[opened]
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
