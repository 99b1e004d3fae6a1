# SPDX-License-Identifier: Apache-2.0
"""The past of a service as lines: its recorded revisions, and its changes of phase. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drover_operator.api.builtin import ControllerRevision
from drover_operator.api.managedservice import ManagedService, Transition
from drover_operator.cli.layout import WHOLE, Cell, Look, age, clean, columns
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.tree import MARK_COLOUR, NONE, PHASE_COLOUR

VERSION = "drover.dev/version"
BUILDER = "drover.dev/builder"
BLOCKED = "drover.dev/blocked"
ROOM = 100  # columns


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """One recorded revision; `marks` are its roles now: target, stable, blocked."""

    number: int
    name: str
    version: str
    marks: tuple[str, ...]
    builder: str
    created: datetime | None


def recorded(service: ManagedService, found: Sequence[ControllerRevision]) -> list[Recorded]:
    """The revisions of this service, oldest first; those of an earlier one of the same name are left out."""
    mine = [each for each in found if each.metadata.controller_uid() in ("", service.metadata.uid)]
    return [_recorded(service, each) for each in sorted(mine, key=lambda each: (each.revision, each.metadata.name))]


def _recorded(service: ManagedService, each: ControllerRevision) -> Recorded:
    status, notes, name = service.status, each.metadata.annotations, each.metadata.name
    roles = {"target": status.target_revision, "stable": status.rollout.stable, "blocked": status.rollout.blocked_revision}
    marks = tuple(role for role, revision in roles.items() if revision == name)
    # Noted on the record as soon as it failed; a spec that was changed since then lets it be tried again.
    tried = ("failed",) if notes.get(BLOCKED) and "blocked" not in marks else ()
    return Recorded(
        number=each.revision,
        name=name,
        version=notes.get(VERSION, ""),
        marks=marks + tried,
        builder=notes.get(BUILDER, "1"),
        created=each.metadata.creation_timestamp,
    )


def named(found: Sequence[Recorded], word: str, service: str) -> Recorded:
    """The revision of that name or number.

    Raises:
        Failure: there is none; names those that are there.
    """
    for each in found:
        if word in (each.name, str(each.number)):
            return each
    there = f"recorded are {listed(found)}" if found else "none is recorded yet"
    raise Failure(f"no revision '{word}' of service '{service}'; {there}", Exit.USAGE)


def listed(found: Sequence[Recorded]) -> str:
    """Numbers and names in one line."""
    return ", ".join(f"{each.number} ({each.name})" for each in found)


def lines(service: ManagedService, found: Sequence[Recorded], look: Look, now: datetime) -> list[str]:
    """Two blocks: revisions, and changes of phase with the newest last."""
    shown = ["Revisions:", *_revisions(found, look, now)] if found else ["Revisions: none is recorded yet"]
    history = service.status.history
    return [*shown, "", "Changes:", *_changes(history, look, now)] if history else [*shown, "", "Changes: none yet"]


def _revisions(found: Sequence[Recorded], look: Look, now: datetime) -> list[str]:
    exact = _exact(look)
    heading = ("NUMBER", "NAME", "VERSION", "STATE", "BUILDER", "CREATED" if exact else "", "AGE")
    rows = [tuple(Cell(each) for each in heading)]
    rows += [
        (
            Cell(str(each.number)),
            Cell(each.name),
            Cell(clean(each.version) or NONE),
            Cell(", ".join(each.marks) or "old", MARK_COLOUR.get(each.marks[-1], "yellow") if each.marks else "dim"),
            Cell(each.builder),
            Cell(_moment(each.created) if exact else ""),
            Cell(age((now - each.created).total_seconds()) if each.created else NONE),
        )
        for each in found
    ]
    return columns(rows, look, indent="  ", least={0: WHOLE, 1: 16, 3: WHOLE, 4: WHOLE, 5: WHOLE, 6: WHOLE})


def _changes(history: Sequence[Transition], look: Look, now: datetime) -> list[str]:
    exact = _exact(look)
    rows = [tuple(Cell(each) for each in ("TIME" if exact else "", "AGE", "PHASE", "TRIGGER", "REVISION", "CAUSE"))]
    rows += [
        (
            Cell(_moment(each.time) if exact else ""),
            Cell(age((now - each.time).total_seconds())),
            Cell(f"{each.source or 'new'} -> {each.to}", PHASE_COLOUR.get(each.to, "cyan")),
            Cell(clean(each.trigger)),
            Cell(each.revision or NONE),
            Cell(each.cause, "red" if each.cause == "unexpected" else ""),
        )
        for each in history
    ]
    return columns(rows, look, indent="  ", least={0: WHOLE, 1: WHOLE, 2: WHOLE, 5: WHOLE})


def _exact(look: Look) -> bool:
    """Whether there is room for moments beside ages."""
    return not look.cut or look.width >= ROOM


def _moment(moment: datetime | None) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else NONE


def document(service: ManagedService, found: Sequence[Recorded]) -> dict[str, Any]:
    """The same for a program."""
    return {
        "namespace": service.metadata.namespace,
        "name": service.metadata.name,
        "revisions": [
            {
                "number": each.number,
                "name": each.name,
                "version": each.version,
                "marks": list(each.marks),
                "builder": each.builder,
                "created": _moment(each.created) if each.created else None,
            }
            for each in found
        ],
        "changes": list(service.status.history),
    }
