# SPDX-License-Identifier: Apache-2.0
"""What `status` shows: golden files of trees and tables, and the rules behind them."""

import pytest
from cli.samples import NOW, PLAIN, compare, condition, conditions, failed, healthy_service, long_names, many, rolled_back, service, updating

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.layout import WHOLE, Cell, Look, age, clean, columns, cut, fold, width
from drover_operator.cli.tree import healthy, table, tree
from drover_operator.core.reasons import MEANING, Reason

FLEET = [
    healthy_service(),
    updating(),
    rolled_back(),
    failed(),
    long_names(),
    service("cart", phase=None),
    service("payments", namespace="a-namespace-with-a-long-name", phase="Scale", summary="ScalingOut", ready="3/5000", upToDate="5000/5000"),
]
COLOUR = Look(width=80, unicode=True, colour=True)
FRAMES = [
    ("healthy", "nothing but the tree and the history when all is well", healthy_service(), PLAIN),
    ("mid-update", "target above stable, what runs and what waits", updating(), PLAIN),
    ("rolled-back", "the blocked revision, why, the next step, last 5 of 6 transitions", rolled_back(), PLAIN),
    ("failed-provisioning", "restarts and reasons of instances, two troubles", failed(), PLAIN),
    ("many-instances", "100 listed, the states of the other 50 follow from the counts", many(), PLAIN),
    ("long-names", "names lose their middle, prose is folded, paused, pinned and behind are told", long_names(), PLAIN),
    ("colour", "lines and colours on a terminal that can", updating(), COLOUR),
    ("no-status", "no operator has been there", service(phase=None), PLAIN),
]


@pytest.mark.parametrize(("name", "why", "shown", "look"), FRAMES, ids=[row[0] for row in FRAMES])
def test_tree(name: str, why: str, shown: ManagedService, look: Look) -> None:
    lines = tree(shown, look, NOW)
    compare(name, lines)
    if not look.colour:
        assert all(line.isascii() for line in lines), why
        assert max(map(len, lines)) <= look.width, why
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("namespaces", [False, True])
def test_table(namespaces: bool) -> None:
    lines = table(FLEET, PLAIN, NOW, namespaces=namespaces)
    compare("table-all-namespaces" if namespaces else "table", lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width_", [72, 80, 100, 200])
def test_trees_never_wrap(width_: int) -> None:
    for shown in (healthy_service(), updating(), failed(), rolled_back()):
        assert [line for line in tree(shown, Look(width=width_), NOW) if len(line) > width_] == []


def test_names_are_whole_where_a_program_reads() -> None:
    name = long_names().metadata.name
    lines = table(FLEET, Look(width=80, cut=False), NOW, namespaces=False)
    assert name in {line.split()[0] for line in lines if line}
    assert any(f"{name}-m42ndlfs-0-8k8z7" in line for line in tree(long_names(), Look(width=80, cut=False), NOW))


def test_foreign_text_cannot_steer_the_terminal() -> None:
    evil = service(conditions=conditions(Stalled=condition("Stalled", "True", "Refused", "one\n\x1b[2Jtwo\u202e three")), version="\x1b]0;x\x07")
    text = "\n".join(tree(evil, COLOUR, NOW) + table([evil], PLAIN, NOW, namespaces=True))
    assert "one ?[2Jtwo? three" in text
    assert not {"\x07", "\u202e"} & set(text)
    assert "\x1b[2J" not in text


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    newer = service(conditions=conditions(Stalled=condition("Stalled", "True", "OfANewerOperator", "words")))
    assert "  OfANewerOperator for 2m: Stalled=True" in tree(newer, PLAIN, NOW)


def test_instances_of_no_known_revision_are_shown() -> None:
    lost = service(versions=[], instances=[{"name": "stray", "state": "Lost"}])
    assert any("unknown revision" in line for line in tree(lost, PLAIN, NOW))
    assert any("stray" in line for line in tree(lost, PLAIN, NOW))


@pytest.mark.parametrize("reason", [each for each in Reason if MEANING[each].next_step])
def test_every_next_step_is_told_with_the_name(reason: Reason) -> None:
    shown = service("till", conditions=conditions(Ready=condition("Ready", "False", reason)))
    text = " ".join(" ".join(tree(shown, PLAIN, NOW)).split())
    assert f"Next: {MEANING[reason].next_step.replace('NAME', 'till')}" in text


HEALTH = [
    ("all is well", healthy_service(), True),
    ("an update is wanted", updating(), True),
    ("no operator has been there: nothing is known to be wrong", service(phase=None), True),
    ("Stalled", rolled_back(), False),
    ("Failed", failed(), False),
    ("Degraded", many(), False),
    ("Failed without a condition, as from an older operator", service(phase="Failed", conditions=[]), False),
    ("Stalled=Unknown is not yet wrong", service(conditions=conditions(Stalled=condition("Stalled", "Unknown", "Settled"))), True),
]


@pytest.mark.parametrize(("why", "shown", "expected"), HEALTH, ids=[row[0] for row in HEALTH])
def test_healthy(why: str, shown: ManagedService, expected: bool) -> None:
    assert healthy(shown) is expected, why


AGES = [
    ("not negative when clocks differ", -5, "0s"),
    ("seconds up to two minutes", 119, "119s"),
    ("minutes and seconds", 150, "2m30s"),
    ("no zero part", 180, "3m"),
    ("minutes", 11 * 60 + 5, "11m"),
    ("hours and minutes", 3 * 3600 + 60, "3h1m"),
    ("hours", 9 * 3600 + 60, "9h"),
    ("days and hours", 50 * 3600, "2d2h"),
    ("days", 9 * 86400, "9d"),
    ("years and days", 3 * 365 * 86400 + 86400, "3y1d"),
    ("years", 9 * 365 * 86400, "9y"),
]


@pytest.mark.parametrize(("why", "seconds", "expected"), AGES, ids=[row[0] for row in AGES])
def test_age_is_that_of_kubectl(why: str, seconds: float, expected: str) -> None:
    assert age(seconds) == expected, why


CUTS = [
    ("fits", "abcdef", 6, "abcdef"),
    ("both ends stay", "abcdefghij", 7, "ab...ij"),
    ("an odd place goes to the start", "abcdefghij", 8, "abc...ij"),
    ("never less than one letter at each end", "abcdefghij", 1, "a...j"),
    ("wide letters count twice", "日本語日本語", 7, "日...語"),
]


@pytest.mark.parametrize(("why", "text", "room", "expected"), CUTS, ids=[row[0] for row in CUTS])
def test_cut(why: str, text: str, room: int, expected: str) -> None:
    assert cut(text, room) == expected, why
    assert width(cut(text, room)) <= max(room, 5), why


def test_columns_leave_out_what_is_empty_and_keep_what_is_fixed() -> None:
    rows = [(Cell("name"), Cell(""), Cell("x" * 30)), (Cell("n" * 40), Cell(""), Cell("y"))]
    assert columns(rows, Look(width=50), least={2: WHOLE})[0] == "name" + " " * 16 + "x" * 30
    assert columns([], PLAIN) == []


def test_fold_and_clean() -> None:
    assert fold("a " * 60, Look(width=40), first="- ", indent="  ")[1].startswith("  a")
    assert fold("", PLAIN, first="- ") == ["-"]
    assert clean("e\u0301 \t\x00") == "e\u0301 ?"
    assert width("e\u0301") == 1
