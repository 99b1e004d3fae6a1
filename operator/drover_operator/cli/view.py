# SPDX-License-Identifier: Apache-2.0
"""A live view of services as lines: what `status` shows, with progress, what is waited for, and how old it is. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.layout import Look, age, fold, paint
from drover_operator.cli.pace import Course, coarse, left, progress
from drover_operator.cli.tree import healthy, table, tree

Key = tuple[str, str]
BESIDE = 10  # lines of a frame that are no services: headings, total, what is waited for
NO_COURSES: Mapping[Key, Course] = {}


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is known at one moment: `now` of the wall, `clock` in the seconds of the courses.

    `name` is the one service that is watched, "" for all; `unread` of them cannot be read by this version. `silent` says for how long
    there is no news and why, `waiting` what is waited for.
    """

    services: Sequence[ManagedService]
    now: datetime
    clock: float = 0.0
    name: str = ""
    namespaces: bool = False
    unread: int = 0
    courses: Mapping[Key, Course] = field(default_factory=lambda: NO_COURSES)
    silent: tuple[float, str] | None = None
    waiting: str = ""


def lines(moment: Moment, look: Look, rows: int) -> list[str]:
    """The frame for a terminal of that many rows."""
    frame = _one(moment, look) if moment.name else _all(moment, look, rows)
    if moment.unread and not moment.name:
        frame += fold(f"{moment.unread} more were written by another version of Drover", look)
    if moment.waiting:
        frame += ["", *fold(moment.waiting, look)]
    if moment.silent is not None:
        seconds, words = moment.silent
        told = fold(f"No news for {age(seconds)}, this is how it was then: {words}", look)
        frame += ["", *(paint(each, "yellow", look) for each in told)]
    return frame


def _one(moment: Moment, look: Look) -> list[str]:
    if moment.services:
        service = moment.services[0]
        course = moment.courses.get(service.metadata.key)
        return tree(service, look, moment.now, progress(course, moment.clock) if course else "")
    if moment.unread:
        return fold(f"{moment.name} was written by another version of Drover: use kubectl drover of that version, or -o json", look)
    return [f"{moment.name} is not there: it was deleted"]


def _all(moment: Moment, look: Look, rows: int) -> list[str]:
    if not moment.services:
        return ["no services"]
    services = sorted(moment.services, key=lambda each: each.metadata.key)
    room = max(1, rows - BESIDE)
    if len(services) > room:
        # They do not all fit: then those that something happens to come first. A frame of all would take too long, too.
        services.sort(key=_is_quiet)
    return table(services, look, moment.now, namespaces=moment.namespaces, progress=_together(moment), room=room)


def _is_quiet(service: ManagedService) -> bool:
    return service.status.phase == "Run" and healthy(service) and service.status.observed_generation >= service.metadata.generation


def _together(moment: Moment) -> str:
    """All that is on its way in one phrase; the slowest says how long it will take."""
    going = [each for each in moment.courses.values() if each.movement.total]
    if not going:
        return ""
    done, total = sum(each.movement.done for each in going), sum(each.movement.total for each in going)
    rests = [left(each, moment.clock) for each in going if each.movement.done < each.movement.total]
    known = [each for each in rests if each is not None]
    return f"on their way: {done} of {total} instances" + (f", about {age(coarse(max(known)))} left" if known and len(known) == len(rests) else "")
