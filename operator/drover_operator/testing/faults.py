# SPDX-License-Identifier: Apache-2.0
"""Where a test can hook faults into one transport: before and after a request, and on each event of a watch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from drover_operator.kube.transport import Reply, Request

DEFAULT_LATENCY = 0.002


class Deliver(Enum):
    """What becomes of a watch event."""

    NOW = "now"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Overtaken:
    """The event alone comes so many seconds late; those behind it pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Repeated:
    """The event comes now and, as it is, once more after so many seconds."""

    seconds: float


Delivery = Deliver | Overtaken | Repeated | float


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event about to be delivered; `object` is None for a bookmark."""

    type: str
    object: dict[str, Any] | None


Before = Callable[[Request], Reply | BaseException | None]
After = Callable[[Request, Reply], Reply | BaseException]
OnEvent = Callable[[str, WatchEvent], Delivery]
Latency = Callable[[Request], float]
Rewind = Callable[[Request], float]


def nothing_before(_request: Request) -> Reply | BaseException | None:
    """The default: the request goes through."""


def nothing_after(_request: Request, reply: Reply) -> Reply | BaseException:
    """The default: the reply goes through."""
    return reply


def deliver_all(_resource: str, _event: WatchEvent) -> Delivery:
    """The default: every event is delivered."""
    return Deliver.NOW


def no_rewind(_request: Request) -> float:
    """The default: what is read is the present."""
    return 0.0


@dataclass(slots=True)
class Faults:
    """The hooks of one transport; assign them at any time.

    before: called when a request arrives, before it is applied. A Reply answers in its place, an exception is raised.
    after: called after it was applied. What it answers is delivered, or raised: `OutcomeUnknown()` is a lost reply.
    event: called for each event (`pods`, `managedservices.drover.dev`). Seconds hold it back, and the stream behind it.
    latency: seconds from sending to the reply, half of it before the request is applied; also the lag of watches.
    lag: seconds by which the API server of this transport trails etcd: its watches, its reads of "any" version (resourceVersion 0),
        and the Lease that its admission policies see. Consistent reads stay consistent, as upstream.
    rewind: how old, in seconds, the answer to a read is, even a consistent one: what a restored or broken etcd does.
    """

    before: Before = nothing_before
    after: After = nothing_after
    event: OnEvent = deliver_all
    latency: float | Latency = field(default=DEFAULT_LATENCY)
    lag: float = 0.0
    rewind: Rewind = no_rewind

    def latency_of(self, request: Request) -> float:
        """Seconds that this request takes."""
        return self.latency if isinstance(self.latency, int | float) else self.latency(request)

    def clear(self) -> None:
        """Back to no faults."""
        self.before, self.after, self.event, self.latency = nothing_before, nothing_after, deliver_all, DEFAULT_LATENCY
        self.lag, self.rewind = 0.0, no_rewind


def times(count: int, matches: Callable[[Request], bool], outcome: Reply | BaseException) -> Before:
    """A `before` hook that gives `outcome` to the first `count` requests that match, such as a 429 to the second create."""
    left = count

    def hook(request: Request) -> Reply | BaseException | None:
        nonlocal left
        if left <= 0 or not matches(request):
            return None
        left -= 1
        return outcome

    return hook
