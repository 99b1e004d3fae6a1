# SPDX-License-Identifier: Apache-2.0
"""The real API server still answers as the golden files say, by which the simulated one is judged in `tests/conformance`."""

import pytest
from api.conftest import Crew
from api.harness.plane import Plane

from tests.conformance import golden, real
from tests.conformance.case import Case, every_case
from tests.conformance.playing import Record

CASES = every_case()
GOLDEN = golden.read()


@pytest.fixture(scope="module")
def played(plane: Plane, crew: Crew) -> tuple[str, dict[str, Record]]:
    """All cases at once, with no operator that would take care of their services."""
    crew.stop()
    server, records = real.played(plane.cluster)
    return server, {record.case.id: record for record in records}


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_the_real_server_answers_as_it_did(played: tuple[str, dict[str, Record]], case: Case) -> None:
    found = golden.differences(played[1][case.id], GOLDEN.get(case.id, []))
    assert not found, "\n".join([f"{case.id}: {case.why}", *(str(each) for each in found)])


def test_the_golden_files_are_of_this_server(played: tuple[str, dict[str, Record]]) -> None:
    """Another version may answer otherwise in what no case asks: record again, and look at what changed."""
    assert golden.servers() == {played[0]}, "run python -m tests.conformance.record"
