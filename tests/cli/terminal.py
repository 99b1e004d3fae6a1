# SPDX-License-Identifier: Apache-2.0
"""A terminal as a screen buffer: the few escape codes that a live view writes, as xterm obeys them. Any other one is an error."""

import re

from drover_operator.cli.layout import width

TOKEN = re.compile(r"\x1b\[(?P<args>[0-9;?]*)(?P<code>[A-Za-z])|(?P<letter>[\s\S])")
FILLER = ""  # the second half of a wide letter


class Terminal:
    """A screen of so many columns and rows; `visible` is the cursor's."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.rows = columns, rows
        self.screen = [self.blank() for _ in range(rows)]
        self.scrolled: list[str] = []
        self.row = self.column = 0
        self.full = False  # a letter stands in the last column, and the next one would fold
        self.visible = True

    def blank(self) -> list[str]:
        return [" "] * self.columns

    @property
    def lines(self) -> list[str]:
        """The screen without blanks at the ends of lines, and without blank lines at its end."""
        text = ["".join(row).rstrip() for row in self.screen]
        while text and not text[-1]:
            text.pop()
        return text

    def write(self, text: str) -> None:
        for match in TOKEN.finditer(text):
            if match["code"]:
                self._obey(match["code"], match["args"])
            else:
                self._put(match["letter"])

    def _obey(self, code: str, args: str) -> None:
        match code, args:
            case "A", _:
                self.row, self.full = max(0, self.row - int(args or 1)), False
            case "K", "":
                self.screen[self.row][self.column - self.full :] = self.blank()[self.column - self.full :]
            case "J", "":
                self.screen[self.row][self.column :] = self.blank()[self.column :]
                self.screen[self.row + 1 :] = [self.blank() for _ in range(self.row + 1, self.rows)]
            case "H", "":
                self.row, self.column, self.full = 0, 0, False
            case (("h" | "l"), "?25"):
                self.visible = code == "h"
            case "m", _:
                pass
            case _:
                raise AssertionError(f"no such escape code: {args}{code}")

    def _put(self, letter: str) -> None:
        if letter == "\r":
            self.column, self.full = 0, False
        elif letter == "\n":
            self._feed()
        elif letter.isprintable():
            self._print(letter)
        else:
            raise AssertionError(f"a control character: {letter!r}")

    def _feed(self) -> None:
        self.full = False
        if self.row + 1 < self.rows:
            self.row += 1
            return
        self.scrolled.append("".join(self.screen.pop(0)).rstrip())
        self.screen.append(self.blank())

    def _print(self, letter: str) -> None:
        size = width(letter)
        if size == 0:
            self.screen[self.row][max(0, self.column - 1)] += letter
            return
        if self.full or self.column + size > self.columns:
            self.column = 0
            self._feed()
        self.screen[self.row][self.column : self.column + size] = [letter, *[FILLER] * (size - 1)]
        self.column += size
        self.full = self.column == self.columns
