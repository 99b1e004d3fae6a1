# SPDX-License-Identifier: Apache-2.0
"""One operator process: caches always, decisions only in office, an orderly end.

    transport -> reader (own identity) -> caches
    transport -> writer (fenced)       -> engine.lead, only while the lease is held

SIGTERM: take no more keys, finish what is under way, give the lease back. Losing the lease, or meeting a restored etcd, ends the
process: a new one begins with empty hands, which is simpler to prove than one that goes on.
"""

import asyncio
import contextlib
import os
import signal
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import structlog

from drover_operator.kube.client import Client
from drover_operator.kube.measured import MeasuredTransport
from drover_operator.kube.transport import Transport
from drover_operator.observe.catalogue import LAG
from drover_operator.observe.metrics import Metrics
from drover_operator.observe.traces import Traces
from drover_operator.runtime.election import Election, Term, Timing
from drover_operator.runtime.engine import Engine, Setting, nobody
from drover_operator.runtime.fence_probe import FENCE_ANNOTATION, FenceProbe, Standing
from drover_operator.runtime.health import HealthServer
from drover_operator.runtime.inquiries import Outside
from drover_operator.runtime.measures import measure_engine, measure_process
from drover_operator.runtime.registry import Controller
from drover_operator.runtime.state import state

log = structlog.get_logger()
BEAT = 3.0  # seconds between two signs of life of the event loop; one a second was a third of what an idle operator awoke for
SILENCE = 15.0  # seconds without one after which /livez fails
LEASE_NAMESPACE = "drover-system"  # the fence's policy looks for the Lease there
DRAIN = 10.0  # seconds for passes under way at the end


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a process is told; see `drover-operator run --help`."""

    namespace: str = ""
    shard: str = "0"
    health_address: str = "127.0.0.1:0"
    fence: bool = True
    shell: bool = True
    workers: int = 16
    measure: tuple[str, ...] = ()
    timing: Timing = field(default_factory=Timing)
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}")


class Process:
    """Runs controllers on one API server until told to stop."""

    def __init__(
        self,
        transport: Transport,
        controllers: tuple[Controller, ...],
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
        traces: Traces | None = None,
        outside: Outside = nobody,
    ) -> None:
        self._settings = settings
        self.metrics = Metrics(own=True)
        random = random or Random()
        bare = transport  # the probe's refusals are no news
        transport = MeasuredTransport(transport, self.metrics, asyncio.get_running_loop().time)
        reader = Client(transport)
        self.election = Election(
            Client(transport, patience=settings.timing.retry),  # then it is time for a new attempt, which looks at the Lease first
            namespace=LEASE_NAMESPACE,
            shard=settings.shard,
            identity=settings.identity,
            clock=clock,
            timing=settings.timing,
            random=random,
            impersonate=settings.fence,
        )
        home = settings.namespace or LEASE_NAMESPACE
        self.fence = FenceProbe(bare, self.election, shard=settings.shard, namespace=home, wanted=settings.fence)
        writer = Client(transport, self.election, patience=0.0)  # the engine waits for a busy server without holding a worker
        setting = Setting(
            clock=clock,
            random=random,
            namespace=settings.namespace,
            workers=settings.workers,
            instance=settings.identity,
            metrics=self.metrics,
            outside=outside,
        )
        self.engines = tuple(_engine(controller, reader, writer, setting, traces) for controller in controllers)
        measure_process(self.metrics, self.election, self.fence)
        for engine in self.engines:
            measure_engine(self.metrics, engine)
        self._stop = asyncio.Event()
        self._beat = 0.0

    @property
    def ready(self) -> bool:
        """Whether every cache has been filled."""
        return all(engine.synced for engine in self.engines)

    def stop(self) -> None:
        """Ask for an orderly end."""
        self._stop.set()

    async def run(self) -> None:
        """Follow and lead until `stop`.

        Raises:
            LostLeadership: the lease was lost.
            RestoredHistory: etcd was restored from a backup.
        """
        tasks = [asyncio.ensure_future(each) for each in (*(engine.follow() for engine in self.engines), self._govern(), self._pulse())]
        stopping: asyncio.Future[Any] = asyncio.ensure_future(self._stop.wait())
        try:
            done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping in done:
                log.info("stopping")
                await asyncio.gather(*(engine.drain(DRAIN) for engine in self.engines))
                return
            for task in done:
                _raise_inner(task)
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(stopping, *tasks, return_exceptions=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5.0):
                    await self.election.release()

    async def _govern(self) -> None:
        await self.election.run(self._lead)

    async def _lead(self, term: Term) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.fence.run(self._note))
            for engine in self.engines:
                group.create_task(engine.lead(term.epoch))

    def _note(self, standing: Standing) -> None:
        self.election.annotations = {FENCE_ANNOTATION: str(standing)}

    async def _pulse(self) -> None:
        loop, lag = asyncio.get_running_loop(), self.metrics.counter(LAG)
        while True:
            self._beat = loop.time()
            await asyncio.sleep(BEAT)
            lag.value = max(0.0, loop.time() - self._beat - BEAT)

    def health(self) -> HealthServer:
        """The health server of this process, not started yet."""
        loop = asyncio.get_running_loop()
        return HealthServer(
            self._settings.health_address,
            live={"loop": lambda: loop.time() - self._beat < SILENCE},
            ready={"caches": lambda: self.ready},
            metrics=self.metrics,
            state=lambda key: state(self.election, self.fence, self.engines, key),
        )

    def listen_to_signals(self) -> None:
        """SIGTERM and SIGINT ask for an orderly end; a second one ends at once."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            os._exit(128 + number)
        self.stop()


def _engine(controller: Controller, reader: Client, writer: Client, setting: Setting, traces: Traces | None) -> Engine:
    if traces is None:
        return Engine(controller, reader, writer, setting)
    from drover_operator.runtime.traced import TracedEngine  # noqa: PLC0415  needs the extra `traces`

    return TracedEngine(controller, reader, writer, setting, traces)


def _raise_inner(task: asyncio.Future[Any]) -> None:
    """Raise what ended the task, out of the groups that it is wrapped in."""
    error = task.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
