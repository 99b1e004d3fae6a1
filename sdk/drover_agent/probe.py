# SPDX-License-Identifier: Apache-2.0
"""The two kinds of probes, and the question for active requests. Exactly 200 is healthy: the kubelet takes anything from 200 to 399."""

import asyncio
from collections.abc import Awaitable, Callable

from drover_agent import core
from drover_agent.client import NoAnswerError, Target, connected, get

Probe = Callable[[], Awaitable[str]]  # "" or why it failed, in one line; the time limit is the caller's
Load = Callable[[], Awaitable[core.Reading]]
PROBED = 64 * 1024  # bytes of a healthy answer that are read; what follows is not waited for
COUNTED = 4 * 1024
PATIENCE = 2.0  # seconds for one answer about active requests


def http(target: Target) -> Probe:
    """Healthy if a GET is answered by 200, and its body comes to an end or to a length that shows enough."""

    async def probe() -> str:
        try:
            answer = await get(target, most=PROBED)
        except NoAnswerError as error:
            return str(error)
        return "" if answer.status == core.OK else f"status {answer.status}, not {core.OK}"

    return probe


def tcp(target: Target) -> Probe:
    """Healthy if a connection is taken."""

    async def probe() -> str:
        try:
            async with connected(target.host, target.port):
                return ""
        except NoAnswerError as error:
            return str(error)

    return probe


def load(target: Target, patience: float = PATIENCE) -> Load:
    """Reads the number of active requests, waiting for an answer so many seconds."""

    async def ask() -> core.Reading:
        try:
            async with asyncio.timeout(patience):
                answer = await get(target, most=COUNTED)
        except TimeoutError:
            return core.Reading(error=f"no answer within {patience:g} s")
        except NoAnswerError as error:
            return core.Reading(error=str(error))
        return core.Reading(error=f"longer than {COUNTED} bytes") if answer.cut else core.count_of(answer.status, answer.body)

    return ask
