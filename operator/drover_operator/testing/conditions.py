# SPDX-License-Identifier: Apache-2.0
"""Conditions in a status: replaced in place, the transition time only when the status changes."""

from drover_operator.testing.objects import Json


def condition(status: Json, kind: str) -> Json | None:
    """The condition of that type, if it is there."""
    conditions: list[Json] = status.get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), None)


def is_true(status: Json, kind: str) -> bool:
    """Whether the condition of that type is there and True."""
    found = condition(status, kind)
    return found is not None and found["status"] == "True"


def with_condition(status: Json, new: Json, now: str) -> Json:
    """The status with that condition in place of the one of its type, all others untouched."""
    old = condition(status, new["type"])
    since = old.get("lastTransitionTime", now) if old and old["status"] == new["status"] else now
    stamped = {**new, "lastTransitionTime": since}
    conditions: list[Json] = status.get("conditions") or []
    if old is None:
        return {**status, "conditions": [*conditions, stamped]}
    return {**status, "conditions": [stamped if each is old else each for each in conditions]}
