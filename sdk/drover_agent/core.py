# SPDX-License-Identifier: Apache-2.0
"""What the agent knows and how each fact changes it: values and total functions, no clock and no I/O.

    nothing -> found -> probed, probed, ... -> healthy <-> unhealthy
       ^         |                                 |
       +- gone --+---------------------------------+

A run is one life of the watched process. Nothing is carried from one run to the next but counters: a new run is not ready until it
has proved itself, and a drain belongs to the run that it was asked for. Times `at` are seconds since the epoch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

OK = 200
NO_PROCESS = "no process to watch: is shareProcessNamespace true, and --process right?"
ZEROS = 2  # in a row; after one alone a request may be on its way
KEPT = 5  # kinds of unreadable answers that are told


@dataclass(frozen=True, kw_only=True, slots=True)
class Thresholds:
    """How many results of one kind in a row change the verdict."""

    unhealthy: int
    healthy: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One life of the process. The kernel keeps `ticks` since boot; `start_time` (ms since the epoch) moves when the machine's clock is set."""

    pid: int
    ticks: int
    start_time: int = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """What the probes of one run have shown; successes and failures are those in a row, so one of the two is 0."""

    started: float
    since: float
    healthy: bool = False
    successes: int = 0
    failures: int = 0
    probes: int = 0
    last_error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """All that the agent knows. `passed` and `failed` count probes of all runs."""

    health: Health
    run: Run | None = None
    runs: int = 0
    draining: bool = False
    drains: int = 0
    passed: int = 0
    failed: int = 0

    @property
    def restarts(self) -> int:
        """How often the process was followed by another run of it."""
        return max(0, self.runs - 1)


def begin(at: float) -> State:
    """The state of an agent that has seen nothing."""
    return State(health=Health(started=at, since=at))


def found(state: State, run: Run, at: float) -> State:
    """The process to watch is this run.

    Another one while the former lives is a better choice, not a restart: the former was never the process that is meant.
    """
    if run == state.run:
        return state
    corrected = state.run is not None
    return replace(_anew(state, at), run=run, runs=state.runs if corrected else state.runs + 1)


def gone(state: State, at: float) -> State:
    """The watched run has ended."""
    return state if state.run is None else replace(_anew(state, at), run=None)


def _anew(state: State, at: float) -> State:
    return replace(state, health=Health(started=at, since=at), draining=False)


def probed(state: State, run: Run | None, error: str, thresholds: Thresholds, at: float) -> State:
    """A probe that began with `run` has ended; no error is a success. It says nothing about a run that came meanwhile."""
    if run is None or run != state.run:
        return state
    health = judged(state.health, error, thresholds, at)
    return replace(state, health=health, failed=state.failed + 1) if error else replace(state, health=health, passed=state.passed + 1)


def judged(health: Health, error: str, thresholds: Thresholds, at: float) -> Health:
    """Hysteresis: what is healthy stays so until `unhealthy` failures in a row, what is not until `healthy` successes in a row."""
    successes, failures = (0, health.failures + 1) if error else (health.successes + 1, 0)
    healthy = failures < thresholds.unhealthy if health.healthy else successes >= thresholds.healthy
    return replace(
        health,
        healthy=healthy,
        since=health.since if healthy == health.healthy else at,
        successes=successes,
        failures=failures,
        probes=health.probes + 1,
        last_error=error or health.last_error,
    )


def drain_begun(state: State) -> State:
    """The instance leaves: not ready any more, until another run comes."""
    return replace(state, draining=True, drains=state.drains + 1)


def next_probe(began: float, ended: float, interval: float) -> float:
    """When the next probe begins: an interval after the last one began, or at once if that one took longer. They never overlap."""
    return max(began + interval, ended)


def why_not_ready(state: State, thresholds: Thresholds) -> str:
    """One line, or "" for ready."""
    health = state.health
    if state.draining:
        return "draining"
    if state.run is None:
        return NO_PROCESS
    if health.healthy:
        return ""
    if health.failures:
        return f"unhealthy: {health.failures} failed in a row, the last: {health.last_error}"
    return f"not proved yet: {health.successes} of {thresholds.healthy} successes in a row"


# -- drain


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What the application said of its active requests; None with an error that says why there is no number."""

    count: int | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Readings of one drain: the last number (None if it could not be read), zeros in a row, and each kind of unreadable answer once."""

    active: int | None = None
    zeros: int = 0
    unreadable: tuple[str, ...] = ()


def count_of(status: int, body: bytes) -> Reading:
    """The number of active requests in an answer: a whole number, or JSON with the field activeRequests."""
    if status != OK:
        return Reading(error=f"status {status}, not {OK}")
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return Reading(error="neither a whole number nor JSON")
    count = said.get("activeRequests") if isinstance(said, dict) else said
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        return Reading(error="no whole number of active requests")
    return Reading(count=count)


def counted(tally: Tally, reading: Reading) -> Tally:
    """The tally after one more reading. An unreadable one proves nothing, so it breaks a row of zeros."""
    if reading.count is None:
        new = reading.error not in tally.unreadable and len(tally.unreadable) < KEPT
        return Tally(unreadable=(*tally.unreadable, reading.error) if new else tally.unreadable)
    return replace(tally, active=reading.count, zeros=0 if reading.count else tally.zeros + 1)


def is_drained(tally: Tally, *, counting: bool, waited: float, settle: float) -> bool:
    """Whether the instance may end: slow proxies have had `settle` seconds, and nothing is active where that can be counted."""
    return waited >= settle and (not counting or tally.zeros >= ZEROS)


# -- what is told


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A change that is worth a line."""

    name: str
    level: str = "info"
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


def events(before: State, after: State) -> tuple[Event, ...]:
    """The lines that a change of state is worth; a probe that changes nothing is worth none."""
    if before.run != after.run:
        return (_of_runs(before, after),)
    told: list[Event] = []
    if after.health.healthy and not before.health.healthy:
        told.append(Event(name="healthy", fields={"successes": after.health.successes}))
    if before.health.healthy and not after.health.healthy:
        told.append(Event(name="unhealthy", level="warning", fields={"failures": after.health.failures, "error": after.health.last_error}))
    if after.draining and not before.draining:
        told.append(Event(name="draining"))
    return tuple(told)


def _of_runs(before: State, after: State) -> Event:
    if after.run is None:
        return Event(name="gone", level="warning", fields={"pid": before.run.pid if before.run else None})
    fields = {"pid": after.run.pid, "startTime": after.run.start_time}
    if after.restarts > before.restarts:
        return Event(name="restarted", level="warning", fields={**fields, "restarts": after.restarts})
    return Event(name="found", fields=fields)
