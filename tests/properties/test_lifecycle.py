# SPDX-License-Identifier: Apache-2.0
"""Every pair of phases, enumerated."""

from itertools import product

import pytest

from drover_controllers.service.lifecycle import EDGES, PHASES, path

PAIRS = list(product([None, *PHASES], PHASES))
# Where there is no way: nothing comes back from the deletion, and what has served once is never first provisioned again.
NO_WAY = {("Destroy", each) for each in PHASES} | {(before, after) for before in ("Run", "Update", "Scale", "Rollback") for after in ("Provision", "Ready")}
NO_WAY |= {("Ready", "Provision")}


@pytest.mark.parametrize(("before", "after"), PAIRS)
def test_a_path_goes_by_edges_and_passes_nothing_twice(before, after):
    row = path(before, after)
    if before == after or (before, after) in NO_WAY:
        assert row == ()
        return
    assert row, f"no way from {before} to {after}"
    assert row[-1] == after
    for one, two in zip((before, *row), row, strict=False):
        assert two in EDGES[one]
    assert "Failed" not in row[:-1], "Failed is told only when it is true"
    assert "Destroy" not in row[:-1]
    assert len(set(row)) == len(row)


def test_every_phase_can_be_reached_and_every_phase_can_end():
    for phase in PHASES:
        assert path(None, phase), phase
        assert phase == "Destroy" or path(phase, "Destroy") == ("Destroy",)
    assert set(EDGES) == {None, *PHASES}
