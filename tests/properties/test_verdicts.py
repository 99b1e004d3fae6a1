# SPDX-License-Identifier: Apache-2.0
"""Verdicts of release gates: every order of measurements against an oracle, the promise on false failures, and a replay of 2,000 rollouts.

The seeds and every parameter of the generators stand here: a score without its data set says nothing.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drover_controllers.service.rollout.measure import Counts, Measured, measured
from drover_controllers.service.rollout.verdict import judged
from drover_operator.api.releasegate import Check, ReleaseGateSpec
from drover_operator.core.plan import Answer

SIGMAS = 3
EVERY = 30.0
PROMETHEUS = {"prometheus": {"address": "http://p:9090", "requests": "a", "failures": "b"}}
PAIRS = {"prometheus": {"address": "http://p:9090", "query": "a"}}


def gate(measure: dict[str, Any], **more: Any) -> ReleaseGateSpec:
    return msgspec.json.decode(json.dumps({"measure": measure, **more}), type=ReleaseGateSpec)


def share(requests: int, failures: int, old: int, old_failures: int) -> Measured:
    found = Counts(requests=requests, failures=failures, against_requests=old, against_failures=old_failures)
    return Measured(value=Fraction(failures, requests), against=Fraction(old_failures, old), counts=found)


# --- every order of good, bad and nothing

SEEN = {"+": Measured(good=True), "-": Measured(good=False), "0": Measured(message="empty result")}
LONGEST = 8


def oracle(word: str, samples: int, tolerated: int) -> tuple[str, int]:
    """The verdict and how many measurements it took: the first prefix with enough of either side. Written without a state on purpose."""
    passes = [k for k in range(len(word) + 1) if word[:k].count("+") >= samples]
    fails = [k for k in range(len(word) + 1) if word[:k].count("-") > tolerated]
    first = min([*passes, *fails], default=0)
    return ("Passed" if first in passes else "Failed", first) if first else ("Measuring", len(word))


@pytest.mark.parametrize(("samples", "tolerated"), [(1, 0), (2, 0), (3, 1), (1, 3), (4, 2), (8, 0), (5, 7), (2, 1)])
def test_every_order_of_measurements_has_the_verdict_of_the_oracle(samples: int, tolerated: int):
    """R14: all words of up to eight, 9,840 for each setting, of which 6,561 have eight; each prefix is folded once."""
    spec, words = gate({"http": {"url": "http://web"}}, samples=samples, tolerated=tolerated), Counter[int]()
    folded = {"": Check(gate="g", step=1)}
    for length in range(1, LONGEST + 1):
        for letters in product("+-0", repeat=length):
            word = "".join(letters)
            check = folded[word] = judged(spec, folded[word[:-1]], EVERY * length, SEEN[word[-1]])
            state, after = oracle(word, samples, tolerated)
            told = word[:after]
            assert check.state == state, word
            assert (check.good, check.bad, check.missing) == (told.count("+"), told.count("-"), told.count("0")), word
            assert [each.quality for each in check.samples] == [{"+": "Good", "-": "Bad", "0": "NoData"}[each] for each in told], word
            assert (check.ended_at is None) == (state == "Measuring")
            assert check.ended_at is None or check.ended_at.timestamp() == EVERY * after
            words[length] += 1
    assert words[LONGEST] == 3**LONGEST


@pytest.mark.parametrize("tolerated", [0, 1, 3])
def test_a_check_in_the_background_only_ever_fails(tolerated: int):
    spec = gate({"http": {"url": "http://web"}}, tolerated=tolerated)
    for letters in product("+-0", repeat=6):
        check = Check(gate="g", step=0)
        for number, each in enumerate(letters):
            check = judged(spec, check, EVERY * number, SEEN[each])
        assert check.state == ("Failed" if letters.count("-") > tolerated else "Measuring")


ANY = st.one_of(
    st.sampled_from(list(SEEN.values())),
    st.builds(lambda n, x, m, y: share(n, min(n, x), m, min(m, y)), st.integers(1, 300), st.integers(0, 30), st.integers(1, 3000), st.integers(0, 300)),
    st.builds(lambda value, against: Measured(value=value, against=against), st.fractions(), st.none() | st.fractions()),
)
GATES = [
    gate({"http": {"url": "http://web"}}, samples=3, tolerated=1),
    gate(PROMETHEUS, compare={"atMostRatio": "1", "minSamples": 100}),
    gate(PROMETHEUS, compare={"atMostRatio": "1.2", "minSamples": 10, "errorProbability": "0.2"}, limit={"atMost": "0.5"}, tolerated=2),
    gate(PAIRS, compare={"minSamples": 3}, samples=2),
    gate(PAIRS, limit={"atLeast": "-1", "atMost": "1"}, samples=2, tolerated=1),
    gate({"restarts": {}}, samples=2),
]


@settings(max_examples=80, deadline=None)
@given(spec=st.sampled_from(GATES), seen=st.lists(ANY, max_size=12), step=st.integers(0, 2))
def test_a_measurement_counts_once_and_a_verdict_stays(spec: ReleaseGateSpec, seen: list[Measured], step: int):
    """A crash between the write and what comes after it brings the same answer again; so does any earlier one."""
    check = Check(gate="g", step=step)
    for number, each in enumerate(seen, 1):
        before, check = check, judged(spec, check, EVERY * number, each)
        assert judged(spec, check, EVERY * number, each) is check
        assert judged(spec, check, EVERY * (number - 1), seen[0]) is check
        assert msgspec.json.decode(msgspec.json.encode(check), type=Check) == check, "as the server stores it"
        assert before.state == "Measuring" or check is before
        assert check.good + check.bad + check.missing == before.good + before.bad + before.missing + (before.state == "Measuring")
        assert check.state != "Passed" or (step and check.good >= spec.samples)


@pytest.mark.parametrize("spec", GATES)
def test_nothing_never_comes_to_something(spec: ReleaseGateSpec):
    """R14: 500 measurements without data, of every kind, and the check is where it was."""
    check = Check(gate="g", step=1)
    for number in range(500):
        check = judged(spec, check, EVERY * number, Measured(message="empty result") if number % 2 else Measured())
        assert (check.state, check.good, check.bad, check.requests, check.evidence) == ("Measuring", 0, 0, 0, "")
    assert check.missing == 500


# --- the promise on false failures


def chance(total: int, p: float, failed: int) -> float:
    return math.comb(total, failed) * p**failed * (1 - p) ** (total - failed)


@pytest.mark.parametrize("ratio", ["0.5", "1", "1.2", "3"])
@pytest.mark.parametrize("past", [(0, 0, 0, 0), (100, 5, 900, 3), (1000, 10, 9000, 90), (10, 9, 10, 0)])
@pytest.mark.parametrize(("new", "old"), [(1, 1), (2, 9), (5, 3), (3, 30)])
def test_no_window_is_expected_to_add_evidence_against_as_good_a_revision(new: int, old: int, past: tuple[int, ...], ratio: str):
    """All outcomes of one window, whatever the past, the rate and the ratio: the mean factor is at most 1. Ville's inequality does the rest."""
    spec = gate(PROMETHEUS, compare={"atMostRatio": ratio, "errorProbability": "0.0000000001"})
    names = ("requests", "failures", "against_requests", "against_failures")
    before = Check(gate="g", step=0, evidence="0", **dict(zip(names, past, strict=True)))
    outcomes = product(range(new + 1), range(old + 1))
    gains = {(x, y): math.exp(float(judged(spec, before, 0.0, share(new, x, old, y)).evidence)) for x, y in outcomes}
    for rate in (0.001, 0.01, 0.1, 0.3, 0.9):
        for worse in (1.0, 0.5):
            p = min(1.0, rate * float(ratio) * worse)
            mean = sum(gain * chance(new, p, x) * chance(old, rate, y) for (x, y), gain in gains.items())
            assert mean <= 1 + 1e-9, f"rate {rate}, new {p}"


def drawn(dice: random.Random, total: int, p: float) -> int:
    """A binomial number, by the gaps between failures."""
    if p <= 0 or p >= 1:
        return total if p >= 1 else 0
    at, found = 0, -1
    while at <= total:
        at, found = at + 1 + int(math.log(1 - dice.random()) / math.log1p(-p)), found + 1
    return found


def failed(spec: ReleaseGateSpec, looks: Iterator[Measured]) -> Check:
    check = Check(gate="g", step=0)
    for number, look in enumerate(looks):
        check = judged(spec, check, EVERY * number, look)
        if check.state == "Failed":
            break
    return check


def promised(name: str, spec: ReleaseGateSpec, seed: int, streams: int, looks: Callable[[random.Random], Iterator[Measured]]) -> None:
    dice = random.Random(seed)
    count = sum(failed(spec, looks(dice)).state == "Failed" for _ in range(streams))
    promise = float(spec.compare.error_probability) if spec.compare else 0.0
    most = promise + SIGMAS * math.sqrt(promise * (1 - promise) / streams)
    print(f"{name}: seed {seed}, {count} of {streams} streams failed, {count / streams:.4f}; promised {promise}, allowed {most:.4f}")
    assert count / streams <= most


def at_the_boundary(dice: random.Random, ratio: float, windows: int) -> Iterator[Measured]:
    """The rate changes from window to window, with an outage of both in one of ten, and so does the share of traffic."""
    for _ in range(windows):
        rate = dice.choice((0.002, 0.01, 0.03)) if dice.random() < 0.9 else 0.3
        new, old = dice.choice(((20, 180), (50, 150), (100, 100)))
        yield share(new, drawn(dice, new, rate * ratio), old, drawn(dice, old, rate))


def test_false_failures_at_the_boundary():
    """Exactly as much worse as is allowed: the worst case of the hypothesis. 16 looks each."""
    spec = gate(PROMETHEUS, compare={"atMostRatio": "1.2", "errorProbability": "0.05"})
    promised("boundary, ratio 1.2", spec, 20_261, 2000, lambda dice: at_the_boundary(dice, 1.2, 16))


def test_false_failures_of_good_ones():
    """As good as the old one where a fifth more is allowed: it is failed far more seldom than was promised."""
    spec = gate(PROMETHEUS, compare={"atMostRatio": "1.2", "errorProbability": "0.05"})
    promised("interior, equal at ratio 1.2", spec, 20_262, 2000, lambda dice: at_the_boundary(dice, 1.0, 6))


def test_false_failures_of_equal_latencies():
    """Both numbers from one distribution with a long tail: which is larger is a coin."""
    spec = gate(PAIRS, compare={"errorProbability": "0.05"})

    def looks(dice: random.Random) -> Iterator[Measured]:
        for _ in range(16):
            yield Measured(value=Fraction(round(dice.lognormvariate(0, 1) * 1e6)), against=Fraction(round(dice.lognormvariate(0, 1) * 1e6)))

    promised("pairs, equal", spec, 20_263, 2000, looks)


@pytest.mark.parametrize(
    ("new", "old", "p", "q", "half", "most"),
    [(5, 45, 0.10, 0.01, 75, 175), (20, 20, 0.10, 0.01, 180, 360), (5, 45, 0.05, 0.01, 220, 550), (20, 180, 0.10, 0.001, 60, 120)],
)
def test_a_bad_revision_is_failed_within_a_few_hundred_requests(new: int, old: int, p: float, q: float, half: int, most: int):
    """Requests of the new one that half, and nineteen of twenty, of the streams took."""
    spec, dice = gate(PROMETHEUS, compare={"atMostRatio": "1", "minSamples": 100}), random.Random(20_264)
    streams = [[share(new, drawn(dice, new, p), old, drawn(dice, old, q)) for _ in range(1 + 3 * most // new)] for _ in range(100)]
    took = sorted(failed(spec, iter(looks)).requests for looks in streams)
    print(f"{p:.1%} against {q:.1%} at {new}:{old}: seed 20264, half within {took[49]} requests, 95 % within {took[94]}")
    assert took[49] <= half
    assert took[94] <= most


def test_a_revision_that_turns_bad_late_is_found():
    """300 good windows do not weigh against what comes then: at most 10 bad windows, of 15,000 requests before."""
    spec, dice, took = gate(PROMETHEUS, compare={"atMostRatio": "1", "minSamples": 100}), random.Random(20_265), []
    for _ in range(8):
        looks = (share(50, drawn(dice, 50, 0.01 if number < 300 else 0.1), 450, drawn(dice, 450, 0.01)) for number in range(360))
        took.append(failed(spec, looks).requests - 15_000)
    print(f"turned bad after 15,000 requests: seed 20265, failed after {sorted(took)} more")
    assert min(took) > 0
    assert max(took) <= 1000


# --- a replay of rollouts

SEED, ROLLOUTS, WINDOWS = 20_266, 2000, 120
KINDS = {"healthy": 25, "slightly worse": 15, "clearly bad": 30, "missing data": 15, "bursts": 15}  # percent
RATIO, ENOUGH = 1.2, 300
LOST = ("empty", "NaN", "error", "late", "no JSON")


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One rollout: shares of traffic, the rates of both, and what is wrong with the data."""

    kind: str
    bad: bool
    new: int
    old: int
    rate: float
    times: float
    lost: float = 0.0  # of the answers
    bursts: float = 0.0  # of the windows: both revisions fail at 30 % and more


def generated(dice: random.Random) -> Rollout:
    """Requests in a window, 30 to 400, at a share of 5 to 50 % and 5 at least; rates of 0.2 to 2 % of the old one.

    Clearly bad: 8 to 30 times the old one's rate and 8 % at least. Not bad: 0.5 to 1 times; slightly worse: 1 to 1.2 times, which the gate allows.
    """
    kind = dice.choices(list(KINDS), list(KINDS.values()))[0]
    bad = kind == "clearly bad" or (kind in ("missing data", "bursts") and dice.random() < 0.5)
    total, weight, rate = dice.randint(30, 400), dice.choice((0.05, 0.1, 0.25, 0.5)), dice.uniform(0.002, 0.02)
    times = max(dice.uniform(8, 30), 0.08 / rate) if bad else dice.uniform(1, RATIO) if kind == "slightly worse" else dice.uniform(0.5, 1)
    new = max(5, round(total * weight))
    lost, bursts = (dice.uniform(0.1, 0.3) if kind == "missing data" else 0.0), (dice.uniform(0.05, 0.2) if kind == "bursts" else 0.0)
    return Rollout(kind=kind, bad=bad, new=new, old=total - new, rate=rate, times=times, lost=lost, bursts=bursts)


def answer(dice: random.Random, lost: float, count: int) -> Answer:
    """What the server says of a count, or how it fails to."""
    how = dice.choice(LOST) if dice.random() < lost else ""
    if how == "late":
        return Answer(at=0.0, error="timed out after 10 s")
    text = "NaN" if how == "NaN" else str(count)
    result = [] if how == "empty" else [{"metric": {}, "value": [0, text]}]
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
    return Answer(at=0.0, status=500 if how == "error" else 200, body=b"<html>" if how == "no JSON" else body)


def looked_at(dice: random.Random, spec: ReleaseGateSpec, each: Rollout) -> Measured:
    rate = dice.uniform(0.3, 0.5) if dice.random() < each.bursts else each.rate
    worse = min(1.0, each.times * rate)
    found = {
        "requests": each.new,
        "failures": drawn(dice, each.new, worse),
        "againstRequests": each.old,
        "againstFailures": drawn(dice, each.old, rate),
    }
    return measured(spec, {name: answer(dice, each.lost, count) for name, count in found.items()})


def replayed(dice: random.Random, spec: ReleaseGateSpec, each: Rollout) -> Check:
    check = Check(gate="errors", step=1)
    for number in range(WINDOWS):
        check = judged(spec, check, EVERY * number, looked_at(dice, spec, each))
        if check.state != "Measuring":
            break
    return check


def test_the_replay_of_generated_rollouts():
    """R14: precision of at least 95 % (of those failed, how many were bad), recall of at least 99.9 % (of those bad, how many were failed)."""
    spec = gate(PROMETHEUS, samples=3, compare={"atMostRatio": str(RATIO), "minSamples": ENOUGH, "errorProbability": "0.01"})
    dice, tally, took = random.Random(SEED), Counter[tuple[str, bool, str]](), []
    for _ in range(ROLLOUTS):
        each = generated(dice)
        check = replayed(dice, spec, each)
        tally[each.kind, each.bad, check.state] += 1
        took += [check.requests] if each.bad and check.state == "Failed" else []
        assert check.state != "Passed" or check.requests >= ENOUGH
    right = sum(count for (_, bad, state), count in tally.items() if bad and state == "Failed")
    every = sum(count for (_, bad, _), count in tally.items() if bad)
    wrong = sum(count for (_, bad, state), count in tally.items() if not bad and state == "Failed")
    precision, recall = right / (right + wrong), right / every
    print(f"\nreplay: seed {SEED}, {ROLLOUTS} rollouts, {every} bad; precision {precision:.2%}, recall {recall:.2%}")
    print(f"requests of the new revision until it failed: half within {sorted(took)[len(took) // 2]}, all within {max(took)}")
    for (kind, bad, state), count in sorted(tally.items()):
        print(f"  {kind}{', bad' if bad and kind != 'clearly bad' else ''}: {count} {state}")
    assert every >= 800
    assert precision >= 0.95
    assert recall >= 0.999
