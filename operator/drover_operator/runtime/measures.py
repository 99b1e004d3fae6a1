# SPDX-License-Identifier: Apache-2.0
"""What is read from caches, queues and the election when Prometheus asks, so that work pays nothing for it.

Phase, conditions and counts of instances are those of any kind that keeps the conventions of `status`. What the catalogue does not
list counts as "other", so that nobody can make series by writing into a status.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from drover_operator.kube.reflector import Reflector
from drover_operator.observe import catalogue
from drover_operator.observe.metrics import Metrics, Sample
from drover_operator.runtime.election import Election
from drover_operator.runtime.engine import Engine
from drover_operator.runtime.fence_probe import FenceProbe, Standing

DISTRIBUTION = "drover-operator"
PROBED = (Standing.ENFORCED, Standing.ABSENT, Standing.STALE)
FIELDS = {state: re.sub(r"(?<!^)([A-Z])", r"_\1", state).lower() for state in catalogue.STATE.values}


def installed() -> str:
    """The version of the operator that runs."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"


def measure_process(metrics: Metrics, election: Election, fence: FenceProbe) -> None:
    """The version, who leads, and whether the fence stands."""
    metrics.counter(catalogue.BUILD, installed()).value = 1
    metrics.ask(catalogue.LEADING, lambda: [((election.name,), float(election.leading))])
    metrics.ask(catalogue.EPOCH, lambda: [((), float(election.term.epoch if election.leading and election.term else 0))])
    metrics.ask(catalogue.FENCE, lambda: [((), float(fence.standing is not Standing.ABSENT))] if election.leading and fence.standing in PROBED else [])


def measure_engine(metrics: Metrics, engine: Engine) -> None:
    """Queue, workers, caches, objects and Events of one engine."""
    clock, queue, name = asyncio.get_running_loop().time, engine.queue, engine.controller.name
    one: dict[catalogue.Metric, Callable[[], float]] = {
        catalogue.DEPTH: lambda: len(queue),
        catalogue.ADDS: lambda: queue.added,
        catalogue.RETRIES: lambda: queue.retried,
        catalogue.UNFINISHED: lambda: sum(clock() - begun for begun in engine.running.values()),
        catalogue.LONGEST: lambda: max((clock() - begun for begun in engine.running.values()), default=0.0),
        catalogue.ACTIVE: lambda: len(engine.running),
        catalogue.OLDEST: lambda: queue.oldest,
        catalogue.BACKOFF: lambda: len(queue.failures),
    }
    for metric, value in one.items():
        metrics.ask(metric, _alone(name, value))
    for reflector in engine.reflectors:
        _measure_cache(metrics, reflector)
    metrics.ask(catalogue.EVENTS, lambda: [((fate,), float(count)) for fate, count in engine.events.fates.items()])
    metrics.ask(catalogue.OBJECTS, lambda: phases(name, engine.primary.values()))
    metrics.ask(catalogue.CONDITIONS, lambda: conditions(name, engine.primary.values()))
    metrics.ask(catalogue.INSTANCES, lambda: instances(name, engine.primary.values()))


def _alone(name: str, value: Callable[[], float]) -> Callable[[], list[Sample]]:
    return lambda: [((name,), float(value()))]


def _measure_cache(metrics: Metrics, reflector: Reflector[Any]) -> None:
    resource = str(reflector.cache.resource)
    metrics.ask(catalogue.CACHED, lambda: [((resource,), float(len(reflector.cache)))])
    metrics.ask(catalogue.CACHE_AGE, lambda: [((resource,), reflector.age)])
    metrics.ask(catalogue.RESTARTS, lambda: [((resource, why), float(count)) for why, count in reflector.restarts.items()])
    metrics.ask(catalogue.RELISTS, lambda: [((resource, why), float(count)) for why, count in reflector.relists.items()])


def phases(controller: str, items: Iterable[Any]) -> list[Sample]:
    """How many objects are in which phase; nothing for a kind without phases."""
    found = Counter(item.status.phase or "None" for item in items if hasattr(item, "status") and hasattr(item.status, "phase"))
    return _tallied(controller, found, catalogue.PHASE)


def conditions(controller: str, items: Iterable[Any]) -> list[Sample]:
    """How many objects have each condition in which status."""
    found = Counter((each.type, each.status) for item in items if hasattr(item, "status") for each in getattr(item.status, "conditions", ()))
    held: Counter[tuple[str, str]] = Counter()
    for (kind, status), count in found.items():
        held[catalogue.CONDITION.held(kind), status] += count
    return [((controller, kind, status), float(count)) for (kind, status), count in held.items()]


def instances(controller: str, items: Iterable[Any]) -> list[Sample]:
    """How many instances are in each state, by the counts in status."""
    counts = [item.status.counts for item in items if hasattr(item, "status") and hasattr(item.status, "counts")]
    return [((controller, state), float(sum(getattr(each, field, 0) for each in counts))) for state, field in FIELDS.items()] if counts else []


def _tallied(controller: str, found: Counter[str], label: catalogue.Label) -> list[Sample]:
    """Every listed value, 0 included, so that a phase that nobody is in any more does not vanish from the page."""
    held: Counter[str] = Counter(dict.fromkeys(label.values, 0) if found else {})
    for value, count in found.items():
        held[label.held(value)] += count
    return [((controller, value), float(count)) for value, count in held.items()]
