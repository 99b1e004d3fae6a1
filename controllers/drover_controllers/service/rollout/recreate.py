# SPDX-License-Identifier: Apache-2.0
"""Recreate: first all old instances end, then the new ones are made. Two versions never run at the same time, and meanwhile nobody serves.

An instance counts as there until its pod is gone: one that is ending still runs. Whatever cannot be reached (a pod on a dead node) holds the
new version up, for nothing proves that it has ended.
"""

from collections.abc import Mapping

from drover_controllers.service.values import Demand, Population, Roster, Targets

NOBODY = Population()


def alone(roster: Roster, target: str) -> bool:
    """Whether no instance of another revision is there any more; one whose pod has failed has ended."""
    return all(each.revision == target or each.state == "Lost" for each in roster)


def recreate(demand: Demand, target: str, population: Mapping[str, Population], *, by_itself: bool) -> Targets:
    """Wanted number of instances by revision: nobody new before the others are gone."""
    return {target: demand.replicas if by_itself else min(demand.replicas, population.get(target, NOBODY).live)}
