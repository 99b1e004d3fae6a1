# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.core.ours_side SERVER PODS EVENTS watch|answer|decide`: Drover's engine on real HTTP, counted as the kopf operator is.

`watch` decides nothing about pods and `answer` writes a status to each, as the handlers of the kopf operator do; `decide` is the controller of
services, with all that it reads, decides and would report. The rest is what runs in production: transport, reflectors, caches, queue, guard,
workers, status writer. There is no fence and no lease: they are no part of what is compared.
"""

import asyncio
import sys
import time
from dataclasses import replace
from random import Random
from typing import Any

import msgspec

from bench.core.stopwatch import Stopwatch
from bench.core.world import ANSWER, QUESTION
from drover_controllers.service import CONTROLLER
from drover_operator.api.builtin import Pod
from drover_operator.api.meta import Object
from drover_operator.api.resource import PODS
from drover_operator.core.plan import Plan
from drover_operator.kube.auth import Connection
from drover_operator.kube.cache import Key
from drover_operator.kube.client import Client
from drover_operator.kube.http import HttpTransport
from drover_operator.observe import logs
from drover_operator.runtime.engine import Engine, Setting
from drover_operator.runtime.registry import Controller, Report

LOOK = 0.002  # seconds
CALM = 10  # looks in a row that find nothing to do end a run: twice the least distance between two passes of a key


def _answer(pod: Pod, _plan: Plan) -> Report:
    asked = pod.status.reason == QUESTION
    return Report(before=pod.status, status=msgspec.structs.replace(pod.status, reason=ANSWER) if asked else pod.status, urgent=True)


def _on_pods() -> Controller:
    return Controller(name="bench", resource=PODS, watches=(), access=(), gather=lambda pod, _: pod, decide=lambda _: Plan(), report=_answer)


class Run:
    """One engine, what it is timed by, and how often it decided."""

    def __init__(self, controller: Controller, transport: HttpTransport, watch: Stopwatch) -> None:
        client = Client(transport)
        self._controller = controller
        self._watch = watch
        self.passes = 0
        self._all_seen = asyncio.Event()
        self.engine = Engine(replace(controller, decide=self._decide), client, client, Setting(clock=time.time, random=Random(1)))
        self.engine.caches[str(PODS)].listen(self._changed)

    def _decide(self, facts: Any) -> Any:
        self.passes += 1
        return self._controller.decide(facts)

    def _changed(self, _owner: Key | None, _old: Object | None, new: Any) -> None:
        if new.status.reason != QUESTION and self._watch.counted():
            self._all_seen.set()

    async def settled(self) -> None:
        """Return when nothing was left to do for a while; the clock stands at the last look that found something."""
        calm = 0
        while calm < CALM:
            calm = calm + 1 if not (len(self.engine.queue) or self.engine.busy) else 0
            if not calm:
                self._watch.end()
            await asyncio.sleep(LOOK)

    async def measured(self) -> None:
        """Take the list, then the changes."""
        leading = asyncio.gather(self.engine.follow(), self.engine.lead())
        while self.passes < len(self.engine.primary) or not self.engine.synced:
            await asyncio.sleep(LOOK)
        self.passes = 0
        beginning = asyncio.create_task(self._watch.begin())
        await self._all_seen.wait()
        await self.settled()
        leading.cancel()
        await asyncio.gather(leading, beginning, return_exceptions=True)


async def operate(server: str, pods: int, events: int, kind: str) -> None:
    """Work until all events are handled, and tell how long it took."""
    transport = HttpTransport(Connection(server=server))
    watch = Stopwatch(server, pods, events, QUESTION if kind == "answer" else "")
    run = Run(CONTROLLER if kind == "decide" else _on_pods(), transport, watch)
    await run.measured()
    await transport.close()
    watch.print(run.passes)


if __name__ == "__main__":
    logs.configure("console", "critical")
    asyncio.run(operate(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
