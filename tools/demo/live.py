# SPDX-License-Identifier: Apache-2.0
"""Looking on: the live view of `kubectl drover status -w` while something happens, and waiting for what it leads to."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from tools.cluster.processes import MARKER
from tools.demo.stage import Demo, DemoError

DEADLINE = 120.0  # seconds
POLL = 0.3
_PARENT_DEATH_SIGNAL = 1  # of prctl(2)


@contextmanager
def live(demo: Demo, name: str = "") -> Generator[None, None, None]:
    """`kubectl drover status -w` on this terminal, of one service or of all; one line per change where there is none."""
    view = subprocess.Popen(
        [*demo.drover("status"), *([name] if name else []), "-w"],
        env={**os.environ, MARKER: str(demo.cluster.folder)},
        preexec_fn=_end_with_us,  # noqa: PLW1509  there are no threads here
    )
    try:
        yield
    finally:
        view.terminate()
        try:
            view.wait(5)
        except subprocess.TimeoutExpired:
            view.kill()
            view.wait()


def _end_with_us() -> None:
    """In the child: a view that outlives a killed demonstration would draw over the user's prompt."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def until(done: Callable[[], bool], what: str) -> None:
    """Wait.

    Raises:
        DemoError: it did not come true in time.

    """
    deadline = time.monotonic() + DEADLINE
    while not done():
        if time.monotonic() > deadline:
            raise DemoError(f"{what}: not in {DEADLINE:.0f} s")
        time.sleep(POLL)
