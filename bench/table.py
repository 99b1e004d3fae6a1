# SPDX-License-Identifier: Apache-2.0
"""Results for people, as a table, and for programs, as JSON."""

from collections.abc import Iterable
from typing import Any

Result = dict[str, Any]
COLUMNS = ("name", "value", "unit", "baseline", "ratio", "goal", "met")
_WIDTHS = (26, 10, 6, 10, 6, 12, 3)
_LEFT = ("name", "unit", "goal")


def header() -> str:
    """The names of the columns."""
    return _line({name: name for name in COLUMNS})


def line(result: Result) -> str:
    """One row, its numbers cut to what is worth reading."""
    shown = {name: _shown(result[name]) for name in COLUMNS}
    return _line(shown)


def verdict(results: Iterable[Result]) -> str:
    """How many goals are met, and which are not."""
    judged = [each for each in results if each["met"] is not None]
    missed = [each["name"] for each in judged if not each["met"]]
    return f"{len(judged) - len(missed)} of {len(judged)} goals met" + (f"; missed: {', '.join(missed)}" if missed else "")


def _line(cells: dict[str, str]) -> str:
    return "  ".join(cells[name].ljust(width) if name in _LEFT else cells[name].rjust(width) for name, width in zip(COLUMNS, _WIDTHS, strict=True)).rstrip()


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
