# SPDX-License-Identifier: Apache-2.0
"""What all actors of the simulated cluster share: they are level-triggered, a little late, and write as themselves."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.kinds import Kind
from drover_operator.testing.refusal import Refused
from drover_operator.testing.storage import Change

RETRY_SECONDS = 1.0


class Actor:
    """Looks at a key some time after something about it changed; a subclass says which changes and what to do.

    Changes in between are taken together, and the current state is read, never the change: as with real informers.
    """

    user = "system:kube-controller-manager"
    kinds: tuple[Kind, ...] = ()

    def __init__(self, server: ApiServer, delay: float) -> None:
        self.server = server
        self.storage = server.storage
        self.delay = delay
        self._dirty: dict[str, None] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    def observe(self, change: Change) -> None:
        """Take note of a change: mark the keys that it concerns."""
        raise NotImplementedError

    def sync(self, key: str) -> None:
        """Look at a key and do what is to be done."""
        raise NotImplementedError

    def sync_all(self, keys: list[str]) -> None:
        """Look at several keys that have gathered; a refused write is tried again."""
        for key in keys:
            try:
                self.sync(key)
            except Refused:
                self.later(RETRY_SECONDS, key)

    def mark(self, key: str) -> None:
        """Look at this key soon."""
        self._dirty[key] = None
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def later(self, seconds: float, key: str) -> None:
        """Look at this key in so many seconds."""
        self._loop.call_later(seconds, self.mark, key)

    def now(self) -> float:
        """Seconds of the virtual clock."""
        return self._loop.time()

    def follow(self) -> Callable[[], None]:
        """Subscribe to the changes, as of now; answers how to stop."""
        stops = ExitStack()
        for kind in self.kinds:
            stops.callback(self.storage.subscribe(kind, self.observe))
        return stops.close

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            if not self._dirty:
                self._waiter = self._loop.create_future()
                await self._waiter
            await asyncio.sleep(self.delay)
            keys, self._dirty = list(self._dirty), {}
            self.sync_all(keys)
