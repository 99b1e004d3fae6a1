# SPDX-License-Identifier: Apache-2.0
"""The own-write guard: a key is not decided again before the cache has seen what was written for it.

Without it a controller counts its pods in a cache that lacks the ones it has just made, and makes them twice. A write is seen when
the cache holds the object in that version or a later one, holds another object under that name, or has passed that version as a
whole. Rejected: expectations with a time-out after which the cache is believed (built-in controllers, 5 minutes): a cache that
lags is never believed here, a time-out only makes it be proved current. Source of the idea: KEP-5647.
"""

from collections.abc import Callable
from dataclasses import dataclass

from drover_operator.api.meta import Object
from drover_operator.kube.cache import Cache, Key

PATIENCE = 5.0  # seconds before the cache must be proved current


@dataclass(frozen=True)
class Expectation:
    """One write that the cache must show: `version` 0 means that the object is gone."""

    cache: Cache[Object]
    key: Key
    uid: str
    version: int
    since: float

    def met(self) -> bool:
        """Whether the cache shows it."""
        held = self.cache.get(self.key)
        if held is None:
            return self.version == 0 or self.cache.watermark >= self.version
        if held.metadata.uid != self.uid:
            return True
        return self.version != 0 and held.metadata.version >= self.version


class WriteGuard:
    """Writes that the caches have not shown yet, by the key they were made for."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._open: dict[Key, list[Expectation]] = {}

    def expect(self, owner: Key, cache: Cache[Object], key: Key, uid: str, version: int) -> None:
        """Note a write made for `owner`."""
        self._open.setdefault(owner, []).append(Expectation(cache, key, uid, version, self._clock()))

    def waiting(self, owner: Key) -> list[Expectation]:
        """What the caches still lack for that key; empty when it may be decided."""
        missing = [each for each in self._open.get(owner, ()) if not each.met()]
        if missing:
            self._open[owner] = missing
        else:
            self._open.pop(owner, None)
        return missing

    def overdue(self, missing: list[Expectation]) -> list[Expectation]:
        """Those that have been missing for longer than patience."""
        now = self._clock()
        return [each for each in missing if now - each.since >= PATIENCE]

    def forget(self, owner: Key) -> None:
        """The key is gone, or its caches were proved current since."""
        self._open.pop(owner, None)
