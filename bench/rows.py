# SPDX-License-Identifier: Apache-2.0
"""Rows: what is measured, against what, and how good it should be.

    @row("decide.quiet.20.p99", unit="us", goal=at_most(200))
    def quiet_p99() -> Figure:
        \"\"\"decide() for a service of 20 instances that nothing happens to.\"\"\"

The group is the first part of the name, and the name of the file.
"""

import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import bench.groups as files


class NotMeasured(Exception):
    """What was timed did not end where it should have: its figures would mean nothing."""


@dataclass(frozen=True)
class Figure:
    """What a measurement came to; `baseline` in the same unit, from the same run, or None when there is nothing to compare with."""

    value: float
    baseline: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times the baseline it is."""
        return self.value / self.baseline if self.baseline else None


@dataclass(frozen=True)
class Goal:
    """A bound on the value, or on its ratio to the baseline."""

    bound: float
    sign: Literal["<=", ">="]
    of: Literal["value", "ratio"] = "value"

    def met_by(self, figure: Figure) -> bool | None:
        """Whether the figure is within the bound; None when it lacks the baseline for it."""
        found = figure.value if self.of == "value" else figure.ratio
        if found is None:
            return None
        return found <= self.bound if self.sign == "<=" else found >= self.bound

    def __str__(self) -> str:
        return f"{'ratio ' if self.of == 'ratio' else ''}{self.sign} {self.bound:g}"


def at_most(bound: float, of: Literal["value", "ratio"] = "value") -> Goal:
    """The less the better."""
    return Goal(bound, "<=", of)


def at_least(bound: float, of: Literal["value", "ratio"] = "value") -> Goal:
    """The more the better."""
    return Goal(bound, ">=", of)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published figure; `measure` takes its time."""

    name: str
    about: str
    unit: str
    goal: Goal | None
    measure: Callable[[], Figure]

    @property
    def group(self) -> str:
        """What it is run with."""
        return self.name.partition(".")[0]

    def result(self, figure: Figure) -> dict[str, Any]:
        """The row as it is published, in numbers that are not rounded."""
        return {
            "name": self.name,
            "value": figure.value,
            "unit": self.unit,
            "baseline": figure.baseline,
            "ratio": figure.ratio,
            "goal": str(self.goal) if self.goal else None,
            "met": self.goal.met_by(figure) if self.goal else None,
        }


_ROWS: dict[str, Row] = {}


def row(name: str, *, unit: str, goal: Goal | None = None) -> Callable[[Callable[[], Figure]], Callable[[], Figure]]:
    """Publish the figure of a function under that name."""

    def publish(measure: Callable[[], Figure]) -> Callable[[], Figure]:
        if name in _ROWS:
            raise ValueError(f"two rows are named '{name}'")
        _ROWS[name] = Row(name=name, about=inspect.getdoc(measure) or "", unit=unit, goal=goal, measure=measure)
        return measure

    return publish


def groups() -> tuple[str, ...]:
    """The groups that can be run: the files in `bench/groups`."""
    return tuple(sorted(each.name for each in pkgutil.iter_modules(files.__path__)))


def rows(group: str) -> list[Row]:
    """The rows of a group in the order of its file."""
    import_module(f"{files.__name__}.{group}")
    return [each for each in _ROWS.values() if each.group == group]
