# SPDX-License-Identifier: Apache-2.0
"""Text on a terminal: columns that fit, names cut only when needed, prose folded, colours last so that they never count as width."""

import textwrap
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

GAP = "  "
ELLIPSIS = "..."
NARROWEST = 5  # columns that a cut text keeps: one character at each end, and what was left out
WHOLE = 10_000
NO_LEAST: Mapping[int, int] = {}
COLOURS = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "dim": "2", "bold": "1"}
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "y": 365 * 86400}
# As kubectl: below so many seconds, these units.
AGES = ((120, "s"), (600, "ms"), (3 * 3600, "m"), (8 * 3600, "hm"), (48 * 3600, "h"), (8 * 86400, "dh"), (730 * 86400, "d"), (2920 * 86400, "yd"))


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the place that lines are written to can show; `cut` is off where a program reads, which needs whole names."""

    width: int = 80
    unicode: bool = False
    colour: bool = False
    cut: bool = True


@dataclass(frozen=True)
class Cell:
    """One cell of a row; `lead` stands before the text and is never cut or coloured."""

    text: str
    colour: str = ""
    lead: str = ""

    @property
    def width(self) -> int:
        """Columns that it takes."""
        return width(self.lead) + width(self.text)

    def show(self, columns: int, look: Look) -> str:
        """The cell in at most that many columns."""
        return self.lead + paint(cut(self.text, columns - width(self.lead)), self.colour, look)


def columns(rows: Sequence[Sequence[Cell]], look: Look, *, indent: str = "", least: Mapping[int, int] = NO_LEAST) -> list[str]:
    """Rows as lines of aligned columns; a column with nothing in it is left out.

    Too wide, the widest columns give way, each down to what `least` says of its text (WHOLE: not at all).
    """
    if not rows:
        return []
    wide = [max(row[index].width for row in rows) for index in range(len(rows[0]))]
    shown = [index for index, each in enumerate(wide) if each]
    if look.cut:
        over = len(indent) + sum(wide[index] for index in shown) + len(GAP) * (len(shown) - 1) - look.width
        floors = [max(width(row[index].lead) for row in rows) + least.get(index, NARROWEST) for index in range(len(wide))]
        _narrow(wide, over, shown, floors)
    return [indent + _line([row[index] for index in shown], [wide[index] for index in shown], look) for row in rows]


def _narrow(wide: list[int], over: int, candidates: list[int], floors: list[int]) -> None:
    while over > 0:
        widest = max((index for index in candidates if wide[index] > floors[index]), key=lambda index: wide[index], default=None)
        if widest is None:
            return
        wide[widest] -= 1
        over -= 1


def _line(cells: Sequence[Cell], wide: Sequence[int], look: Look) -> str:
    parts = [cell.show(size, look) + " " * max(0, size - cell.width) for cell, size in zip(cells, wide, strict=True)]
    return GAP.join(parts).rstrip()


def fold(text: str, look: Look, *, first: str = "", indent: str = "") -> list[str]:
    """Prose in lines that fit, broken between words; `first` stands before the first line, `indent` before the others."""
    return textwrap.wrap(clean(text), max(look.width, len(indent) + 20), initial_indent=first, subsequent_indent=indent, break_on_hyphens=False) or [
        first.rstrip()
    ]


def cut(text: str, columns: int) -> str:
    """The text in at most that many columns: the middle goes, because names differ at their ends."""
    if width(text) <= columns:
        return text
    room = max(2, columns - len(ELLIPSIS))
    head, tail = text, text
    while width(head) > room - room // 2:
        head = head[:-1]
    while width(tail) > room // 2:
        tail = tail[1:]
    return head + ELLIPSIS + tail


def clean(text: str) -> str:
    """Foreign text as one harmless line: no control characters that a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


def width(text: str) -> int:
    """Columns that a terminal uses for the text."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def paint(text: str, colour: str, look: Look) -> str:
    """The text in that colour, if there are colours."""
    return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if look.colour and colour and text else text


def age(seconds: float) -> str:
    """A time span as kubectl writes ages: 90s, 5m30s, 3h, 2d4h."""
    left = max(0, int(seconds))
    text = ""
    for unit in next((units for below, units in AGES if left < below), "y"):
        count, left = divmod(left, SECONDS[unit])
        text += f"{count}{unit}" if count or not text else ""
    return text
