# SPDX-License-Identifier: Apache-2.0
"""Rolling: how many instances of each revision there should be now. Counts in, counts out; it sees no pods and no clock.

With N replicas, S surge, U unavailability and P = the most instances of the target that were ever available at once:

    target:  min(N, P + S + U)        others together:  max(0, N - P - U)

so N + S exist while the roll goes on. 10 replicas, S 3, U 0: 3 new ones beside 10 old; when these serve (P = 3), 6 new and 7 old;
then 9 and 4, then 10 and 1, then 10 and 0. P never falls while the target stays, so an instance of the target that is lost is
replaced at the target, and one of the stable revision at the stable revision: the version that its slot should have at this point.

Rejected: the Deployment's way of scaling both sides by what is live now. It replaces a lost old instance by a new one, so that with a
bad new revision a single node loss leaves the service below its budget until somebody acts.
"""

from collections.abc import Mapping

from drover_controllers.service.values import Demand, Population, Targets

NOBODY = Population()


def rolling(demand: Demand, progressed: int, target: str, stable: str, population: Mapping[str, Population]) -> Targets:
    """Wanted number of instances by revision; revisions that are not named are wanted 0 times.

    `stable` is "" or equal to `target` when there is nothing to roll from: then all instances are wanted at the target at once.
    """
    others = [name for name in population if name not in (target, stable)]
    if stable in ("", target):
        return {target: demand.replicas, **leftovers(demand.replicas - progressed - demand.unavailable, others, population)}
    old = max(0, demand.replicas - progressed - demand.unavailable)
    wanted = min(demand.replicas, progressed + demand.surge + demand.unavailable)
    kept_stable = min(old, population.get(stable, NOBODY).live)
    rest = leftovers(old - kept_stable, others, population)
    return {target: wanted, stable: old - sum(rest.values()), **rest}


def frozen(demand: Demand, target: str, stable: str, population: Mapping[str, Population]) -> Targets:
    """The mix as it is: while paused, scaling and repair go to the stable revision."""
    held = min(demand.replicas, population.get(target, NOBODY).live)
    if stable == target:
        return {target: demand.replicas}
    return {target: held, stable: demand.replicas - held} if stable else {target: held}


def leftovers(room: int, others: list[str], population: Mapping[str, Population]) -> Targets:
    """Revisions that are neither target nor stable serve as long as they are needed to make up the number, and are never created."""
    kept: Targets = {}
    room = max(0, room)
    for name in others:
        kept[name] = min(room, population[name].in_service)
        room -= kept[name]
    return kept
