# SPDX-License-Identifier: Apache-2.0
"""Random schedules: anything that people and nodes do, with anything that goes wrong meanwhile, must end well in peace.

`make scenarios-long` runs thousands of other seeds; a seed that fails is played again by `make scenario SEED=n`.
"""

import pytest
from scenarios.ledger import tally
from scenarios.schedules import fingerprint, run, schedule

SEEDS = range(240)
GROUP = 20  # seeds to a test: a row for each would say no more


@pytest.mark.parametrize("first", range(SEEDS.start, SEEDS.stop, GROUP))
def test_whatever_goes_wrong_peace_brings_the_service_to_its_spec(first: int):
    for seed in range(first, first + GROUP):
        plan = schedule(seed)
        try:
            world = run(plan)
        except Exception as error:
            error.add_note(f"{plan}\nreplay: make scenario SEED={seed}")
            raise
        tally(schedules=1, instants=world.watcher.instants, lives=len(world.lives))


def test_one_seed_is_one_history():
    """Byte for byte: every stored object, every write and its time."""
    for seed in (0, 1, 6):
        assert fingerprint(run(schedule(seed))) == fingerprint(run(schedule(seed)))
