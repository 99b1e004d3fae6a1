# SPDX-License-Identifier: Apache-2.0
"""Kill the operator at every write of every flow, before it arrives and after it was applied, and look where it ends.

The end must be that of an undisturbed run, with the same number of objects created and ended on the way: nothing done twice.
"""

import itertools

import pytest
from scenarios.flows import FLOWS, scenario
from scenarios.ledger import tally
from scenarios.world import World, play, state

WHEN = ("before", "after")
SHORTEST = ("scale out", "scale in", "repair")  # for pairs of crashes


def run(name: str, *crashes: tuple[int, str]) -> World:
    def prepare(world: World) -> None:
        for point, when in crashes:
            world.crash_at(point, when)

    return play(scenario(name, prepare))


@pytest.mark.parametrize("name", FLOWS)
def test_a_crash_at_any_write_ends_where_an_undisturbed_run_ends(name: str):
    calm = run(name)
    wanted, effects, points = state(calm), calm.effects(), calm.write_points
    assert points >= 3
    tally(write_points=points)
    for point in range(1, points + 1):
        for when in WHEN:
            world = run(name, (point, when))
            assert world.crashed == 1, f"{name}: no crash at write {point} {when}"
            assert state(world) == wanted, f"{name}: crash {when} write {point} of {points}"
            assert world.effects() == effects, f"{name}: crash {when} write {point} of {points}: something was done twice, or not at all"
        tally(write_points_covered=1, crashes=2)
    print(f"{name}: {points} write points, {2 * points} crashes")


@pytest.mark.parametrize("name", SHORTEST)
def test_two_crashes_at_any_two_writes_end_there_too(name: str):
    calm = run(name)
    wanted, effects, points = state(calm), calm.effects(), calm.write_points
    for first, second in itertools.combinations(range(1, points + 2), 2):
        for before, after in itertools.product(WHEN, WHEN):
            world = run(name, (first, before), (second, after))
            assert (state(world), world.effects()) == (wanted, effects), f"{name}: crashes {before} write {first} and {after} write {second}"
            tally(crashes=world.crashed)
