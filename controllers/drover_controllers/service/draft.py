# SPDX-License-Identifier: Apache-2.0
"""The plan in the making: what was judged in this pass, and the actions and waits that have been accepted so far."""

from dataclasses import dataclass, field

from drover_controllers.service.rollout import gates
from drover_controllers.service.rollout.steps import is_gated
from drover_controllers.service.rollout.traffic import Shown, steers
from drover_controllers.service.values import Course, Demand, Facts, Memory, Place, Population, Roster, ServicePlan, Targets, Wait
from drover_operator.core.plan import Action, Deferred, Stage
from drover_operator.core.reasons import Reason

DEADLINE_GRACE = 0.05  # seconds; wake just after a deadline, not just before it


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All the values of a pass. `selected` is the revision that the Service is to select, "" for all of them."""

    facts: Facts
    roster: Roster
    population: dict[str, Population]
    demand: Demand
    memory: Memory
    course: Course
    at: Place | None
    targets: Targets
    selected: str = ""
    route: Shown | None = None


@dataclass
class Draft:
    """The plan in the making."""

    judged: Judged
    early: list[Action] = field(default_factory=list[Action])
    records: list[Action] = field(default_factory=list[Action])
    moves: list[Action] = field(default_factory=list[Action])
    creates: list[Action] = field(default_factory=list[Action])
    tidy: list[Action] = field(default_factory=list[Action])
    waits: list[Wait] = field(default_factory=list[Wait])

    def plan(self, *first: Action, write_ahead: bool = False, doubt: bool = False, question: bool = False) -> ServicePlan:
        """The plan as it stands; see `core.plan.Plan` for the flags."""
        judged = self.judged
        rows: tuple[list[Action], ...] = ([*first], self.early, self.records, self.moves, self.creates, self.tidy)
        stages: tuple[Stage, ...] = tuple(tuple(row) for row in rows if row)
        seconds = [wait.seconds for wait in self.waits if wait.seconds is not None]
        return ServicePlan(
            stages=() if write_ahead else stages,
            deferred=tuple(Deferred(step=wait.step, reason=wait.reason) for wait in self.waits if wait.step),
            wake_after=max(0.0, min(seconds)) + DEADLINE_GRACE if seconds else None,
            write_ahead=write_ahead,
            doubt=doubt,
            question=question,
            # A pass that only remembers answers no question: what is known of earlier actions stays known.
            held=tuple(judged.facts.verdicts) if write_ahead or question else tuple(wait.held for wait in self.waits if wait.held),
            memory=judged.memory,
            roster=judged.roster,
            population=judged.population,
            demand=judged.demand,
            course=judged.course,
            at=judged.at,
            targets=judged.targets,
            selected=judged.selected,
            fronted=_fronted(judged),
            share=_share(judged),
            trouble=_trouble(judged),
            asks=gates.asks(judged.facts, judged.memory, judged.course, judged.at),
        )


def _share(judged: Judged) -> int | None:
    """What the route gives the target, in percent; None where no route splits anything now."""
    shares = judged.route.shares if judged.route is not None else {}
    moving = any(share and name in judged.facts.revisions for name, share in shares.items())
    return shares.get(judged.course.target, 0) if moving else None


def _fronted(judged: Judged) -> bool:
    """Whether the Service selects what it should, and discovery has followed where that changes in a rollout."""
    facts, rollout = judged.facts, judged.facts.service.spec.rollout
    if not facts.service.spec.ports or facts.front is None or not (rollout.type == "BlueGreen" or is_gated(rollout)):
        return True
    return facts.bound == judged.selected and facts.backed(facts.service.metadata.name) >= judged.demand.replicas


def _trouble(judged: Judged) -> tuple[Reason, str] | None:
    """What is wrong with the route, where a rollout rests on it."""
    route = judged.route
    return (route.problem, route.message) if route is not None and route.problem is not None and steers(judged.facts) else None
