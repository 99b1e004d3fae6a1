# SPDX-License-Identifier: Apache-2.0
"""Every metric, once: its name, kind, help, labels with their bounded values, and buckets.

The page that Prometheus reads, the reference page, the dashboard and the alerts are all made from here, so that none of them can
name a metric or a label that is not there. The `workqueue`, `controller_runtime`, `rest_client` and `leader_election` families have
the names that existing dashboards know. No label is ever a name or uid of an object. Rejected: a label `role` (leader or follower) on
every series, as Kueue has it: each take-over would end all series and begin new ones; `leader_election_master_status` can be joined.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
OTHER = "other"  # stands for every value that the catalogue does not list

SECONDS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0)
REQUEST_SECONDS = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


@dataclass(frozen=True)
class Label:
    """A label and what bounds it: `values` lists them all, or `bound` says in words what there can be."""

    name: str
    values: tuple[str, ...] = ()
    bound: str = ""

    def held(self, value: str) -> str:
        """The value, or "other" for one that is not listed."""
        return value if not self.values or value in self.values else OTHER


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One family; the name of a counter ends in `_total`. `foreign`: prometheus_client gathers it, we only rely on it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    foreign: bool = False

    @property
    def series(self) -> tuple[str, ...]:
        """The names that its series have on the page."""
        return tuple(self.name + each for each in ("_bucket", "_count", "_sum")) if self.kind == "histogram" else (self.name,)

    def label(self, name: str) -> Label:
        """Its label of that name.

        Raises:
            LookupError: it has none.
        """
        for each in self.labels:
            if each.name == name:
                return each
        raise LookupError(f"{self.name} has no label '{name}'")


NAME = Label("name", bound="installed controllers")
CONTROLLER = Label("controller", bound="installed controllers")
RESOURCE = Label("resource", bound="watched resources")
RESULT = Label("result", ("success", "requeue", "requeue_after", "stale", "error"))
ACTION = Label("action", ("create", "patch", "delete", "tryout", "status"))
DONE = Label("result", ("done", "failed"))
CODE = Label("code", bound="HTTP statuses; `<unsent>` and `<unknown>` for no answer")
METHOD = Label("method", ("GET", "POST", "PATCH", "PUT", "DELETE"))
VERB = Label("verb", METHOD.values)
LEASE = Label("name", bound="the Lease of this process")
PHASE = Label("phase", ("Provision", "Ready", "Run", "Update", "Rollback", "Scale", "Destroy", "Failed", "None", OTHER))
CONDITION = Label("type", ("Ready", "Reconciling", "Stalled", "Available", "Progressing", "Degraded", "NeedsHuman", "ExactHealthCheck", OTHER))
STATUS = Label("status", ("True", "False", "Unknown"))
STATE = Label("state", ("Starting", "Ready", "InService", "Suspect", "Draining", "Lost", "Parked"))
RESTART = Label("reason", ("ended", "silent", "broken", "busy"))
RELIST = Label("reason", ("start", "expired", "error", "gap", "asked"))
FATE = Label("result", ("written", "refused", "dropped", "limited"))
GENERATION = Label("generation", ("0", "1", "2"))

DEPTH = Metric(name="workqueue_depth", kind="gauge", help="Keys that wait for a worker.", labels=(NAME,))
ADDS = Metric(name="workqueue_adds_total", kind="counter", help="Keys that were added to the queue.", labels=(NAME,))
WAITED = Metric(name="workqueue_queue_duration_seconds", kind="histogram", help="How long keys waited for a worker.", labels=(NAME,), buckets=SECONDS)
WORKED = Metric(name="workqueue_work_duration_seconds", kind="histogram", help="How long keys were worked on.", labels=(NAME,), buckets=SECONDS)
UNFINISHED = Metric(
    name="workqueue_unfinished_work_seconds", kind="gauge", help="Sum of the times of the passes under way; growth means stuck workers.", labels=(NAME,)
)
LONGEST = Metric(name="workqueue_longest_running_processor_seconds", kind="gauge", help="Time of the oldest pass under way.", labels=(NAME,))
RETRIES = Metric(name="workqueue_retries_total", kind="counter", help="Keys that were put off by a backoff.", labels=(NAME,))
PASSES = Metric(name="controller_runtime_reconcile_total", kind="counter", help="Passes by result.", labels=(CONTROLLER, RESULT))
FAILED = Metric(name="controller_runtime_reconcile_errors_total", kind="counter", help="Passes that failed.", labels=(CONTROLLER,))
TOOK = Metric(name="controller_runtime_reconcile_time_seconds", kind="histogram", help="How long passes took.", labels=(CONTROLLER,), buckets=SECONDS)
ACTIVE = Metric(name="controller_runtime_active_workers", kind="gauge", help="Workers that are at work.", labels=(CONTROLLER,))
WORKERS = Metric(name="controller_runtime_max_concurrent_reconciles", kind="gauge", help="Workers; 0 on a standby.", labels=(CONTROLLER,))
REQUESTS = Metric(name="rest_client_requests_total", kind="counter", help="Requests to the API server by status.", labels=(CODE, METHOD))
REQUEST_TIME = Metric(
    name="rest_client_request_duration_seconds",
    kind="histogram",
    help="How long the API server took to answer; for a watch, to open it.",
    labels=(VERB,),
    buckets=REQUEST_SECONDS,
)
LEADING = Metric(name="leader_election_master_status", kind="gauge", help="1 while this process may write.", labels=(LEASE,))

EPOCH = Metric(name="drover_leader_epoch", kind="gauge", help="Epoch of this process's time in office; 0 on a standby.")
STALE = Metric(name="drover_stale_cache_skips_total", kind="counter", help="Passes put off because the cache lacked our own writes.", labels=(CONTROLLER,))
WRITES = Metric(name="drover_writes_total", kind="counter", help="Actions carried out, and status writes.", labels=(CONTROLLER, ACTION, DONE))
FENCED = Metric(name="drover_fence_refusals_total", kind="counter", help="Writes that the fence refused because epoch or holder were not those of the Lease.")
FENCE = Metric(
    name="drover_fence_enforced", kind="gauge", help="1 while the API server refuses writes of a deposed leader, 0 while it does not; told by the leader."
)
OLDEST = Metric(name="drover_queue_oldest_seconds", kind="gauge", help="Age of the key that waits longest for a worker.", labels=(CONTROLLER,))
BACKOFF = Metric(name="drover_keys_in_backoff", kind="gauge", help="Keys whose last pass did not have its whole effect.", labels=(CONTROLLER,))
OBJECTS = Metric(name="drover_objects", kind="gauge", help="Objects of the controller's kind by phase, as the cache shows them.", labels=(CONTROLLER, PHASE))
CONDITIONS = Metric(name="drover_object_conditions", kind="gauge", help="Objects by the status of each condition.", labels=(CONTROLLER, CONDITION, STATUS))
INSTANCES = Metric(name="drover_instances", kind="gauge", help="Instances by state, summed over all objects.", labels=(CONTROLLER, STATE))
RESTARTS = Metric(name="drover_watch_restarts_total", kind="counter", help="Watches that ended and were begun again.", labels=(RESOURCE, RESTART))
RELISTS = Metric(name="drover_relists_total", kind="counter", help="Complete lists, the first one included.", labels=(RESOURCE, RELIST))
CACHED = Metric(name="drover_cache_objects", kind="gauge", help="Objects in the cache.", labels=(RESOURCE,))
CACHE_AGE = Metric(name="drover_cache_age_seconds", kind="gauge", help="Time since the last event, bookmark or list.", labels=(RESOURCE,))
EVENTS = Metric(name="drover_events_total", kind="counter", help="Kubernetes Events: written, refused by the server, dropped, held back.", labels=(FATE,))
LAG = Metric(name="drover_event_loop_lag_seconds", kind="gauge", help="How late the event loop was at its last sign of life.")
BUILD = Metric(name="drover_build_info", kind="gauge", help="Always 1; says which version runs.", labels=(Label("version", bound="the running version"),))

CATALOGUE = (
    *(DEPTH, ADDS, WAITED, WORKED, UNFINISHED, LONGEST, RETRIES),
    *(PASSES, FAILED, TOOK, ACTIVE, WORKERS),
    *(REQUESTS, REQUEST_TIME, LEADING),
    *(EPOCH, STALE, WRITES, FENCED, FENCE, OLDEST, BACKOFF),
    *(OBJECTS, CONDITIONS, INSTANCES),
    *(RESTARTS, RELISTS, CACHED, CACHE_AGE, EVENTS, LAG, BUILD),
)

CPU = Metric(name="process_cpu_seconds_total", kind="counter", help="User and system CPU time.", foreign=True)
MEMORY = Metric(name="process_resident_memory_bytes", kind="gauge", help="Resident memory.", foreign=True)
STARTED = Metric(name="process_start_time_seconds", kind="gauge", help="When the process started, in seconds since the epoch.", foreign=True)
COLLECTIONS = Metric(name="python_gc_collections_total", kind="counter", help="Runs of Python's garbage collector.", labels=(GENERATION,), foreign=True)
FOREIGN = (
    *(CPU, MEMORY, STARTED, COLLECTIONS),
    Metric(name="process_virtual_memory_bytes", kind="gauge", help="Virtual memory.", foreign=True),
    Metric(name="process_open_fds", kind="gauge", help="Open file descriptors.", foreign=True),
    Metric(name="process_max_fds", kind="gauge", help="Most file descriptors that may be open.", foreign=True),
    Metric(name="python_gc_objects_collected_total", kind="counter", help="Objects that the collector freed.", labels=(GENERATION,), foreign=True),
    Metric(name="python_gc_objects_uncollectable_total", kind="counter", help="Objects that it could not free.", labels=(GENERATION,), foreign=True),
    Metric(
        name="python_info",
        kind="gauge",
        help="The interpreter.",
        labels=tuple(Label(name, bound="one value") for name in ("implementation", "major", "minor", "patchlevel", "version")),
        foreign=True,
    ),
)
EVERY = (*CATALOGUE, *FOREIGN)
