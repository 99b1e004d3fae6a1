# SPDX-License-Identifier: Apache-2.0
"""Frames redrawn in place: whatever lines follow each other, the terminal shows the last ones, and what stood above them stays."""

import re

import pytest
from cli.terminal import Terminal
from hypothesis import given, settings
from hypothesis import strategies as st

from drover_operator.cli.frame import ERASE_LINE, clip, fit, redraw
from drover_operator.cli.layout import width

COLUMNS, ROWS = 12, 6
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
WORDS = st.text("ab 日é|", max_size=COLUMNS)
LINES = st.one_of(WORDS, WORDS.map(lambda text: f"\x1b[31m{text}\x1b[0m")).map(lambda text: clip(text, COLUMNS))
FRAMES = st.lists(st.lists(LINES, max_size=ROWS - 1), min_size=1, max_size=6)


def shown(frame: list[str]) -> list[str]:
    return [COLOUR.sub("", line).rstrip() for line in frame]


@settings(max_examples=500, deadline=None)
@given(FRAMES, st.integers(0, ROWS + 2))
def test_the_terminal_shows_the_last_frame_and_what_was_above_it(frames: list[list[str]], above: int) -> None:
    """At any height of the cursor when it begins: at the bottom the screen scrolls."""
    terminal = Terminal(COLUMNS, ROWS)
    before = [f"$ {number}" for number in range(above)]
    terminal.write("".join(f"{each}\r\n" for each in before))
    last: list[str] = []
    for frame in frames:
        terminal.write(redraw(last, frame))
        last = frame
    screen = [*terminal.scrolled, *("".join(row).rstrip() for row in terminal.screen)]
    assert screen[: above + len(last)] == [*before, *shown(last)]
    assert not any(screen[above + len(last) :]), "nothing of an earlier frame is left below"
    assert (terminal.row + len(terminal.scrolled), terminal.column) == (above + len(last), 0)


def test_only_lines_that_differ_are_written() -> None:
    before, after = ["one", "two", "three", "four"], ["one", "TWO", "three", "FOUR"]
    assert redraw(before, before) == ""
    assert redraw(before, after) == f"\x1b[3A\r{ERASE_LINE}TWO\r\n\n{ERASE_LINE}FOUR\r\n"


def test_a_line_as_wide_as_the_terminal_keeps_its_last_letter() -> None:
    """To erase after it would take it away: the cursor then still stands on it."""
    terminal = Terminal(4, 4)
    terminal.write(redraw([], ["abcd", "e"]) + redraw(["abcd", "e"], ["wxyz", "e"]))
    assert terminal.lines == ["wxyz", "e"]


CLIPS = [
    ("it fits", "abc", 3, "abc"),
    ("cut at the edge", "abcd", 3, "abc"),
    ("colours take no room", "\x1b[31mabc\x1b[0m", 3, "\x1b[31mabc\x1b[0m"),
    ("a colour that is cut off ends", "\x1b[31mabcd\x1b[0m", 3, "\x1b[31mabc\x1b[0m"),
    ("half a wide letter is none", "日本", 3, "日"),
]


@pytest.mark.parametrize(("why", "line", "room", "expected"), CLIPS, ids=[row[0] for row in CLIPS])
def test_clip(why: str, line: str, room: int, expected: str) -> None:
    assert clip(line, room) == expected, why


@given(st.lists(st.text("abc日", max_size=30), max_size=30), st.integers(1, 40), st.integers(1, 20))
def test_fit_never_exceeds_the_terminal_and_keeps_both_ends(lines: list[str], columns: int, rows: int) -> None:
    fitted = fit(lines, columns, rows)
    assert len(fitted) <= max(1, rows - 1)
    assert all(width(each) <= columns for each in fitted)
    if len(lines) <= rows - 1:
        assert len(fitted) == len(lines)
    elif rows > 4:
        assert (fitted[0], fitted[-1]) == (clip(lines[0], columns), clip(lines[-1], columns))


def test_a_frame_that_is_too_tall_says_what_is_missing() -> None:
    assert fit([str(number) for number in range(20)], 80, 8) == ["0", "1", "2", "3", "... 14 more lines than this terminal has", "18", "19"]
