# SPDX-License-Identifier: Apache-2.0
"""The simulated API server answers as the real one did when the golden files were written; `tests/api/test_conformance.py` is the other half."""

from copy import deepcopy
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.conformance import golden, intended
from tests.conformance.case import Case, every_case
from tests.conformance.normal import Normaliser
from tests.conformance.playing import Record, simulated

CASES = every_case()
GOLDEN = golden.read()
UID, OTHER = "0e0e0e0e-0000-4000-8000-000000000001", "0e0e0e0e-0000-4000-8000-000000000002"


@pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
def test_the_simulated_server_answers_as_the_real_one(case: Case) -> None:
    found = intended.unintended(golden.differences(simulated(case), GOLDEN.get(case.id, [])))
    assert not found, "\n".join([f"{case.id}: {case.why}", *(str(each) for each in found)])


def test_the_golden_files_have_every_case_and_no_other() -> None:
    assert sorted(GOLDEN) == sorted(case.id for case in CASES), "run python -m tests.conformance.record"
    assert len(golden.servers()) == 1, "all of one server"


def test_every_case_says_why_it_is_there() -> None:
    assert [case.id for case in CASES if len(case.why.split()) < 5] == []


def test_the_suite_is_as_large_as_it_says() -> None:
    """Cases are found by their signature: one that is not found would never be missed."""
    asked = [entry for entries in GOLDEN.values() for entry in entries if "ask" in entry or "watch" in entry]
    assert len(CASES) >= 150
    assert len(asked) >= 1000


@pytest.mark.parametrize("row", intended.TABLE, ids=[row.case for row in intended.TABLE])
def test_every_intended_difference_is_still_there(row: intended.Intended) -> None:
    cases = [case for case in CASES if fnmatchcase(case.id, row.case)]
    found = [each for case in cases for each in golden.differences(simulated(case), GOLDEN[case.id]) if row.covers(each)]
    assert found, "the simulator agrees by now: take the row away"
    assert len(intended.TABLE) < intended.LIMIT


CHANGES: list[tuple[str, Any, str]] = [
    ("another code", lambda entry: entry.update(code=418), "1.code"),
    ("another word", lambda entry: entry.update(reason="Teapot"), "1.reason"),
    ("one event less", lambda entry: entry.clear(), "1.ask"),
    ("a field more", lambda entry: entry["object"].update(more=1), "1.object.more"),
    ("true for one", lambda entry: entry["object"]["metadata"].update(generation=True), "1.object.metadata.generation"),
]


@pytest.mark.parametrize("why, change, where", CHANGES, ids=[row[0] for row in CHANGES])
def test_a_difference_would_be_found(why: str, change: Any, where: str) -> None:
    case = next(case for case in CASES if case.id == "creates/a custom resource is completed")
    entries = deepcopy(GOLDEN[case.id])
    change(entries[0])
    found = golden.differences(Record(case, entries, 0), GOLDEN[case.id])
    assert where in [each.where for each in found], why


def meta(version: str, uid: str = UID, **more: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": "p", "uid": uid, "resourceVersion": version, **more}}


def seen(*objects: dict[str, Any]) -> list[Any]:
    return [each["object"] for each in Normaliser("space-1").entries([{"object": each, "at": 1_767_225_600.0} for each in objects])]


def test_what_must_differ_gets_a_name_and_what_must_not_keeps_its_own() -> None:
    same, again, new = seen(meta("71"), meta("71"), meta("72", OTHER))
    assert (same["metadata"], again["metadata"]) == (new["metadata"] | {"uid": "<uid 1>", "resourceVersion": "<version 1>"},) * 2
    assert (new["metadata"]["uid"], new["metadata"]["resourceVersion"]) == ("<uid 2>", "<version 2>")


TEXTS = [
    ("a second", "2026-01-01T00:00:00Z", "<time>", "the resolution is compared"),
    ("a microsecond", "2026-01-01T00:00:00.000001Z", "<microtime>", "of Leases and Events"),
    ("a namespace", "in space-1, not", "in <ns>, not", "every case has its own"),
    ("a number", "must be at most 71", "must be at most 71", "a bound is no version, even if it is one by chance"),
    ("a version", "the ResourceVersion in record (71)", "the ResourceVersion in record (<version 1>)", "the sentence says that it is one"),
    ("an address", "10.96.3.187", "<address>", "allotted"),
    ("a generated name", "pods p-x7k2m", "pods p-<1>", "known from the object that got it"),
]


@pytest.mark.parametrize("what, text, shown, why", TEXTS, ids=[row[0] for row in TEXTS])
def test_words_are_made_comparable(what: str, text: str, shown: str, why: str) -> None:
    first = meta("71", generateName="p-") | {"metadata": {"name": "p-x7k2m", "generateName": "p-", "resourceVersion": "71"}}
    assert seen(first, {"text": text})[1]["text"] == shown, why


def test_a_deletion_in_the_future_is_told_from_one_that_is_due() -> None:
    late, due = seen(meta("1", deletionTimestamp="2026-01-01T00:00:29Z"), meta("1", deletionTimestamp="2026-01-01T00:00:01Z"))
    assert [each["metadata"]["deletionTimestamp"] for each in (late, due)] == ["<time +30 s>", "<time>"]
