# SPDX-License-Identifier: Apache-2.0
"""The metrics of one process: what the catalogue lists, counted by the cheapest means, and shown as prometheus_client writes pages.

Work counts into plain attributes; whatever can be read from caches and queues is read when Prometheus asks, and costs a pass nothing.
Rejected: the instruments of prometheus_client. They lock for threads that this process does not have: a histogram costs 1.4 us where
ours costs 0.25, and one pass observes three.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from drover_operator.observe import catalogue
from drover_operator.observe.catalogue import CATALOGUE, Metric

Labels = tuple[str, ...]
Sample = tuple[Labels, float]
Source = Callable[[], Iterable[Sample]]


class Counter:
    """Counts events; also a gauge, where somebody sets `value`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def inc(self) -> None:
        """One more."""
        self.value += 1


class Histogram:
    """Counts durations by bucket."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Note one duration."""
        self.sum += seconds
        self.counts[bisect_left(self.bounds, seconds)] += 1

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds and how many durations were at most that long, as the page shows them."""
        found, total = list[tuple[str, float]](), 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


class Metrics(Collector):
    """The metrics of one process. `own` adds those of the interpreter and the operating system."""

    def __init__(self, *, own: bool = False) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, dict[Labels, Counter]] = {}
        self._histograms: dict[str, dict[Labels, Histogram]] = {}
        self._sources: dict[str, list[Source]] = {}
        self.registry.register(self)
        if own:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
            GCCollector(registry=self.registry)

    def counter(self, metric: Metric, *labels: str) -> Counter:
        """The counter or gauge with these values of its labels, in the catalogue's order."""
        _check(metric, labels)
        return self._counters.setdefault(metric.name, {}).setdefault(labels, Counter())

    def histogram(self, metric: Metric, *labels: str) -> Histogram:
        """The histogram with these values of its labels."""
        _check(metric, labels)
        return self._histograms.setdefault(metric.name, {}).setdefault(labels, Histogram(metric.buckets))

    def ask(self, metric: Metric, source: Source) -> None:
        """Read this metric from `source` whenever the page is asked for."""
        self._sources.setdefault(metric.name, []).append(source)

    def of(self, controller: str) -> "ControllerMetrics":
        """The metrics of one controller; all of them are on the page from now on."""
        return ControllerMetrics(self, controller)

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """The page that Prometheus reads and its content type: the text format, or OpenMetrics for who accepts it."""
        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind

    def text(self) -> str:
        """The page in the text format."""
        return self.page()[0].decode()

    def collect(self) -> Iterator[Family]:
        """See `Collector.collect`."""
        return map(self._family, CATALOGUE)

    def describe(self) -> Iterable[Family]:
        """Nothing: names are checked by the catalogue's test, and registering must not ask the sources."""
        return ()

    def _family(self, metric: Metric) -> Family:
        names = [label.name for label in metric.labels]
        if metric.kind == "histogram":
            found = HistogramMetricFamily(metric.name, metric.help, labels=names)
            for labels, histogram in self._histograms.get(metric.name, {}).items():
                found.add_metric(labels, histogram.buckets(), histogram.sum)
            return found
        family = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(metric.name, metric.help, labels=names)
        for labels, value in self._values(metric.name):
            family.add_metric(labels, value)
        return family

    def _values(self, name: str) -> Iterator[Sample]:
        for labels, counter in self._counters.get(name, {}).items():
            yield labels, counter.value
        for source in self._sources.get(name, ()):
            yield from source()


class ControllerMetrics:
    """The metrics of one controller that its passes count, each looked up once."""

    def __init__(self, metrics: Metrics, controller: str) -> None:
        self.waited = metrics.histogram(catalogue.WAITED, controller)
        self.worked = metrics.histogram(catalogue.WORKED, controller)
        self.took = metrics.histogram(catalogue.TOOK, controller)
        self.failed = metrics.counter(catalogue.FAILED, controller)
        self.workers = metrics.counter(catalogue.WORKERS, controller)
        self.stale = metrics.counter(catalogue.STALE, controller)
        self._passes = {result: metrics.counter(catalogue.PASSES, controller, result) for result in catalogue.RESULT.values}
        self._metrics = metrics
        self._controller = controller

    def passed(self, result: str) -> None:
        """A pass ended."""
        self._passes[result].value += 1

    def wrote(self, action: str, result: str) -> None:
        """An action was carried out."""
        self._metrics.counter(catalogue.WRITES, self._controller, action, result).inc()


def _check(metric: Metric, labels: Labels) -> None:
    if len(labels) != len(metric.labels):
        raise ValueError(f"{metric.name} has {len(metric.labels)} labels, not {len(labels)}")
