# SPDX-License-Identifier: Apache-2.0
"""The pure vocabulary: durations, conditions, plans, reasons."""

import re
from typing import Any

import pytest

from drover_operator.api.meta import DURATION_PATTERN, Condition, utc
from drover_operator.api.resource import PODS
from drover_operator.core.clock import parse_duration
from drover_operator.core.conditions import MESSAGE, renewed
from drover_operator.core.plan import Create, Delete, Patch, Plan, TryOut, Verdict
from drover_operator.core.reasons import MEANING, Reason

DURATIONS = (
    ("90s", 90.0, "seconds"),
    ("1m30s", 90.0, "parts add up"),
    ("1h", 3600.0, "hours"),
    ("250ms", 0.25, "milliseconds are not minutes and seconds"),
    ("5m5ms", 300.005, "m and ms side by side"),
    ("0s", 0.0, "nothing"),
    ("30s5m", 330.0, "the order does not matter to Kubernetes either"),
)
NO_DURATIONS = (
    ("", "nothing at all"),
    ("5", "no unit"),
    ("s", "no number"),
    ("1.5s", "a fraction, which the CRD does not take"),
    ("-5s", "a negative one"),
    ("5s ", "a space behind"),
    ("5s\n", "a line end behind"),
    ("5d", "days are no unit"),
    ("m5s", "a unit before its number"),
)


@pytest.mark.parametrize("text, seconds, why", DURATIONS, ids=[why for *_, why in DURATIONS])
def test_durations(text: str, seconds: float, why: str) -> None:
    assert parse_duration(text) == pytest.approx(seconds), why
    assert re.search(DURATION_PATTERN, text), "what the code reads the CRD takes"


@pytest.mark.parametrize("text, why", NO_DURATIONS, ids=[why for *_, why in NO_DURATIONS])
def test_what_is_no_duration(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="is not a duration such as"):
        parse_duration(text)


# -- conditions


def condition(kind: str, status: Any, reason: str = "Healthy", message: str = "") -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message)


def test_a_condition_keeps_its_time_of_change_as_long_as_its_status_stays() -> None:
    first = renewed((), [condition("Ready", "True"), condition("Stalled", "False")], 100.9, 1)
    assert [(c.last_transition_time, c.observed_generation) for c in first] == [(utc(100), 1)] * 2
    second = renewed(first, [condition("Stalled", "True"), condition("Ready", "True", "Settled", "new words")], 200.0, 2)
    assert [c.type for c in second] == ["Stalled", "Ready"], "in the order of the new ones"
    assert [c.last_transition_time for c in second] == [utc(200), utc(100)]
    assert [c.observed_generation for c in second] == [2, 2]
    assert (second[1].reason, second[1].message) == ("Settled", "new words")
    assert renewed(second, [condition("Ready", "True")], 300.0, 3) == (
        Condition(type="Ready", status="True", reason="Healthy", observed_generation=3, last_transition_time=utc(100)),
    ), "a condition that is not told any more goes"


def test_a_condition_without_a_time_gets_one() -> None:
    assert renewed((condition("Ready", "True"),), [condition("Ready", "True")], 50.0, 1)[0].last_transition_time == utc(50)


@pytest.mark.parametrize("length, kept", [(MESSAGE, MESSAGE), (MESSAGE + 1, MESSAGE), (5000, MESSAGE)])
def test_messages_are_bounded_as_the_schema_bounds_them(length: int, kept: int) -> None:
    message = renewed((), [condition("Ready", "True", message="x" * length)], 1.0, 1)[0].message
    assert len(message) == kept
    assert message.endswith("...") is (length > MESSAGE), "a cut is shown"


# -- plans and reasons


def test_actions_have_the_names_that_refusals_are_kept_under() -> None:
    common: dict[str, Any] = {"resource": PODS, "namespace": "shop", "name": "web-0", "step": "", "reason": ""}
    seen: dict[str, Any] = {"uid": "u", "version": "1"}
    stage = (
        Create(body={}, owner_uid="o", **common),
        Patch(body={}, **seen, **common),
        Patch(body={}, subresource="status", **seen, **common),
        Delete(**seen, **common),
        TryOut(body={}, **common),
    )
    assert [each.id for each in stage] == ["create pods/web-0", "patch pods/web-0", "patch pods/web-0/status", "delete pods/web-0", "try pods/web-0"]
    assert Plan(stages=(stage[:2], stage[2:])).actions == stage, "in the order of the stages"


def test_a_verdict_with_a_reason_is_a_refusal() -> None:
    assert Verdict(at=1.0, reason="Invalid").refused
    assert not Verdict(at=1.0).refused, "an accepted dry run"


def test_every_reason_has_its_meaning_and_fits_the_schema() -> None:
    assert set(MEANING) == set(Reason)
    pattern = re.compile(r"^[A-Za-z][A-Za-z0-9]*$")
    for reason, meaning in MEANING.items():
        assert pattern.match(reason), reason
        assert meaning.what.endswith("."), reason
