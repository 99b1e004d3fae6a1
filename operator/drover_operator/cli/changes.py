# SPDX-License-Identifier: Apache-2.0
"""Changes of services as lines for a log: one line a change, in columns that awk and people can read. Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.layout import clean
from drover_operator.cli.tree import NONE, UNSEEN

DELETED = "Deleted"
BEHIND = "ChangeNotSeenYet"
HEADINGS = ("TIME", "NAMESPACE", "NAME", "PHASE", "READY", "UP-TO-DATE", "VERSION", "STATUS")
WIDE: tuple[int, ...] = (20, 9, 12, 9, 7, 10, 10, 0)  # columns at least; a log cannot know how long the next name is

Told = tuple[str, str, str, str, str]
GONE: Told = (NONE, NONE, NONE, NONE, DELETED)
UNREADABLE: Told = (NONE, NONE, NONE, NONE, "OfAnotherVersion")


def told(service: ManagedService) -> Told:
    """Phase, ready, up-to-date, version and summary: what a change must touch to be worth a line."""
    status = service.status
    behind = status.phase is not None and status.observed_generation < service.metadata.generation
    summary = BEHIND if behind else clean(status.summary) or UNSEEN
    return (status.phase or NONE, status.ready or NONE, status.up_to_date or NONE, clean(status.version) or NONE, summary)


def heading(names: Iterable[tuple[str, str]], *, namespaces: bool) -> tuple[str, tuple[int, ...]]:
    """The line of headings for services of these names, and the width of each column."""
    wide = list(WIDE)
    for namespace, name in names:
        wide[1], wide[2] = max(wide[1], len(namespace)), max(wide[2], len(name))
    return _line(HEADINGS, wide, namespaces=namespaces), tuple(wide)


def line(key: tuple[str, str], what: Told, at: datetime, wide: tuple[int, ...], *, namespaces: bool) -> str:
    """One change, with the time in UTC at which it was seen."""
    return _line((at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), *key, *what), wide, namespaces=namespaces)


def _line(cells: tuple[str, ...], wide: Iterable[int], *, namespaces: bool) -> str:
    columns = [cell.ljust(size) for cell, size in zip(cells, wide, strict=True)]
    return "  ".join(columns if namespaces else (columns[0], *columns[2:])).rstrip()
