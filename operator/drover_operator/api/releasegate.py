# SPDX-License-Identifier: Apache-2.0
"""ReleaseGate: what is measured of a new revision, and what it must come to before a rollout goes on.

A gate is declared once and used by any number of services of its namespace. It has no status: each rollout keeps its own verdict, with the
samples it rests on, in `status.rollout.checks` of the service.

Rejected: an object for each run, as Argo Rollouts has. Its runs outlive their rollouts, need a history limit of their own, and a controller that
ends between creating the run and noting its name begins a second one.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from drover_operator.api.fields import duration, rule, rules
from drover_operator.api.meta import DATE_TIME, DNS_LABEL_PATTERN, Object, Wire

DECIMAL = r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$"
PLACES = "$revision, $stable, $service, $namespace and $window (the interval) are replaced"
LAST_SAMPLES = 10
MAX_GATE_NAME = 63

Query = Annotated[str, Meta(min_length=1, max_length=4096)]
Url = Annotated[str, Meta(min_length=8, max_length=2048, pattern=r"^https?://[^\s@]+$")]
Server = Annotated[str, Meta(min_length=8, max_length=2048, pattern=r"^https?://[^\s@?#]+$")]
GateName = Annotated[str, Meta(min_length=1, max_length=63, pattern=DNS_LABEL_PATTERN)]


class Prometheus(Wire, frozen=True):
    """Numbers from Prometheus, by instant queries that each give one number."""

    address: Annotated[Server, Meta(description="Address of the server; the operator asks only addresses that it was allowed with --measure.")]
    query: Annotated[Query | None, Meta(description=f"The number to judge. {PLACES}.")] = None
    requests: Annotated[Query | None, Meta(description=f"Requests in the window, with `failures`: the number to judge is their share. {PLACES}.")] = None
    failures: Annotated[Query | None, Meta(description=f"Failed requests in the window. {PLACES}.")] = None


class HttpMeasure(Wire, frozen=True):
    """One GET; an answer other than 200 is a bad measurement, no answer is none."""

    url: Annotated[Url, Meta(description=f"Address to ask; the operator asks only addresses that it was allowed with --measure. {PLACES}.")]
    field: Annotated[
        Annotated[str, Meta(max_length=253, pattern=r"^(/[^/]+)+$")] | None,
        Meta(description="JSON pointer to the number to judge; without it the status alone counts."),
    ] = None


class JobMeasure(Wire, frozen=True):
    """A Job that is run once: good when it completes, bad when it fails."""

    template: Annotated[
        msgspec.Raw,
        Meta(
            description="The pod of the Job. DROVER_REVISION, DROVER_STABLE, DROVER_SERVICE and DROVER_CANDIDATE (host name) are set in its containers.",
            extra_json_schema={"x-drover-outline": "JobTemplate"},
        ),
    ]
    timeout: Annotated[str, duration("A Job that takes longer is ended, and has failed.", "1s", "6h", "timeout of a Job")] = "10m"

    def __post_init__(self) -> None:
        """Detach the template from the buffer it was decoded from."""
        msgspec.structs.force_setattr(self, "template", self.template.copy())


class Restarts(Wire, frozen=True):
    """Restarts of containers of the new revision's instances, all that their kubelets have counted."""


class Measure(Wire, frozen=True):
    """Where the measurement comes from."""

    prometheus: Annotated[
        Prometheus | None,
        Meta(
            description="Ask Prometheus.",
            extra_json_schema=rules(
                rule(
                    "has(self.query) ? !has(self.requests) && !has(self.failures) : has(self.requests) && has(self.failures)",
                    "spec.measure.prometheus must have either `query`, or both `requests` and `failures`",
                )
            ),
        ),
    ] = None
    http: Annotated[HttpMeasure | None, Meta(description="Ask over HTTP.")] = None
    job: Annotated[JobMeasure | None, Meta(description="Run a Job.")] = None
    restarts: Annotated[Restarts | None, Meta(description="Count restarts.")] = None


Decimal = Annotated[str, Meta(max_length=26, pattern=DECIMAL)]
Ratio = Annotated[str, Meta(max_length=26, pattern=r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,9})?$")]


class Limit(Wire, frozen=True):
    """Bounds of a good measurement, both included."""

    at_most: Annotated[Decimal | None, Meta(description="The most that is good.")] = None
    at_least: Annotated[Decimal | None, Meta(description="The least that is good.")] = None


class Compare(Wire, frozen=True):
    """Judge the new revision against the one that serves, over the same windows.

    A sequential test: it is looked at after each sample and fails the revision as soon as the evidence is strong enough. A revision that is as
    good as the old one fails with at most `errorProbability`, however often one looks.
    """

    at_most_ratio: Annotated[Ratio, Meta(description="How much of the old revision's number is good: '1.2' is a fifth more.")] = "1.2"
    min_samples: Annotated[
        int,
        Meta(description="Requests of the new revision before a pass; of a plain query pairs of numbers, 20 are plenty.", ge=1, le=10_000_000),
    ] = 300
    error_probability: Annotated[
        Annotated[str, Meta(max_length=12, pattern=r"^0\.[0-9]{1,10}$")], Meta(description="Probability to fail a revision that is as good as the old one.")
    ] = "0.01"


class ReleaseGateSpec(Wire, frozen=True):
    """What is measured, how often, and what is good."""

    measure: Annotated[
        Measure,
        Meta(
            description="Where the measurement comes from.",
            extra_json_schema=rules(
                rule(
                    "[has(self.prometheus), has(self.http), has(self.job), has(self.restarts)].filter(x, x).size() == 1",
                    "spec.measure must have exactly one of `prometheus`, `http`, `job` and `restarts`",
                )
            ),
        ),
    ]
    limit: Annotated[
        Limit | None,
        Meta(
            description="Bounds of a good measurement.",
            extra_json_schema=rules(rule("has(self.atMost) || has(self.atLeast)", "spec.limit must have `atMost`, `atLeast` or both")),
        ),
    ] = None
    compare: Annotated[Compare | None, Meta(description="Judge against the revision that serves.")] = None
    interval: Annotated[str, duration("Time between two measurements.", "1s", "1h", "spec.interval")] = "30s"
    timeout: Annotated[str, duration("No answer in this time is no measurement.", "1s", "1m", "spec.timeout")] = "10s"
    samples: Annotated[int, Meta(description="Good measurements that a pass takes.", ge=1, le=1000)] = 1
    tolerated: Annotated[int, Meta(description="Bad measurements that are not yet a failure.", ge=0, le=1000)] = 0


class ReleaseGate(Object, frozen=True):
    """A measurement that a new revision must pass."""

    spec: Annotated[
        ReleaseGateSpec,
        Meta(
            extra_json_schema=rules(
                rule(
                    "!has(self.compare) || has(self.measure.prometheus)",
                    "spec.compare goes with spec.measure.prometheus: nothing else measures the old revision",
                ),
                rule(
                    "!has(self.measure.prometheus) || has(self.limit) || has(self.compare)",
                    "spec.measure.prometheus gives a number: say what is good in spec.limit or spec.compare",
                ),
                rule(
                    "!has(self.measure.http) || has(self.measure.http.field) == has(self.limit)",
                    "spec.measure.http needs spec.limit if it has a `field`, and must have none if the status alone counts",
                ),
                rule("!has(self.measure.job) || !has(self.limit)", "spec.measure.job is good or bad: it must have no spec.limit"),
            )
        ),
    ]


Quality = Literal["Good", "Bad", "NoData"]
CheckState = Literal["Measuring", "Passed", "Failed"]
Tally = Annotated[int, Meta(ge=0, le=10**15)]


class Sample(Wire, frozen=True):
    """One measurement, as it was judged."""

    at: Annotated[datetime, Meta(description="When it was asked for.", extra_json_schema=DATE_TIME)]
    quality: Annotated[Quality, Meta(description="NoData: missing, late, not a number or an error; never good.")]
    value: Annotated[str, Meta(description="The number, of the new revision.", max_length=32)] = ""
    against: Annotated[str, Meta(description="The number of the old one.", max_length=32)] = ""
    message: Annotated[str, Meta(description="What was wrong.", max_length=253)] = ""


class Check(Wire, frozen=True):
    """A gate in one rollout: its verdict, and what it rests on."""

    gate: Annotated[str, Meta(description="Name of the gate.", max_length=63)]
    step: Annotated[int, Meta(description="Step that it guards; 0: all the time.", ge=0, le=100)] = 0
    state: Annotated[CheckState, Meta(description="The verdict.")] = msgspec.field(default_factory=lambda: "Measuring")  # so that it is always written
    begun_at: Annotated[datetime | None, Meta(description="When it was begun.", extra_json_schema=DATE_TIME)] = None
    ended_at: Annotated[datetime | None, Meta(description="When there was a verdict.", extra_json_schema=DATE_TIME)] = None
    message: Annotated[str, Meta(description="The verdict in words.", max_length=253)] = ""
    query: Annotated[str, Meta(description="What was asked.", max_length=512)] = ""
    digest: Annotated[str, Meta(description="Of the gate that it was begun with.", max_length=16)] = ""
    good: Annotated[Tally, Meta(description="Good measurements.")] = 0
    bad: Annotated[Tally, Meta(description="Bad ones.")] = 0
    missing: Annotated[Tally, Meta(description="Times that there was no data.")] = 0
    requests: Annotated[Tally, Meta(description="Requests of the new revision so far; of a plain query: pairs.")] = 0
    failures: Annotated[Tally, Meta(description="Of these failed; of a plain query: pairs beyond the ratio.")] = 0
    against_requests: Annotated[Tally, Meta(description="Requests of the old revision.")] = 0
    against_failures: Annotated[Tally, Meta(description="Of these failed.")] = 0
    evidence: Annotated[str, Meta(description="Logarithm of the evidence against the new revision, of a comparison.", max_length=32)] = ""
    samples: Annotated[
        tuple[Sample, ...],
        Meta(description="The last measurements, at most 10.", max_length=LAST_SAMPLES, extra_json_schema={"x-kubernetes-list-type": "atomic"}),
    ] = ()
