# SPDX-License-Identifier: Apache-2.0
"""What a person should know about an import: notes, and the refusal of one workload."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["warning", "error"]


@dataclass(frozen=True)
class Note:
    """One thing that was not carried over, and what to do about it; `message` reads on from `field`."""

    level: Level
    object: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.object}: {f'{self.field} {self.message}'.strip()}"


class Refused(Exception):
    """The workload cannot be a ManagedService."""

    def __init__(self, field: str, message: str, level: Level = "error") -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.level: Level = level


@dataclass(frozen=True)
class Notes:
    """The notes about one object."""

    object: str
    notes: list[Note]

    def warn(self, field: str, message: str) -> None:
        """What is lost or changed; the object is imported all the same."""
        self.notes.append(Note("warning", self.object, field, message))

    def refuse(self, refusal: Refused) -> None:
        """The object is not imported."""
        self.notes.append(Note(refusal.level, self.object, refusal.field, refusal.message))
