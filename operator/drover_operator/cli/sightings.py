# SPDX-License-Identifier: Apache-2.0
"""What `why` looks at beside the service: pods, Events and Nodes with the fields that say what is wrong. Partial, as all wire types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import Object, Wire
from drover_operator.api.resource import Resource

SERVICE_LABEL = "drover.dev/service"
REVISION_LABEL = "drover.dev/revision"
GATE = "drover.dev/in-service"


class Fact(Wire, frozen=True):
    """A condition of a pod or a node."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class Waiting(Wire, frozen=True):
    """Why a container does not run."""

    reason: str = ""
    message: str = ""


class Running(Wire, frozen=True):
    """Since when a container runs."""

    started_at: datetime | None = None


class Ended(Wire, frozen=True):
    """How a container ended."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None


class State(Wire, frozen=True):
    """At most one of the members is set."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Ended | None = None


class ContainerSeen(Wire, frozen=True):
    """What the kubelet reports about one container."""

    name: str = ""
    image: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: State = State()
    last_state: State = State()


class PodSeenStatus(Wire, frozen=True):
    """How a pod is."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    conditions: tuple[Fact, ...] = ()
    init_container_statuses: tuple[ContainerSeen, ...] = ()
    container_statuses: tuple[ContainerSeen, ...] = ()

    def fact(self, kind: str) -> Fact | None:
        """The condition of that type."""
        return next((each for each in self.conditions if each.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Whether the condition of that type is True."""
        fact = self.fact(kind)
        return fact is not None and fact.status == "True"


class Gate(Wire, frozen=True):
    """A condition that a pod needs beside its containers."""

    condition_type: str = ""


class InitContainer(Wire, frozen=True):
    """A container that comes before the others; one with restartPolicy Always is a sidecar and stays."""

    name: str = ""
    restart_policy: str = ""


class PodSeenSpec(Wire, frozen=True):
    """Where a pod runs, and what it needs to be ready."""

    node_name: str = ""
    init_containers: tuple[InitContainer, ...] = ()
    readiness_gates: tuple[Gate, ...] = ()


class PodSeen(Object, frozen=True):
    """core/v1 Pod."""

    spec: PodSeenSpec = PodSeenSpec()
    status: PodSeenStatus = PodSeenStatus()

    @property
    def before(self) -> tuple[ContainerSeen, ...]:
        """The containers that must end before the others start."""
        return tuple(each for each in self.status.init_container_statuses if each.name not in self._sidecars)

    @property
    def working(self) -> tuple[ContainerSeen, ...]:
        """The containers that stay, sidecars first."""
        return (*(each for each in self.status.init_container_statuses if each.name in self._sidecars), *self.status.container_statuses)

    @property
    def _sidecars(self) -> set[str]:
        return {each.name for each in self.spec.init_containers if each.restart_policy == "Always"}


class About(Wire, frozen=True):
    """What an Event is about."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class Series(Wire, frozen=True):
    """The repetitions of an Event."""

    last_observed_time: datetime | None = None


class EventSeen(Object, frozen=True):
    """core/v1 Event."""

    involved_object: About = About()
    type: str = ""
    reason: str = ""
    message: str = ""
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    series: Series | None = None

    @property
    def moment(self) -> float:
        """When it was seen last, in seconds since the epoch."""
        last = self.series.last_observed_time if self.series else None
        moment = last or self.last_timestamp or self.event_time or self.metadata.creation_timestamp
        return moment.timestamp() if moment else 0.0


class NodeSeenStatus(Wire, frozen=True):
    """How a node is."""

    conditions: tuple[Fact, ...] = ()


class NodeSeen(Object, frozen=True):
    """core/v1 Node."""

    status: NodeSeenStatus = NodeSeenStatus()

    @property
    def ready(self) -> Fact | None:
        """Its condition Ready."""
        return next((each for each in self.status.conditions if each.type == "Ready"), None)


PODS = Resource("", "v1", "pods", "Pod", PodSeen)
EVENTS = Resource("", "v1", "events", "Event", EventSeen)
NODES = Resource("", "v1", "nodes", "Node", NodeSeen)


@dataclass(frozen=True, kw_only=True)
class Sightings:
    """All that the reasons are sought in, read at about one moment.

    `pods` is None where they may not be read; `events` are the newest of pods that are not well; `changed` is when the spec was last
    written, if that is known.
    """

    service: ManagedService
    now: datetime
    pods: tuple[PodSeen, ...] | None = ()
    events: tuple[EventSeen, ...] = ()
    nodes: Mapping[str, NodeSeen] = field(default_factory=dict[str, NodeSeen])
    changed: datetime | None = None
