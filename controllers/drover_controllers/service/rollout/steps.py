# SPDX-License-Identifier: Apache-2.0
"""The steps of a rollout, of every strategy: what a user writes of a canary, and what follows from gates and colours where nobody wrote steps.

    Canary      the steps as written, between those of cohorts; the main-flow test joins the first that is no pause
    ABTest      one step for as long as the test lasts, then a pause where a person decides
    BlueGreen   a preview of full size, then the switch, held for keepFor
    Rolling     with gates one step: a single new instance, until they are passed
    Recreate    with gates one step: the whole new set, until they are passed; so does the first deployment with every strategy

A step is reached when the instances are there that it wants. It is passed when its hold is over, its gates are passed and its instances still
serve; or by hand, and a pause by hand alone. How many steps are passed is remembered before anything rests on it, so that a new leader goes on
where the last one was. A sick stable revision holds no step up: the fix may be on its way.
"""

import math
from collections.abc import Mapping

import msgspec

from drover_controllers.service.values import Course, Memory, Place, Population, Targets, Wait
from drover_operator.api.meta import seconds_of, utc
from drover_operator.api.rollout import ABTest, BlueGreen, Canary, Pause, Rollout, Step
from drover_operator.core.clock import parse_duration
from drover_operator.core.reasons import Reason

MAIN_FLOW = "mainFlowTest"  # no gate can have this name: it is no DNS label
ALL = 100  # percent
NOBODY = Population()


def steps_of(rollout: Rollout) -> tuple[Step, ...]:
    """The steps of the strategy for an update."""
    test, gated = main_flow(rollout), is_gated(rollout)
    if rollout.type == "Canary" and rollout.canary is not None:
        return _tested(_by_cohort(rollout.canary), test)
    if rollout.type == "ABTest" and rollout.ab_test is not None:
        return _tested(_compared(rollout.ab_test), test)
    if rollout.type == "BlueGreen":
        return _colours(rollout.blue_green or BlueGreen(), test)
    if not gated:
        return ()
    return (Step(weight=1 if rollout.type == "Rolling" else ALL, gates=test),)


def is_gated(rollout: Rollout) -> bool:
    """Whether any gate must be passed, with any strategy."""
    return bool(rollout.gates or main_flow(rollout))


def main_flow(rollout: Rollout) -> tuple[str, ...]:
    """The main-flow test as a gate, if there is one."""
    return (MAIN_FLOW,) if rollout.main_flow_test is not None and rollout.main_flow_test.job is not None else ()


def _tested(steps: tuple[Step, ...], test: tuple[str, ...]) -> tuple[Step, ...]:
    first = next((number for number, each in enumerate(steps) if each.pause is None), 0)
    return tuple(msgspec.structs.replace(each, gates=(*test, *each.gates)) if number == first else each for number, each in enumerate(steps))


def _by_cohort(canary: Canary) -> tuple[Step, ...]:
    """The steps of all cohorts: those before everybody else get it first; those after wait until everybody else has it."""
    places = [number for number, each in enumerate(canary.cohorts) if each.match is None]
    if not places:
        return canary.steps
    turn = places[0]
    first, last = ([Step(match=each.match, hold=each.hold, gates=each.gates) for each in row] for row in (canary.cohorts[:turn], canary.cohorts[turn + 1 :]))
    return (*first, *canary.steps, *((Step(weight=ALL), *last) if last else ()))


def _compared(test: ABTest) -> tuple[Step, ...]:
    """One step for as long as the test lasts; then a person decides, where no gate does."""
    compared = Step(match=test.match, hold=test.min_duration, gates=test.gates, replicas=test.replicas)
    return (compared,) if test.decision == "Gates" else (compared, Step(pause=Pause()))


def _colours(settings: BlueGreen, test: tuple[str, ...]) -> tuple[Step, ...]:
    preview = Step(pause=None if settings.auto_promote else Pause(), gates=(*test, *settings.gates))
    return (preview, Step(weight=ALL, hold=settings.keep_for))


def steps_for(rollout: Rollout, way: Course) -> tuple[Step, ...]:
    """The steps of this very movement. Going back by pin is no trial: only colours are tested and switched again, without a pause."""
    if way.target == way.stable or way.kind == "Steady":
        return ()
    if way.kind == "Provision":
        return (Step(gates=main_flow(rollout)),) if is_gated(rollout) else ()  # nobody is sent to it meanwhile: it has no weight
    if way.kind == "Update":
        return steps_of(rollout)
    return tuple(msgspec.structs.replace(each, pause=None) for each in steps_of(rollout)) if rollout.type == "BlueGreen" else ()


def place(rollout: Rollout, memory: Memory, way: Course) -> Place | None:
    """The present step; None where no step is: nothing to roll from, no steps, or all are passed."""
    steps = steps_for(rollout, way)
    if memory.step >= len(steps):
        return None
    behind = steps[: memory.step + 1]
    known = [each.weight for each in behind if each.weight is not None]
    sized = [each.replicas for each in behind if each.pause is None]
    return Place(
        number=memory.step + 1,
        of=len(steps),
        step=steps[memory.step],
        weight=known[-1] if known else 0,
        replicas=sized[-1] if sized else None,
        lanes=tuple((each.match, number <= memory.step) for number, each in enumerate(steps) if each.match is not None),
    )


def reached(targets: Targets, target: str, population: Mapping[str, Population]) -> bool:
    """Whether the instances are there that the step wants: the target's share in service, and no more of the others than it leaves."""
    others = sum(each.live for name, each in population.items() if name != target)
    wanted = sum(count for name, count in targets.items() if name != target)
    return population.get(target, NOBODY).available >= targets.get(target, 0) and others <= wanted


def moved(at: Place | None, memory: Memory, *, there: bool, gates_passed: bool, promoted: int, now: float) -> Memory:
    """The Memory after a look at that place: on the way to the step, at it, or past it.

    `there` says that the step is reached now; `promoted` is how many steps a person has passed.
    """
    if at is None:
        return msgspec.structs.replace(memory, reached_at=None)
    if promoted > memory.step:
        return _passed(memory, min(promoted, at.of), now)
    if memory.reached_at is None:
        if not there:
            return memory
        memory = msgspec.structs.replace(memory, reached_at=utc(now))
    return _passed(memory, at.number, now) if there and gates_passed and holds(at, memory, now) == 0 else memory


def holds(at: Place, memory: Memory, now: float) -> float | None:
    """Seconds until the step is passed by itself: 0 for now, None for never or not before it is reached."""
    if at.step.pause is not None or memory.reached_at is None:
        return None
    hold = parse_duration(at.step.hold) if at.step.hold else 0.0
    return max(0.0, seconds_of(memory.reached_at) + hold - now)


def waits(at: Place | None, memory: Memory, now: float, *, gates_passed: bool) -> list[Wait]:
    """What a step that is reached waits for."""
    if at is None or memory.reached_at is None:
        return []
    left, step = holds(at, memory, now), f"pass step {at.number} of {at.of}"
    if left is None:
        return [Wait(step=step, reason=Reason.WAITS_FOR_PROMOTION if gates_passed else Reason.MEASURING)]
    if left:
        return [Wait(step=step, reason=Reason.HOLDING, seconds=left)]
    return [Wait(step=step, reason=Reason.WAITING_FOR_HEALTH if gates_passed else Reason.MEASURING)]


def held_until(rollout: Rollout, memory: Memory, way: Course) -> float:
    """When the present step is over by the clock, in seconds since the epoch: 0 where nothing is held, infinity for a pause."""
    at = place(rollout, memory, way)
    if at is None or memory.reached_at is None:
        return 0.0
    left = holds(at, memory, 0.0)
    return math.inf if left is None else left


def _passed(memory: Memory, steps: int, now: float) -> Memory:
    return msgspec.structs.replace(memory, step=steps, step_at=utc(now), reached_at=None)
