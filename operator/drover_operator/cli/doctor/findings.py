# SPDX-License-Identifier: Apache-2.0
"""What a check finds."""

from dataclasses import dataclass
from enum import StrEnum

from drover_operator.cli.doctor.wanted import Wanted


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of a check, the next step for a person, and the objects that would mend it when applied."""

    check: str
    level: Level
    message: str
    next_step: str = ""
    mend: tuple[Wanted, ...] = ()


@dataclass(frozen=True)
class Check:
    """Makes the findings of one check."""

    name: str

    def ok(self, message: str) -> Finding:
        """All is well."""
        return Finding(check=self.name, level=Level.OK, message=message)

    def warning(self, message: str, next_step: str = "", mend: tuple[Wanted, ...] = ()) -> Finding:
        """It works, and should be better."""
        return Finding(check=self.name, level=Level.WARNING, message=message, next_step=next_step, mend=mend)

    def problem(self, message: str, next_step: str, mend: tuple[Wanted, ...] = ()) -> Finding:
        """It does not work, or is not safe."""
        return Finding(check=self.name, level=Level.PROBLEM, message=message, next_step=next_step, mend=mend)

    def skipped(self, message: str) -> Finding:
        """Nobody knows."""
        return Finding(check=self.name, level=Level.SKIPPED, message=message)


def some(names: list[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
