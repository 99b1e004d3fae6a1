# SPDX-License-Identifier: Apache-2.0
"""The suites themselves are tried: each operator that is wrong on purpose must be caught by the tests that are there to catch it."""

from collections.abc import Callable

import pytest
from scenarios import test_crash, test_faults, test_trouble
from scenarios.mutants import MUTANTS, mutated
from scenarios.schedules import run, schedule

CATCHERS: dict[str, Callable[[], object]] = {
    "delete before create": lambda: test_crash.run("rolling update"),
    "no settling": lambda: [run(schedule(seed)) for seed in (2, 8, 22)],
    "status before write": lambda: test_crash.run("create"),
    "no guard": lambda: test_faults.test_caches_that_trail_cost_time_but_no_write("rolling update"),
    "no precondition": test_trouble.test_a_strangers_pod_that_took_the_name_of_ours_is_not_touched,
    "no fence": test_trouble.test_a_write_that_was_on_its_way_when_the_lease_changed_hands_is_refused_by_the_server,
    "no barrier": test_trouble.test_a_standby_with_an_old_cache_takes_over_and_fills_no_slot_twice,
    "no write-ahead": lambda: test_crash.run("create"),
    "no doubt": test_trouble.test_the_deadline_does_not_fire_on_healthy_pods_that_the_cache_does_not_show,
    "no deadline": lambda: test_crash.run("rollback by deadline"),
}


def test_every_mutant_has_its_catcher():
    assert CATCHERS.keys() == MUTANTS.keys()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_operator_is_caught(name: str):
    with mutated(name), pytest.raises(AssertionError):
        CATCHERS[name]()


@pytest.mark.parametrize("name", MUTANTS)
def test_the_right_one_is_not(name: str):
    CATCHERS[name]()
