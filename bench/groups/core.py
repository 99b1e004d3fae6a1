# SPDX-License-Identifier: Apache-2.0
"""The core without a cluster, beside kopf: both as processes of their own on the same small server, in turn, by the median of three rounds.

What is compared is what both do: take a change of a 9 KB pod from the watch, hand it to a handler that has nothing to do (or one status to write). The
rates are by CPU time of the operator, because server and operator share a machine here; rates by the clock are given beside them.
"""

from functools import cache, partial
from statistics import median

import msgspec

from bench.core.processes import server, told
from bench.core.resident import SERVICES as RESIDENT
from bench.core.resident import resident
from bench.core.stopwatch import Took
from bench.measure import percentile
from bench.rows import Figure, at_least, at_most, row

ROUNDS = 3
SERVICES = 2500  # each with one pod that changes once
WRITTEN = 1000
CROWDED, CROWD = 200, 20  # services, and the pods of each


def _took(module: str, kind: str, services: int, pods: int, events: int) -> Took:
    said = told(f"bench.core.{module}", server(services, pods), services * pods, events, kind)
    return msgspec.json.decode(said.splitlines()[-1], type=Took)


@cache
def _beside(kind: str, services: int) -> tuple[list[Took], list[Took]]:
    """Rounds of ours and of kopf, one after the other: a machine that grows slow grows slow for both."""
    ours, kopf = (partial(_took, module, kind, services, 1, services) for module in ("ours_side", "kopf_side"))
    rounds = [(ours(), kopf()) for _ in range(ROUNDS)]
    return [each for each, _ in rounds], [each for _, each in rounds]


def _by_cpu(rounds: list[Took]) -> float:
    return median(each.events / each.cpu for each in rounds)


def _by_clock(rounds: list[Took]) -> float:
    return median(each.events / each.wall for each in rounds)


@row("core.events", unit="1/s", goal=at_least(15_000))
def events() -> Figure:
    """Changes of 9 KB pods a second of CPU, from the socket through cache, queue and one pass for each with nothing to decide; the baseline is kopf."""
    ours, kopf = _beside("watch", SERVICES)
    return Figure(_by_cpu(ours), _by_cpu(kopf))


@row("core.events.kopf", unit="1/s", goal=at_least(10, "ratio"))
def events_by_the_clock() -> Figure:
    """The same by the clock, with the server at work on the same machine, against kopf's `on.event`."""
    ours, kopf = _beside("watch", SERVICES)
    return Figure(_by_clock(ours), _by_clock(kopf))


@row("core.events.service", unit="1/s")
def events_of_services() -> Figure:
    """The same by CPU, each pod that of another service, which is gathered, decided and reported in full: one pass for each change."""
    return Figure(_by_cpu([_took("ours_side", "decide", SERVICES, 1, SERVICES) for _ in range(ROUNDS)]))


@row("core.events.burst", unit="1/s")
def events_in_a_burst() -> Figure:
    """The same for services of 20 pods that all change at once: news that come together are one pass, as when a rollout becomes ready."""
    return Figure(_by_cpu([_took("ours_side", "decide", CROWDED, CROWD, CROWDED * CROWD) for _ in range(ROUNDS)]))


@row("core.writes", unit="1/s", goal=at_least(5, "ratio"))
def writes() -> Figure:
    """Pods a second of CPU that change once and are answered with one patch of their status, whose echo is taken too; against kopf's `patch.status`."""
    ours, kopf = _beside("answer", WRITTEN)
    return Figure(_by_cpu(ours), _by_cpu(kopf))


@row("core.writes.clock", unit="1/s", goal=at_least(5, "ratio"))
def writes_by_the_clock() -> Figure:
    """The same by the clock: here the server, which takes a patch in half a millisecond, is most of it."""
    ours, kopf = _beside("answer", WRITTEN)
    return Figure(_by_clock(ours), _by_clock(kopf))


@row("core.resident", unit="MB", goal=at_most(150))
def memory() -> Figure:
    """Memory of an operator that holds 10,000 settled services, each with a pod, a revision, a Service, a slice and a budget; without kopf as shell."""
    return Figure(resident(kopf=False).memory)


@row("core.resident.kopf", unit="MB", goal=at_most(150))
def memory_with_shell() -> Figure:
    """The same with kopf as shell, as it is by default; the baseline is without."""
    return Figure(resident(kopf=True).memory, resident(kopf=False).memory)


@row("core.start", unit="s", goal=at_most(3))
def start() -> Figure:
    """CPU time from the start of that process until all 10,000 are listed, proved current and decided; without kopf as shell."""
    return Figure(resident(kopf=False).cpu)


@row("core.start.kopf", unit="s", goal=at_most(3))
def start_with_shell() -> Figure:
    """The same with kopf as shell, as it is by default; the baseline is without."""
    return Figure(resident(kopf=True).cpu, resident(kopf=False).cpu)


@cache
def _waits() -> list[float]:
    said = told("bench.core.urgent_side", server(RESIDENT, 1))
    return sorted(msgspec.json.decode(said, type=list[float]))


@row("core.urgent.p50", unit="ms")
def urgent_median() -> Figure:
    """How long a failure waits for its pass while 10,000 services are looked at again, from before the event loop knows of it."""
    return Figure(percentile(_waits(), 0.5))


@row("core.urgent.p99", unit="ms", goal=at_most(50))
def urgent_slowest() -> Figure:
    """The same, the slowest but one in a hundred of 250."""
    return Figure(percentile(_waits(), 0.99))
