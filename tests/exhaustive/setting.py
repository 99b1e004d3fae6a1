# SPDX-License-Identifier: Apache-2.0
"""What a search is about: the user's steps, how much may go wrong, and what holds in the engine and on the server."""

from typing import NamedTuple

from exhaustive.values import Spec

CRASH, DEPOSE, LOST, LATE, FAIL, SICK, TICK = range(7)


class Faults(NamedTuple):
    """How many of each may happen in one run: crashes, depositions, answers that are lost, writes that arrive after their sender gave
    them up (or never), pods that fail, pods that sicken, and passings of all deadlines."""

    crash: int = 0
    depose: int = 0
    lost: int = 0
    late: int = 0
    fail: int = 0
    sick: int = 0
    tick: int = 0


class Rig(NamedTuple):
    """What holds in a space. The defaults are the real thing; the first seven are what mutants do without.

    `prompt`: the watch of endpoints is never behind that of pods. `lenient`: what happened without the knowledge of its sender is not
    held against it. `proves`: after an answer was lost, nothing is decided before the caches are proved.
    """

    versions: bool = True
    names: bool = True
    guard: bool = True
    fence: bool = True
    barrier: bool = True
    stops: bool = True
    proves: bool = True
    prompt: bool = True
    lenient: bool = True


class Scene(NamedTuple):
    """The user's specs in their order, revisions that never become healthy, and such that the server refuses."""

    specs: tuple[Spec, ...]
    bad: str = ""
    refused: str = ""
    settle: str = "0s"
    descending: bool = False  # of two pods of one place the younger has the lesser name


CALM, REAL = Faults(), Rig()
