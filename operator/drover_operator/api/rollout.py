# SPDX-License-Identifier: Apache-2.0
"""spec.rollout of a ManagedService: how a new revision replaces the one that serves."""

from typing import Annotated, Literal

from msgspec import Meta

from drover_operator.api.fields import MAX_REPLICAS, by_key, count_or_percent, duration, rule, rules
from drover_operator.api.meta import Wire
from drover_operator.api.releasegate import GateName, JobMeasure

# Annotations by which `kubectl drover promote`, `abort` and `retry` steer; each says all that counts, so that saying it twice is no harm.
PROMOTED = "drover.dev/promoted"  # REVISION/STEPS/BEGUN, of the rollout that is meant
ABORTED = "drover.dev/aborted"  # REVISION
RETRIED = "drover.dev/retried"  # when
FROZEN = "drover.dev/frozen"  # until when
THAWED = "drover.dev/thawed"  # until when no freeze of the calendar counts


class Rolling(Wire, frozen=True):
    """Replace instances in steps: a new one in service first, then an old one out."""

    max_surge: Annotated[int | str, count_or_percent("Instances above `replicas` during an update, rounded up.")] = "25%"
    max_unavailable: Annotated[int | str, count_or_percent("Instances below `replicas` during an update, rounded down.")] = 0
    min_ready: Annotated[str, duration("How long an instance must be in service before it counts.", "0s", "1h", "spec.rollout.rolling.minReady")] = "0s"


class Pause(Wire, frozen=True):
    """Wait until a person goes on."""


HEADER = r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$"  # a token of RFC 9110
Strategy = Literal["Rolling", "Recreate", "Canary", "BlueGreen", "ABTest"]
Gates = Annotated[
    tuple[GateName, ...],
    Meta(max_length=10, extra_json_schema={"x-kubernetes-list-type": "set"}),
]


class HeaderMatch(Wire, frozen=True):
    """A header that a request must have."""

    name: Annotated[str, Meta(description="Name of the header; upper and lower case are the same.", min_length=1, max_length=256, pattern=HEADER)]
    value: Annotated[str, Meta(description="Its value.", min_length=1, max_length=4096)]
    type: Annotated[Literal["Exact", "RegularExpression"], Meta(description="Whether `value` is the whole value, or an expression that it must fit.")] = "Exact"


Match = Annotated[
    tuple[HeaderMatch, ...],
    Meta(min_length=1, max_length=8, extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
]


class Step(Wire, frozen=True):
    """One step of a canary: a weight that is held for a while, requests that match, or a pause."""

    weight: Annotated[
        Annotated[int, Meta(ge=1, le=99)] | None,
        Meta(description="Share of the new revision in percent; when the last step is passed it gets all."),
    ] = None
    match: Annotated[
        Match | None,
        Meta(description="Requests with all these headers go to the new revision from this step on, and to the old one before it. Needs spec.traffic."),
    ] = None
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_REPLICAS)] | None,
        Meta(description="Instances of the new revision, where its weight would ask for another number. Needs spec.traffic."),
    ] = None
    hold: Annotated[str, duration("How long the step is held once it is reached.", "0s", "168h", "spec.rollout.canary.steps[].hold")] | None = None
    pause: Annotated[Pause | None, Meta(description="Stay at the weight that is reached until `kubectl drover promote NAME`.")] = None
    gates: Annotated[Gates, Meta(description="ReleaseGates that must be passed before the step is; they are begun when its weight is reached.")] = ()


class Cohort(Wire, frozen=True):
    """A group of users. They get the new revision one group after the other; the one without `match` by the weights of `steps`."""

    name: Annotated[GateName, Meta(description="Name of the cohort.")]
    match: Annotated[Match | None, Meta(description="Headers that requests of its users have; one cohort has none: everybody else.")] = None
    hold: Annotated[str, duration("How long before the next one gets it.", "0s", "168h", "spec.rollout.canary.cohorts[].hold")] = "0s"
    gates: Annotated[Gates, Meta(description="ReleaseGates that must be passed before the next one gets it.")] = ()


class Canary(Wire, frozen=True):
    """Give the new revision a growing share; the settings of `rolling` say how instances are replaced on the way."""

    steps: Annotated[
        tuple[
            Annotated[
                Step,
                Meta(
                    extra_json_schema=rules(
                        rule(
                            "has(self.pause) ? !has(self.weight) && !has(self.match) : has(self.weight) || has(self.match)",
                            "each of spec.rollout.canary.steps must have either a `pause`, or `weight`, `match` or both",
                        ),
                        rule(
                            "!has(self.pause) || !has(self.hold)",
                            "spec.rollout.canary.steps[].hold goes with `weight` or `match`; a pause has no end",
                        ),
                    )
                ),
            ],
            ...,
        ],
        Meta(
            description="The steps, in order.",
            min_length=1,
            max_length=20,
            extra_json_schema={
                "x-kubernetes-list-type": "atomic",
                **rules(
                    rule(
                        "self.filter(s, has(s.weight)).map(s, s.weight).isSorted()",
                        "weights of spec.rollout.canary.steps must not fall from one step to the next",
                    ),
                ),
            },
        ),
    ]
    cohorts: Annotated[
        tuple[Cohort, ...],
        Meta(
            description="Groups of users in the order in which they get the new revision. Needs spec.traffic.",
            max_length=10,
            extra_json_schema={
                **by_key("name"),
                **rules(
                    rule(
                        "self.size() == 0 || self.filter(c, !has(c.match)).size() == 1",
                        "one of spec.rollout.canary.cohorts must have no `match`",
                    )
                ),
            },
        ),
    ] = ()


class ABTest(Wire, frozen=True):
    """Two revisions side by side, each for its own users, until enough is known to decide. Needs spec.traffic.

    Who gets which is told by headers of the request alone, so that a user stays with one of them.
    """

    match: Annotated[Match, Meta(description="Requests with all these headers go to the new revision, all others to the old one.")]
    decision: Annotated[
        Literal["Manual", "Gates"], Meta(description="Manual: a person promotes or aborts. Gates: the new revision is promoted when they are passed.")
    ] = "Manual"
    min_duration: Annotated[str, duration("No decision before this time, by whomever.", "0s", "2160h", "spec.rollout.abTest.minDuration")] = "24h"
    replicas: Annotated[
        Annotated[int, Meta(ge=1, le=MAX_REPLICAS)] | None, Meta(description="Instances of the new revision; by default as many as of the old one.")
    ] = None
    gates: Annotated[Gates, Meta(description="ReleaseGates that decide; one with `compare` asks for enough samples before there is a verdict.")] = ()


class Recreate(Wire, frozen=True):
    """End all old instances before the first new one is made."""

    acknowledge: Annotated[str, Meta(description="Who knows of the downtime, and when it was announced; needed in Production.", min_length=1, max_length=256)]
    window: Annotated[
        Annotated[str, Meta(min_length=1, max_length=253)] | None,
        Meta(description="MaintenanceWindow of purpose Allow in which the downtime may begin; without it at once."),
    ] = None


class BlueGreen(Wire, frozen=True):
    """A second set of full size is made and tested beside the one that serves; then all traffic is switched by one write."""

    keep_for: Annotated[
        str, duration("How long the old set is kept at full size after the switch, to go back to at once.", "0s", "168h", "spec.rollout.blueGreen.keepFor")
    ] = "10m"
    auto_promote: Annotated[bool, Meta(description="Switch as soon as the new set serves and its gates are passed; else wait for a person.")] = False
    gates: Annotated[Gates, Meta(description="ReleaseGates that the new set must pass before the switch.")] = ()


class MainFlowTest(Wire, frozen=True):
    """A test of what the service is there for, run against the new revision before the old one is given up."""

    job: Annotated[JobMeasure | None, Meta(description="The Job that tests; the new revision is passed when it completes, and failed when it fails.")] = None
    waived: Annotated[
        Annotated[str, Meta(min_length=1, max_length=256)] | None, Meta(description="Why this service has none, where Production would need one.")
    ] = None


class Rollout(Wire, frozen=True):
    """How a new revision replaces the one that serves."""

    type: Annotated[Strategy, Meta(description="Strategy; the field of the same name holds its settings.")] = "Rolling"
    progress_deadline: Annotated[
        str,
        duration("Without progress for this long, the service goes back to its last good revision.", "10s", "24h", "spec.rollout.progressDeadline"),
    ] = "10m"
    rolling: Annotated[
        Rolling,
        Meta(
            description="How instances are replaced, with every type.",
            extra_json_schema=rules(
                rule(
                    "!(string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",
                    "spec.rollout.rolling.maxSurge and spec.rollout.rolling.maxUnavailable must not both be 0: no instance could ever be replaced",
                )
            ),
        ),
    ] = Rolling()
    recreate: Annotated[Recreate | None, Meta(description="Settings of type Recreate.")] = None
    canary: Annotated[Canary | None, Meta(description="Settings of type Canary.")] = None
    blue_green: Annotated[BlueGreen | None, Meta(description="Settings of type BlueGreen.")] = None
    ab_test: Annotated[
        Annotated[
            ABTest, Meta(extra_json_schema=rules(rule("self.decision != 'Gates' || has(self.gates)", "spec.rollout.abTest.decision is Gates: name some")))
        ]
        | None,
        Meta(description="Settings of type ABTest."),
    ] = None
    gates: Annotated[Gates, Meta(description="ReleaseGates that judge the new revision from the begin of its rollout to the end, with every type.")] = ()
    main_flow_test: Annotated[
        MainFlowTest | None,
        Meta(
            description="Test of the main flow, with every type; needed in Production.",
            extra_json_schema=rules(
                rule("has(self.job) != has(self.waived)", "spec.rollout.mainFlowTest must have exactly one of `job` and `waived`"),
            ),
        ),
    ] = None
