# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover explain`: what a reason means and what to do, and the pages about failures. The cluster is not asked."""

import argparse
import difflib
from collections.abc import Mapping
from pathlib import Path

from drover_operator.cli.layout import Look, columns, fold, paint
from drover_operator.cli.options import SubParsers, add_verb
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.core.reasons import MEANING, Reason

PAGES = Path(__file__).parent / "failures.txt"  # generated from docs/failures: the docs are not part of the package
MARK = "<!-- page: "
AS_THEY_STAND = ("|", "```", "    ")
DESCRIPTION = """\
Explain a reason, as it stands in conditions, in the STATUS column, on instances
and in Events; or a page about a failure. Without REASON: a list of both.
"""
EXAMPLES = """\
  # what RolledBack means, and what to do
  kubectl drover explain RolledBack

  # what happens while the operator is away
  kubectl drover explain operator-away

  # all of them
  kubectl drover explain
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "explain", summary="explain a reason of status, or a failure", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("reason", nargs="?", default="", metavar="REASON", help="reason or page, small letters are taken too")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain; returns the exit code."""
    from drover_operator.cli.screen import look, write_lines

    written = pages()
    write_lines(one(args.reason, written, look()) if args.reason else every(written, look()))
    return Exit.DONE


def pages() -> dict[str, str]:
    """The pages about failures by name, as Markdown."""
    parts = PAGES.read_text(encoding="utf-8").split(MARK)[1:]
    named = (part.partition(" -->\n") for part in parts)
    return {name: text.strip() for name, _, text in named}


def one(word: str, written: Mapping[str, str], look: Look) -> list[str]:
    """A reason with its page, or a page.

    Raises:
        Failure: there is neither of that name.
    """
    known = {each.lower(): each for each in (*written, *Reason)}  # a reason that is called like a page brings the page along
    found = known.get(word.lower())
    if found is None:
        close = [known[each] for each in difflib.get_close_matches(word.lower(), known, n=3)]
        hint = f"did you mean {' or '.join(close)}?" if close else "kubectl drover explain lists all"
        raise Failure(f"no reason and no page '{word}'; {hint}", Exit.USAGE)
    return _reason(Reason(found), written, look) if found in set(Reason) else _page(written[found], look)


def _reason(reason: Reason, written: Mapping[str, str], look: Look) -> list[str]:
    meaning = MEANING[reason]
    shown = [paint(reason, "bold", look), *fold(meaning.what, look, first="  ", indent="  ")]
    shown += fold(f"Next: {meaning.next_step}", look, first="  ", indent="  ") if meaning.next_step else fold("Nothing has to be done.", look, first="  ")
    return [*shown, "", *_page(written[meaning.page], look)] if meaning.page else shown


def _page(text: str, look: Look) -> list[str]:
    """Markdown as plain text: paragraphs folded to the width, marks of emphasis and links left out; tables and code as they stand."""
    shown: list[str] = []
    for paragraph in text.split("\n\n"):
        if paragraph.startswith(AS_THEY_STAND):
            shown += ["", *(f"  {_plain(each)}".rstrip() for each in paragraph.splitlines() if not each.startswith("```"))]
            continue
        if paragraph.startswith("- "):
            shown += ["", *(line for each in paragraph[2:].split("\n- ") for line in fold(_plain(each), look, first="  - ", indent="    "))]
            continue
        heading = paragraph.startswith("# ")
        words = _plain(paragraph.removeprefix("# "))
        folded = fold(words, look, first="" if heading else "  ", indent="" if heading else "  ")
        shown += ["", *([paint(each, "bold", look) for each in folded] if heading else folded)]
    return shown[1:]


def _plain(text: str) -> str:
    import re

    return re.sub(r"\[([^]]+)\]\([^)]+\)", r"\1", text).replace("**", "").replace("`", "")


def every(written: Mapping[str, str], look: Look) -> list[str]:
    """All reasons in one line each, and all pages."""
    from drover_operator.cli.layout import WHOLE, Cell

    reasons = columns([(Cell(each, "bold"), Cell(MEANING[each].what)) for each in sorted(Reason)], look, indent="  ", least={0: WHOLE, 1: 20})
    titles = columns([(Cell(name, "bold"), Cell(_title(text))) for name, text in written.items()], look, indent="  ", least={0: WHOLE, 1: 20})
    return ["Reasons:", *reasons, "", "Failures:", *titles, "", "More on one: kubectl drover explain REASON"]


def _title(text: str) -> str:
    return text.partition("\n")[0].removeprefix("# ")
