# SPDX-License-Identifier: Apache-2.0
"""Canary: the new revision gets a growing share, step by step; then the rest is rolled. It sees no pods and no clock."""

from collections.abc import Mapping

from drover_controllers.service.rollout.arithmetic import split
from drover_controllers.service.rollout.rolling import leftovers, rolling
from drover_controllers.service.values import Course, Demand, Place, Population, Targets

NOBODY = Population()


def canary(at: Place | None, demand: Demand, progressed: int, way: Course, population: Mapping[str, Population]) -> Targets:
    """Wanted number of instances by revision at that place; without one what is left is rolled.

    The old revision makes up for what the new one does not serve yet, as far as surge goes: one of it that is lost is replaced at once.
    """
    if at is None or not way.stable:
        return rolling(demand, progressed, way.target, way.stable, population)
    candidate, old = split(demand.replicas, at.weight, demand.surge, demand.unavailable)
    short = demand.fewest - population.get(way.target, NOBODY).available
    old = min(demand.most - candidate, max(old, short))
    kept = min(old, population.get(way.stable, NOBODY).live)
    others = [name for name in population if name not in (way.target, way.stable)]
    rest = leftovers(old - kept, others, population)
    return {way.target: candidate, way.stable: old - sum(rest.values()), **rest}
