# SPDX-License-Identifier: Apache-2.0
"""The built-in Kubernetes kinds that Drover reads, reduced to the fields it decides by."""

from datetime import datetime
from typing import Any

import msgspec

from drover_operator.api.meta import Object, Wire


class PodCondition(Wire, frozen=True, gc=False):
    """One condition of a pod; `last_transition_time` has one-second resolution."""

    type: str
    status: str
    reason: str = ""
    last_transition_time: datetime | None = None


class Waiting(Wire, frozen=True, gc=False):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class ContainerState(Wire, frozen=True):
    """Why a container waits, if it does; since when it runs is not read."""

    waiting: Waiting | None = None


class ContainerStatus(Wire, frozen=True):
    """What the kubelet reports about one container."""

    name: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState = ContainerState()


class PodStatus(Wire, frozen=True):
    """What the kubelet, and for the readiness gate Drover, report about a pod."""

    phase: str = "Pending"
    reason: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    start_time: datetime | None = None
    conditions: tuple[PodCondition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()

    def condition(self, kind: str) -> PodCondition | None:
        """The condition of that type, if it is there."""
        for each in self.conditions:  # a loop, here and below: three times as fast as a generator, and a pass asks seven times of every pod
            if each.type == kind:
                return each
        return None

    def is_true(self, kind: str) -> bool:
        """Whether the condition of that type is there and True."""
        for each in self.conditions:
            if each.type == kind:
                return each.status == "True"
        return False


class ReadinessGate(Wire, frozen=True, gc=False):
    """A condition that must be True, beside those of the containers, before the pod is ready."""

    condition_type: str = ""


class PodSpec(Wire, frozen=True):
    """Only what places the pod, and what its readiness asks for."""

    node_name: str = ""
    readiness_gates: tuple[ReadinessGate, ...] = ()


class Pod(Object, frozen=True):
    """core/v1 Pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ServicePort(Wire, frozen=True, gc=False):
    """One port of a Service."""

    name: str = ""
    port: int = 0
    target_port: int | str = 0
    protocol: str = "TCP"


class ServiceSpec(Wire, frozen=True):
    """Ports and selector: what Drover owns of a Service."""

    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()


class Service(Object, frozen=True):
    """core/v1 Service."""

    spec: ServiceSpec = ServiceSpec()


class EndpointConditions(Wire, frozen=True, gc=False):
    """Whether an endpoint takes traffic."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(Wire, frozen=True, gc=False):
    """The pod behind an endpoint."""

    uid: str = ""


class Endpoint(Wire, frozen=True):
    """One address of an EndpointSlice."""

    conditions: EndpointConditions = EndpointConditions()
    target_ref: TargetRef | None = None


class EndpointSlice(Object, frozen=True):
    """discovery.k8s.io/v1 EndpointSlice."""

    endpoints: tuple[Endpoint, ...] | None = ()


class LabelSelector(Wire, frozen=True):
    """Which objects are meant: those with all the labels that fit all the expressions."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[dict[str, Any], ...] = ()


class PodDisruptionBudgetSpec(Wire, frozen=True):
    """What Drover owns of a PodDisruptionBudget, and what must not stand beside it."""

    min_available: int | str | None = None
    max_unavailable: int | str | None = None
    selector: LabelSelector = LabelSelector()
    unhealthy_pod_eviction_policy: str = ""


class PodDisruptionBudget(Object, frozen=True):
    """policy/v1 PodDisruptionBudget."""

    spec: PodDisruptionBudgetSpec = PodDisruptionBudgetSpec()


class ControllerRevision(Object, frozen=True):
    """apps/v1 ControllerRevision: `data` is immutable on the server."""

    revision: int = 0
    data: msgspec.Raw = msgspec.Raw(b"{}")

    def __post_init__(self) -> None:
        """Detach `data` from the buffer it was decoded from, which holds managedFields and more."""
        msgspec.structs.force_setattr(self, "data", self.data.copy())


class JobCondition(Wire, frozen=True):
    """One condition of a Job."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class JobStatus(Wire, frozen=True):
    """How a Job ended, if it has."""

    conditions: tuple[JobCondition, ...] = ()

    def condition(self, kind: str) -> JobCondition | None:
        """The condition of that type, if it is true."""
        return next((each for each in self.conditions if (each.type, each.status) == (kind, "True")), None)


class Job(Object, frozen=True):
    """batch/v1 Job."""

    status: JobStatus = JobStatus()


class LeaseSpec(Wire, frozen=True):
    """Who holds the lease, since when, and how often it changed hands."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class Lease(Object, frozen=True):
    """coordination.k8s.io/v1 Lease."""

    spec: LeaseSpec = LeaseSpec()
