# SPDX-License-Identifier: Apache-2.0
"""What goes through to the API server is counted as it is answered, and is otherwise untouched."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from drover_operator.kube.errors import OutcomeUnknown, Unsent
from drover_operator.kube.measured import MeasuredTransport
from drover_operator.kube.transport import Reply, Request
from drover_operator.observe.metrics import Metrics
from drover_operator.testing import refusal
from drover_operator.testing.virtualtime import run

FENCED = refusal(422, "Invalid", "denied request: ValidatingAdmissionPolicy 'drover-fence-0' with binding 'x' denied request: this write carries epoch 4")


class Line:
    """A transport that answers as it is told, after a quarter of a second of the clock that it brings."""

    def __init__(self, outcome: Reply | BaseException) -> None:
        self.outcome = outcome
        self.now = 0.0
        self.closed = False
        self.sent: list[Request] = []

    def clock(self) -> float:
        return self.now

    async def send(self, request: Request) -> Reply:
        self.sent.append(request)
        self.now += 0.25
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[tuple[Reply, AsyncIterator[bytes]]]:
        self.now += 0.25
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        yield self.outcome, _chunks()

    async def close(self) -> None:
        self.closed = True


async def _chunks() -> AsyncIterator[bytes]:
    yield b"chunk"


def counted(method: str, outcome: Reply | BaseException) -> list[str]:
    """The lines that one request makes."""
    metrics, line = Metrics(), Line(outcome)
    request = Request(method=method, path="/api/v1/pods")

    async def main() -> None:
        transport = MeasuredTransport(line, metrics, line.clock)
        if isinstance(outcome, BaseException):
            with pytest.raises(type(outcome)):
                await transport.send(request)
        else:
            assert await transport.send(request) is outcome
        assert line.sent == [request]

    run(main)
    return [text for text in metrics.text().splitlines() if text.startswith(("rest_client", "drover_fence")) and not text.endswith(" 0.0")]


OUTCOMES: tuple[tuple[str, str, Reply | BaseException, str], ...] = (
    ("an answer", "GET", Reply(status=200), 'rest_client_requests_total{code="200",method="GET"} 1.0'),
    ("a refusal is an answer", "PATCH", refusal(409, "Conflict"), 'rest_client_requests_total{code="409",method="PATCH"} 1.0'),
    ("a busy server, once for each try", "GET", refusal(429, "TooManyRequests"), 'rest_client_requests_total{code="429",method="GET"} 1.0'),
    ("it did not leave", "GET", Unsent("away"), 'rest_client_requests_total{code="<unsent>",method="GET"} 1.0'),
    ("nobody knows", "POST", OutcomeUnknown("lost"), 'rest_client_requests_total{code="<unknown>",method="POST"} 1.0'),
    ("how long it took", "GET", Reply(status=200), 'rest_client_request_duration_seconds_bucket{le="0.25",verb="GET"} 1.0'),
    ("the fence", "POST", FENCED, "drover_fence_refusals_total 1.0"),
)


@pytest.mark.parametrize("why, method, outcome, line", OUTCOMES, ids=[row[0] for row in OUTCOMES])
def test_what_is_counted(why: str, method: str, outcome: Reply | BaseException, line: str) -> None:
    assert line in counted(method, outcome), why


NOT_FENCED = (
    (refusal(422, "Invalid", "spec.replicas: Invalid value"), "a mistake in an object"),
    (refusal(403, "Forbidden", "exceeded quota"), "a quota"),
)


@pytest.mark.parametrize("reply, why", NOT_FENCED, ids=[why for _, why in NOT_FENCED])
def test_other_refusals_are_not_the_fence(reply: Reply, why: str) -> None:
    assert not [line for line in counted("POST", reply) if "fence" in line], why


def test_without_an_answer_there_is_no_time_of_it() -> None:
    assert not [line for line in counted("GET", Unsent("away")) if "duration" in line]


def watching(outcome: Reply | BaseException, then: BaseException | None = None) -> tuple[list[bytes], str]:
    metrics, line = Metrics(), Line(outcome)
    seen: list[bytes] = []

    async def main() -> None:
        transport = MeasuredTransport(line, metrics, line.clock)
        try:
            async with transport.stream(Request(method="GET", path="/api/v1/pods", query={"watch": "true"})) as (_, chunks):
                seen.extend([chunk async for chunk in chunks])
                if then is not None:
                    raise then
        except Unsent:
            pass
        await transport.close()

    run(main)
    assert line.closed
    return seen, metrics.text()


STREAMS: tuple[tuple[str, Any, Any, str], ...] = (
    ("a watch counts when it opens", Reply(status=200), None, 'code="200"'),
    ("one that breaks later was opened all the same", Reply(status=200), Unsent("broke"), 'code="200"'),
    ("one that is refused", refusal(410, "Expired"), None, 'code="410"'),
    ("one that cannot be opened", Unsent("away"), None, 'code="<unsent>"'),
)


@pytest.mark.parametrize("why, outcome, then, code", STREAMS, ids=[row[0] for row in STREAMS])
def test_watches(why: str, outcome: Any, then: Any, code: str) -> None:
    seen, page = watching(outcome, then)
    counts = [line for line in page.splitlines() if line.startswith("rest_client_requests_total{")]
    assert counts == [f'rest_client_requests_total{{{code},method="GET"}} 1.0'], why
    assert seen == ([] if isinstance(outcome, BaseException) else [b"chunk"])
