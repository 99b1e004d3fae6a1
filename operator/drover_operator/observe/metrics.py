# SPDX-License-Identifier: Apache-2.0
"""Metrics under the names that existing dashboards know: the workqueue and controller_runtime families, and a few of our own.

Labels are bounded: controller and result, never names of objects.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)


class Metrics:
    """One set of metrics; a process has one, a test as many as it likes."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        one = ("name",)
        self.depth = Gauge("workqueue_depth", "Keys waiting for a worker.", one, registry=self.registry)
        self.adds = Counter("workqueue_adds_total", "Keys handed to workers.", one, registry=self.registry)
        self.waited = Histogram("workqueue_queue_duration_seconds", "How long keys waited.", one, buckets=_SECONDS, registry=self.registry)
        self.worked = Histogram("workqueue_work_duration_seconds", "How long keys were worked on.", one, buckets=_SECONDS, registry=self.registry)
        self.retries = Counter("workqueue_retries_total", "Keys tried again after a failure.", one, registry=self.registry)
        two = ("controller",)
        self.passes = Counter("controller_runtime_reconcile_total", "Passes by result.", ("controller", "result"), registry=self.registry)
        self.failed = Counter("controller_runtime_reconcile_errors_total", "Passes that failed.", two, registry=self.registry)
        self.took = Histogram("controller_runtime_reconcile_time_seconds", "How long passes took.", two, buckets=_SECONDS, registry=self.registry)
        self.active = Gauge("controller_runtime_active_workers", "Workers at work.", two, registry=self.registry)
        self.workers = Gauge("controller_runtime_max_concurrent_reconciles", "Workers.", two, registry=self.registry)
        self.stale = Counter("drover_stale_cache_skips_total", "Passes put off because the cache lacked our own writes.", two, registry=self.registry)
        self.writes = Counter("drover_writes_total", "Actions carried out, by kind.", ("controller", "action", "result"), registry=self.registry)
        self.leading = Gauge("drover_leader", "1 while this process may write.", registry=self.registry)

    def of(self, controller: str) -> "ControllerMetrics":
        """The metrics of one controller; all of them are on the page from now on."""
        return ControllerMetrics(self, controller)

    def page(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self.registry)


class ControllerMetrics:
    """The metrics of one controller with their labels looked up once: a look-up costs 3 us, and each pass would make ten."""

    def __init__(self, metrics: Metrics, controller: str) -> None:
        self.depth = metrics.depth.labels(controller)
        self.adds = metrics.adds.labels(controller)
        self.waited = metrics.waited.labels(controller)
        self.worked = metrics.worked.labels(controller)
        self.retries = metrics.retries.labels(controller)
        self.failed = metrics.failed.labels(controller)
        self.took = metrics.took.labels(controller)
        self.active = metrics.active.labels(controller)
        self.workers = metrics.workers.labels(controller)
        self.stale = metrics.stale.labels(controller)
        self._passes = metrics.passes
        self._writes = metrics.writes
        self._controller = controller

    def passed(self, result: str) -> None:
        """A pass ended."""
        self._passes.labels(self._controller, result).inc()

    def wrote(self, action: str, result: str) -> None:
        """An action was carried out."""
        self._writes.labels(self._controller, action, result).inc()
