# SPDX-License-Identifier: Apache-2.0
"""What one pass looks at: the engine's caches, or those that a verb has filled. Both decide by the same facts."""

from collections.abc import Mapping
from typing import Any

from drover_operator.api.meta import Object
from drover_operator.api.resource import Resource
from drover_operator.core.plan import Verdict
from drover_operator.kube.cache import Cache, Key


class Snapshot:
    """Implements `registry.View` for one key: caches by the name of their resource, and what became of the key's earlier actions."""

    def __init__(self, now: float, caches: Mapping[str, Cache[Object]], verdicts: Mapping[str, Verdict]) -> None:
        self.now = now
        self._caches = caches
        self._verdicts = verdicts

    def of(self, resource: Resource[Any], key: Key) -> tuple[Any, ...]:
        """Objects of a watched resource that belong to the key."""
        return self._caches[str(resource)].of(key)

    def verdicts(self, key: Key) -> Mapping[str, Verdict]:  # noqa: ARG002  it is of one key
        """Refusals and dry runs by the id of the action."""
        return self._verdicts
