# SPDX-License-Identifier: Apache-2.0
"""Questions to others than the API server: put beside the passes, so that a slow Prometheus holds nobody up.

A plan lists the questions that are open. Each is put when its time has come, once at a time; its answer wakes the key and is seen by the next
pass, until the plan asks for a newer one. Nothing here is stored: a new leader asks again.

Rejected: asking within the pass, as actions are carried out. A pod that fails would then be replaced when the slowest measurement has timed out.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

from drover_operator.core.plan import Answer, Ask, Plan
from drover_operator.kube.cache import Key

Outside = Callable[[Ask], Awaitable[Answer]]
AT_ONCE = 32  # questions under way
NO_ANSWERS: Mapping[str, Answer] = {}


class Inquiries:
    """Open questions and their answers, by key."""

    def __init__(self, outside: Outside, clock: Callable[[], float], wake: Callable[[Key], None]) -> None:
        self._outside = outside
        self._clock = clock
        self._wake = wake
        self._answers: dict[Key, dict[str, Answer]] = {}
        self._running: dict[tuple[Key, str], asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(AT_ONCE)

    def of(self, key: Key) -> Mapping[str, Answer]:
        """The answers that are known for a key, by the id of the question."""
        return self._answers.get(key, NO_ANSWERS)

    def follow(self, key: Key, plan: Plan) -> None:
        """Put the questions whose time has come, and forget what nobody asks any more. A plan that only remembers changes nothing."""
        if plan.write_ahead or not (plan.asks or key in self._answers):
            return
        known = self._answers.pop(key, {})
        news = {ask.id: known[ask.id] for ask in plan.asks if ask.id in known and known[ask.id].at >= ask.at}
        if news:
            self._answers[key] = news
        for ask in plan.asks:
            if ask.at <= self._clock() and ask.id not in news and (key, ask.id) not in self._running:
                self._running[key, ask.id] = asyncio.ensure_future(self._put(key, ask))

    def forget(self, key: Key) -> None:
        """Nothing is wanted of a key any more; what is under way for it ends by itself."""
        self._answers.pop(key, None)

    async def close(self) -> None:
        """End all that is under way."""
        tasks = tuple(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _put(self, key: Key, ask: Ask) -> None:
        try:
            async with self._slots:
                answer = await self._asked(ask, self._clock())
            self._answers.setdefault(key, {})[ask.id] = answer
        finally:
            del self._running[key, ask.id]
        self._wake(key)

    async def _asked(self, ask: Ask, now: float) -> Answer:
        """The answer, with the time of the question: what was measured later than that counts as of then."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ask.timeout):
                answer = await self._outside(ask)
                return Answer(at=now, status=answer.status, body=answer.body, error=answer.error)
        return Answer(at=now, error=f"no answer in {ask.timeout:g} s")
