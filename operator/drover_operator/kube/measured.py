# SPDX-License-Identifier: Apache-2.0
"""A transport that counts what goes through it: requests by status, how long the server took, and writes that the fence refused.

A wrapper, so that neither the client nor a transport knows of metrics.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from drover_operator.kube.errors import Fenced, OutcomeUnknown, Unsent, api_error
from drover_operator.kube.transport import Reply, Request, Transport
from drover_operator.observe import catalogue
from drover_operator.observe.metrics import Counter, Histogram, Metrics

UNSENT, UNKNOWN = "<unsent>", "<unknown>"
REFUSED = (403, 422)


class MeasuredTransport:
    """Implements `kube.transport.Transport` around another one; `clock` is in seconds."""

    def __init__(self, transport: Transport, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._transport = transport
        self._metrics = metrics
        self._clock = clock
        self._counters: dict[tuple[int | str, str], Counter] = {}
        self._times: dict[str, Histogram] = {}
        self._fenced = metrics.counter(catalogue.FENCED)

    async def send(self, request: Request) -> Reply:
        """See `Transport.send`."""
        begun = self._clock()
        try:
            reply = await self._transport.send(request)
        except Unsent:
            self._count(UNSENT, request.method)
            raise
        except OutcomeUnknown:
            self._count(UNKNOWN, request.method)
            raise
        self._note(reply, request, begun)
        return reply

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[tuple[Reply, AsyncIterator[bytes]]]:
        """See `Transport.stream`."""
        begun, opened = self._clock(), False
        try:
            async with self._transport.stream(request) as (reply, chunks):
                opened = True
                self._note(reply, request, begun)
                yield reply, chunks
        except Unsent:
            if not opened:
                self._count(UNSENT, request.method)
            raise

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._transport.close()

    def _note(self, reply: Reply, request: Request, begun: float) -> None:
        self._count(reply.status, request.method)
        times = self._times.get(request.method)
        if times is None:
            times = self._times[request.method] = self._metrics.histogram(catalogue.REQUEST_TIME, request.method)
        times.observe(self._clock() - begun)
        if reply.status in REFUSED and isinstance(api_error(reply.status, reply.body), Fenced):
            self._fenced.inc()

    def _count(self, code: int | str, method: str) -> None:
        counter = self._counters.get((code, method))
        if counter is None:
            counter = self._counters[code, method] = self._metrics.counter(catalogue.REQUESTS, str(code), method)
        counter.value += 1
