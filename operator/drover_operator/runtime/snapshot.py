# SPDX-License-Identifier: Apache-2.0
"""What one pass looks at: the engine's caches, or those that a verb has filled. Both decide by the same facts."""

from collections.abc import Mapping
from typing import Any

from drover_operator.api.meta import Object
from drover_operator.api.resource import Resource
from drover_operator.core.plan import Answer, Verdict
from drover_operator.kube.cache import Cache, Key

NO_NAMES: Mapping[str, str] = {}
NO_ANSWERS: Mapping[str, Answer] = {}


class Snapshot:
    """Implements `registry.View` for one key: caches by the name of their resource, what became of the key's earlier actions, and what was answered.

    `names` puts back the names that were made of content which a report has left out; `derived` are all that were asked for, in order.
    """

    def __init__(
        self,
        now: float,
        caches: Mapping[str, Cache[Object]],
        verdicts: Mapping[str, Verdict],
        names: Mapping[str, str] = NO_NAMES,
        answers: Mapping[str, Answer] = NO_ANSWERS,
    ) -> None:
        self.now = now
        self.derived: list[str] = []
        self._caches = caches
        self._verdicts = verdicts
        self._answers = answers
        self._names = names

    def of(self, resource: Resource[Any], key: Key) -> tuple[Any, ...]:
        """Objects of a watched resource that belong to the key."""
        return self._caches[str(resource)].of(key)

    def verdicts(self, key: Key) -> Mapping[str, Verdict]:  # noqa: ARG002  it is of one key
        """Refusals and dry runs by the id of the action."""
        return self._verdicts

    def answers(self, key: Key) -> Mapping[str, Answer]:  # noqa: ARG002  it is of one key
        """Answers of others by the id of the question."""
        return self._answers

    def name(self, derived: str) -> str:
        """The name that a hash of content stands for: itself, but where the content was redacted."""
        self.derived.append(derived)
        return self._names.get(derived, derived)
