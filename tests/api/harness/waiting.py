# SPDX-License-Identifier: Apache-2.0
"""Waiting for a real system: look, and look again until a deadline, and then say what was seen last."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PAUSE = 0.05  # seconds between two looks


class Late(AssertionError):
    """What was waited for did not come in time."""


def until(look: Callable[[], T], what: str, *, seconds: float = 30.0, seen: Callable[[], object] = lambda: "") -> T:
    """The first truthy answer of `look`; an AssertionError inside it counts as "not yet" and its words are kept.

    Raises:
        Late: the deadline passed; the message says what was wanted and what was `seen` last.
    """
    deadline, words = time.monotonic() + seconds, ""
    while True:
        try:
            if answer := look():
                return answer
            words = ""
        except AssertionError as error:
            words = str(error)
        if time.monotonic() >= deadline:
            raise Late("\n".join(str(line) for line in (f"not in {seconds:.0f} s: {what}", words, seen()) if line))
        time.sleep(PAUSE)


def never(look: Callable[[], object], what: str, *, seconds: float) -> None:
    """For as long as `seconds`, `look` stays falsy."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert not (answer := look()), f"{what}: {answer}"
        time.sleep(PAUSE)
