# SPDX-License-Identifier: Apache-2.0
"""Release gates: what is asked, what an answer measures, and what becomes of a check."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from tables.harness import compare, table

from drover_controllers.service.rollout.measure import Counts, Measured, asked, measured, questions
from drover_controllers.service.rollout.verdict import judged, lack
from drover_operator.api.meta import utc
from drover_operator.api.releasegate import Check, ReleaseGateSpec
from drover_operator.core.plan import Answer

BEGIN = 1_800_000_000.0
PLACES = {"revision": "web-new", "stable": "web-old", "service": "web", "namespace": "shop"}
AGAINST = PLACES | {"revision": "web-old"}
SERVER = "http://prometheus.monitoring:9090"
NUMBER = {"prometheus": {"address": SERVER, "query": "latency"}}
SHARE = {"prometheus": {"address": SERVER, "requests": "all", "failures": "bad"}}
PAGE = {"http": {"url": "http://web.shop/ready"}}
FIELD = {"http": {"url": "http://web.shop/stats", "field": "/queue/0/depth"}}
JOB = {"job": {"template": {"spec": {}}}}
RESTARTS = {"restarts": {}}


def gate(measure: Mapping[str, Any], **more: Any) -> ReleaseGateSpec:
    """A spec as it comes over the wire; comparisons with the ratio 1 and few requests, where a row says nothing else."""
    if "compare" in more:
        more["compare"] = {"atMostRatio": "1", "minSamples": 100, **more["compare"]}
    return msgspec.json.decode(json.dumps({"measure": measure, **more}), type=ReleaseGateSpec)


def says(data: Any, *, status: int = 200) -> Answer:
    return Answer(at=BEGIN, status=status, body=data if isinstance(data, bytes) else json.dumps(data).encode())


def vector(*values: str) -> Answer:
    """What Prometheus answers."""
    return says({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [BEGIN, value]} for value in values]}})


def scalar(value: str) -> Answer:
    return says({"status": "success", "data": {"resultType": "scalar", "result": [BEGIN, value]}})


# --- what is asked


@dataclass(frozen=True, kw_only=True)
class Asked:
    name: str
    why: str
    spec: ReleaseGateSpec
    asks: dict[str, str]
    """Queries by name; of HTTP the address."""

    def check(self) -> None:
        found = questions(self.spec, PLACES, AGAINST)
        seen = {name: parse_qs(urlsplit(url).query)["query"][0] if "/api/v1/query?" in url else url for name, url in found}
        compare(self.name, self.why, {"asks": seen}, {"asks": self.asks})


QUERY = 'sum(increase(failed{pod=~"$revision-.*",path=~"^/api$",ns="$namespace"}[$window])) / $stable or ${service}_x'
ASKED = [
    Asked(
        name="places are filled in",
        why="the window is the interval in one unit; an end of line in a pattern is no place and stays",
        spec=gate({"prometheus": {"address": SERVER, "query": QUERY}}, interval="1m30s"),
        asks={"value": 'sum(increase(failed{pod=~"web-new-.*",path=~"^/api$",ns="shop"}[90s])) / web-old or web_x'},
    ),
    Asked(
        name="both revisions are asked with one query",
        why="whoever compares must not write it twice: the place is what differs",
        spec=gate({"prometheus": {"address": SERVER, "query": "p99{r='$revision'}"}}, compare={}),
        asks={"value": "p99{r='web-new'}", "against": "p99{r='web-old'}"},
    ),
    Asked(
        name="counts of both revisions",
        why="the share alone would not say how much it rests on",
        spec=gate({"prometheus": {"address": SERVER, "requests": "all $revision", "failures": "bad $revision"}}, compare={}),
        asks={"requests": "all web-new", "failures": "bad web-new", "againstRequests": "all web-old", "againstFailures": "bad web-old"},
    ),
    Asked(name="counts of one", why="without a comparison nobody is asked for the old one", spec=gate(SHARE), asks={"requests": "all", "failures": "bad"}),
    Asked(
        name="a page",
        why="its address has places as queries have, and a dollar that is none stays",
        spec=gate({"http": {"url": "http://$service.$namespace/a?r=$revision&w=$window&x=$9"}}, interval="1500ms"),
        asks={"value": "http://web.shop/a?r=web-new&w=1500ms&x=$9"},
    ),
    Asked(name="a Job", why="it is run, and nobody is asked", spec=gate(JOB), asks={}),
    Asked(name="restarts", why="they are counted from the pods that are known", spec=gate(RESTARTS), asks={}),
]


@table(ASKED)
def test_what_is_asked(row: Asked):
    row.check()


@pytest.mark.parametrize("address", ["http://p:9090/tenant/a", "http://p:9090/tenant/a/", "https://p"])
def test_an_address_may_have_a_path(address: str):
    spec = gate({"prometheus": {"address": address, "query": 'a{b="c d&e=é+"} > 1'}})
    ((_, url),) = questions(spec, PLACES, AGAINST)
    assert url.startswith(f"{address.rstrip('/')}/api/v1/query?query=a%7Bb%3D%22c%20d%26e%3D%C3%A9%2B%22%7D%20%3E%201")


def test_what_was_asked_stands_beside_the_verdict_without_secrets():
    assert asked(gate({"http": {"url": "http://$service/a?token=hunter2#x", "field": "/n"}}), PLACES) == "http://web/a /n"
    assert asked(gate({"prometheus": {"address": SERVER, "requests": "all $revision", "failures": "bad"}}), PLACES) == "requests: all web-new; failures: bad"
    assert len(asked(gate({"prometheus": {"address": SERVER, "query": "x" * 4000}}), PLACES)) == 512
    assert (asked(gate(JOB), PLACES), asked(gate(RESTARTS), PLACES)) == ("job", "restarts")


# --- what an answer measures


@dataclass(frozen=True, kw_only=True)
class Read:
    name: str
    why: str
    spec: ReleaseGateSpec = field(default_factory=lambda: gate(NUMBER))
    answers: dict[str, Answer]
    wanted: Measured

    def check(self) -> None:
        compare(self.name, self.why, {"measured": measured(self.spec, self.answers)}, {"measured": self.wanted})


def number(name: str, why: str, text: str, value: Fraction | None, message: str = "", *, at: Any = vector) -> Read:
    return Read(name=name, why=why, answers={"value": at(text)}, wanted=Measured(value=value, message=message))


def nothing(name: str, why: str, answer: Answer | None, message: str, spec: ReleaseGateSpec | None = None) -> Read:
    answers = {} if answer is None else {"value": answer}
    return Read(name=name, why=why, spec=spec or gate(NUMBER), answers=answers, wanted=Measured(message=message))


def shares(name: str, why: str, wanted: Measured, *counts: str) -> Read:
    names = ("requests", "failures", "againstRequests", "againstFailures")[: len(counts)]
    spec = gate(SHARE, compare={}) if len(counts) > 2 else gate(SHARE)
    return Read(name=name, why=why, spec=spec, answers=dict(zip(names, map(vector, counts), strict=True)), wanted=wanted)


def stated(name: str, why: str, document: Any, value: Fraction | None, message: str = "", pointer: str = "/queue/0/depth") -> Read:
    spec = gate({"http": {"url": "http://web.shop/stats", "field": pointer}})
    return Read(name=name, why=why, spec=spec, answers={"value": says(document)}, wanted=Measured(value=value, message=message))


READ = [
    number("a number", "a tenth is exactly a tenth, so that a limit of 0.1 lets it pass", "0.1", Fraction(1, 10)),
    number("a scalar", "scalar(...) in a query gives one number as well", "3", Fraction(3), at=scalar),
    number("a small number", "Prometheus writes what is near to nothing so", "1.25e-07", Fraction(1, 8_000_000)),
    number("a large number", "and so what is large, with a sign in the exponent", "2e+06", Fraction(2_000_000)),
    number("below zero", "a difference may well be negative", "-1.5", Fraction(-3, 2)),
    number("NaN (argo-rollouts #459)", "no traffic divided by no traffic; every comparison with it is false", "NaN", None, "value: NaN is no number to judge"),
    number("Inf", "something divided by nothing says nothing of how bad it is", "+Inf", None, "value: +Inf is no number to judge"),
    number("minus Inf", "it would pass under every upper limit", "-Inf", None, "value: -Inf is no number to judge"),
    number("not a number at all", "what is no number is not told on: it may be anything", "0x1p", None, "value: no number to judge"),
    number("a number that fills the memory", "an exact fraction of it would have a thousand million digits", "1e999999999", None, "value: no number to judge"),
    number("a number without end", "a float has 24 characters at most; what has more is no measurement", "1" * 65, None, "value: no number to judge"),
    number("digits of another script", "Python would take them for digits", "٣", None, "value: no number to judge"),
    number("digits with a line below", "Python would take them together", "1_000", None, "value: no number to judge"),
    nothing(
        "empty (argo-rollouts #1466)", "nothing was found: a slip in a label, or no traffic; an index beyond its end there", vector(), "value: empty result"
    ),
    Read(
        name="several series",
        why="any one of them would be a guess, and the first the worst: their order is not promised",
        answers={"value": vector("1", "2")},
        wanted=Measured(message="value: 2 series instead of one number"),
    ),
    nothing(
        "a histogram",
        "a native histogram has no value, and no zero either",
        says({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {}]}]}}),
        "value: no number in the series",
    ),
    nothing(
        "a matrix",
        "a query over a range was written: many numbers, none of them meant",
        says({"status": "success", "data": {"resultType": "matrix", "result": []}}),
        "value: the result is neither a vector nor a scalar",
    ),
    nothing(
        "a number where a text should be",
        "no Prometheus does that; what it is, is not known",
        says({"status": "success", "data": {"resultType": "scalar", "result": [1, 0]}}),
        "value: the result is neither a vector nor a scalar",
    ),
    nothing(
        "an error with status 200",
        "proxies of several servers answer so, and some put data beside it",
        says({"status": "error", "errorType": "timeout", "error": "query timed out", "data": {"resultType": "scalar", "result": [1, "0"]}}),
        "value: no success: timeout: query timed out",
    ),
    nothing(
        "an error in the query",
        "the server's words help whoever wrote it",
        says({"status": "error", "errorType": "bad_data", "error": "parse error\nat char 7"}, status=400),
        "value: HTTP 400: bad_data: parse error at char 7",
    ),
    nothing(
        "words that may hold a secret",
        "a proxy that repeats what it was sent must not bring it into a status that many may read",
        says({"error": "bad header Authorization: Basic aHVudGVyMg=="}, status=401),
        "value: HTTP 401 (its words may hold a secret)",
    ),
    nothing(
        "words with an address and a key",
        "both may be ways in, and neither helps",
        says({"error": f"no route from http://u:p@h/x {'k' * 40} today"}, status=502),
        "value: HTTP 502: no route from ... ... today",
    ),
    nothing("many words", "a status has room for a sentence", says({"error": "too " * 99}, status=503), f"value: HTTP 503: {('too ' * 30)[:117]}..."),
    nothing("a login page", "status 200 and no JSON: somebody stands between", says(b"<html>session=hunter2"), "value: the answer is no JSON"),
    nothing("a page of brackets", "a depth that Python does not go must not end the operator", says(b"[" * 100_000), "value: the answer is no JSON"),
    nothing("a list", "JSON, and not what a Prometheus says", says([1]), "value: no success"),
    nothing("not found", "the wrong path, and no words of Prometheus", says(b"404 page not found", status=404), "value: HTTP 404"),
    nothing("a time-out", "a late answer is none", Answer(at=BEGIN, error="timed out after 10 s"), "value: no answer: timed out after 10 s"),
    nothing(
        "an error after the status",
        "the connection broke in the body: half a number is none",
        Answer(at=BEGIN, status=200, error="reset"),
        "value: no answer: reset",
    ),
    nothing("nobody asked", "a crash between question and answer leaves none", None, "value: not answered"),
    Read(
        name="a number to compare with",
        why="both are asked in one look, and judged together",
        spec=gate(NUMBER, compare={}),
        answers={"value": vector("0.3"), "against": vector("0.2")},
        wanted=Measured(value=Fraction(3, 10), against=Fraction(1, 5)),
    ),
    Read(
        name="nothing to compare with",
        why="the new one's number alone proves nothing where a comparison was asked for",
        spec=gate(NUMBER, compare={}),
        answers={"value": vector("0.3"), "against": vector("NaN")},
        wanted=Measured(message="against: NaN is no number to judge"),
    ),
    shares("a share", "the number to judge is the share", Measured(value=Fraction(1, 20), counts=Counts(requests=40, failures=2)), "40", "2"),
    shares(
        "counts of both",
        "increase() extrapolates: 39.6 requests are 40, and 1.9 failures 2",
        Measured(value=Fraction(1, 20), against=Fraction(1, 100), counts=Counts(requests=40, failures=2, against_requests=400, against_failures=4)),
        *("39.6", "1.9", "400.2", "4.1"),
    ),
    shares("no requests", "nothing failed because nothing was tried", Measured(message="no requests in the window"), "0", "0"),
    shares("hardly any request", "a third of one is none", Measured(message="no requests in the window"), "0.34", "0"),
    shares(
        "no requests of the old one", "there is nothing to compare with", Measured(message="no requests of the old revision in the window"), "9", "0", "0", "0"
    ),
    shares(
        "one failure too many", "two queries a moment apart may differ by one", Measured(value=Fraction(1), counts=Counts(requests=5, failures=5)), "5", "6"
    ),
    shares("more failures than requests", "the two queries do not count the same", Measured(message="7 failures of 5 requests"), "5", "7"),
    shares("requests below zero", "a difference of counters that was written by hand", Measured(message="requests: no number of requests"), "-3", "0"),
    shares("failures below zero", "they would outweigh real ones", Measured(message="failures: no number of requests"), "3", "-1"),
    shares("too many requests", "a slip of the unit; the tallies have no room for it", Measured(message="requests: no number of requests"), "1e13", "0"),
    shares("NaN failures", "a quotient was written where a count is asked for", Measured(message="failures: NaN is no number to judge"), "3", "NaN"),
    Read(
        name="empty failures",
        why="there has been no failure, or there is no such label: only `or vector(0)` can tell",
        spec=gate(SHARE),
        answers={"requests": vector("40"), "failures": vector()},
        wanted=Measured(message="failures: empty result"),
    ),
    Read(
        name="a Job",
        why="it gives no answer: whoever sees its pods says what came of it",
        spec=gate(JOB),
        answers={"value": vector("1")},
        wanted=Measured(message="nobody was asked"),
    ),
    Read(name="a page that is there", why="without a field its status is all", spec=gate(PAGE), answers={"value": says(b"ok")}, wanted=Measured(good=True)),
    Read(
        name="a page that is not",
        why="an answer other than 200 is bad: the revision itself says so",
        spec=gate(PAGE),
        answers={"value": says(b"", status=503)},
        wanted=Measured(good=False, message="HTTP 503"),
    ),
    Read(
        name="a page that sends elsewhere",
        why="where it leads was not what should be asked, and may not be asked",
        spec=gate(PAGE),
        answers={"value": says(b"", status=302)},
        wanted=Measured(good=False, message="HTTP 302"),
    ),
    nothing(
        "a page without an answer",
        "a network that is down says nothing of a revision",
        Answer(at=BEGIN, error="refused"),
        "value: no answer: refused",
        gate(PAGE),
    ),
    stated("a field", "numbers, as they are written", {"queue": [{"depth": 7}]}, Fraction(7)),
    stated("a broken field", "0.1 is a tenth here as well", {"queue": [{"depth": 0.1}]}, Fraction(1, 10)),
    stated("a field with text", "many write their numbers so", {"queue": [{"depth": "7.5"}]}, Fraction(15, 2)),
    stated("a field that is true", "Python takes it for 1, and nobody else does", {"queue": [{"depth": True}]}, None, "no number to judge"),
    stated("a field that is null", "what is not known is not 0", {"queue": [{"depth": None}]}, None, "no number to judge"),
    stated("a field with words", "NaN as text is no number either", {"queue": [{"depth": "nan"}]}, None, "nan is no number to judge"),
    stated("a field that is not there", "a slip of the pen is not 0", {"queue": [{}]}, None, "nothing at /queue/0/depth"),
    stated("a list that is too short", "an index beyond the end, as one by name", {"queue": []}, None, "nothing at /queue/0/depth"),
    stated("a path through a number", "the way ends before the pointer does", {"queue": 3}, None, "nothing at /queue/0/depth"),
    stated("a key with signs", "RFC 6901: ~1 is a slash, ~0 a tilde, and ~01 is a tilde and a 1", {"a/b": {"~1": 4}}, Fraction(4), pointer="/a~1b/~01"),
    stated("an index with a nought before", "RFC 6901 knows no such index", [3], None, "nothing at /00", pointer="/00"),
    stated("the place after the last", "RFC 6901: `-` is where nothing is yet", [3], None, "nothing at /-", pointer="/-"),
    nothing("a field of no JSON", "status 200, and not what was meant", says(b"ok"), "the answer is no JSON", gate(FIELD)),
    nothing("a number beyond JSON", "what no machine holds is no number", says(b'{"queue":[{"depth":1e999}]}'), "the answer is no JSON", gate(FIELD)),
    Read(
        name="a field with an error status",
        why="the body of an error may well have the field, from a cache",
        spec=gate(FIELD),
        answers={"value": says({"queue": [{"depth": 0}]}, status=500)},
        wanted=Measured(good=False, message="HTTP 500"),
    ),
]


@table(READ)
def test_what_an_answer_measures(row: Read):
    row.check()


def test_no_message_is_too_long_for_a_status():
    long = "/" + "x" * 252
    spec = gate({"http": {"url": "http://web", "field": long}})
    assert len(measured(spec, {"value": says({})}).message) == 253


# --- what becomes of a check


NONE = Measured(message="value: empty result")
BAD_JOB, GOOD = Measured(good=False, message="the Job has failed"), Measured(good=True)


def value(number: str, against: str | None = None) -> Measured:
    return Measured(value=Fraction(number), against=None if against is None else Fraction(against))


def counts(requests: int, failures: int, old: int, old_failures: int) -> Measured:
    found = Counts(requests=requests, failures=failures, against_requests=old, against_failures=old_failures)
    return Measured(value=Fraction(failures, requests), against=Fraction(old_failures, old), counts=found)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Measurements half a minute apart, and what the check is after them."""

    name: str
    why: str
    spec: ReleaseGateSpec
    seen: tuple[Measured, ...]
    state: str
    step: int = 1
    after: int | None = None
    """How many it took; None for all or no verdict."""
    fields: dict[str, Any] = field(default_factory=dict[str, Any])

    def check(self) -> None:
        check, after = Check(gate="g", step=self.step, begun_at=utc(BEGIN)), None
        for number, each in enumerate(self.seen, 1):
            check = judged(self.spec, check, BEGIN + 30 * number, each)
            after = number if after is None and check.state != "Measuring" else after
        assert (check.ended_at is None) == (after is None)
        assert check.ended_at is None or check.ended_at == utc(BEGIN + 30 * (after or 0))
        seen = {"state": check.state, "after": after, **{key: getattr(check, key) for key in self.fields}}
        compare(self.name, self.why, seen, {"state": self.state, "after": self.after, **self.fields})


LIMITED = {"limit": {"atMost": "0.1"}}
ISSUES = [
    Judged(
        name="argo-rollouts #4479",
        why="five measurements, each an error or bad, two bad ones tolerated: successful there",
        spec=gate(NUMBER, samples=3, tolerated=2, **LIMITED),
        seen=(NONE, value("0.5"), NONE, value("0.5"), NONE),
        state="Measuring",
        fields={"good": 0, "bad": 2, "missing": 3, "message": "no data: value: empty result"},
    ),
    Judged(
        name="argo-rollouts #4393",
        why="a Job is run once, fails, and one failure is tolerated: what is tolerated is still not good",
        spec=gate(JOB, tolerated=1),
        seen=(BAD_JOB,),
        state="Measuring",
        fields={"good": 0, "bad": 1, "message": "0 of 1 good measurements"},
    ),
    Judged(
        name="argo-rollouts #521",
        why="a Job that fails fails the check where nothing is tolerated",
        spec=gate(JOB),
        seen=(BAD_JOB,),
        state="Failed",
        after=1,
        fields={"message": "1 bad measurements, 0 tolerated; the last: the Job has failed"},
    ),
    Judged(
        name="argo-rollouts #1329",
        why="a measurement that was broken off counted as one successful; here it is one that is missing",
        spec=gate(JOB),
        seen=(Measured(message="the Job was ended before its time"),),
        state="Measuring",
        fields={"good": 0, "missing": 1, "message": "no data: the Job was ended before its time"},
    ),
    Judged(
        name="argo-rollouts #943",
        why="what is still measured has not passed: too few good ones are no success that comes to be one later",
        spec=gate(NUMBER, samples=3, **LIMITED),
        seen=(value("0"), value("0")),
        state="Measuring",
        fields={"good": 2, "message": "2 of 3 good measurements"},
    ),
    Judged(
        name="argo-rollouts #1411",
        why="an error, again and again, is neither success nor failure, however few are asked for",
        spec=gate(NUMBER, **LIMITED),
        seen=(Measured(message="value: HTTP 500"),) * 20,
        state="Measuring",
        fields={"missing": 20, "good": 0, "bad": 0},
    ),
    Judged(
        name="argo-rollouts #2026",
        why="all failed, more than are tolerated: successful there",
        spec=gate(NUMBER, samples=4, tolerated=3, **LIMITED),
        seen=(value("0.2"),) * 4,
        state="Failed",
        after=4,
        fields={"message": "4 bad measurements, 3 tolerated; the last: 0.2 is more than 0.1"},
    ),
    Judged(
        name="no measurement at all",
        why="a value that nobody has filled in must never be taken for data",
        spec=gate(PAGE),
        seen=(Measured(),),
        state="Measuring",
        fields={"missing": 1, "message": "no data: no measurement"},
    ),
]
LIMITS = [
    Judged(name="at the limit", why="both bounds are good, and exactly so", spec=gate(NUMBER, **LIMITED), seen=(value("0.1"),), state="Passed", after=1),
    Judged(
        name="just beyond the limit",
        why="as a float this would be 0.1",
        spec=gate(NUMBER, **LIMITED),
        seen=(value("0.10000000000000000001"),),
        state="Failed",
        after=1,
    ),
    Judged(
        name="below the least",
        why="a rate of success has a lower bound",
        spec=gate(NUMBER, limit={"atLeast": "0.99"}),
        seen=(value("0.98999"),),
        state="Failed",
        after=1,
        fields={"message": "1 bad measurements, 0 tolerated; the last: 0.98999 is less than 0.99"},
    ),
    Judged(
        name="between two bounds",
        why="neither idle nor overrun is what is meant",
        spec=gate(NUMBER, samples=2, limit={"atLeast": "1", "atMost": "2"}),
        seen=(value("1"), value("2")),
        state="Passed",
        after=2,
        fields={"message": "2 good, 0 bad, 0 without data"},
    ),
    Judged(
        name="a number without a limit",
        why="the server refuses such a gate; if one is there, nothing can be good",
        spec=gate(NUMBER),
        seen=(value("0"),),
        state="Measuring",
        fields={"missing": 1, "message": "no data: no limit to judge it by"},
    ),
    Judged(
        name="a limit without bounds",
        why="it is no limit, and must not wave everything through",
        spec=gate(NUMBER, limit={}),
        seen=(value("9"),),
        state="Measuring",
        fields={"missing": 1},
    ),
    Judged(name="no restart", why="without a limit none is good", spec=gate(RESTARTS), seen=(value("0"),), state="Passed", after=1),
    Judged(name="a restart", why="without a limit one is bad", spec=gate(RESTARTS), seen=(value("1"),), state="Failed", after=1),
    Judged(
        name="restarts that may be",
        why="somebody knows it of this service",
        spec=gate(RESTARTS, limit={"atMost": "2"}),
        seen=(value("2"),),
        state="Passed",
        after=1,
    ),
    Judged(name="a page that is there", why="its status is the measurement", spec=gate(PAGE, samples=2), seen=(GOOD, GOOD), state="Passed", after=2),
    Judged(
        name="bad ones between",
        why="what is tolerated resets nothing, on neither side",
        spec=gate(NUMBER, samples=3, tolerated=1, **LIMITED),
        seen=(value("0"), value("1"), value("0"), NONE, value("0"), value("1"), value("1")),
        state="Passed",
        after=5,
        fields={"good": 3, "bad": 1, "missing": 1, "message": "3 good, 1 bad, 1 without data"},
    ),
    Judged(
        name="in the background",
        why="it guards as long as the rollout runs: it never passes, and can still fail",
        step=0,
        spec=gate(NUMBER, **LIMITED),
        seen=(*(value("0"),) * 9, value("1"), value("0")),
        state="Failed",
        after=10,
        fields={"good": 9, "bad": 1},
    ),
    Judged(
        name="in the background, well",
        why="nothing that it has seen is the last word",
        step=0,
        spec=gate(NUMBER, **LIMITED),
        seen=(value("0"),) * 9,
        state="Measuring",
        fields={"good": 9, "message": ""},
    ),
]
COMPARED = [
    Judged(
        name="as good as the old one",
        why="enough requests, and the tallies are within the ratio",
        spec=gate(SHARE, compare={"minSamples": 200}),
        seen=(counts(100, 1, 900, 9),) * 2,
        state="Passed",
        after=2,
        fields={"requests": 200, "failures": 2, "against_requests": 1800, "against_failures": 18},
    ),
    Judged(
        name="nothing fails on either side",
        why="no failure is no evidence, and no division by nothing either",
        spec=gate(SHARE, compare={"minSamples": 200}),
        seen=(counts(100, 0, 900, 0),) * 2,
        state="Passed",
        after=2,
        fields={"evidence": "0.000000000"},
    ),
    Judged(
        name="too few requests",
        why="three good ones say nothing yet",
        spec=gate(SHARE, compare={"minSamples": 200}),
        seen=(counts(3, 0, 27, 0),),
        state="Measuring",
        fields={"good": 1, "message": "3 of 200 requests"},
    ),
    Judged(
        name="too few windows",
        why="a burst of requests in one window is one look",
        spec=gate(SHARE, samples=2, compare={}),
        seen=(counts(500, 0, 500, 0),),
        state="Measuring",
        fields={"message": "1 of 2 good measurements"},
    ),
    Judged(
        name="clearly bad",
        why="10 % against 1 %, at a tenth of the traffic: 80 requests are enough",
        spec=gate(SHARE, compare={}),
        seen=(counts(20, 2, 180, 2),) * 10,
        state="Failed",
        after=4,
        fields={"requests": 80, "failures": 8},
    ),
    Judged(
        name="bad at once",
        why="one window may hold more than enough; a single bad window is otherwise nobody's failure",
        spec=gate(SHARE, compare={}),
        seen=(counts(200, 60, 1800, 18),),
        state="Failed",
        after=1,
        fields={"bad": 0, "good": 1},
    ),
    Judged(
        name="a little worse",
        why="neither proved bad nor within the ratio: it goes on, as long as the progress deadline lets it",
        spec=gate(SHARE, compare={}),
        seen=(counts(100, 3, 900, 18),) * 2,
        state="Measuring",
        fields={"message": "not within the ratio: 6 of 200 failed against 36 of 1800 of the old revision, and up to 1 times as often is good"},
    ),
    Judged(
        name="a little worse is good",
        why="the ratio says how much: 3 % against 2 % is one and a half times",
        spec=gate(SHARE, compare={"atMostRatio": "1.5"}),
        seen=(counts(100, 3, 900, 18),),
        state="Passed",
        after=1,
    ),
    Judged(
        name="an outage of both",
        why="the whole traffic fails for two windows, when the new one has most of it: pooled, it would look twice as bad",
        spec=gate(SHARE, compare={"minSamples": 10_000}),
        seen=(counts(50, 0, 450, 4), counts(50, 1, 450, 5), counts(400, 200, 100, 50), counts(400, 200, 100, 50)),
        state="Measuring",
        fields={"failures": 401, "against_failures": 109},
    ),
    Judged(
        name="a limit beside the comparison",
        why="the old one may be as bad: the limit holds for itself",
        spec=gate(SHARE, compare={}, limit={"atMost": "0.05"}),
        seen=(counts(100, 10, 900, 90),),
        state="Failed",
        after=1,
        fields={"bad": 1, "message": "1 bad measurements, 0 tolerated; the last: 0.1 is more than 0.05"},
    ),
    Judged(
        name="a gap in the data",
        why="it counts for nobody, and what was known before still counts",
        spec=gate(SHARE, compare={}),
        seen=(counts(20, 2, 180, 2), NONE, counts(20, 2, 180, 2), NONE, *(counts(20, 2, 180, 2),) * 2),
        state="Failed",
        after=6,
        fields={"missing": 2},
    ),
    Judged(
        name="nothing to compare with",
        why="a share of the new one alone is no comparison, and must not pass as one",
        spec=gate(SHARE, compare={"minSamples": 1}),
        seen=(Measured(value=Fraction(0), counts=Counts(requests=50)),),
        state="Measuring",
        fields={"missing": 1, "requests": 0, "message": "no data: nothing to compare with"},
    ),
    Judged(
        name="a page cannot be compared",
        why="the server refuses such a gate; if one is there, nothing can be good",
        spec=gate(PAGE, compare={}),
        seen=(GOOD,),
        state="Measuring",
        fields={"missing": 1},
    ),
    Judged(
        name="a ratio of nothing",
        why="ratio 0 is: no failure at all, whatever the old one does",
        spec=gate(SHARE, compare={"atMostRatio": "0"}),
        seen=(counts(50, 0, 450, 9), counts(50, 2, 450, 9)),
        state="Failed",
        after=2,
    ),
    Judged(
        name="a probability of nothing",
        why="the server refuses such a gate; if one is there, evidence is never enough",
        spec=gate(SHARE, compare={"errorProbability": "0.0"}),
        seen=(counts(500, 500, 500, 0),),
        state="Measuring",
    ),
    Judged(
        name="a latency that is the same",
        why="pairs count, and half of them may be beyond",
        spec=gate(NUMBER, compare={"minSamples": 4, "atMostRatio": "1.1"}),
        seen=(value("0.2", "0.2"), value("0.3", "0.2"), value("0.22", "0.2"), value("0.4", "0.2")),
        state="Passed",
        after=4,
        fields={"requests": 4, "failures": 2, "against_requests": 0},
    ),
    Judged(
        name="a latency that is worse",
        why="nine windows in a row are beyond: by chance that is one in 512, at most",
        spec=gate(NUMBER, compare={"minSamples": 20}),
        seen=(value("0.3", "0.2"),) * 20,
        state="Failed",
        after=9,
        fields={"message": "9 of 9 numbers are more than 1 times the old revision's; such evidence against as good a one has a probability of at most 0.0072"},
    ),
    Judged(
        name="a latency that is worse more often",
        why="three of four pairs are beyond: not proved, and no pass",
        spec=gate(NUMBER, compare={"minSamples": 4}),
        seen=(value("0.3", "0.2"), value("0.1", "0.2"), value("0.3", "0.2"), value("0.3", "0.2")),
        state="Measuring",
        fields={"message": "not within the ratio: 3 of 4 numbers are more than 1 times the old revision's"},
    ),
    Judged(
        name="numbers below zero",
        why="a ratio of them means nothing",
        spec=gate(NUMBER, compare={"minSamples": 1}),
        seen=(value("-3", "-2"),),
        state="Measuring",
        fields={"missing": 1},
    ),
]


@table([*ISSUES, *LIMITS, *COMPARED])
def test_what_becomes_of_a_check(row: Judged):
    row.check()


def test_samples_are_kept_with_their_times_and_numbers():
    check, spec = Check(gate="g", step=1), gate(SHARE, samples=1000, compare={})
    for number in range(1, 25):
        check = judged(spec, check, BEGIN + 30 * number + 0.7, counts(30, 1, 700, 7) if number % 2 else NONE)
    assert len(check.samples) == 10
    assert [each.at for each in check.samples] == [utc(BEGIN + 30 * number) for number in range(15, 25)]
    assert (check.samples[-2].quality, check.samples[-2].value, check.samples[-2].against) == ("Good", "0.0333333333", "0.01")
    assert (check.samples[-1].quality, check.samples[-1].value, check.samples[-1].message) == ("NoData", "", "value: empty result")
    assert (check.good, check.missing, check.requests, check.against_failures) == (12, 12, 360, 84)


@pytest.mark.parametrize("at", [BEGIN - 1, BEGIN + 30, BEGIN + 30.9, BEGIN + 29])
def test_what_is_not_newer_is_not_counted(at: float):
    """Stored before a crash, or asked for before the check began: a window that reaches into the time before says nothing of this step."""
    spec = gate(NUMBER, samples=5, **LIMITED)
    check = judged(spec, Check(gate="g", step=1, begun_at=utc(BEGIN)), BEGIN + 30.4, value("0"))
    assert check.good == 1
    assert judged(spec, check, at, value("0")) is check
    assert judged(spec, check, BEGIN + 31, value("0")).good == 2


def test_in_the_background_it_can_be_asked_whether_the_rollout_may_go_on():
    """A good window of a comparison is data and no more: ten requests must let no step pass."""
    spec = gate(SHARE, compare={})
    check = judged(spec, Check(gate="g", step=0), BEGIN, counts(10, 0, 90, 1))
    assert (check.good, check.samples[-1].quality, lack(spec, check)) == (1, "Good", "10 of 100 requests")
    assert lack(spec, judged(spec, check, BEGIN + 30, counts(90, 0, 810, 9))) == ""


def test_what_is_before_the_beginning_is_not_counted():
    fresh = Check(gate="g", step=1, begun_at=utc(BEGIN))
    assert judged(gate(PAGE), fresh, BEGIN - 1, GOOD) is fresh


@pytest.mark.parametrize("evidence", ["nonsense", "NaN", "Infinity", "-Infinity", "1e", ""])
def test_evidence_that_was_written_by_hand_counts_for_nothing(evidence: str):
    spec, look = gate(SHARE, compare={}), counts(20, 2, 180, 2)
    fresh = judged(spec, Check(gate="g", step=1), BEGIN, look)
    assert judged(spec, Check(gate="g", step=1, evidence=evidence), BEGIN, look).evidence == fresh.evidence


def test_the_largest_numbers_fit_into_a_status():
    """Schema bounds that are broken refuse the whole status, again and again."""
    spec, most = gate(SHARE, samples=1000, tolerated=1000, compare={"atMostRatio": "0.000000001", "errorProbability": "0.0"}), 10**12
    check = Check(gate="g", good=10**15, missing=10**15, requests=10**15, against_requests=10**15, against_failures=10**15)
    for number, look in enumerate((counts(most, most, most, 1), counts(most, 1, most, most), NONE, counts(1, 1, most, 0))):
        check = judged(spec, check, BEGIN + number, look)
        assert msgspec.json.decode(msgspec.json.encode(check), type=Check) == check
    assert check.good == check.missing == check.requests == 10**15
    assert check.state == "Measuring"
    for number in ("1e308", "-1.23456789012345e-300", "123456789012.5"):
        sample = judged(gate(NUMBER, limit={"atMost": "1"}), Check(gate="g"), BEGIN, value(number)).samples[0]
        assert len(sample.value) <= 32
        assert abs(Fraction(sample.value) / Fraction(number) - 1) < Fraction(1, 10**8)
