# SPDX-License-Identifier: Apache-2.0
"""Canary: the new revision gets a growing share, step by step; then the rest is rolled. It sees no pods.

A step is reached when the candidate's share is in service and no more of the others are than its weight leaves. It is passed when its hold is
over and the share still serves, or by hand; a pause by hand alone. How many steps are passed is remembered before anything rests on it, so that
a new leader goes on where the last one was. A sick stable revision holds no step up: the fix may be on its way.
"""

import math
from collections.abc import Mapping

import msgspec

from drover_controllers.service.rollout.arithmetic import split
from drover_controllers.service.rollout.rolling import leftovers, rolling
from drover_controllers.service.values import Course, Demand, Memory, Place, Population, Targets, Wait
from drover_operator.api.meta import seconds_of, utc
from drover_operator.api.rollout import Rollout, Step
from drover_operator.core.clock import parse_duration
from drover_operator.core.reasons import Reason

NOBODY = Population()


def place(rollout: Rollout, memory: Memory, way: Course) -> Place | None:
    """The present step; None where no step is: another strategy, nothing to roll from, or all steps are passed."""
    steps = steps_of(rollout)
    if way.kind != "Update" or memory.step >= len(steps):
        return None
    known = [each.weight for each in steps[: memory.step + 1] if each.weight is not None]
    return Place(number=memory.step + 1, of=len(steps), step=steps[memory.step], weight=known[-1] if known else 0)


def steps_of(rollout: Rollout) -> tuple[Step, ...]:
    """The steps of a strategy that has any."""
    return rollout.canary.steps if rollout.type == "Canary" and rollout.canary is not None else ()


def canary(at: Place | None, demand: Demand, progressed: int, way: Course, population: Mapping[str, Population]) -> Targets:
    """Wanted number of instances by revision at that place; without one what is left is rolled."""
    if at is None:
        return rolling(demand, progressed, way.target, way.stable, population)
    candidate, old = split(demand.replicas, at.weight, demand.surge, demand.unavailable)
    kept = min(old, population.get(way.stable, NOBODY).live)
    others = [name for name in population if name not in (way.target, way.stable)]
    rest = leftovers(old - kept, others, population)
    return {way.target: candidate, way.stable: old - sum(rest.values()), **rest}


def moved(at: Place | None, memory: Memory, demand: Demand, population: Mapping[str, Population], *, promoted: int, now: float) -> Memory:
    """The Memory after a look at that place: on the way to the step, there, or past it; `promoted` is how many steps a person has passed."""
    if at is None:
        return msgspec.structs.replace(memory, reached_at=None)
    if promoted > memory.step:
        return _passed(memory, min(promoted, at.of), now)
    if memory.reached_at is None:
        if not _reached(at, memory.target, demand, population):
            return memory
        memory = msgspec.structs.replace(memory, reached_at=utc(now))
    over = holds(at, memory, now) == 0 and _reached(at, memory.target, demand, population)
    return _passed(memory, at.number, now) if over else memory


def holds(at: Place, memory: Memory, now: float) -> float | None:
    """Seconds until the step is passed by itself: 0 for now, None for never or not before it is reached."""
    if at.step.pause is not None or memory.reached_at is None:
        return None
    hold = parse_duration(at.step.hold) if at.step.hold else 0.0
    return max(0.0, seconds_of(memory.reached_at) + hold - now)


def waits(at: Place | None, memory: Memory, now: float) -> list[Wait]:
    """What a step that is reached waits for."""
    if at is None or memory.reached_at is None:
        return []
    left, step = holds(at, memory, now), f"pass step {at.number} of {at.of}"
    if left is None:
        return [Wait(step=step, reason=Reason.WAITS_FOR_PROMOTION)]
    return [Wait(step=step, reason=Reason.HOLDING, seconds=left) if left else Wait(step=step, reason=Reason.WAITING_FOR_HEALTH)]


def held_until(rollout: Rollout, memory: Memory, way: Course) -> float:
    """When the present step is over by the clock, in seconds since the epoch: 0 where nothing is held, infinity for a pause."""
    at = place(rollout, memory, way)
    if at is None or memory.reached_at is None:
        return 0.0
    left = holds(at, memory, 0.0)
    return math.inf if left is None else left


def _reached(at: Place, target: str, demand: Demand, population: Mapping[str, Population]) -> bool:
    candidate, old = split(demand.replicas, at.weight, demand.surge, demand.unavailable)
    others = sum(each.live for name, each in population.items() if name != target)
    return population.get(target, NOBODY).available >= candidate and others <= old


def _passed(memory: Memory, steps: int, now: float) -> Memory:
    return msgspec.structs.replace(memory, step=steps, step_at=utc(now), reached_at=None)
