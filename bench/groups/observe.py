# SPDX-License-Identifier: Apache-2.0
"""What it costs to be observed: metrics and log context of one pass, one request, and a scrape of a large cluster."""

import time
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import structlog

from bench.measure import microseconds, percentile
from bench.rows import Figure, at_most, row
from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import ObjectMeta
from drover_operator.observe import catalogue
from drover_operator.observe.metrics import Metrics
from drover_operator.runtime.changes import Changes
from drover_operator.runtime.measures import conditions, instances, phases

SERVICES = 10_000
TIMES = 2000
TYPES = catalogue.CONDITION.values[:-1]
KEY = ("shop", "web")


def _each(work: Callable[[], Any]) -> float:
    """Microseconds of one call, the median; timed by the hundred, because one alone is too short."""

    def hundred() -> None:
        for _ in range(100):
            work()

    return percentile(microseconds([hundred] * (TIMES // 100)), 0.5) / 100


@row("observe.pass.metrics", unit="us", goal=at_most(10))
def metrics_of_a_pass() -> Figure:
    """All that one pass counts and times."""
    mine, running = Metrics().of("service"), dict[tuple[str, str], float]()

    def work() -> None:
        mine.waited.observe(0.001)
        running[KEY] = time.perf_counter()
        del running[KEY]
        mine.took.observe(0.002)
        mine.worked.observe(0.002)
        mine.passed("success")

    return Figure(_each(work))


@row("observe.pass.context", unit="us", goal=at_most(10))
def context_of_a_pass() -> Figure:
    """What every log line of a pass says, the id of the change included; the baseline binds the same and takes it back."""
    changes, meta = Changes(), ObjectMeta(name="web", namespace="shop", uid="u", generation=3)
    bound = {"controller": "service", "key": "shop/web", "generation": 3, "reconcile": "1-2", "epoch": 1}

    def work() -> None:
        structlog.contextvars.bind_contextvars(**bound, change=changes.last(KEY))
        structlog.contextvars.bind_contextvars(change=changes.of(meta, "rollout a to b"))

    def baseline() -> None:
        with structlog.contextvars.bound_contextvars(**bound, change=changes.of(meta, "rollout a to b")):
            pass

    return Figure(_each(work), _each(baseline))


@row("observe.scrape.10000", unit="ms", goal=at_most(50))
def scrape() -> Figure:
    """The whole page with 10,000 services in the cache; the event loop stands still meanwhile."""
    items = [_service(Random(number)) for number in range(SERVICES)]
    metrics = Metrics(own=True)
    metrics.ask(catalogue.OBJECTS, lambda: phases("service", items))
    metrics.ask(catalogue.CONDITIONS, lambda: conditions("service", items))
    metrics.ask(catalogue.INSTANCES, lambda: instances("service", items))
    return Figure(percentile(microseconds([metrics.text] * 5), 0.5) / 1000)


def _service(random: Random) -> ManagedService:
    told = [{"type": kind, "status": random.choice(catalogue.STATUS.values), "reason": "Healthy"} for kind in TYPES]
    status = {"phase": random.choice(catalogue.PHASE.values[:8]), "counts": {"inService": random.randint(0, 9)}, "conditions": told}
    wire = {"metadata": {"name": "s", "namespace": "shop"}, "spec": {"criticality": "Normal", "template": {}}, "status": status}
    return msgspec.json.decode(msgspec.json.encode(wire), type=ManagedService)
