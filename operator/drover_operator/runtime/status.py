# SPDX-License-Identifier: Apache-2.0
"""The status writer: the difference to what the cache shows as a merge patch, paced by key, none when equal.

News (phase, conditions) go out at most once a second, mere counts at most every three: a rolling update of 10 pods needs 42 writes of
objects, and its whole story must fit into 48. Where the API server is slow, counts wait longer: they are the dearest writes, and would
delay those that bring the counts about.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from drover_operator.api.meta import Object
from drover_operator.api.resource import Resource
from drover_operator.kube.cache import Key
from drover_operator.kube.client import Client, Written
from drover_operator.runtime.queue import ROUNDING

URGENT, ROUTINE = 1.0, 3.0  # seconds between two writes of one key
SHARE, LONGEST = 20, 10.0  # counts of a key take a twentieth of the time at most, as long as that is no more than these seconds


class StatusWriter:
    """Writes status subresources of one resource."""

    def __init__(self, client: Client, resource: Resource[Object], clock: Callable[[], float]) -> None:
        self._client = client
        self._resource = resource
        self._clock = clock
        self._written_at: dict[Key, float] = {}
        self._took = 0.0  # seconds, the last write of any key with its wait for a turn

    def delay(self, key: Key, *, urgent: bool) -> float:
        """Seconds until the key's next write may go out; 0 when now."""
        pace = URGENT if urgent else max(ROUTINE, min(self._took * SHARE, LONGEST))
        left = self._written_at.get(key, -pace) + pace - self._clock()
        return left if left > ROUNDING else 0.0

    def differs(self, old: Any, new: Any) -> bool:
        """Whether there would be anything to write."""
        return bool(old != new)

    async def write(self, item: Object, old: Any, new: Any) -> Written | None:
        """Write `new` over `old` (None: nothing is there yet), on exactly the version that was read; None when nothing differs."""
        if old == new:
            return None
        difference = merge_patch({} if old is None else msgspec.to_builtins(old), msgspec.to_builtins(new))
        if not difference:
            return None
        meta = item.metadata
        begun = self._written_at[meta.key] = self._clock()
        conditions = {"uid": meta.uid, "resourceVersion": meta.resource_version}
        body = {"metadata": conditions, "status": difference}
        try:
            return await self._client.patch(self._resource, meta.namespace, meta.name, body, subresource="status")
        finally:
            self._took = self._clock() - begun

    def forget(self, key: Key) -> None:
        """The key is gone."""
        self._written_at.pop(key, None)


def merge_patch(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The RFC 7396 patch that makes `new` of `old`; empty when they are equal. Null members of `new` count as missing."""
    patch: dict[str, Any] = {}
    for name in old.keys() | new.keys():
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            if inner := merge_patch(before, after):  # nothing where only nulls differ
                patch[name] = inner
        else:
            patch[name] = after
    return dict(sorted(patch.items()))
