# SPDX-License-Identifier: Apache-2.0
"""Virtual time: an event loop whose clock jumps to the next timer instead of waiting for it, and hosts that live in it.

Hours cost milliseconds and every run is the same. No socket can be used on this loop: whoever waits for one waits for ever, and
that is reported as a deadlock. Rejected: looptime (patches a real loop, still selects, tied to pytest); one loop for each simulated
process (no common order of events, hence no seed).
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import TypeVar, TypeVarTuple

R = TypeVar("R")
Ts = TypeVarTuple("Ts")
Resume = Callable[[], object]


class Deadlock(RuntimeError):
    """Nothing can ever happen any more: no task is ready and no timer is set."""


class Host:
    """The machine that one process of a test runs on: the speed of its clock, and whether it runs at all.

    At `rate` 1.1 its clocks show 66 s after a minute. Tasks that are born on a host stay there. A frozen host is a stopped process or a
    paused virtual machine: time goes on, nothing of it runs, and what it had sent is on its way. A process that was killed is a host
    that is never thawed: cancelling its tasks would run clean-up code, which a killed process never does.
    """

    def __init__(self, *, rate: float = 1.0) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualTimeLoop):
            raise TypeError("a Host lives in virtual time only: use virtualtime.run")
        self.rate = rate
        self.frozen = False
        self.steps = 0
        self._loop = loop
        self._parked: list[tuple[asyncio.Handle, Resume]] = []
        self._appointment: tuple[int, Callable[[], None]] | None = None

    def run(self, work: Coroutine[object, object, R]) -> asyncio.Task[R]:
        """Start a task here."""
        context = copy_context()
        context.run(_HOST.set, self)
        return self._loop.create_task(work, context=context)

    def freeze(self) -> None:
        """Stand still; a step that is due at this very moment may still be taken."""
        self.frozen = True
        self._loop.watched[self] = None

    def thaw(self) -> None:
        """Go on, with all that has become due in the meantime; an appointment that is left is kept no more."""
        self.frozen, self._appointment = False, None
        self._loop.watched.pop(self, None)
        parked, self._parked = self._parked, []
        for handle, resume in parked:
            if not handle.cancelled():
                resume()

    def at_step(self, count: int, act: Callable[[], None]) -> None:
        """Call `act` when `count` more steps of tasks here have become due, at whatever await that is."""
        self._appointment = (self.steps + count, act)
        self._loop.watched[self] = None

    def due(self, handle: asyncio.Handle, resume: Resume) -> bool:
        """Count a step that has become due; whether it must wait for the thaw. Called by the loop."""
        self.steps += 1
        if self._appointment and self.steps >= self._appointment[0]:
            act, self._appointment = self._appointment[1], None
            act()
        if self.frozen:
            self._parked.append((handle, resume))
        return self.frozen


_HOST: ContextVar[Host | None] = ContextVar("host", default=None)


class _NoSelector(selectors.SelectSelector):
    """Advances the clock where a selector would sleep."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Deadlock("nothing is ready to run and no timer is set")
        if timeout > 0:
            self._advance(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time, starting at 0.0 seconds."""

    def __init__(self) -> None:
        self._now = 0.0
        self.watched: dict[Host, None] = {}  # hosts whose steps are counted or held back
        super().__init__(_NoSelector(self._advance))

    def time(self) -> float:
        """Virtual seconds since the loop was made, by the clock of the host that asks."""
        host = _HOST.get()
        return self._now if host is None else self._now * host.rate

    def call_at(self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> asyncio.TimerHandle:
        """As ever; `when` is by the clock of the host that asks."""
        host = _HOST.get()
        return super().call_at(when if host is None else when / host.rate, callback, *args, context=context)

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> asyncio.Handle:
        """As ever, but the step of a frozen host waits for its thaw."""
        if self.watched:
            context = copy_context() if context is None else context  # an empty context is false
            host = context.get(_HOST)
            if host in self.watched:
                handle = asyncio.Handle(callback, args, self, context)
                if host.due(handle, lambda: super(VirtualTimeLoop, self).call_soon(callback, *args, context=context)):
                    return handle
        return super().call_soon(callback, *args, context=context)

    def _advance(self, seconds: float) -> None:
        self._now += seconds


def run(main: Callable[[], Coroutine[object, object, R]]) -> R:
    """Run a coroutine function to its end on a fresh virtual loop; tasks left over are cancelled."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())
