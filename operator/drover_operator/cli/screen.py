# SPDX-License-Identifier: Apache-2.0
"""The place that lines go to: what it can show, and writing to it. The only file of the command that asks the terminal."""

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from drover_operator.cli.layout import Look
from drover_operator.cli.outcome import Failure

USUAL_ROWS = 24


class Counter:
    """Shows on a terminal how many objects were read so far, for lists that take time; 0 takes it away again."""

    def __init__(self, stream: Any, what: str = "services") -> None:
        self._stream = stream
        self._what = what
        self._shown = False

    def __call__(self, count: int) -> None:
        """Show the count."""
        if not self._stream.isatty() or (not count and not self._shown):
            return
        self._shown = bool(count)
        self._stream.write(f"\r{count} {self._what} read ..." if count else "\r\x1b[K")
        self._stream.flush()


def write_lines(lines: Sequence[str]) -> None:
    """Write lines to stdout.

    Raises:
        Failure: they cannot be written; a reader that went away is no failure.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A version or a message may hold letters that this terminal has not: better escaped than not shown.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        sys.stdout.write("\n".join(lines) + "\n")
    except BrokenPipeError:
        # A reader that went away, as `head` does, does not change how the service is: the exit code stays.
        return
    except OSError as error:
        raise Failure(f"cannot write the output: {error.strerror or error}") from error


def put(text: str) -> None:
    """Write a piece of a live view, at once."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(text)
    sys.stdout.flush()


def is_live() -> bool:
    """Whether what is shown on stdout can be changed afterwards."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def live() -> tuple[Look, int]:
    """What a live view can show, and how many rows there are.

    COLUMNS can only make it narrower: after a resize, what a shell has exported is an old width.
    """
    now = look()
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except (OSError, ValueError):
        return now, USUAL_ROWS
    return replace(now, width=min(now.width, columns or now.width)), rows or USUAL_ROWS


def look() -> Look:
    """What stdout can show."""
    terminal = sys.stdout.isatty()
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "")
    return Look(
        width=_width() or 80,
        unicode=terminal and encoding == "utf8",
        colour=terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        cut=terminal,
    )


def _width() -> int:
    """Columns of the terminal, 0 when it is not known."""
    if (text := os.environ.get("COLUMNS", "")).isdigit():
        return int(text)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0
