# SPDX-License-Identifier: Apache-2.0
"""The fast part of the fuzz suite: so many seeds that every property and every act is met at least once. The long run: `__main__`."""

from collections.abc import Callable

import pytest
from scenarios.fuzz.acts import ACTS
from scenarios.fuzz.operations import BEFORE, HAND, Step, operations
from scenarios.fuzz.specs import CHANGES, FIRST, RULED
from scenarios.fuzz.trial import Trial, of_seed, smaller, sweep
from scenarios.ledger import tally

TOUCHED = {each.touches for each in operations().values() if each.expect != "refused" and not each.heavy}
SEEDS = -(-len(TOUCHED) // HAND)


def count(result: Trial, record_property: Callable[[str, object], None]) -> None:
    done = result.tally["accepted"] + result.tally["refused"]
    record_property("operations", done)
    tally(fuzz_operations=done, fuzz_compared=result.tally["compared"], violations=len(result.problems))
    print(f"seed {result.seed}, from '{result.first}':", *result.log, sep="\n  ")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_sequence_of_operations_ends_as_declared(seed: int, record_property: Callable[[str, object], None]):
    result = of_seed(seed)
    count(result, record_property)
    tally(fuzz_seeds=1)
    if result.problems:
        less = smaller(result)
        pytest.fail("\n  ".join([f"seed {seed}, from '{less.first}':", *less.log, *dict.fromkeys(less.problems)]), pytrace=False)


@pytest.mark.parametrize("first", FIRST)
def test_every_act_alone_is_made_good(first: str, record_property: Callable[[str, object], None]):
    """In a sequence a later template may hide that something was never mended."""
    result = sweep(first, [Step(name, 45.0) for name in ACTS])
    count(result, record_property)
    assert result.problems == []


def test_every_edit_of_the_status_alone_is_made_good(record_property: Callable[[str, object], None]):
    """All of it is derived, and said again within seconds."""
    edits = [each.name for each in operations().values() if each.touches.startswith("status.") and each.expect != "refused"]
    assert len(edits) > 300
    result = sweep("busy", [Step(name, 8.0) for name in edits])
    count(result, record_property)
    assert result.problems == []


def test_every_change_of_several_fields_alone_is_reached_or_told(record_property: Callable[[str, object], None]):
    result = sweep("rich", [Step(name, 3.0) for name in (*CHANGES, *(name + BEFORE for name in RULED))])
    count(result, record_property)
    assert result.problems == []
