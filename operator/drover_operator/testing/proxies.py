# SPDX-License-Identifier: Apache-2.0
"""The service proxies, each as late as it is, and what they would do with a request now.

A proxy sends new connections to the ready endpoints that it knows of, so an instance may get requests for as long as the slowest proxy
has not heard that it left. Left out: where nothing is ready, kube-proxy falls back to endpoints that are ending and still serve.
"""

import asyncio
from random import Random

from drover_operator.testing.actors import Actor
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.kinds import ENDPOINT_SLICES
from drover_operator.testing.objects import Json
from drover_operator.testing.storage import Change

LONGEST_LAG = 1.0  # seconds; 0.3 was measured on a small real cluster
PROXIES = 3
_SERVICE_LABEL = "kubernetes.io/service-name"


class Proxies(Actor):
    """What each proxy knows of the endpoints of each slice; they write nothing."""

    kinds = (ENDPOINT_SLICES,)

    def __init__(self, server: ApiServer, seed: int) -> None:
        super().__init__(server, 0.0)
        chance = Random(seed)
        self.lags = tuple(chance.uniform(0.0, LONGEST_LAG) for _ in range(PROXIES))
        self._known: tuple[dict[str, list[Json]], ...] = tuple({} for _ in self.lags)
        self._services: dict[str, dict[str, None]] = {}

    def observe(self, change: Change) -> None:
        """A slice changed: each proxy will hear of it in its own time."""
        version = change.current
        service = f"{version.namespace}/{version.labels.get(_SERVICE_LABEL, '')}"
        self._services.setdefault(service, {})[version.uid] = None
        endpoints: list[Json] = [] if change.deleted else version.data.get("endpoints") or []
        for known, lag in zip(self._known, self.lags, strict=True):
            self._loop.call_later(lag, known.__setitem__, version.uid, endpoints)

    def backends(self, namespace: str, service: str) -> frozenset[str]:
        """The uids of all pods that at least one proxy would send a new connection to."""
        slices = self._services.get(f"{namespace}/{service}", {})
        views = (endpoint for known in self._known for uid in slices for endpoint in known.get(uid, ()))
        return frozenset(endpoint["targetRef"]["uid"] for endpoint in views if endpoint["conditions"].get("ready") is not False)

    async def run(self) -> None:
        """Nothing to do but to listen."""
        await asyncio.Event().wait()
