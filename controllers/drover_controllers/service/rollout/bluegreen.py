# SPDX-License-Identifier: Apache-2.0
"""Blue/green: a second set of full size beside the one that serves, then one write that switches all traffic. It sees no pods and no clock.

The Service selects a single revision. Which one is not remembered but read from the Service itself, so that a switch that was written and not
noted, or noted and not written, is the same to us. Until the Service in our cache selects the other set, nobody of the set that it selects
leaves, and nobody of the former one until discovery has followed: whatever happens to the roles, requests never go to instances that are not there.

Going back within keepFor is the same switch the other way, as soon as the old set is as large as what serves.
"""

from collections.abc import Mapping

from drover_controllers.service.rollout.rolling import rolling
from drover_controllers.service.values import Course, Demand, Memory, Place, Population, Targets

NOBODY = Population()
NO_REVISION = "none"  # what a Service selects before the first revision has passed its gates


def bluegreen(at: Place | None, demand: Demand, progressed: int, way: Course, population: Mapping[str, Population]) -> Targets:
    """Wanted number of instances by revision: both sets at full size until the last step is passed."""
    if at is None or not way.stable:
        return rolling(demand, progressed, way.target, way.stable, population)
    return {way.target: demand.replicas, way.stable: demand.replicas}


def selected(present: str, goal: str, demand: Demand, population: Mapping[str, Population]) -> str:
    """The revision that the Service should select now, where it selects `present` ("" for all) and should come to select `goal`.

    The switch waits until the goal has as many in service as serve now, the wanted number at most.
    """
    enough = population.get(goal, NOBODY).in_service >= min(demand.replicas, serving(present, population))
    return goal if enough or present in (goal, NO_REVISION) else present


def serving(bound: str, population: Mapping[str, Population]) -> int:
    """How many instances get requests where the Service selects `bound`, "" for all."""
    return sum(each.in_service for name, each in population.items() if bound in ("", name))


def colour(way: Course, memory: Memory, at: Place | None) -> str:
    """The revision that all traffic should come to: the old one until the preview is passed."""
    if at is not None and way.kind == "Provision":
        return NO_REVISION
    return way.stable if at is not None and memory.step == 0 and way.stable else way.target


def unmoved(targets: Targets, bound: str, demand: Demand, population: Mapping[str, Population], listed: Mapping[str, int]) -> Targets:
    """The targets, but nobody leaves who may get requests: who is selected, and until discovery has followed the switch who was.

    `bound` is the revision that the Service selects, as far as we have seen; `listed` how many of each revision discovery has for the Service.
    """
    if not bound:
        return targets
    mine = population.get(bound, NOBODY)
    followed = listed.get(bound, 0) >= min(demand.replicas, mine.in_service)
    held = [name for name in population if name == bound or (listed.get(name) and not followed)]
    return {**targets, **{name: max(targets.get(name, 0), min(demand.replicas, population[name].live)) for name in held}}
