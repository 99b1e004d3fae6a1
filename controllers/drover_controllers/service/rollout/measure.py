# SPDX-License-Identifier: Apache-2.0
"""What is asked for a release gate, and what the answers measure: an exact number, a plain yes or no, or nothing and the reason.

Nothing is the rule and a number the exception: only one finite number, from an answer with status 200, is data. An empty result, several
series, NaN, an error, no JSON and no answer are none, and none is never good (argo-rollouts #4479, #4393, #1329, #943, #1411, #2026). Numbers are
fractions made from the text that was sent, so that 0.1 is a tenth, a limit of 0.1 lets it pass, and there is no NaN to compare with.

Windows must not overlap where revisions are compared: whoever asks leaves an interval between two measurements, and before the first.

Rejected: an empty result as 0. A query of failures gives none while nothing has failed, but so does one with a slip in a label, and that
gate would wave everything through. The query can say it: `sum(increase(...)) or vector(0)`.

Rejected: conditions over the answer as text, as Argo Rollouts has. `result[0] >= 0.95` stops with an error where there is no result[0], and
what an error then means is another setting. Quoting an answer that is no JSON was rejected too: a login page holds tokens.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from string import Template
from typing import Any
from urllib.parse import quote

import msgspec

from drover_operator.api.releasegate import HttpMeasure, Prometheus, ReleaseGateSpec
from drover_operator.core.clock import parse_duration
from drover_operator.core.plan import Answer

OLD = {"value": "against", "requests": "againstRequests", "failures": "againstFailures"}  # the same question of the old revision
OK = 200  # the one HTTP status that carries data
MESSAGE, QUERY, QUOTED = 253, 512, 120  # characters: of a message, of what was asked, of a server's own words
LARGEST = 10**12  # requests in one window; more is a slip in the query, and its sums would not fit the tallies
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")  # no NaN, no Inf, and no exponent that fills the memory
DIGITS = 64  # characters of a number; a float of Prometheus has at most 24
INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
SECRET = re.compile(r"authori[sz]ation|bearer|basic |cookie|token|passw|secret|credential|api.?key", re.IGNORECASE)
LONG = re.compile(r"\S*://\S+|\S{40,}")  # addresses and keys


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Requests and how many of them failed, of both revisions, in one window or in all."""

    requests: int = 0
    failures: int = 0
    against_requests: int = 0
    against_failures: int = 0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measurement: a number in `value`, or a plain yes or no in `good`; with neither there is no data, and `message` says why.

    `against` is the number of the old revision; `counts` are there where the number is a share of requests. A Job that completed is
    `Measured(good=True)`, restarts are `Measured(value=Fraction(restarts))`.
    """

    value: Fraction | None = None
    against: Fraction | None = None
    counts: Counts | None = None
    good: bool | None = None
    message: str = ""


class NoNumberError(Exception):
    """There is no data, and why; it never leaves this file."""


# --- questions


def questions(spec: ReleaseGateSpec, places: Mapping[str, str], against: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """(name, address) of what must be asked; `against` has the places of the old revision. Jobs and restarts are asked of nobody."""
    if spec.measure.http is not None:
        return (("value", _filled(spec, spec.measure.http.url, places)),)
    source = spec.measure.prometheus
    if source is None:
        return ()
    found = [(name, _address(source, _filled(spec, query, places))) for name, query in _queries(source)]
    if spec.compare is not None:
        found += [(OLD[name], _address(source, _filled(spec, query, against))) for name, query in _queries(source)]
    return tuple(found)


def asked(spec: ReleaseGateSpec, places: Mapping[str, str]) -> str:
    """What is asked of the new revision, in words for the verdict; without what stands after the path of an address."""
    if spec.measure.http is not None:
        address = re.split(r"[?#]", _filled(spec, spec.measure.http.url, places))[0]
        return f"{address} {spec.measure.http.field or ''}".strip()[:QUERY]
    if spec.measure.prometheus is not None:
        return "; ".join(f"{name}: {_filled(spec, query, places)}" for name, query in _queries(spec.measure.prometheus))[:QUERY]
    return "job" if spec.measure.job is not None else "restarts"


def window(spec: ReleaseGateSpec) -> str:
    """The interval as a range that every Prometheus takes: '90s', where '30s1m' would be an error and '1m30s' is one before 2.21."""
    thousandths = round(parse_duration(spec.interval) * 1000)
    return f"{thousandths}ms" if thousandths % 1000 else f"{thousandths // 1000}s"


def _queries(source: Prometheus) -> Iterator[tuple[str, str]]:
    """The queries that are there, by the name of their answer."""
    each = (("value", source.query), ("requests", source.requests), ("failures", source.failures))
    return ((name, query) for name, query in each if query is not None)


def _filled(spec: ReleaseGateSpec, text: str, places: Mapping[str, str]) -> str:
    """Places that are not known stay as they are: a `$` is an end of line in many a query."""
    return Template(text).safe_substitute({"window": window(spec), **places})


def _address(source: Prometheus, query: str) -> str:
    return f"{source.address.rstrip('/')}/api/v1/query?query={quote(query, safe='')}"


# --- answers


def measured(spec: ReleaseGateSpec, answers: Mapping[str, Answer]) -> Measured:
    """What the answers, by the names of their questions, say."""
    try:
        if spec.measure.http is not None:
            return _http(spec.measure.http, _answer(answers, "value"))
        source = spec.measure.prometheus
        if source is None:
            return Measured(message="nobody was asked")
        if source.query is not None:
            against = _number(answers, "against") if spec.compare is not None else None
            return Measured(value=_number(answers, "value"), against=against)
        return _share(answers, compared=spec.compare is not None)
    except NoNumberError as lack:
        return Measured(message=str(lack)[:MESSAGE])


def _http(source: HttpMeasure, answer: Answer) -> Measured:
    if answer.status != OK:
        return Measured(good=False, message=f"HTTP {answer.status}")
    if source.field is None:
        return Measured(good=True)
    return Measured(value=_fraction(_pointed(_json(answer.body), source.field)))


def _share(answers: Mapping[str, Answer], *, compared: bool) -> Measured:
    requests, failures = _pair(answers, "requests", "failures", "")
    value = Fraction(failures, requests)
    if not compared:
        return Measured(value=value, counts=Counts(requests=requests, failures=failures))
    more, of_them = _pair(answers, OLD["requests"], OLD["failures"], " of the old revision")
    counts = Counts(requests=requests, failures=failures, against_requests=more, against_failures=of_them)
    return Measured(value=value, against=Fraction(of_them, more), counts=counts)


def _pair(answers: Mapping[str, Answer], requests: str, failures: str, whose: str) -> tuple[int, int]:
    """Requests and failures; two queries a moment apart may differ by one."""
    total, failed = _count(answers, requests), _count(answers, failures)
    if failed > total + 1:
        raise NoNumberError(f"{failed} failures of {total} requests{whose}")
    if not total:
        raise NoNumberError(f"no requests{whose} in the window")
    return total, min(total, failed)


def _count(answers: Mapping[str, Answer], name: str) -> int:
    """A whole number: increase() extrapolates to the ends of its window, and is off by a part of one."""
    value = _number(answers, name)
    if not 0 <= value <= LARGEST:
        raise NoNumberError(f"{name}: no number of requests")
    return round(value)


def _number(answers: Mapping[str, Answer], name: str) -> Fraction:
    answer = _answer(answers, name)
    try:
        return _fraction(_single(answer))
    except NoNumberError as lack:
        raise NoNumberError(f"{name}: {lack}") from None


def _answer(answers: Mapping[str, Answer], name: str) -> Answer:
    answer = answers.get(name)
    if answer is None:
        raise NoNumberError(f"{name}: not answered")
    if answer.error or not answer.status:
        raise NoNumberError(f"{name}: no answer{_quoted(answer.error)}")
    return answer


def _single(answer: Answer) -> Any:
    """The one number of an instant query, as Prometheus writes it: a string."""
    if answer.status != OK:
        raise NoNumberError(f"HTTP {answer.status}{_complaint(answer.body)}")
    match _json(answer.body):
        case {"status": "success", "data": {"resultType": "vector", "result": [{"value": [_, str(text)]}]}}:
            return text
        case {"status": "success", "data": {"resultType": "scalar", "result": [_, str(text)]}}:
            return text
        case {"status": "success", "data": {"resultType": "vector", "result": [*series]}}:
            raise NoNumberError(f"{len(series)} series instead of one number" if len(series) > 1 else "no number in the series" if series else "empty result")
        case {"status": "success"}:
            raise NoNumberError("the result is neither a vector nor a scalar")
        case _:
            raise NoNumberError(f"no success{_complaint(answer.body)}")


def _complaint(body: bytes) -> str:
    """What a server says of its error, where it says it as Prometheus does."""
    try:
        told = _json(body)
    except NoNumberError:
        return ""
    words = [told.get(key) for key in ("errorType", "error")] if isinstance(told, dict) else []
    return _quoted(": ".join(each for each in words if isinstance(each, str)))


def _quoted(text: str) -> str:
    """Words of somebody else: short, in one line, without addresses, and none at all where they speak of secrets."""
    if SECRET.search(text):
        return " (its words may hold a secret)"
    line = " ".join(LONG.sub("...", "".join(each if each.isprintable() else " " for each in text)).split())
    return f": {line[: QUOTED - 3]}..." if len(line) > QUOTED else f": {line}" if line else ""


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise NoNumberError("the answer is no JSON") from None


def _pointed(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) leads to."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict) and key in document:
            document = document[key]
        elif isinstance(document, list) and INDEX.fullmatch(key) and int(key) < len(document):
            document = document[int(key)]
        else:
            raise NoNumberError(f"nothing at {pointer}")
    return document


def _fraction(found: Any) -> Fraction:
    """Exactly the number that is written."""
    text = str(found) if isinstance(found, str | int | float) else ""
    if len(text) > DIGITS or not NUMBER.fullmatch(text):
        raise NoNumberError(f"{text} is no number to judge" if text.lower().lstrip("+-") in ("nan", "inf") else "no number to judge")
    return Fraction(Decimal(text))
