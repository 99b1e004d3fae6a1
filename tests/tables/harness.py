# SPDX-License-Identifier: Apache-2.0
"""Rows of the tables: given facts, the exact plan, and why it is right."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from tables.world import words

from drover_controllers.service.decide import decide
from drover_controllers.service.report import report
from drover_controllers.service.values import Facts

GRACE = 0.05  # seconds that the wake-up comes after the deadline


def compare(name: str, why: str, seen: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Equal, or a message with the sentence of the row and only what differs."""
    assert len(why.split()) > 4, f"{name}: say why"
    rows = [f"  {key}:\n    wanted {wanted[key]}\n    seen   {seen[key]}" for key in wanted if seen[key] != wanted[key]]
    assert not rows, "\n".join([f"{name}: {why}", *rows])


@dataclass(frozen=True, kw_only=True)
class Row:
    """`does` has one string per stage, actions separated by "; ". `wakes` is in seconds, None for: only an event will."""

    name: str
    why: str
    given: Facts
    does: tuple[str, ...] = ()
    waits: tuple[str, ...] = ()
    wakes: float | None = None
    write_ahead: bool = False
    doubt: bool = False
    held: int = 0
    memory: dict[str, Any] = field(default_factory=dict[str, Any])

    def check(self) -> None:
        plan = decide(self.given)
        stages, deferred = words(self.given, plan)
        seen = {
            "does": tuple("; ".join(stage) for stage in stages),
            "waits": tuple(deferred),
            "wakes": None if plan.wake_after is None else round(plan.wake_after - GRACE, 3),
            "write_ahead": plan.write_ahead,
            "doubt": plan.doubt,
            "held": len(plan.held),
            "memory": {key: getattr(plan.memory, key) for key in self.memory},
        }
        wanted = {key: getattr(self, key) for key in seen}
        compare(self.name, self.why, seen, wanted)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the report of a plan says. Conditions by type: "True Reason"; only those named are compared. Events: reasons."""

    name: str
    why: str
    given: Facts
    phase: str
    summary: str
    conditions: dict[str, str] = field(default_factory=dict[str, str])
    history: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict[str, Any])

    def check(self) -> None:
        plan = decide(self.given)
        told = report(self.given, plan)
        status = told.status
        by = {each.type: f"{each.status} {each.reason}" for each in status.conditions}
        seen = {
            "phase": status.phase,
            "summary": status.summary,
            "conditions": {key: by.get(key) for key in self.conditions},
            "history": tuple(f"{each.source}>{each.to} {each.cause} {each.trigger}" for each in status.history),
            "events": tuple(f"{each.type} {each.reason}" for each in told.notices),
            "fields": {key: getattr(status, key) for key in self.fields},
        }
        wanted = {key: getattr(self, key) for key in seen}
        compare(self.name, self.why, seen, wanted)


def table(rows: list[Any]) -> Any:
    """The rows as parameters, by their names; two rows of one name are a mistake."""
    names = [row.name for row in rows]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})
    return pytest.mark.parametrize("row", rows, ids=names)
