# SPDX-License-Identifier: Apache-2.0
"""Where the simulated API server differs on purpose, and why that does no harm. Fewer than ten, and none that a controller could see."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.conformance.golden import Difference

LIMIT = 10


@dataclass(frozen=True)
class Intended:
    """Patterns for the id of a case and for the place in its record, as messages of differences show them."""

    case: str
    where: str
    why: str

    def covers(self, difference: Difference) -> bool:
        """Whether a difference is this one."""
        return fnmatchcase(difference.case, self.case) and fnmatchcase(difference.where, self.where)


TABLE = (
    Intended(
        "patches/*json patch*",
        "*.details",
        "The real server does not tell why it refuses a JSON patch; the simulated one adds it to the details, for whoever debugs a test.",
    ),
    Intended(
        "applies/owners of plain writes",
        "*.managedFields*",
        "Owners are written down from the first apply on: for every plain write they would cost more than the rest of it. Whoever applies"
        " first meets the owner `before-first-apply`, which the real server knows too.",
    ),
)


def unintended(differences: list[Difference]) -> list[Difference]:
    """The differences that are in no row of the table."""
    return [each for each in differences if not any(row.covers(each) for row in TABLE)]
