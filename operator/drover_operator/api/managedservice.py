# SPDX-License-Identifier: Apache-2.0
"""ManagedService: a service that Drover keeps running as declared.

The structs are the only source of the CustomResourceDefinition. Rules in CEL name the field and the value, because their
message is all that a person sees when an apply is refused.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drover_operator.api.fields import MAX_REPLICAS, WHOLE, by_key, duration, int_or_string, rule, rules
from drover_operator.api.gateway import Traffic
from drover_operator.api.meta import DATE_TIME, DNS_LABEL_PATTERN, DURATION_PATTERN, Condition, Object, Wire
from drover_operator.api.releasegate import Check
from drover_operator.api.rollout import Rollout

Criticality = Literal["Vital", "Important", "Normal", "Expendable"]
Mode = Literal["Cattle", "Pet"]
Environment = Literal["Development", "Test", "Staging", "Production"]
Phase = Literal["Provision", "Ready", "Run", "Update", "Rollback", "Scale", "Destroy", "Failed"]
InstanceState = Literal["Starting", "Ready", "InService", "Suspect", "Draining", "Lost", "Parked"]

MAX_NAME = 40


class Port(Wire, frozen=True):
    """One port of the service, and of the Service of the same name that Drover keeps."""

    name: Annotated[str, Meta(description="Name of the port, a DNS label.", min_length=1, max_length=15, pattern=DNS_LABEL_PATTERN)]
    port: Annotated[int, Meta(description="Port that clients connect to.", ge=1, le=65535)]
    target_port: Annotated[
        int | str | None,
        int_or_string("Port of the container, a number or a name; the same as `port` when not given.", 1, 65535, DNS_LABEL_PATTERN, 15),
    ] = None
    protocol: Annotated[Literal["TCP", "UDP", "SCTP"], Meta(description="Transport protocol.")] = "TCP"


class HttpCheck(Wire, frozen=True):
    """Healthy when an HTTP GET is answered well."""

    port: Annotated[int, Meta(description="Port of the container.", ge=1, le=65535)]
    path: Annotated[str, Meta(description="Path of the request.", pattern="^/", max_length=1024)] = "/"


class TcpCheck(Wire, frozen=True):
    """Healthy when a TCP connection is accepted."""

    port: Annotated[int, Meta(description="Port of the container.", ge=1, le=65535)]


class GrpcCheck(Wire, frozen=True):
    """Healthy when the gRPC health protocol answers SERVING."""

    port: Annotated[int, Meta(description="Port of the container.", ge=1, le=65535)]
    service: Annotated[str, Meta(description="Service name of the health request.", max_length=253)] = ""


Argument = Annotated[str, Meta(max_length=4096)]


class ExecCheck(Wire, frozen=True):
    """Healthy when a command in the container exits with 0."""

    command: Annotated[
        tuple[Argument, ...],
        Meta(description="Command and arguments, no shell.", min_length=1, max_length=64, extra_json_schema={"x-kubernetes-list-type": "atomic"}),
    ]


class HealthCheck(Wire, frozen=True):
    """How an instance proves its health; hysteresis in both directions."""

    http: Annotated[HttpCheck | None, Meta(description="HTTP check: the status must be 200. Without the agent the kubelet probes: 200 to 399.")] = None
    tcp: Annotated[TcpCheck | None, Meta(description="TCP check.")] = None
    grpc: Annotated[GrpcCheck | None, Meta(description="gRPC check.")] = None
    exec: Annotated[ExecCheck | None, Meta(description="Command check.")] = None
    interval: Annotated[str, duration("Time between two checks.", "2s", "60s", "spec.healthCheck.interval")] = "5s"
    timeout: Annotated[str, duration("No answer in this time is one failure.", "5s", "300s", "spec.healthCheck.timeout")] = "5s"
    unhealthy_threshold: Annotated[int, Meta(description="Consecutive failures before an instance leaves service.", ge=2, le=10)] = 3
    healthy_threshold: Annotated[int, Meta(description="Consecutive successes before it may return.", ge=2, le=10)] = 2


class ActiveRequests(Wire, frozen=True):
    """Where the program tells how many requests it is answering: a number, or JSON with `activeRequests`."""

    port: Annotated[int, Meta(description="Port of the container.", ge=1, le=65535)]
    path: Annotated[str, Meta(description="Path of the request.", pattern="^/", max_length=1024)] = "/admin/load"


class Restart(Wire, frozen=True):
    """How an instance leaves: out of service, out of discovery, settle, then ended."""

    drain_timeout: Annotated[
        str, duration("Deadline of the whole drain; then the instance is ended all the same. 0s: no drain.", "0s", "1h", "spec.restart.drainTimeout")
    ] = "30s"
    settle: Annotated[str, duration("Time after leaving discovery in which slow proxies may still send requests.", "0s", "5m", "spec.restart.settle")] = "2s"
    active_requests: Annotated[
        ActiveRequests | None,
        Meta(description="One that leaves waits until it answers no request any more, drainTimeout at most. Needs the agent, and a check by http or tcp."),
    ] = None


class Scaling(Wire, frozen=True):
    """Bounds of `replicas`, for people and autoscalers alike."""

    min: Annotated[int, Meta(description="Fewest instances.", ge=0, le=MAX_REPLICAS)] = 0
    max: Annotated[int, Meta(description="Most instances.", ge=1, le=MAX_REPLICAS)] = MAX_REPLICAS


class Pin(Wire, frozen=True):
    """Stay at a recorded revision, whatever the template says."""

    revision: Annotated[str, Meta(description="Name of a revision in the history, as status shows it.", pattern=DNS_LABEL_PATTERN, min_length=1, max_length=63)]


class ManagedServiceSpec(Wire, frozen=True):
    """What should run."""

    criticality: Annotated[Criticality, Meta(description="How much depends on this service; only people know it, so there is no default.")]
    template: Annotated[
        msgspec.Raw,
        Meta(description="The pods to run, as in a Deployment.", extra_json_schema={"x-drover-outline": "PodTemplate"}),
    ]
    mode: Annotated[
        Mode,
        Meta(
            description="Cattle are replaced when they fail, pets are brought back.",
            extra_json_schema=rules(
                rule("self == oldSelf", "'spec.mode must not change (from ' + oldSelf + ' to ' + self + '): create a new service'"),
                rule("self != 'Pet'", "spec.mode 'Pet' is not supported by this version of Drover: use 'Cattle'"),
            ),
        ),
    ] = "Cattle"
    environment: Annotated[
        Environment | None,
        Meta(description="May only repeat the label drover.dev/environment of the namespace."),
    ] = None
    version: Annotated[
        Annotated[str, Meta(min_length=1, max_length=128)] | None,
        Meta(description="What people call this version; by default the label app.kubernetes.io/version of the template, else the image tag."),
    ] = None
    replicas: Annotated[int, Meta(description="Wanted number of instances; the scale subresource writes here.", ge=0, le=MAX_REPLICAS)] = 1
    ports: Annotated[
        tuple[Port, ...],
        Meta(description="Ports of the Service of the same name; none, no Service.", max_length=32, extra_json_schema=by_key("name")),
    ] = ()
    health_check: Annotated[
        HealthCheck | None,
        Meta(
            description="How an instance proves its health; without it the probes of the template decide.",
            extra_json_schema=rules(
                rule(
                    "[has(self.http), has(self.tcp), has(self.grpc), has(self.exec)].filter(x, x).size() == 1",
                    "spec.healthCheck must have exactly one of `http`, `tcp`, `grpc` and `exec`",
                )
            ),
        ),
    ] = None
    rollout: Annotated[
        Rollout,
        Meta(
            description="How a new revision replaces the one that serves.",
            extra_json_schema=rules(
                rule(
                    "!has(self.rolling) || !has(self.rolling.minReady) || !has(self.progressDeadline)"
                    f" || !self.rolling.minReady.matches('{DURATION_PATTERN}') || !self.progressDeadline.matches('{DURATION_PATTERN}')"
                    " || duration(self.rolling.minReady) < duration(self.progressDeadline)",
                    "'spec.rollout.rolling.minReady must be shorter than spec.rollout.progressDeadline: no instance could ever count in time (' +"
                    " self.rolling.minReady + ' against ' + self.progressDeadline + ')'",
                ),
                rule("self.type != 'Canary' || has(self.canary)", "spec.rollout.type is Canary: give its steps in spec.rollout.canary"),
                rule("self.type != 'ABTest' || has(self.abTest)", "spec.rollout.type is ABTest: say who gets the new revision in spec.rollout.abTest"),
            ),
        ),
    ] = Rollout()
    traffic: Annotated[Traffic | None, Meta(description="Who splits requests between two revisions; without it the instances do, by their number.")] = None
    restart: Annotated[Restart, Meta(description="How an instance leaves service.")] = Restart()
    scaling: Annotated[
        Scaling | None,
        Meta(
            description="Bounds of `replicas`.",
            extra_json_schema=rules(
                rule(
                    "self.min <= self.max",
                    "'spec.scaling.min must not be greater than spec.scaling.max: %d > %d'.format([self.min, self.max])",
                )
            ),
        ),
    ] = None
    pin: Annotated[Pin | None, Meta(description="Go back to a recorded revision and stay there until removed.")] = None
    adopt: Annotated[bool, Meta(description="Take over a Service or PodDisruptionBudget of the same name that nobody controls.")] = False
    revision_history_limit: Annotated[int, Meta(description="Old revisions kept for going back.", ge=1, le=100)] = 10
    paused: Annotated[bool, Meta(description="Freeze the rollout; repair and scaling go on.")] = False

    def __post_init__(self) -> None:
        """Detach the template from the buffer it was decoded from."""
        msgspec.structs.force_setattr(self, "template", self.template.copy())


Name63 = Annotated[str, Meta(max_length=63)]
Short = Annotated[str, Meta(max_length=253)]
Number = Annotated[int, Meta(ge=0, le=1_000_000)]


class Counts(Wire, frozen=True, omit_defaults=False):
    """Number of instances in each state; together all the pods of the service."""

    starting: Annotated[Number, Meta(description="Created, containers not ready yet.")] = 0
    ready: Annotated[Number, Meta(description="Containers ready, not yet in service.")] = 0
    in_service: Annotated[Number, Meta(description="In discovery and healthy.")] = 0
    suspect: Annotated[Number, Meta(description="Was in service, is not healthy now.")] = 0
    draining: Annotated[Number, Meta(description="Leaving service, or being ended.")] = 0
    lost: Annotated[Number, Meta(description="Failed or evicted; to be replaced.")] = 0
    parked: Annotated[Number, Meta(description="Pets that wait for a person.")] = 0


class VersionStatus(Wire, frozen=True, omit_defaults=False):
    """How many instances run one revision."""

    revision: Annotated[Name63, Meta(description="Name of the revision.")]
    version: Annotated[Short, Meta(description="Version of the revision.")] = ""
    instances: Annotated[Number, Meta(description="Instances that run it.")] = 0
    weight: Annotated[int, Meta(description="Share of the instances in service, in percent.", ge=0, le=100)] = 0


class InstanceStatus(Wire, frozen=True, omit_defaults=False):
    """One instance."""

    name: Annotated[Short, Meta(description="Name of the pod.")]
    state: Annotated[InstanceState, Meta(description="State of the instance.")]
    identity: Annotated[Short, Meta(description="One run of the program: address, start time and restart count; a new run is a new identity.")] = ""
    node: Annotated[Short, Meta(description="Node that runs it.")] = ""
    version: Annotated[Short, Meta(description="Version it runs.")] = ""
    revision: Annotated[Name63, Meta(description="Revision it runs.")] = ""
    restarts: Annotated[Number, Meta(description="Restarts of its containers.")] = 0
    reason: Annotated[Short, Meta(description="Why it is in this state, where that is not plain.")] = ""


class Weight(Wire, frozen=True, omit_defaults=False):
    """Share of the candidate in percent."""

    wanted: Annotated[int, Meta(description="What the strategy asks for.", ge=0, le=100)] = 0
    actual: Annotated[int, Meta(description="What the instances in service give.", ge=0, le=100)] = 0


class RolloutStatus(Wire, frozen=True):
    """The Memory of a rollout: the only part of status that is ever read back."""

    target: Annotated[Name63, Meta(description="Revision that the rollout goes to.")] = ""
    stable: Annotated[Name63, Meta(description="Last revision that served at full count.")] = ""
    begun_at: Annotated[
        datetime | None, Meta(description="When this target was chosen: tells two rollouts to one revision apart.", extra_json_schema=DATE_TIME)
    ] = None
    started_at: Annotated[datetime | None, Meta(description="Start of the rollout, or of its resumption after a pause.", extra_json_schema=DATE_TIME)] = None
    progressed_at: Annotated[datetime | None, Meta(description="When more of the target came into service than ever before.", extra_json_schema=DATE_TIME)] = (
        None
    )
    progressed: Annotated[Number, Meta(description="Most instances of the target that were in service at once.")] = 0
    settled_replicas: Annotated[int, Meta(description="Replica number that was last fully reached; -1 before the first time.", ge=-1, le=1_000_000)] = -1
    paused: Annotated[bool, Meta(description="Whether the rollout was paused.")] = False
    blocked_revision: Annotated[Name63, Meta(description="Revision that failed and is not tried again until the spec changes.")] = ""
    step: Annotated[int, Meta(description="Steps of the strategy that are passed.", ge=0, le=100)] = 0
    steps: Annotated[int, Meta(description="Steps of the strategy, 0 where it has none.", ge=0, le=100)] = 0
    step_at: Annotated[datetime | None, Meta(description="When the present step was begun.", extra_json_schema=DATE_TIME)] = None
    reached_at: Annotated[datetime | None, Meta(description="When the weight of the present step was reached.", extra_json_schema=DATE_TIME)] = None
    weight: Annotated[Weight, Meta(description="Share of the candidate.")] = Weight()
    checks: Annotated[
        tuple[Check, ...],
        Meta(
            description="Gates of this rollout, or of the one that was taken back, with their verdicts.",
            max_length=40,
            extra_json_schema={"x-kubernetes-list-type": "atomic"},
        ),
    ] = ()


class PlanStep(Wire, frozen=True):
    """One action that the service takes or waits to take."""

    step: Annotated[Short, Meta(description="What is done, to what.")]
    state: Annotated[Literal["Running", "Waiting"], Meta(description="Whether it is under way.")]
    reason: Annotated[Short, Meta(description="Why it is done, or what it waits for.")] = ""


class Transition(Wire, frozen=True):
    """One change of phase."""

    time: Annotated[datetime, Meta(description="When it was seen.", extra_json_schema=DATE_TIME)]
    to: Annotated[Phase, Meta(description="The phase after it.")]
    cause: Annotated[Literal["expected", "unexpected"], Meta(description="Wanted by someone, or a fault.")]
    trigger: Annotated[Short, Meta(description="What set it off.")]
    revision: Annotated[Name63, Meta(description="Target revision at that time.")]
    source: Annotated[Phase | None, Meta(description="The phase before it.")] = msgspec.field(default=None, name="from")


class ManagedServiceStatus(Wire, frozen=True, omit_defaults=False):
    """What runs. All of it is derived, except `rollout`."""

    phase: Annotated[Phase | None, Meta(description="One word for people; the conditions are for programs.")] = None
    phase_since: Annotated[datetime | None, Meta(description="Since when.", extra_json_schema=DATE_TIME)] = None
    scale_direction: Annotated[Literal["Out", "In"] | None, Meta(description="Direction of phase Scale.")] = None
    observed_generation: Annotated[int, Meta(description="Generation of the spec that this status describes; -1 before the first look.", ge=-1)] = 0
    current_revision: Annotated[Name63, Meta(description="Revision that serves.")] = ""
    target_revision: Annotated[Name63, Meta(description="Revision that is wanted.")] = ""
    version: Annotated[Short, Meta(description="Version of the revision that serves.")] = ""
    replicas: Annotated[Number, Meta(description="Instances that are neither ended nor being ended.")] = 0
    selector: Annotated[str, Meta(description="Label selector of the pods, for autoscalers.", max_length=1024)] = ""
    ready: Annotated[str, Meta(description="Instances in service of those wanted, for the READY column.", max_length=32)] = ""
    up_to_date: Annotated[str, Meta(description="Instances at the target revision of those wanted, for the UP-TO-DATE column.", max_length=32)] = ""
    summary: Annotated[str, Meta(description="Most telling reason, for the STATUS column.", max_length=128)] = ""
    step: Annotated[
        Annotated[str, Meta(max_length=16)] | None, Meta(description="Step that a rollout is at, of how many, for the STEP column; none where there is none.")
    ] = None
    counts: Annotated[Counts, Meta(description="Instances by state.")] = Counts()
    versions: Annotated[
        tuple[VersionStatus, ...],
        Meta(description="Instances by revision.", max_length=20, extra_json_schema=by_key("revision")),
    ] = ()
    instances: Annotated[
        tuple[InstanceStatus, ...],
        Meta(description="The instances, worst first, at most 100.", max_length=100, extra_json_schema=by_key("name")),
    ] = ()
    instances_omitted: Annotated[Number, Meta(description="Instances beyond those listed.")] = 0
    rollout: Annotated[RolloutStatus, Meta(description="Memory of the rollout.")] = RolloutStatus()
    plan: Annotated[
        tuple[PlanStep, ...],
        Meta(description="What is being done now, at most 20 steps.", max_length=20, extra_json_schema={"x-kubernetes-list-type": "atomic"}),
    ] = ()
    history: Annotated[
        tuple[Transition, ...],
        Meta(description="Changes of phase, newest last, at most 20.", max_length=20, extra_json_schema={"x-kubernetes-list-type": "atomic"}),
    ] = ()
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(description="Conditions in the standard form.", max_length=16, extra_json_schema=by_key("type")),
    ] = ()


class ManagedService(Object, frozen=True):
    """A service that Drover keeps running as declared."""

    spec: Annotated[
        ManagedServiceSpec,
        Meta(
            extra_json_schema=rules(
                rule(
                    "!has(self.environment) || self.environment != 'Production' || (has(self.rollout) && has(self.rollout.mainFlowTest))",
                    "spec.environment is Production: give a test of the main flow in spec.rollout.mainFlowTest.job, or say in `waived` why there is none",
                ),
                rule(
                    "has(self.traffic) || !has(self.rollout) || self.rollout.type != 'ABTest'",
                    "spec.rollout.type ABTest tells requests apart by their headers: name the HTTPRoute that does in spec.traffic.route",
                ),
                rule(
                    "has(self.traffic) || !has(self.rollout) || !has(self.rollout.canary)"
                    " || (!self.rollout.canary.steps.exists(s, has(s.match) || has(s.replicas))"
                    " && (!has(self.rollout.canary.cohorts) || self.rollout.canary.cohorts.size() == 0))",
                    "`match`, `replicas` and cohorts of spec.rollout.canary need a router: name its HTTPRoute in spec.traffic.route",
                ),
            )
        ),
    ]
    status: Annotated[ManagedServiceStatus, Meta(extra_json_schema=WHOLE)] = ManagedServiceStatus()
