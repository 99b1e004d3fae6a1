# SPDX-License-Identifier: Apache-2.0
"""`explain`: every reason has an answer, every page that a reason names is there and speaks of it, and a slip is understood."""

import re
from pathlib import Path

import pytest

from drover_operator.cli.explain_verb import every, one, pages
from drover_operator.cli.layout import Look
from drover_operator.cli.main import main
from drover_operator.core.reasons import MEANING, Reason

DOCS = Path(__file__).parents[2] / "docs"
WIDE = Look(width=1000)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_an_answer(reason: Reason) -> None:
    shown = one(reason.lower(), pages(), WIDE)
    assert shown[0] == reason
    assert MEANING[reason].what in shown[1]
    assert f"  Next: {MEANING[reason].next_step}" in shown if MEANING[reason].next_step else "  Nothing has to be done." in shown


@pytest.mark.parametrize("reason", [each for each in Reason if MEANING[each].page])
def test_the_page_of_a_reason_names_it_and_is_linked(reason: Reason) -> None:
    page = MEANING[reason].page
    assert f"`{reason}`" in (DOCS / f"failures/{page}.md").read_text(), "or it would be a page about something else"
    row = next(line for line in (DOCS / "reference/reasons.md").read_text().splitlines() if line.startswith(f"| `{reason}` |"))
    assert f"(../failures/{page}.md)" in row
    assert len(one(reason, pages(), WIDE)) > 5


def test_every_page_that_speaks_of_a_reason_as_what_status_shows_is_linked() -> None:
    """The other way round: `STATUS X` on a page is the promise that X leads there."""
    told = {(path.stem, word) for path in (DOCS / "failures").glob("*.md") for word in re.findall(r"STATUS\s+`(\w+)`", path.read_text())}
    assert told
    assert [each for each in told if MEANING[Reason(each[1])].page != each[0]] == []


def test_all_pages_are_there_as_they_are_in_the_docs() -> None:
    assert set(pages()) == {path.stem for path in (DOCS / "failures").glob("*.md")} - {"README"}
    for name, text in pages().items():
        shown = one(name, pages(), Look(width=80))
        assert text.partition("\n")[0].removeprefix("# ") in shown
        assert not any("**" in line or "](" in line or "```" in line for line in shown)


def test_the_list_names_all() -> None:
    text = "\n".join(every(pages(), WIDE))
    assert all(f"  {each}" in text for each in (*Reason, *pages()))


def test_a_slip(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "RoledBack"]) == 4
    assert capsys.readouterr().err == "error: no reason and no page 'RoledBack'; did you mean RolledBack or RollingBack?\n"
    assert main(["explain", "zzz"]) == 4
    assert capsys.readouterr().err == "error: no reason and no page 'zzz'; kubectl drover explain lists all\n"


def test_no_cluster_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert main(["explain"]) == 0
    assert main(["explain", "Refused"]) == 0
    assert "A write is refused for now" in capsys.readouterr().out
