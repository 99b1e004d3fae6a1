# SPDX-License-Identifier: Apache-2.0
"""How far a change has got, how fast it goes, and how long it will take at that pace. Pure: observations in, words out.

The pace is that of the instances themselves as they were seen to arrive. What happened before the first look is not known, so that it
takes two arrivals to have a pace; with less there is none, and none is told.
"""

from dataclasses import dataclass, replace

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.layout import age

BURST = 1.0  # seconds; instances that arrive together are one step of the rollout
RECENT = 10  # steps that the pace is taken from
LATE = 3.0  # times the usual pause between two steps, after which an expectation is no longer told
WORDS = {"Provision": "started", "Ready": "started", "Update": "rolled out", "Rollback": "back", "Scale": "in service"}


@dataclass(frozen=True)
class Step:
    """How many instances were done at a moment (seconds of any one clock)."""

    at: float
    done: int


@dataclass(frozen=True)
class Movement:
    """One change on its way: `done` of `total` instances. Where instances only leave, `done` counts from below up to 0."""

    key: tuple[object, ...]
    verb: str
    done: int
    total: int


@dataclass(frozen=True)
class Course:
    """What was seen of one movement; the first step is that of the first look."""

    movement: Movement
    steps: tuple[Step, ...]


def movement(service: ManagedService) -> Movement | None:
    """What is on its way for a service, None when nothing is or its status is an old one."""
    status, wanted = service.status, service.spec.replicas
    counts, phase = status.counts, status.phase
    if phase is None or status.observed_generation < service.metadata.generation:
        return None
    leaving = counts.draining + counts.in_service + counts.ready + counts.starting + counts.suspect
    if phase == "Destroy" or (phase == "Scale" and status.scale_direction == "In"):
        return Movement((service.metadata.uid, phase, wanted), "to go", (0 if phase == "Destroy" else wanted) - leaving, 0)
    if phase == "Scale":
        return Movement((service.metadata.uid, phase, wanted), WORDS[phase], counts.in_service, wanted)
    if phase in WORDS:
        return Movement((service.metadata.uid, WORDS[phase], status.target_revision, wanted), WORDS[phase], status.rollout.progressed, wanted)
    return None


def seen(before: Course | None, now: Movement | None, at: float) -> Course | None:
    """The course with one more observation."""
    if now is None:
        return None
    if before is None or before.movement.key != now.key:
        return Course(now, (Step(at, now.done),))
    last = before.steps[-1]
    if now.done == last.done:
        return before
    if at - last.at < BURST and len(before.steps) > 1:
        return Course(now, (*before.steps[:-1], replace(last, done=now.done)))
    return Course(now, (*before.steps, Step(at, now.done)))


def pace(course: Course) -> float | None:
    """Instances a second, as seen lately; None when too little was seen, or nothing comes forward."""
    steps = course.steps[1:][-RECENT:]
    if len(steps) < 2:  # noqa: PLR2004  a pause lies between two
        return None
    done, seconds = steps[-1].done - steps[0].done, steps[-1].at - steps[0].at
    return done / seconds if done > 0 and seconds > 0 else None


def left(course: Course, now: float) -> float | None:
    """Seconds that it will still take at that pace; None without a pace, or when the next step is long overdue."""
    speed, steps = pace(course), course.steps[1:][-RECENT:]
    if speed is None:
        return None
    usual = (steps[-1].at - steps[0].at) / (len(steps) - 1)
    waited = now - steps[-1].at
    if waited > LATE * usual + BURST:
        return None
    return max(0.0, (course.movement.total - course.movement.done) / speed - waited)


def progress(course: Course, now: float) -> str:
    """It in words: "rolled out 3 of 10, 12 a minute, about 35s left"."""
    way, speed, rest = course.movement, pace(course), left(course, now)
    parts = [f"{way.verb} {way.done} of {way.total}" if way.total else f"{max(0, -way.done)} {way.verb}"]
    if rest is not None and speed is not None and way.done < way.total:
        parts += [f"{_rate(speed)}", f"about {age(coarse(rest))} left"]
    elif speed is not None and way.done < way.total:
        parts.append(f"none for {age(now - course.steps[-1].at)}")
    return ", ".join(parts)


def _rate(speed: float) -> str:
    """Instances a minute; of slow ones, minutes an instance."""
    return f"{speed * 60:.0f} a minute" if speed * 60 >= 1.5 else f"one in {age(1 / speed)}"  # noqa: PLR2004  less would be "1 a minute" for most


def coarse(seconds: float) -> float:
    """No more exact than an expectation is: to 5 s, above 5 minutes to half a minute."""
    grain = 5 if seconds < 300 else 30  # noqa: PLR2004  as the docstring says
    return max(grain, -(-seconds // grain) * grain)
