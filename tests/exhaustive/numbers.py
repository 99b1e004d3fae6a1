# SPDX-License-Identifier: Apache-2.0
"""Numbers for values: equal values have equal numbers, so that a situation is one integer and a look-up costs no deep comparison."""

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

T = TypeVar("T", bound=Hashable)
BITS = 24
MASK = (1 << BITS) - 1


class Table(Generic[T]):
    """Values by number, from 0 on in the order in which they were met."""

    def __init__(self, *first: T) -> None:
        self.values: list[T] = list(first)
        self._numbers: dict[T, int] = {each: number for number, each in enumerate(first)}

    def number(self, value: T) -> int:
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self.values)
            self.values.append(value)
            assert found <= MASK, "more values than a number holds"
        return found


class Memo(dict[Any, Any]):
    """Answers of a pure function of one argument, each worked out once."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        super().__init__()
        self._work = work

    def __missing__(self, key: Any) -> Any:
        answer = self[key] = self._work(key)
        return answer


def joined(world: int, lead: int, rest: int) -> int:
    """The situation of these three."""
    return (world << BITS | lead) << BITS | rest


def split(situation: int) -> tuple[int, int, int]:
    """World, lead and rest of a situation."""
    return situation >> 2 * BITS, situation >> BITS & MASK, situation & MASK
