# SPDX-License-Identifier: Apache-2.0
"""The agent's verdict, runs, drains and log lines as pure functions: tables, and every sequence of probes up to length 8."""

from dataclasses import replace
from itertools import product

import pytest
from style import source

from drover_agent import core
from drover_agent.core import Event, Health, Reading, Run, State, Tally, Thresholds

THREE_TWO = Thresholds(unhealthy=3, healthy=2)
ONE = Run(pid=7, ticks=100, start_time=1_000)
LATER = Run(pid=7, ticks=900, start_time=9_000)  # the pid was given out again
OTHER = Run(pid=8, ticks=100, start_time=1_000)  # started in the same tick


def test_the_core_is_pure() -> None:
    assert source.impurities(source.tree("sdk/drover_agent/core.py")) == []


# -- hysteresis; "+" is a probe that succeeds, "-" one that fails, "H" healthy after it, "." not


def verdicts(probes: str, thresholds: Thresholds) -> str:
    health, said = Health(started=0.0, since=0.0), ""
    for at, probe in enumerate(probes, start=1):
        health = core.judged(health, "" if probe == "+" else "refused", thresholds, float(at))
        said += "H" if health.healthy else "."
    return said


VERDICTS = (
    # unhealthy, healthy, probes, verdicts, why
    (3, 2, "+", ".", "it begins not ready, and one success below the threshold changes nothing"),
    (3, 2, "++", ".H", "as many in a row as the threshold says"),
    (3, 2, "+-+", "...", "a failure between them begins the row anew"),
    (3, 2, "++-", ".HH", "one failed check below the threshold never changes discovery (M10)"),
    (3, 2, "++--+--", ".HHHHHH", "two failures, twice, are not three in a row"),
    (3, 2, "++---", ".HHH.", "the third in a row"),
    (3, 2, "++---+", ".HHH..", "and the way back takes the healthy threshold again"),
    (3, 2, "++---++", ".HHH..H", "back in service"),
    (1, 1, "+-+-", "H.H.", "thresholds of one follow each probe"),
    (1, 10, "+" * 10, ".........H", "the greatest threshold"),
    (10, 1, "+" + "-" * 10, "H" * 10 + ".", "the greatest threshold, the other way"),
)  # fmt: skip


@pytest.mark.parametrize("unhealthy, healthy, probes, expected, why", VERDICTS, ids=[row[-1] for row in VERDICTS])
def test_verdicts(unhealthy: int, healthy: int, probes: str, expected: str, why: str) -> None:
    assert verdicts(probes, Thresholds(unhealthy=unhealthy, healthy=healthy)) == expected, why


def oracle(probes: str, thresholds: Thresholds) -> bool:
    """Healthy if the last row of enough successes ended after the last row of enough failures."""
    good, bad = "+" * thresholds.healthy, "-" * thresholds.unhealthy
    proved, refuted = probes.rfind(good) + len(good), probes.rfind(bad) + len(bad)
    return good in probes and (bad not in probes or proved > refuted)


@pytest.mark.parametrize("unhealthy, healthy", list(product((1, 2, 3), repeat=2)))
def test_every_sequence_up_to_length_8(unhealthy: int, healthy: int) -> None:
    thresholds, seen = Thresholds(unhealthy=unhealthy, healthy=healthy), 0
    for length in range(1, 9):
        for probes in map("".join, product("+-", repeat=length)):
            assert (verdicts(probes, thresholds)[-1] == "H") == oracle(probes, thresholds), probes
            seen += 1
    assert seen == 2**9 - 2


def test_what_is_counted_and_since_when() -> None:
    health = Health(started=1.0, since=1.0)
    for at, error in ((2.0, "refused"), (3.0, ""), (4.0, ""), (5.0, "")):
        health = core.judged(health, error, THREE_TWO, at)
    assert health == Health(started=1.0, since=4.0, healthy=True, successes=3, failures=0, probes=4, last_error="refused")


NEXT = (
    (10.0, 10.1, 5.0, 15.0, "counted from the beginning of the last one"),
    (10.0, 15.0, 5.0, 15.0, "one that took exactly the interval"),
    (10.0, 17.5, 5.0, 17.5, "one that took longer: at once, and never beside it (C10)"),
)


@pytest.mark.parametrize("began, ended, interval, expected, why", NEXT, ids=[row[-1] for row in NEXT])
def test_the_next_probe(began: float, ended: float, interval: float, expected: float, why: str) -> None:
    assert core.next_probe(began, ended, interval) == expected, why


# -- runs


def proved(run: Run = ONE) -> State:
    """A state after the run has been found at 1 and proved healthy at 2 and 3."""
    state = core.found(core.begin(0.0), run, 1.0)
    for at in (2.0, 3.0):
        state = core.probed(state, run, "", THREE_TWO, at)
    assert state.health.healthy
    return state


def anew(at: float) -> Health:
    return Health(started=at, since=at)


RUNS = (
    # after, run, health, runs, restarts, why
    (core.found(core.begin(0.0), ONE, 1.0), ONE, anew(1.0), 1, 0, "the first one is no restart"),
    (core.found(proved(), ONE, 4.0), ONE, proved().health, 1, 0, "the same run changes nothing"),
    (core.found(proved(), replace(ONE, start_time=5), 4.0), ONE, proved().health, 1, 0, "nor does a clock that was set: the kernel's ticks say that it is the same"),
    (core.gone(proved(), 4.0), None, anew(4.0), 1, 0, "an end takes readiness at once"),
    (core.gone(core.begin(0.0), 4.0), None, anew(0.0), 0, 0, "without a run there is none to end"),
    (core.found(core.gone(proved(), 4.0), LATER, 5.0), LATER, anew(5.0), 2, 1, "a restart begins not ready, though pid and address are the same (M12)"),
    (core.found(core.gone(proved(), 4.0), OTHER, 5.0), OTHER, anew(5.0), 2, 1, "a fast restart with another pid is another run too"),
    (core.found(proved(), OTHER, 5.0), OTHER, anew(5.0), 1, 0, "a better choice beside a living one is no restart, but has to prove itself"),
    (core.probed(proved(), OTHER, "", THREE_TWO, 5.0), ONE, proved().health, 1, 0, "the probe of another run says nothing"),
    (core.probed(core.gone(proved(), 4.0), ONE, "", THREE_TWO, 5.0), None, anew(4.0), 1, 0, "nor does one whose run has ended meanwhile"),
    (core.probed(core.begin(0.0), None, "", THREE_TWO, 5.0), None, anew(0.0), 0, 0, "nor one without any run"),
)  # fmt: skip


@pytest.mark.parametrize("after, run, health, runs, restarts, why", RUNS, ids=[row[-1] for row in RUNS])
def test_runs(after: State, run: Run | None, health: Health, runs: int, restarts: int, why: str) -> None:
    assert (after.run, after.health, after.runs, after.restarts) == (run, health, runs, restarts), why


def test_a_drain_belongs_to_its_run_and_counters_to_the_agent() -> None:
    draining = core.probed(core.drain_begun(proved()), ONE, "refused", THREE_TWO, 4.0)
    assert draining.draining
    assert (draining.drains, draining.passed, draining.failed) == (1, 2, 1)
    after = core.found(core.gone(draining, 5.0), LATER, 6.0)
    assert not after.draining
    assert (after.drains, after.passed, after.failed) == (1, 2, 1)


FAILING = core.probed(core.found(core.begin(0.0), ONE, 1.0), ONE, "status 500, not 200", THREE_TWO, 2.0)
READINESS = (
    (proved(), "", "healthy"),
    (core.begin(0.0), core.NO_PROCESS, "nothing to watch: what to look at is named"),
    (core.found(core.begin(0.0), ONE, 1.0), "not proved yet: 0 of 2 successes in a row", "before the first probe"),
    (core.probed(FAILING, ONE, "", THREE_TWO, 3.0), "not proved yet: 1 of 2 successes in a row", "half the way back"),
    (FAILING, "unhealthy: 1 failed in a row, the last: status 500, not 200", "the cause is told"),
    (core.drain_begun(proved()), "draining", "healthy, and leaving all the same"),
    (core.drain_begun(core.begin(0.0)), "draining", "leaving comes first"),
)


@pytest.mark.parametrize("state, line, why", READINESS, ids=[row[-1] for row in READINESS])
def test_why_not_ready(state: State, line: str, why: str) -> None:
    assert core.why_not_ready(state, THREE_TWO) == line, why


# -- drain

COUNTS = (
    (200, b"0", 0, "a plain integer"),
    (200, b" 12\n", 12, "as a shell would print it"),
    (200, b'{"activeRequests": 3, "more": []}', 3, "JSON"),
    (200, b'\xef\xbb\xbf{"activeRequests": 3}', 3, "with a byte order mark"),
    (500, b"0", "status 500, not 200", "what comes with an error is no count"),
    (204, b"", "status 204, not 200", "nothing said"),
    (200, b"", "neither a whole number nor JSON", "an empty body"),
    (200, b"none", "neither a whole number nor JSON", "words"),
    (200, b"\xff\xfe\xfa", "neither a whole number nor JSON", "bytes that are no text"),
    (200, b"[" * 100_000, "neither a whole number nor JSON", "JSON that is nested without end"),
    (200, b"9" * 5_000, "neither a whole number nor JSON", "more digits than Python reads"),
    (200, b"-1", "no whole number of active requests", "less than none"),
    (200, b"1.0", "no whole number of active requests", "requests are whole"),
    (200, b"true", "no whole number of active requests", "true is 1 to Python only"),
    (200, b'"0"', "no whole number of active requests", "text"),
    (200, b"[0]", "no whole number of active requests", "a list"),
    (200, b"null", "no whole number of active requests", "nothing, in JSON"),
    (200, b'{"active": 0}', "no whole number of active requests", "another field"),
)


@pytest.mark.parametrize("status, body, expected, why", COUNTS, ids=[row[-1] for row in COUNTS])
def test_counts(status: int, body: bytes, expected: int | str, why: str) -> None:
    assert core.count_of(status, body) == (Reading(count=expected) if isinstance(expected, int) else Reading(error=expected)), why


TALLIES: tuple[tuple[tuple[int | str, ...], Tally, str], ...] = (
    ((), Tally(), "nothing was read"),
    ((3,), Tally(active=3), "requests are active"),
    ((0,), Tally(active=0, zeros=1), "one zero: a request may be on its way"),
    ((3, 0, 0), Tally(active=0, zeros=2), "two in a row"),
    ((0, 1, 0), Tally(active=0, zeros=1), "two, but not in a row"),
    ((0, "refused", 0), Tally(active=0, zeros=1, unreadable=("refused",)), "an unreadable answer proves nothing"),
    ((2, "refused"), Tally(active=None, unreadable=("refused",)), "an old number is none"),
    (("a", "b", "a", "a"), Tally(unreadable=("a", "b")), "each kind is named once"),
    (tuple("abcdefgh"), Tally(unreadable=tuple("abcde")), "and no more than five"),
)


@pytest.mark.parametrize("readings, expected, why", TALLIES, ids=[row[-1] for row in TALLIES])
def test_tallies(readings: tuple[int | str, ...], expected: Tally, why: str) -> None:
    tally = Tally()
    for each in readings:
        tally = core.counted(tally, Reading(count=each) if isinstance(each, int) else Reading(error=each))
    assert tally == expected, why


DRAINED = (
    # zeros, counting, waited, settle, expected, why
    (2, True, 2.0, 2.0, True, "empty, and proxies had their time"),
    (2, True, 1.9, 2.0, False, "empty, but a proxy that lags may send one more"),
    (1, True, 9.0, 2.0, False, "one zero is not enough"),
    (0, False, 2.0, 2.0, True, "where nobody counts, settle is all"),
    (0, False, 1.9, 2.0, False, "and it is waited for"),
    (0, False, 0.0, 0.0, True, "nothing is waited for"),
)


@pytest.mark.parametrize("zeros, counting, waited, settle, expected, why", DRAINED, ids=[row[-1] for row in DRAINED])
def test_when_a_drain_is_over(zeros: int, counting: bool, waited: float, settle: float, expected: bool, why: str) -> None:
    assert core.is_drained(Tally(active=0, zeros=zeros), counting=counting, waited=waited, settle=settle) is expected, why


# -- what is told


def failed(state: State, times: int) -> State:
    for at in range(times):
        state = core.probed(state, ONE, "refused", THREE_TWO, 10.0 + at)
    return state


NEARLY = core.probed(core.found(core.begin(0.0), ONE, 1.0), ONE, "", THREE_TWO, 2.0)
START = {"pid": 7, "startTime": 1_000}
EVENTS: tuple[tuple[State, State, tuple[Event, ...], str], ...] = (
    (NEARLY, core.probed(NEARLY, ONE, "", THREE_TWO, 3.0), (Event(name="healthy", fields={"successes": 2}),), "it may serve"),
    (proved(), core.probed(proved(), ONE, "", THREE_TWO, 4.0), (), "no line for a probe that changes nothing"),
    (proved(), failed(proved(), 1), (), "nor for one failure"),
    (failed(proved(), 2), failed(proved(), 3), (Event(name="unhealthy", level="warning", fields={"failures": 3, "error": "refused"}),), "with the cause"),
    (core.begin(0.0), core.found(core.begin(0.0), ONE, 1.0), (Event(name="found", fields=START),), "the first run"),
    (proved(), core.gone(proved(), 4.0), (Event(name="gone", level="warning", fields={"pid": 7}),), "the end is told, and not as unhealthy beside it"),
    (
        core.gone(proved(), 4.0),
        core.found(core.gone(proved(), 4.0), LATER, 5.0),
        (Event(name="restarted", level="warning", fields={"pid": 7, "startTime": 9_000, "restarts": 1}),),
        "another run",
    ),
    (proved(), core.found(proved(), OTHER, 4.0), (Event(name="found", fields={"pid": 8, "startTime": 1_000}),), "a better choice"),
    (proved(), core.drain_begun(proved()), (Event(name="draining"),), "it leaves"),
    (core.drain_begun(proved()), core.gone(core.drain_begun(proved()), 4.0), (Event(name="gone", level="warning", fields={"pid": 7}),), "the end of a drained one"),
)  # fmt: skip


@pytest.mark.parametrize("before, after, expected, why", EVENTS, ids=[row[-1] for row in EVENTS])
def test_events(before: State, after: State, expected: tuple[Event, ...], why: str) -> None:
    assert core.events(before, after) == expected, why
