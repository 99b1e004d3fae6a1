# SPDX-License-Identifier: Apache-2.0
"""A frame on the terminal that is redrawn in place. Whatever ends it, the cursor is seen again and stands below the last frame."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from drover_operator.cli.frame import CLEAR, HIDE, SHOW, fit, redraw
from drover_operator.cli.screen import live, put


class Canvas:
    """Used as a context inside the running loop; `changed` is called when the terminal needs another frame.

    SIGTERM and SIGHUP call `stop`; Ctrl-Z gives the cursor back while the verb is suspended.
    """

    def __init__(self, changed: Callable[[], None], stop: Callable[[], None]) -> None:
        self._changed = changed
        self._stop = stop
        self._shown: list[str] = []
        self._stale = False  # the screen holds something else than we think

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, self._lost)
        loop.add_signal_handler(signal.SIGCONT, self._lost)
        loop.add_signal_handler(signal.SIGTSTP, self._suspend)
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop)
        self._write(HIDE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._write(SHOW)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGWINCH, signal.SIGCONT, signal.SIGTSTP, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines instead of those before."""
        look, rows = live()
        wanted = fit(lines, look.width, rows)
        self._write(HIDE + CLEAR + redraw([], wanted) if self._stale else redraw(self._shown, wanted))
        self._shown, self._stale = wanted, False

    def _lost(self) -> None:
        self._stale = True
        self._changed()

    def _suspend(self) -> None:
        self._write(SHOW)
        os.kill(os.getpid(), signal.SIGSTOP)

    def _write(self, text: str) -> None:
        if text:
            put(text)
