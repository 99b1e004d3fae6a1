# SPDX-License-Identifier: Apache-2.0
"""One drain: wait until the instance has no active request, the deadline has passed, or somebody cuts it short."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from drover_agent import core
from drover_agent.probe import Load

POLL = 0.2  # seconds from one question to the next


@dataclass(frozen=True, kw_only=True, slots=True)
class Drained:
    """How a drain ended; `why` says what cut it short, "" if nothing did. Seconds."""

    drained: bool
    waited: float
    tally: core.Tally = field(default_factory=core.Tally)
    why: str = ""


class Drain:
    """A drain of one run, under way from its making on. `load` is None where nobody counts active requests."""

    def __init__(self, load: Load | None, *, settle: float, deadline: float, tick: Callable[[], object]) -> None:
        self._load = load
        self._settle = settle
        self._deadline = deadline
        self._tick = tick  # called between two questions: is it still the same run?
        self._tally = core.Tally()
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._cut: asyncio.Future[str] = self._loop.create_future()
        self.over = asyncio.create_task(self._run())

    def cut(self, why: str) -> None:
        """End it now, not drained."""
        if not self._cut.done():
            self._cut.set_result(why)

    async def _run(self) -> Drained:
        polling = asyncio.create_task(self._until_drained())
        ends: set[asyncio.Future[Any]] = {polling, self._cut}
        try:
            done, _ = await asyncio.wait(ends, timeout=self._deadline, return_when=asyncio.FIRST_COMPLETED)
        finally:
            polling.cancel()
        if self._cut in done:
            return self._ended(drained=False, why=self._cut.result())
        if polling in done:
            polling.result()
            return self._ended(drained=True)
        return self._ended(drained=False, why=f"{self._deadline:g} s have passed")

    def _ended(self, *, drained: bool, why: str = "") -> Drained:
        return Drained(drained=drained, waited=self._loop.time() - self._began, tally=self._tally, why=why)

    async def _until_drained(self) -> None:
        while True:
            asked = self._loop.time()
            self._tick()
            if self._load is not None:
                self._tally = core.counted(self._tally, await self._load())
            waited = self._loop.time() - self._began
            if core.is_drained(self._tally, counting=self._load is not None, waited=waited, settle=self._settle):
                return
            rest = POLL if self._load is not None else min(POLL, self._settle - waited)
            await asyncio.sleep(max(0.0, core.next_probe(asked, self._loop.time(), rest) - self._loop.time()))
