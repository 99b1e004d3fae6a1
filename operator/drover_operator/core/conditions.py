# SPDX-License-Identifier: Apache-2.0
"""Conditions: set with a time of change that is kept as long as the status stays, in a fixed order, messages bounded."""

from collections.abc import Iterable

import msgspec

from drover_operator.api.meta import Condition, utc

MESSAGE = 1024  # characters


def renewed(old: tuple[Condition, ...], new: Iterable[Condition], now: float, generation: int) -> tuple[Condition, ...]:
    """The new conditions, each with the generation and with the old time of change where the status is the same."""
    before = {condition.type: condition for condition in old}
    return tuple(_renewed(before.get(each.type), each, now, generation) for each in new)


def _renewed(before: Condition | None, each: Condition, now: float, generation: int) -> Condition:
    kept = before.last_transition_time if before is not None and before.status == each.status else None
    return msgspec.structs.replace(
        each,
        message=each.message if len(each.message) <= MESSAGE else each.message[: MESSAGE - 3] + "...",
        last_transition_time=kept or utc(now),
        observed_generation=generation,
    )
