# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.core.urgent_side SERVER`: how long failures wait while every service is looked at again; prints the milliseconds of each as JSON.

The operator is the real one in all but one thing: every change of a pod counts as a failure, so that its service is urgent, and nothing has to be
written about it. Changes come from a thread of their own: their time counts from before the event loop knows of them, as with a socket, so
that a loop which is busy is a wait too.
"""

import asyncio
import sys
import time
from dataclasses import replace
from random import Random
from typing import Any

import msgspec

from drover_controllers.service import CONTROLLER
from drover_operator.api.builtin import Pod
from drover_operator.api.resource import PODS
from drover_operator.kube.auth import Connection
from drover_operator.kube.cache import Key
from drover_operator.kube.client import Client
from drover_operator.kube.http import HttpTransport
from drover_operator.observe import logs
from drover_operator.runtime.engine import Engine, Setting
from drover_operator.runtime.registry import View

SAMPLES = 250
APART = 0.01  # seconds between two failures
LOOK = 0.01
FEW = 100  # keys that wait: the resync is over


class Failures:
    """Changes of pods in the middle of a resync, and when the pass that each asks for begins."""

    def __init__(self, transport: HttpTransport) -> None:
        client = Client(transport)
        watches = tuple(replace(each, urgent=lambda _: True) for each in CONTROLLER.watches)
        self._random = Random(1)
        self._came: dict[Key, float] = {}
        self._loop = asyncio.get_running_loop()
        self.waited: list[float] = []  # milliseconds
        self.passes = 0
        self._resync: asyncio.Task[None] | None = None
        self.engine = Engine(replace(CONTROLLER, watches=watches, gather=self._gather), client, client, Setting(clock=time.time, random=Random(1)))

    def _gather(self, item: Any, view: View) -> Any:
        self.passes += 1
        if (came := self._came.pop(item.metadata.key, None)) is not None:
            self.waited.append((time.monotonic() - came) * 1000)
        return CONTROLLER.gather(item, view)

    def come(self) -> None:
        """Let pods change until there are enough samples; runs in a thread."""
        while len(self.waited) < SAMPLES:
            time.sleep(APART)
            self._loop.call_soon_threadsafe(self._change, time.monotonic())

    def _change(self, came: float) -> None:
        """Change any pod, unless no resync is going on: then begin one."""
        engine, pods = self.engine, self.engine.caches[str(PODS)]
        if len(engine.queue) < FEW:
            if self._resync is None or self._resync.done():
                self._resync = self._loop.create_task(engine.resync())
            return
        pod = pods.get(self._random.choice(pods.everything()))
        assert isinstance(pod, Pod)
        key = (pod.metadata.namespace, pod.metadata.labels["drover.dev/service"])
        self._came[key] = came
        pods.saw(_changed(pod))


def _changed(pod: Pod) -> Pod:
    """The pod in its next version, with a note more."""
    meta, version = pod.metadata, str(pod.metadata.version + 1)
    noted = msgspec.structs.replace(meta, resource_version=version, annotations={**meta.annotations, "example.com/note": version})
    return msgspec.structs.replace(pod, metadata=noted)


async def operate(server: str) -> None:
    """Fill the caches, wait until all is decided once, then measure."""
    transport = HttpTransport(Connection(server=server))
    failures = Failures(transport)
    leading = asyncio.gather(failures.engine.follow(), failures.engine.lead())
    while not failures.engine.synced or failures.passes < len(failures.engine.primary):
        await asyncio.sleep(LOOK)
    await asyncio.to_thread(failures.come)
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    await transport.close()
    print(msgspec.json.encode(failures.waited).decode(), flush=True)


if __name__ == "__main__":
    logs.configure("console", "critical")
    asyncio.run(operate(sys.argv[1]))
