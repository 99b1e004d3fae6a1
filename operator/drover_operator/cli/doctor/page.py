# SPDX-License-Identifier: Apache-2.0
"""Findings as lines for people, and as JSON for programs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from drover_operator.cli.doctor.facts import Json
from drover_operator.cli.doctor.findings import Finding, Level
from drover_operator.cli.layout import WHOLE, Look, fold, paint

COLOUR = {Level.OK: "green", Level.WARNING: "yellow", Level.PROBLEM: "red", Level.SKIPPED: "dim"}
LEVEL, CHECK = 9, 13  # columns


def page(findings: Sequence[Finding], look: Look) -> list[str]:
    """One line for each finding with its next step below, a total, and what --fix would do; not folded where a program reads."""
    look = look if look.cut else replace(look, width=WHOLE)
    lines = [line for each in findings for line in _lines(each, look)]
    mendable = sum(1 for each in findings if each.mend)
    fix = [f"kubectl drover doctor --fix puts {mendable} of these right"] if mendable else []
    return [*lines, "", total(findings), *fix]


def _lines(finding: Finding, look: Look) -> list[str]:
    indent = " " * (LEVEL + CHECK)
    first, *more = fold(finding.message, look, first=f"{finding.level:<{LEVEL}}{finding.check:<{CHECK}}", indent=indent)
    word = str(finding.level)
    arrow = "\N{RIGHTWARDS ARROW} " if look.unicode else "-> "
    steps = fold(finding.next_step, look, first=indent + arrow, indent=indent + "   ") if finding.next_step else []
    return [paint(word, COLOUR[finding.level], look) + first[len(word) :], *more, *steps]


def total(findings: Sequence[Finding]) -> str:
    """How many of what."""
    counts = Counter(each.level for each in findings)
    plural = {level: "" if counts[level] == 1 or level in (Level.OK, Level.SKIPPED) else "s" for level in Level}
    said = [f"{counts[level]} {level}{plural[level]}" for level in (Level.PROBLEM, Level.WARNING, Level.SKIPPED, Level.OK) if counts[level]]
    return ", ".join(said)


def record(findings: Sequence[Finding], mended: Sequence[Json]) -> Json:
    """Everything, for programs; `mended` is what --fix did."""
    counts = Counter(each.level for each in findings)
    return {
        "findings": [_told(each) for each in findings],
        "counts": {str(level): counts[level] for level in Level},
        "fixed": list(mended),
    }


def _told(finding: Finding) -> Json:
    return {
        "check": finding.check,
        "level": str(finding.level),
        "message": finding.message,
        "nextStep": finding.next_step,
        "fixable": [each.id for each in finding.mend],
    }
