# SPDX-License-Identifier: Apache-2.0
"""The values that one pass is made of. Each is made by one pure function in its own file; only the arbiter sees them all.

Facts -> Memory, Roster, Demand, Course -> Targets -> Plan -> Report

What rollout, failover and drain propose needs no value of its own: it is actions and waits, drafted and accepted by the arbiter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from drover_controllers.service.naming import REVISION_LABEL
from drover_operator.api.builtin import Job, Pod, PodDisruptionBudget, Service
from drover_operator.api.gateway import HTTPRoute, RouteRef
from drover_operator.api.maintenancewindow import MaintenanceWindow
from drover_operator.api.managedservice import HealthCheck, InstanceState, ManagedService, RolloutStatus
from drover_operator.api.releasegate import ReleaseGateSpec
from drover_operator.api.rollout import HeaderMatch, Step
from drover_operator.core.plan import Answer, Plan, Verdict
from drover_operator.core.reasons import Reason

Memory = RolloutStatus


@dataclass(frozen=True, kw_only=True)
class Revision:
    """What the user declared of a pod, and the builder and agent image that pods of it are made with. `uid` is "" while it is not recorded yet.

    `blocked` is the digest of the spec under which it failed, "" when it may be tried, and `blocked_for` says why in words; `recorded_at` is in
    seconds since the epoch.
    """

    name: str
    template: bytes
    health_check: HealthCheck | None
    version: str
    builder: int
    agent: str = ""
    number: int = 0
    uid: str = ""
    resource_version: str = ""
    recorded_at: float = 0.0
    stable_before: str = ""
    blocked: str = ""
    blocked_for: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The snapshot that everything is decided by; `now` in seconds since the epoch.

    `wanted` is the revision that the spec asks for (recorded or not), `listed` the uids of pods that discovery sends traffic to.
    """

    service: ManagedService
    now: float
    wanted: Revision
    revisions: Mapping[str, Revision]
    pods: tuple[Pod, ...]
    listed: frozenset[str]
    front: Service | None
    budget: PodDisruptionBudget | None
    verdicts: Mapping[str, Verdict]
    spec_digest: str
    collision: bool = False
    promoted: int = 0  # steps that a person has passed in the rollout that is remembered
    aborted: bool = False  # whether a person gave the wanted revision up
    fronts: Mapping[str, Service] = field(default_factory=dict[str, Service])  # our Services by name, `front` among them
    gates: Mapping[str, ReleaseGateSpec] = field(default_factory=dict[str, ReleaseGateSpec])
    answers: Mapping[str, Answer] = field(default_factory=dict[str, Answer])  # of others, by the id of the question
    route: HTTPRoute | None = None
    route_ref: RouteRef | None = None  # the route that is meant: one that still gives weight to a revision comes before what the spec names
    windows: tuple[MaintenanceWindow, ...] = ()  # of the namespace
    seen: Mapping[str, frozenset[str]] = field(default_factory=dict[str, frozenset[str]])  # uids of instances that discovery lists, by Service
    jobs: Mapping[str, Job] = field(default_factory=dict[str, Job])

    @property
    def bound(self) -> str:
        """The one revision that the Service selects now, as far as we have seen; "" where it selects all, or is not there."""
        return self.front.spec.selector.get(REVISION_LABEL, "") if self.front is not None else ""

    def backed(self, service: str) -> int:
        """How many instances discovery lists for one of our Services."""
        return len(self.seen.get(service, ()))


class Instance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One pod, judged. `since` (seconds since the epoch) is when it entered, or left, service.

    A Struct, not a dataclass like the others: there is one for every pod in every pass, and it is made six times as fast.
    """

    pod: Pod
    revision: str
    slot: int
    state: InstanceState
    since: float = 0.0
    available: bool = False
    listed: bool = False
    terminating: bool = False

    @property
    def live(self) -> bool:
        """Whether it fills its slot: neither leaving nor lost."""
        return self.state not in ("Draining", "Lost")

    @property
    def name(self) -> str:
        """Name of the pod."""
        return self.pod.metadata.name


Roster = tuple[Instance, ...]


@dataclass(frozen=True, kw_only=True)
class Demand:
    """How many instances are wanted, and the most and fewest that may be there on the way."""

    replicas: int
    surge: int
    unavailable: int
    downtime: bool = False  # a rollout may end all that serve

    @property
    def most(self) -> int:
        """Most instances that are not leaving."""
        return self.replicas + self.surge

    @property
    def fewest(self) -> int:
        """Fewest instances in service that a wanted change may leave."""
        return max(0, self.replicas - self.unavailable)


@dataclass(frozen=True, kw_only=True)
class Hold:
    """What keeps a rollout from beginning or going on, and in how many seconds to look again (None: an event will tell)."""

    reason: Reason
    message: str = ""
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where the service is going: the revision to reach, the one to fall back to, and why.

    `kind` is Provision (nothing served yet), Steady, Update or Rollback. `problem` says what keeps the wanted revision from being
    the target.
    """

    kind: Literal["Provision", "Steady", "Update", "Rollback"]
    target: str
    stable: str
    problem: Reason | None = None
    message: str = ""
    memory_lost: bool = False
    hold: Hold | None = None


@dataclass(frozen=True, kw_only=True)
class Population:
    """Instances of one revision: how many are live, how many of them in service, how many of these for long enough."""

    live: int = 0
    in_service: int = 0
    available: int = 0


Targets = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a rollout with steps is: its present step, counted from 1, of how many; `weight` is the one that it asks for.

    `replicas` is the number of new instances where a step says one. `lanes` are requests that are told apart by their headers: whether they go to
    the new revision now, or still to the old one.
    """

    number: int
    of: int
    step: Step
    weight: int
    replicas: int | None = None
    lanes: tuple[tuple[tuple[HeaderMatch, ...], bool], ...] = ()


class Wait(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that is wanted and not done yet: why, and in how many seconds to look again (None: an event will tell).

    `held` is the id of the action whose verdict is waited out. A wait without a step is not shown to people.
    """

    step: str
    reason: Reason
    seconds: float | None = None
    held: str = ""


@dataclass(frozen=True, kw_only=True)
class ServicePlan(Plan):
    """The plan with the values that it was made of, for the report."""

    memory: Memory
    roster: Roster
    population: Mapping[str, Population]
    demand: Demand
    course: Course
    at: Place | None
    targets: Targets
    selected: str
    fronted: bool  # whether requests to the Service go to those that it is to select
    share: int | None  # what a route gives the target, in percent
    trouble: tuple[Reason, str] | None  # what is wrong with the route

    @property
    def whole(self) -> bool:
        """Whether the target serves at full count, no other revision is live any more, and no step or gate is before it."""
        others = sum(each.live for name, each in self.population.items() if name != self.course.target)
        full = self.population.get(self.course.target, Population()).available >= self.demand.replicas
        return full and others == 0 and self.fronted and (self.at is None or not self.demand.replicas)
