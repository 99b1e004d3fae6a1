# SPDX-License-Identifier: Apache-2.0
"""What is known of discovery may be older than what is known of pods: an entry from before an instance left must not count for it."""

import pytest
from tables.world import given, words

from drover_controllers.service.decide import decide

ROWS = {
    "discovery has let go of it": ("A-0 A-1 A-2:Draining@1", ["enter A-2 [EntersService]"]),
    "discovery still lists it: it would count at once, by an entry that is about to go": ("A-0 A-1 A-2:DrainingListed@1", []),
    "it waits even when its drain is overdue: it is wanted, and is not ended": ("A-0 A-1 A-2:DrainingListed@45", []),
}


@pytest.mark.parametrize("why", ROWS)
def test_a_leaving_instance_comes_back_once_discovery_let_go_of_it(why: str):
    """Else the next one could leave while nobody is listed. `test_small_scope` walks into it: scene "back" with lagging discovery."""
    pods, moves = ROWS[why]
    facts = given(pods)
    stages, _ = words(facts, decide(facts))
    assert [move for stage in stages for move in stage] == moves
