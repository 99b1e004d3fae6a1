# SPDX-License-Identifier: Apache-2.0
"""spec.rollout of a ManagedService: how a new revision replaces the one that serves."""

from typing import Annotated, Literal

from msgspec import Meta

from drover_operator.api.fields import count_or_percent, duration, rule, rules
from drover_operator.api.meta import Wire

# Annotations by which `kubectl drover promote`, `abort` and `retry` steer; each says all that counts, so that saying it twice is no harm.
PROMOTED = "drover.dev/promoted"  # REVISION/STEPS/BEGUN, of the rollout that is meant
ABORTED = "drover.dev/aborted"  # REVISION
RETRIED = "drover.dev/retried"  # when


class Rolling(Wire, frozen=True):
    """Replace instances in steps: a new one in service first, then an old one out."""

    max_surge: Annotated[int | str, count_or_percent("Instances above `replicas` during an update, rounded up.")] = "25%"
    max_unavailable: Annotated[int | str, count_or_percent("Instances below `replicas` during an update, rounded down.")] = 0
    min_ready: Annotated[str, duration("How long an instance must be in service before it counts.", "0s", "1h", "spec.rollout.rolling.minReady")] = "0s"


class Pause(Wire, frozen=True):
    """Wait until a person goes on."""


class Step(Wire, frozen=True):
    """One step of a canary: a weight that is held for a while, or a pause."""

    weight: Annotated[
        Annotated[int, Meta(ge=1, le=99)] | None,
        Meta(description="Share of the new revision in percent; when the last step is passed it gets all."),
    ] = None
    hold: Annotated[str, duration("How long the weight is held once it is reached.", "0s", "168h", "spec.rollout.canary.steps[].hold")] | None = None
    pause: Annotated[Pause | None, Meta(description="Stay at the weight that is reached until `kubectl drover promote NAME`.")] = None


class Canary(Wire, frozen=True):
    """Give the new revision a growing share; the settings of `rolling` say how instances are replaced on the way."""

    steps: Annotated[
        tuple[
            Annotated[
                Step,
                Meta(
                    extra_json_schema=rules(
                        rule(
                            "[has(self.weight), has(self.pause)].filter(x, x).size() == 1",
                            "each of spec.rollout.canary.steps must have exactly one of `weight` and `pause`",
                        ),
                        rule("has(self.weight) || !has(self.hold)", "spec.rollout.canary.steps[].hold goes with a `weight`; a pause has no end by itself"),
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


class Recreate(Wire, frozen=True):
    """End all old instances before the first new one is made."""

    acknowledge: Annotated[str, Meta(description="Who knows of the downtime, and when it was announced; needed in Production.", min_length=1, max_length=256)]


class Rollout(Wire, frozen=True):
    """How a new revision replaces the one that serves."""

    type: Annotated[Literal["Rolling", "Recreate", "Canary"], Meta(description="Strategy; the field of the same name holds its settings.")] = "Rolling"
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
