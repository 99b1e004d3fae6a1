# SPDX-License-Identifier: Apache-2.0
"""kopf as the process shell: this file is the whole boundary.

kopf runs standalone, with an empty registry, no posting and no scanning, on a loop and a thread of its own. Not on ours: when
`kopf.operator` ends it cancels *every* task of its loop that was born after it, engine and lease included (kopf 1.45,
`running.run_tasks`), so sharing a loop would make its end fatal. Away from the main thread it also leaves the signals to us. A
team's kopf handlers run in a process of their own. kopf ending is logged, never fatal.
"""

import asyncio
import logging
import threading
from typing import Any

import aiohttp
import structlog

from drover_operator.kube.auth import Connection

log = structlog.get_logger()
FINALIZER = "drover.dev/kopf"


class Shell:
    """Starts and stops kopf beside the engine."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kopf", daemon=True)

    def start(self) -> None:
        """Start kopf in its thread; returns at once."""
        self._thread.start()

    def stop(self, deadline: float = 2.0) -> None:
        """Ask kopf to end and wait at most `deadline` seconds for it."""
        self._stop.set()
        logging.getLogger("kopf").setLevel(logging.CRITICAL)  # an end before its start is done makes it complain of closed connections
        if self._thread.is_alive():
            self._thread.join(deadline)

    def _run(self) -> None:
        import kopf  # noqa: PLC0415  0.4 s of import: the engine need not wait for it

        logging.getLogger("kopf").setLevel(logging.ERROR)  # it warns that the signals are not its own: that is meant
        try:
            asyncio.run(kopf.operator(**_options(kopf, self._connection), stop_flag=self._stop))
        except Exception as error:  # noqa: BLE001  whatever kopf does, the engine goes on
            log.warning("kopf ended", reason=f"{type(error).__name__}: {error}")
            return
        log.info("kopf ended", asked=self._stop.is_set())


def _options(kopf: Any, connection: Connection) -> dict[str, Any]:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix="kopf.drover.dev")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix="kopf.drover.dev")
    registry = kopf.OperatorRegistry()

    async def login(**_: Any) -> Any:
        proof = await connection.authorization()
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=connection.tls or False), headers={"Authorization": proof} if proof else {}, base_url=connection.server
        )
        return kopf.AiohttpSession(server=connection.server, aiohttp_session=session)

    kopf.on.login(id="drover", registry=registry)(login)
    return {"registry": registry, "settings": settings, "standalone": True, "clusterwide": True}
