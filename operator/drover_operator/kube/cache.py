# SPDX-License-Identifier: Apache-2.0
"""The cache of one resource: what the API server said last, indexed by the key that the objects belong to.

Only the reflector writes here. An object older than the one held is dropped, so no reader ever goes back in time; versions are
compared within this one resource only.
"""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from drover_operator.api.meta import Object
from drover_operator.api.resource import Resource

T = TypeVar("T", bound=Object)
Key = tuple[str, str]
Listener = Callable[["Key | None", Object | None, Object | None], None]


class Cache(Generic[T]):
    """Objects of one resource by (namespace, name) and by the key they belong to."""

    def __init__(self, resource: Resource[T], belongs_to: Callable[[T], Key | None]) -> None:
        self.resource = resource
        self.watermark = 0  # every change up to this version has been seen
        self._belongs_to = belongs_to
        self._objects: dict[Key, T] = {}
        self._alone: dict[Key, T] = {}  # the one object of an owner
        self._groups: dict[Key, dict[Key, T]] = {}  # the objects of an owner that has more; a dict for each that is alone would be 0.3 KB
        self._listeners: list[Listener] = []

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> T | None:
        """The object of that namespace and name."""
        return self._objects.get(key)

    def of(self, owner: Key) -> tuple[T, ...]:
        """All objects that belong to the key, in the order in which they came."""
        alone = self._alone.get(owner)
        return (alone,) if alone is not None else tuple(self._groups.get(owner, {}).values())

    def everything(self) -> tuple[Key, ...]:
        """(namespace, name) of everything held."""
        return tuple(self._objects)

    def values(self) -> Iterable[T]:
        """Everything held."""
        return self._objects.values()

    def listen(self, listener: Listener) -> None:
        """Call `listener(owner key, old, new)` on every change."""
        self._listeners.append(listener)

    def replace(self, objects: Iterable[T], version: int) -> None:
        """Take a complete list: what is missing in it has been deleted."""
        present = {item.metadata.key: item for item in objects}
        for key in [key for key in self._objects if key not in present]:
            self._remove(key)
        for item in present.values():
            self._put(item)
        self.watermark = max(self.watermark, version)

    def saw(self, item: T) -> None:
        """Take an added or modified object."""
        self._put(item)
        self.watermark = max(self.watermark, item.metadata.version)

    def lost(self, item: T) -> None:
        """Take the news that an object is deleted, or left the selection."""
        held = self._objects.get(item.metadata.key)
        if held is not None and item.metadata.version >= held.metadata.version:
            self._remove(item.metadata.key)
        self.watermark = max(self.watermark, item.metadata.version)

    def bookmark(self, version: int) -> None:
        """Nothing else happened up to this version."""
        self.watermark = max(self.watermark, version)

    def _put(self, item: T) -> None:
        key = item.metadata.key
        held = self._objects.get(key)
        if held is not None and item.metadata.version <= held.metadata.version:
            return
        owner = self._belongs_to(item)
        if held is not None:
            self._unindex(held)
            if (former := self._belongs_to(held)) != owner:
                self._tell(former, held, None)
        self._objects[key] = item
        if owner is not None:
            self._enter(owner, key, item)
        self._tell(owner, held, item)

    def _remove(self, key: Key) -> None:
        held = self._objects.pop(key)
        self._unindex(held)
        self._tell(self._belongs_to(held), held, None)

    def _enter(self, owner: Key, key: Key, item: T) -> None:
        if owner not in self._groups and owner not in self._alone:
            self._alone[owner] = item
            return
        group = self._groups.setdefault(owner, {})
        if (alone := self._alone.pop(owner, None)) is not None:
            group[alone.metadata.key] = alone
        group[key] = item

    def _unindex(self, held: T) -> None:
        owner = self._belongs_to(held)
        if owner is None:
            return
        if self._alone.pop(owner, None) is not None:
            return
        group = self._groups[owner]
        del group[held.metadata.key]
        if not group:
            del self._groups[owner]

    def _tell(self, owner: Key | None, old: T | None, new: T | None) -> None:
        for listener in self._listeners:
            listener(owner, old, new)
