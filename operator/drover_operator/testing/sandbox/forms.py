# SPDX-License-Identifier: Apache-2.0
"""The form of the built-in objects, as far as something in the sandbox reads them; all other fields may hold anything."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from drover_operator.testing.objects import Json

Texts = dict[str, str]
Quantities = dict[str, str | int | float]
Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[int, Meta(ge=0)]
Share = Annotated[int, Meta(ge=0)] | Annotated[str, Meta(pattern="^[0-9]+%$")]


class Wire(Struct, frozen=True, rename="camel"):
    """Base of the forms: camelCase names, unknown fields pass."""


class Owner(Wire, frozen=True):
    """A reference to an owner."""

    uid: str
    kind: str
    name: str
    api_version: str
    controller: bool = False
    block_owner_deletion: bool = False


class ObjectMeta(Wire, frozen=True):
    """Metadata."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: Texts = {}
    annotations: Texts = {}
    finalizers: list[str] = []
    owner_references: list[Owner] = []


class Plain(Wire, frozen=True):
    """Any object."""

    metadata: ObjectMeta


class ContainerPort(Wire, frozen=True):
    """A port of a container."""

    container_port: Port
    name: str = ""
    protocol: str = "TCP"


class Resources(Wire, frozen=True):
    """What a container asks for and may use."""

    limits: Quantities = {}
    requests: Quantities = {}


class Sleep(Wire, frozen=True):
    """A pause before the end."""

    seconds: Seconds


class Hook(Wire, frozen=True):
    """What is done before the end."""

    sleep: Sleep | None = None


class Lifecycle(Wire, frozen=True):
    """Hooks of a container."""

    pre_stop: Hook | None = None


class Container(Wire, frozen=True):
    """A container."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    restart_policy: str = ""
    ports: list[ContainerPort] = []
    resources: Resources = Resources()
    lifecycle: Lifecycle = Lifecycle()
    env: list[Json] = []
    volume_mounts: list[Json] = []
    readiness_probe: Json = {}
    liveness_probe: Json = {}
    startup_probe: Json = {}


class Gate(Wire, frozen=True):
    """A readiness gate."""

    condition_type: str


class PodSpec(Wire, frozen=True):
    """The spec of a pod."""

    containers: list[Container] = []
    init_containers: list[Container] = []
    readiness_gates: list[Gate] = []
    node_selector: Texts = {}
    node_name: str = ""
    restart_policy: str = "Always"
    termination_grace_period_seconds: Seconds = 30
    scheduling_gates: list[Json] = []
    tolerations: list[Json] = []
    volumes: list[Json] = []
    priority: int = 0


class Condition(Wire, frozen=True):
    """A condition."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class Status(Wire, frozen=True):
    """What every status may have."""

    phase: str = ""
    conditions: list[Condition] = []
    container_statuses: list[Json] = []
    init_container_statuses: list[Json] = []


class Pod(Plain, frozen=True):
    """A pod."""

    spec: PodSpec
    status: Status = Status()


class ServicePort(Wire, frozen=True):
    """A port of a Service."""

    port: Port
    name: str = ""
    protocol: str = "TCP"
    target_port: Port | str = 0


class ServiceSpec(Wire, frozen=True):
    """The spec of a Service."""

    selector: Texts = {}
    ports: list[ServicePort] = []
    cluster_ip: str = msgspec.field(default="", name="clusterIP")
    type: str = ""
    publish_not_ready_addresses: bool = False


class Service(Plain, frozen=True):
    """A Service."""

    spec: ServiceSpec


class Requirement(Wire, frozen=True):
    """One requirement of a selector."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = []


class Selector(Wire, frozen=True):
    """A label selector."""

    match_labels: Texts = {}
    match_expressions: list[Requirement] = []


class BudgetSpec(Wire, frozen=True):
    """The spec of a PodDisruptionBudget."""

    selector: Selector | None = None
    min_available: Share = 0
    max_unavailable: Share = 0
    unhealthy_pod_eviction_policy: str = ""


class Budget(Plain, frozen=True):
    """A PodDisruptionBudget."""

    spec: BudgetSpec
    status: Status = Status()


class NodeSpec(Wire, frozen=True):
    """The spec of a Node."""

    unschedulable: bool = False


class Room(Wire, frozen=True):
    """What a node has room for."""

    pods: Annotated[str, Meta(pattern="^[0-9]+$")] = "0"


class NodeStatus(Status, frozen=True):
    """The status of a Node."""

    allocatable: Room = Room()
    addresses: list[Texts] = []
    node_info: Texts = {}


class Node(Plain, frozen=True):
    """A Node."""

    spec: NodeSpec
    status: NodeStatus = NodeStatus()


class ConfigMap(Plain, frozen=True):
    """A ConfigMap."""

    data: Texts = {}
    binary_data: Texts = {}


class Revision(Plain, frozen=True):
    """A ControllerRevision."""

    revision: int = 0


class Endpoint(Wire, frozen=True):
    """An endpoint of a slice."""

    addresses: list[str]
    conditions: dict[str, bool] = {}
    target_ref: Texts = {}


class EndpointSlice(Plain, frozen=True):
    """An EndpointSlice."""

    endpoints: list[Endpoint] = []
    ports: list[Json] = []


class LeaseSpec(Wire, frozen=True):
    """The spec of a Lease."""

    holder_identity: str = ""
    lease_transitions: int = 0
    lease_duration_seconds: int = 0
    acquire_time: str = ""
    renew_time: str = ""


class Lease(Plain, frozen=True):
    """A Lease."""

    spec: LeaseSpec


class QuotaSpec(Wire, frozen=True):
    """The spec of a ResourceQuota."""

    hard: Quantities = {}
    scopes: list[str] = []


class Quota(Plain, frozen=True):
    """A ResourceQuota."""

    spec: QuotaSpec


class Series(Wire, frozen=True):
    """How often an event was repeated."""

    count: int = 0
    last_observed_time: str = ""


class Event(Plain, frozen=True):
    """An event."""

    note: str = ""
    reason: str = ""
    type: str = ""
    event_time: str = ""
    regarding: Texts = {}
    series: Series | None = None


class Preconditions(Wire, frozen=True):
    """What must hold for a deletion."""

    uid: str = ""
    resource_version: str = ""


class DeleteOptions(Wire, frozen=True):
    """The body of a DELETE."""

    grace_period_seconds: int = 0
    propagation_policy: Literal["Background", "Foreground", "Orphan"] = "Background"
    preconditions: Preconditions = Preconditions()
    dry_run: list[str] = []


FORMS: dict[str, type[Plain]] = {
    "Pod": Pod,
    "Service": Service,
    "PodDisruptionBudget": Budget,
    "Node": Node,
    "ConfigMap": ConfigMap,
    "ControllerRevision": Revision,
    "EndpointSlice": EndpointSlice,
    "Lease": Lease,
    "ResourceQuota": Quota,
    "Event": Event,
}
