# SPDX-License-Identifier: Apache-2.0
"""Frames on a terminal: the escape codes that turn the lines that are shown into the lines that should be. Pure.

The cursor rests at the start of the line below the frame, and only lines that differ are written, so that a slow connection carries
little and text that somebody marks stays marked. Rejected: `rich.Live` (it redraws the whole frame each time, takes about 100 ms
to import, and is one more dependency); curses and the alternate screen (they take the last frame away at the end, and it is the result).
After a resize nobody knows where a terminal has put the old lines, as some fold and some cut: then the screen is cleared.
"""

import re
from collections.abc import Sequence

from drover_operator.cli.layout import width

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
CLEAR = "\x1b[H\x1b[J"
ERASE_LINE, ERASE_BELOW = "\x1b[K", "\x1b[J"
PLAIN = "\x1b[0m"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_PART = re.compile(r"\x1b\[[0-9;]*m|.", re.DOTALL)


def redraw(shown: Sequence[str], wanted: Sequence[str]) -> str:
    """What to write so that the terminal shows `wanted` in place of `shown`; "" when they are the same."""
    if shown == wanted:
        return ""
    written, at = "", len(shown)
    for number, line in enumerate(wanted):
        if number < len(shown) and shown[number] == line:
            continue
        # Erased first: at the last column a terminal would take the last letter along.
        written += _move(at, number) + ERASE_LINE + line
        at = number
    written += _move(at, len(wanted))
    return written + (ERASE_BELOW if len(wanted) < len(shown) else "")


def _move(at: int, to: int) -> str:
    """To the start of another line of the frame; a line feed scrolls where the screen ends."""
    return (f"\x1b[{at - to}A" if to < at else "") + "\r" + "\n" * (to - at)


def fit(lines: Sequence[str], columns: int, rows: int) -> list[str]:
    """The lines for a terminal of that size: cut at its edge, and with the middle left out where it is too low.

    The last row stays free for the cursor.
    """
    room = max(1, rows - 1)
    if len(lines) > room:
        head = room * 2 // 3
        tail = room - head - 1
        hidden = f"... {len(lines) - head - tail} more lines than this terminal has"
        lines = [*lines[:head], hidden, *lines[len(lines) - tail :]]
    return [clip(each, max(1, columns)) for each in lines]


def clip(line: str, columns: int) -> str:
    """The start of a line that takes at most that many columns; colours take none."""
    if width(_COLOUR.sub("", line)) <= columns:
        return line
    kept, used = "", 0
    for part in _PART.findall(line):
        used += 0 if part.startswith("\x1b") else width(part)
        if used > columns:
            break
        kept += part
    return kept + (PLAIN if "\x1b" in kept else "")
