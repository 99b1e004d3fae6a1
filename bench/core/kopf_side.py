# SPDX-License-Identifier: Apache-2.0
"""`python -m bench.core.kopf_side SERVER PODS EVENTS watch|answer`: a kopf operator that counts the events of pods, or answers each with a status.

As quick as kopf can be told to be: `on.event` (no annotations, no finalizer), no posting, no scanning, no peering, logs from warnings up. What it
came to is printed as JSON: see `bench.core.stopwatch`.
"""

import asyncio
import logging
import sys
from typing import Any

import kopf

from bench.core.stopwatch import Stopwatch
from bench.core.world import ANSWER, QUESTION


async def operate(server: str, pods: int, events: int, kind: str) -> None:
    """Work until all events are handled."""
    registry, watch, stop = kopf.OperatorRegistry(), Stopwatch(server, pods, events, QUESTION if kind == "answer" else ""), asyncio.Event()

    async def login(**_: Any) -> kopf.ConnectionInfo:
        return kopf.ConnectionInfo(server=server)

    async def handle(status: Any, patch: Any, **_: Any) -> None:
        if status["reason"] == QUESTION:
            patch.status["reason"] = ANSWER
        elif watch.counted():
            stop.set()

    kopf.on.login(registry=registry)(login)
    kopf.on.event("pods", registry=registry)(handle)
    beginning = asyncio.create_task(watch.begin())
    await kopf.operator(registry=registry, settings=_settings(), standalone=True, clusterwide=True, stop_flag=stop)
    beginning.cancel()
    watch.print()


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    return settings


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    asyncio.run(operate(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
