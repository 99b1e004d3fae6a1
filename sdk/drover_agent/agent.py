# SPDX-License-Identifier: Apache-2.0
"""The agent of one instance: looks, probes, drains, and holds what it knows in one value.

    look at /proc -> probe -> look again -> judge -> wait        ... for ever
    /drain        -> not ready for good  -> Drain -> answer

Every change of the value goes through `_become`, which tells it. Whoever asks for readiness makes the agent look first: a process that
has gone is not ready from then on, however far off the next probe is.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from drover_agent import core
from drover_agent.drain import Drain, Drained
from drover_agent.log import Log
from drover_agent.probe import Load, Probe
from drover_agent.process import Found
from drover_agent.settings import Settings

SEARCH = 1.0  # seconds between two looks where there is no process; a probe may be a minute off


class Watch(Protocol):
    """Finds the process of the instance; see `process.Watch`."""

    def alive(self, run: core.Run) -> bool:
        """Whether this very run goes on."""
        ...

    def look(self, known: Found | None) -> Found | None:
        """The process to watch; `known` lives."""
        ...


class Agent:
    """Made in a running event loop; `clock` gives seconds since the epoch."""

    def __init__(self, settings: Settings, watch: Watch, probe: Probe, load: Load | None, *, clock: Callable[[], float], log: Log) -> None:
        self.settings = settings
        self.state = core.begin(clock())
        self.load = load
        self._watch = watch
        self._probe = probe
        self._clock = clock
        self._log = log
        self._found: Found | None = None
        self._drain: Drain | None = None

    @property
    def ambiguous(self) -> bool:
        """Whether the process was guessed among several."""
        return self._found is not None and self._found.ambiguous

    @property
    def identity(self) -> str | None:
        """Address, port, start in ms since the epoch and pid of the run; no two runs share it. None without a process."""
        run, ip = self.state.run, self.settings.ip
        host = f"[{ip}]" if ":" in ip else ip
        return None if run is None else f"{host}:{self.settings.probe_port}:{run.start_time}:{run.pid}"

    def why_not_ready(self) -> str:
        """One line, or "" for ready, by a look at the process now."""
        self.refresh()
        return core.why_not_ready(self.state, self.settings.thresholds)

    def refresh(self) -> None:
        """See whether the watched run still lives; only if not is everything looked at."""
        if self._found is None or not self._watch.alive(self._found.run):
            self.look()

    def look(self) -> None:
        """See which process there is to watch."""
        known = self._found
        if known is not None and not self._watch.alive(known.run):
            known = None
            self._become(core.gone(self.state, self._clock()))
        self._found = self._watch.look(known)
        if self._found is not None:
            self._become(core.found(self.state, self._found.run, self._clock()))

    async def probe_forever(self) -> None:
        """Probe one time after the other. A probe that ends after its run says nothing, so the process is looked at before and after."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            self.look()
            run, interval = self.state.run, SEARCH
            if run is not None:
                error, interval = await self._outcome(), self.settings.interval
                self.refresh()
                self._become(core.probed(self.state, run, error, self.settings.thresholds, self._clock()))
            await asyncio.sleep(core.next_probe(began, loop.time(), interval) - loop.time())

    async def _outcome(self) -> str:
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await self._probe()
        except TimeoutError:
            return f"no answer within {self.settings.timeout:g} s"

    async def drain(self) -> Drained:
        """Wait until the instance may end. Whoever asks again for the same run joins, and has the answer at once if it is over."""
        self.refresh()
        if self._drain is None:
            self._drain = Drain(self.load, settle=self.settings.settle, deadline=self.settings.drain_timeout, tick=self.refresh)
            self._drain.over.add_done_callback(self._drained)
            self._become(core.drain_begun(self.state))
        return await asyncio.shield(self._drain.over)

    def _drained(self, over: asyncio.Task[Drained]) -> None:
        if not over.cancelled() and over.exception() is None:
            self._log(core.Event(name="drained", fields=told(over.result())))

    async def finish(self, hurry: asyncio.Event) -> None:
        """Let a drain under way come to its end, but for no longer than the grace, nor longer than until somebody is in a hurry."""
        drain = self._drain
        if drain is None or drain.over.done():
            return
        hurried = asyncio.ensure_future(hurry.wait())
        await asyncio.wait({drain.over, hurried}, timeout=self.settings.grace, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        drain.cut("the agent was told to end")
        await asyncio.wait({drain.over})

    def _become(self, after: core.State) -> None:
        before, self.state = self.state, after
        if before.run != after.run and self._drain is not None:
            self._drain.cut("the process has ended" if after.run is None else "another process is watched")
            self._drain = None
        for event in core.events(before, after):
            self._log(event)


def told(drained: Drained) -> dict[str, object]:
    """A drain for whoever asked for it: what could not be read, and what cut it short, only where there is such a thing."""
    answer: dict[str, object] = {"drained": drained.drained, "activeRequests": drained.tally.active, "waited": round(drained.waited, 3)}
    if drained.why:
        answer["why"] = drained.why
    if drained.tally.unreadable:
        answer["unreadable"] = list(drained.tally.unreadable)
    return answer
