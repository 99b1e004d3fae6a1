# SPDX-License-Identifier: Apache-2.0
"""The verdict on a new revision, folded from one measurement after the other. What is no data counts for neither side.

A check of a step passes with enough good measurements and fails with one bad one more than is tolerated. A check of step 0 guards the whole
rollout: it can fail, and never passes, for it is judged as long as the rollout runs. Where revisions are compared and there is no limit, every
window with data is a good one: a single window fails nobody, the evidence of all does.

A comparison tests, window by window, the hypothesis that the new revision fails at most `atMostRatio` = r times as often as the old one. In a
window with n requests and x failures of the new one, and m and y of the old one, a bet that it is k times worse than that multiplies its
stake by (k c)^x c^y, where c = (r n + m) / (k r n + m). That is the likelihood ratio of the conditional binomial test of two Poisson rates
(Przyborowski and Wilenski 1940), and no unfair bet for binomial counts: 1 + z <= e^z bounds its mean by 1 for every rate of failures. So the
rate may change from window to window, as in an outage that meets both, and so may the share of traffic. The product of such factors is a test
supermartingale: by Ville's inequality (1939; Shafer and Vovk 2019; Ramdas, Grünwald, Vovk and Shafer 2023) it comes to 1 / errorProbability
with at most that probability, however often one looks (Howard, Ramdas, McAuliffe and Sekhon 2021; of counts, Lindon and Malek 2022).

How much is staked on which k may depend on the past alone: on each by how well it did on the tallies (Robbins' mixture, while the share of traffic
stays), and a hundredth on all afresh (Herbster and Warmuth 1998). k = 1 is money kept, so that good days leave the evidence at -2 to -3.
At 10 % against 1 % half of the bad ones are failed within 50 requests at a share of a tenth and 120 at a half, nineteen of twenty within 125
and 280; one that turns bad after 15,000 good requests, within 100 to 700. Requests that fail together, as those of one connection, are counted
one by one, and the promise is not for them.

Pairs of a plain query, as of a latency, test by signs that the new number is beyond r times the old in at most half of the windows: the same
test, with one request on either side, of which one fails. No distribution is assumed. Nine pairs that are all beyond are enough for 0.01.

Rejected: a t-test or Mann-Whitney, as Kayenta has. At 5 % and looked at a hundred times, it fails more than a third of the good ones
(Armitage, McPherson and Rowe 1969). Wald's test of one alternative: set for five times worse, it never finds what is twice as bad. A past that
fades: it found a late turn no sooner, and after 300 good windows the evidence was -10 instead of -3. Floating point: the last digit of a
logarithm differs between machines, and so might a verdict.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import MAX_EMAX, MIN_EMIN, ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from fractions import Fraction
from functools import lru_cache, reduce

from msgspec.structs import replace

from drover_controllers.service.rollout.measure import Counts, Measured
from drover_operator.api.meta import utc
from drover_operator.api.releasegate import LAST_SAMPLES, Check, Compare, Limit, Quality, ReleaseGateSpec, Sample

MOST = 10**15  # the most that a tally holds
TIMES = tuple(map(Decimal, ("1", "1.2", "1.5", "2", "3", "5", "10", "30", "1000")))  # how much worse than is allowed each bet says
AFRESH = Decimal("0.01")  # of the stake, in each window, whatever the past says
EXACT = Context(prec=28, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])  # exponents for 10**15 requests; every machine gives the same digits
SHOWN = Context(prec=9, traps=[])
PLACES = Decimal("1e-9")
NONE_AT_ALL = Limit(at_most="0")  # restarts, unless it is said otherwise


def judged(spec: ReleaseGateSpec, check: Check, at: float, measured: Measured) -> Check:
    """The check with one more measurement, asked for at `at` (seconds since the epoch).

    Nothing changes after a verdict, and by a measurement that is not newer than the last: it may have been stored before a crash.
    """
    moment = utc(at)
    if check.state != "Measuring" or not _newer(check, moment):
        return check
    quality, why = _quality(spec, measured)
    noted = _noted(check, Sample(at=moment, quality=quality, value=_text(measured.value), against=_text(measured.against), message=why))
    if quality == "NoData":
        return replace(noted, missing=_sum(check.missing, 1), message=f"no data: {why}"[:253])
    good = quality == "Good"
    noted = replace(noted, good=_sum(check.good, good), bad=_sum(check.bad, not good))
    return _concluded(spec, _counted(spec, noted, measured), moment)


def _newer(check: Check, moment: datetime) -> bool:
    last = check.samples[-1].at if check.samples else None
    return (last is None or moment > last) and (check.begun_at is None or moment >= check.begun_at)


def _noted(check: Check, sample: Sample) -> Check:
    return replace(check, samples=(*check.samples, sample)[-LAST_SAMPLES:])


def _concluded(spec: ReleaseGateSpec, check: Check, moment: datetime) -> Check:
    failure = _failure(spec, check)
    if failure:
        return replace(check, state="Failed", ended_at=moment, message=failure)
    waits = lack(spec, check)
    if waits or not check.step:
        return replace(check, message=waits)
    return replace(check, state="Passed", ended_at=moment, message=f"{check.good} good, {check.bad} bad, {check.missing} without data")


def _failure(spec: ReleaseGateSpec, check: Check) -> str:
    """Why the check has failed, "" when it has not."""
    if check.bad > spec.tolerated:
        return f"{check.bad} bad measurements, {spec.tolerated} tolerated; the last: {check.samples[-1].message}"[:253]
    if spec.compare is not None and (found := _evidence(check)) >= _bound(spec.compare.error_probability):
        return f"{_standing(spec, spec.compare, check)}; such evidence against as good a one has a probability of {_odds(found)}"
    return ""


def lack(spec: ReleaseGateSpec, check: Check) -> str:
    """What a pass still waits for, "" for nothing; of step 0, that the rollout may go on as far as this check knows."""
    if check.good < spec.samples:
        return f"{check.good} of {spec.samples} good measurements"
    if spec.compare is None:
        return ""
    if check.requests < spec.compare.min_samples:
        return f"{check.requests} of {spec.compare.min_samples} {'pairs' if _paired(spec) else 'requests'}"
    return "" if _within(spec, spec.compare, check) else f"not within the ratio: {_standing(spec, spec.compare, check)}"


# --- one measurement


def _quality(spec: ReleaseGateSpec, measured: Measured) -> tuple[Quality, str]:
    """Good, Bad or NoData, and why it is not good. One that can be neither, for want of a limit, is no data."""
    if measured.value is None and measured.good is None:
        return "NoData", measured.message[:253] or "no measurement"
    if spec.compare is not None and not _comparable(spec, measured):
        return "NoData", "nothing to compare with"
    if measured.value is None:
        return ("Good", "") if measured.good else ("Bad", measured.message[:253] or "it failed")
    limit = spec.limit or (NONE_AT_ALL if spec.measure.restarts is not None else Limit())
    if spec.compare is None and limit == Limit():
        return "NoData", "no limit to judge it by"
    why = _beyond(limit, measured.value)
    return ("Bad", why) if why else ("Good", "")


def _beyond(limit: Limit, value: Fraction) -> str:
    if limit.at_most is not None and value > Fraction(limit.at_most):
        return f"{_text(value)} is more than {limit.at_most}"
    if limit.at_least is not None and value < Fraction(limit.at_least):
        return f"{_text(value)} is less than {limit.at_least}"
    return ""


def _comparable(spec: ReleaseGateSpec, measured: Measured) -> bool:
    """Whether there is something on both sides; a ratio of what is below zero means nothing."""
    if not _paired(spec):
        return measured.counts is not None and measured.counts.requests > 0 and measured.counts.against_requests > 0
    return measured.value is not None and measured.against is not None and min(measured.value, measured.against) >= 0


def _paired(spec: ReleaseGateSpec) -> bool:
    """Whether numbers are compared, and not counts."""
    return spec.measure.prometheus is None or spec.measure.prometheus.query is not None


# --- both revisions


def _counted(spec: ReleaseGateSpec, check: Check, measured: Measured) -> Check:
    """The check with the counts of one window, and with its evidence."""
    window = measured.counts
    if spec.compare is not None and _paired(spec):
        beyond = (measured.value or 0) > _ratio(spec.compare) * (measured.against or 0)
        window = Counts(requests=1, failures=int(beyond))
    if window is None:
        return check
    evidence = f"{_weighed(spec, spec.compare, check, window):f}" if spec.compare is not None else check.evidence
    return replace(
        check,
        requests=_sum(check.requests, window.requests),
        failures=_sum(check.failures, window.failures),
        against_requests=_sum(check.against_requests, window.against_requests),
        against_failures=_sum(check.against_failures, window.against_failures),
        evidence=evidence,
    )


def _weighed(spec: ReleaseGateSpec, compare: Compare, check: Check, window: Counts) -> Decimal:
    """The evidence after a window, rounded down, so that rounding proves nothing."""
    past = Counts(requests=check.requests, failures=check.failures, against_requests=check.against_requests, against_failures=check.against_failures)
    ratio = Decimal(1) if _paired(spec) else Decimal(compare.at_most_ratio)
    found = EXACT.add(_evidence(check), EXACT.ln(_gain(ratio, _sides(past, spec), _sides(window, spec))))
    return found.quantize(PLACES, ROUND_FLOOR, EXACT)


def _sides(counts: Counts, spec: ReleaseGateSpec) -> Counts:
    """Pairs as counts: of each pair one side fails."""
    if not _paired(spec):
        return counts
    return Counts(requests=counts.requests, failures=counts.failures, against_requests=counts.requests, against_failures=counts.requests - counts.failures)


def _gain(ratio: Decimal, past: Counts, window: Counts) -> Decimal:
    """By how much the window multiplies the stake, spread over the bets as they did in the past, and a little afresh."""
    stakes, gains = _bets(ratio, past), _bets(ratio, window)
    by_past = EXACT.divide(_total(map(EXACT.multiply, stakes, gains)), _total(stakes))
    afresh = EXACT.divide(_total(gains), Decimal(len(gains)))
    return EXACT.fma(AFRESH, EXACT.subtract(afresh, by_past), by_past)


def _bets(ratio: Decimal, counts: Counts) -> list[Decimal]:
    """What the counts make of a stake of 1 on the new revision being each of TIMES worse than is allowed."""
    allowed, old = EXACT.multiply(ratio, Decimal(counts.requests)), Decimal(counts.against_requests)
    total = EXACT.add(allowed, old)
    return [_bet(times, EXACT.divide(total, EXACT.fma(times, allowed, old)), counts) if total else Decimal(1) for times in TIMES]


def _bet(times: Decimal, spared: Decimal, counts: Counts) -> Decimal:
    return EXACT.multiply(EXACT.power(EXACT.multiply(times, spared), counts.failures), EXACT.power(spared, counts.against_failures))


def _total(numbers: Iterable[Decimal]) -> Decimal:
    return reduce(EXACT.add, numbers, Decimal(0))


def _evidence(check: Check) -> Decimal:
    """What is noted; what somebody has put there by hand counts for nothing."""
    found = EXACT.create_decimal(check.evidence or "0")
    return found if found.is_finite() else Decimal(0)


@lru_cache(maxsize=64)
def _bound(probability: str) -> Decimal:
    """The evidence that is enough, rounded up; a probability of 0 has none."""
    allowed = Decimal(probability)
    return EXACT.minus(EXACT.ln(allowed)).quantize(PLACES, ROUND_CEILING, EXACT) if allowed > 0 else Decimal("Infinity")


def _within(spec: ReleaseGateSpec, compare: Compare, check: Check) -> bool:
    """Whether the tallies by themselves are as good as they must be."""
    if _paired(spec):
        return 2 * check.failures <= check.requests
    return check.failures * check.against_requests <= _ratio(compare) * check.against_failures * check.requests


def _ratio(compare: Compare) -> Fraction:
    return Fraction(compare.at_most_ratio)


def _standing(spec: ReleaseGateSpec, compare: Compare, check: Check) -> str:
    if _paired(spec):
        return f"{check.failures} of {check.requests} numbers are more than {compare.at_most_ratio} times the old revision's"
    old = f"{check.against_failures} of {check.against_requests} of the old revision"
    return f"{check.failures} of {check.requests} failed against {old}, and up to {compare.at_most_ratio} times as often is good"


def _odds(evidence: Decimal) -> str:
    """The probability that evidence as strong comes up by chance, at most."""
    odds = SHOWN.exp(EXACT.minus(evidence))
    return f"at most {_plain(Context(prec=2, rounding=ROUND_CEILING, traps=[]).plus(odds))}" if odds > PLACES else "less than one in a thousand million"


# --- numbers


def _sum(tally: int, more: int) -> int:
    """A tally that is full stays full: one that the server refuses would hold up the whole status."""
    return min(tally + more, MOST)


def _text(value: Fraction | None) -> str:
    """Nine digits, in at most 32 characters."""
    return "" if value is None else _plain(SHOWN.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize(SHOWN))


def _plain(number: Decimal) -> str:
    return f"{number:f}" if abs(number.adjusted()) < len("0.123456789") else str(number)
