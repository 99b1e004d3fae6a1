# SPDX-License-Identifier: Apache-2.0
"""The chain of reasons as lines for people, and as JSON for programs. Pure."""

from typing import Any

from drover_operator.cli.chain import Chain, Link
from drover_operator.cli.layout import Look, fold, paint
from drover_operator.cli.tree import GLYPHS


def lines(told: Chain, look: Look) -> list[str]:
    """Each link below the one that it explains; then what to do next."""
    shown: list[str] = []
    _, branch, _, blank = GLYPHS[look.unicode]
    for depth, link in enumerate(told.links):
        lead = blank * (depth - 1) + branch if depth else ""
        shown += _link(link, lead, " " * (len(lead) + 2), look, wrong=told.wrong)
    for number, step in enumerate(told.steps):
        shown += fold(step, look, first="Next: " if not number else "  or: ", indent=" " * 6)
    return shown


def _link(link: Link, lead: str, indent: str, look: Look, *, wrong: bool) -> list[str]:
    first, *rest = fold(f"{link.subject}: {link.what}", look, first=lead, indent=indent)
    if link.word:
        first = first.replace(link.word, paint(link.word, "red" if wrong else "cyan", look), 1)
    return [first.replace(link.subject, paint(link.subject, "bold", look), 1), *rest]


def document(told: Chain, namespace: str, name: str) -> dict[str, Any]:
    """The same for a program."""
    links = [{"subject": each.subject, "reason": each.word, "message": each.what} for each in told.links]
    return {"namespace": namespace, "name": name, "healthy": not told.wrong, "chain": links, "next": list(told.steps)}
