# SPDX-License-Identifier: Apache-2.0
"""Versions of objects and the log of their changes: what etcd and the watch cache are to the real API server.

Objects are plain JSON dicts and immutable by convention: whoever changes one makes new dicts on the way down and shares the
rest. So nothing is ever copied deep, and each version is encoded once for all readers and watchers.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from drover_operator.testing.kinds import KINDS, Kind
from drover_operator.testing.objects import Json, is_object

LOG_LIMIT = 100_000


class Version:
    """One version of one object."""

    __slots__ = ("_body", "_metadata_body", "data", "kind", "labels", "meta", "name", "namespace", "revision", "uid")

    def __init__(self, kind: Kind, data: Json, revision: int) -> None:
        self.kind = kind
        self.data = data
        self.revision = revision
        self.meta: Json = data["metadata"]
        self.name: str = self.meta["name"]
        self.namespace: str = self.meta.get("namespace", "")
        self.uid: str = self.meta.get("uid", "")
        self.labels: dict[str, str] = self.meta.get("labels") or {}
        self._body: bytes | None = None
        self._metadata_body: bytes | None = None

    @property
    def key(self) -> str:
        """Order of lists, as in etcd."""
        return f"{self.namespace}/{self.name}"

    @property
    def deleting(self) -> bool:
        """Whether it carries a deletion timestamp."""
        return "deletionTimestamp" in self.meta

    @property
    def body(self) -> bytes:
        """The object as JSON."""
        if self._body is None:
            self._body = msgspec.json.encode(self.data)
        return self._body

    @property
    def metadata_body(self) -> bytes:
        """Only the metadata, as PartialObjectMetadata."""
        if self._metadata_body is None:
            self._metadata_body = msgspec.json.encode({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": self.meta})
        return self._metadata_body

    def field(self, path: str) -> str:
        """A field by a path such as `.spec.nodeName`, as a string; "" when it is missing."""
        value: Any = self.data
        for part in path.strip(".").split("."):
            if not is_object(value):
                return ""
            value = value.get(part)
        return "" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the log; on a deletion `current` is the last state at the version of the deletion."""

    revision: int
    current: Version
    previous: Version | None
    deleted: bool = False

    @property
    def type(self) -> str:
        """The type of a watch event without selectors."""
        return "DELETED" if self.deleted else "MODIFIED" if self.previous else "ADDED"


class _Space:
    """The current versions of one kind in one namespace, in the order of their names and by their labels."""

    def __init__(self) -> None:
        self._versions: dict[str, Version] = {}
        self._order: list[str] | None = None  # sorted once for many reads; None when a name came or went
        self._labelled: dict[tuple[str, str], set[str]] = {}

    def get(self, name: str) -> Version | None:
        return self._versions.get(name)

    def put(self, version: Version) -> Version | None:
        """Replace, and answer what was there."""
        previous = self._versions.get(version.name)
        self._versions[version.name] = version
        if previous is None:
            self._order = None
        elif previous.labels == version.labels:
            return previous
        else:
            self._unlabel(previous)
        for label in version.labels.items():
            self._labelled.setdefault(label, set()).add(version.name)
        return previous

    def remove(self, name: str) -> None:
        self._unlabel(self._versions.pop(name))
        self._order = None

    def _unlabel(self, version: Version) -> None:
        for label in version.labels.items():
            self._labelled[label].discard(version.name)

    def in_order(self) -> list[Version]:
        if self._order is None:
            self._order = sorted(self._versions)
        return [self._versions[name] for name in self._order]

    def labelled(self, labels: Mapping[str, str]) -> list[Version]:
        """Those that carry all these labels."""
        if not labels:
            return self.in_order()
        names = set.intersection(*(self._labelled.get(label, set()) for label in labels.items()))
        return [self._versions[name] for name in sorted(names)]


Subscriber = Callable[[Change], None]


class Storage:
    """All objects, one global version counter, one log per resource."""

    def __init__(self, clock: Callable[[], float] = float) -> None:
        self.revision = 1
        self.compacted = 0
        self._clock = clock
        self._moments: deque[tuple[float, int]] = deque(maxlen=LOG_LIMIT)  # when each version came to be
        self._spaces: dict[Kind, dict[str, _Space]] = {kind: {} for kind in KINDS}
        self._uids: dict[str, Version] = {}
        self._logs: dict[Kind, deque[Change]] = {kind: deque(maxlen=LOG_LIMIT) for kind in KINDS}
        self._subscribers: dict[Kind, list[Subscriber]] = {kind: [] for kind in KINDS}

    def get(self, kind: Kind, namespace: str, name: str) -> Version | None:
        """The current version of an object."""
        space = self._spaces[kind].get(namespace)
        return space.get(name) if space else None

    def get_at(self, kind: Kind, namespace: str, name: str, revision: int) -> Version | None:
        """The version of an object that was current at `revision`, as far back as the log goes."""
        found = self.get(kind, namespace, name)
        for change in reversed(self._logs[kind]):
            if change.revision <= revision:
                break
            if (change.current.namespace, change.current.name) == (namespace, name):
                found = change.previous
        return found

    def revision_at(self, moment: float) -> int:
        """The version that was the latest at that time of the clock."""
        index = bisect_right(self._moments, moment, key=lambda each: each[0])
        return self._moments[index - 1][1] if index else 1

    def by_uid(self, uid: str) -> Version | None:
        """The current version of an object, whatever its kind."""
        return self._uids.get(uid)

    def items(self, kind: Kind, namespace: str = "") -> list[Version]:
        """The current versions in the order of their keys."""
        spaces = self._spaces[kind]
        if namespace:
            return spaces[namespace].in_order() if namespace in spaces else []
        return [version for name in sorted(spaces) for version in spaces[name].in_order()]

    def labelled(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> list[Version]:
        """The current versions in a namespace that carry all these labels, in the order of their names."""
        space = self._spaces[kind].get(namespace)
        return space.labelled(labels) if space else []

    def items_at(self, kind: Kind, namespace: str, revision: int) -> list[Version]:
        """The versions that were current at `revision`, which must not be compacted."""
        if revision >= self.revision:
            return self.items(kind, namespace)
        state = {version.key: version for version in self.items(kind)}
        for change in reversed(self._logs[kind]):
            if change.revision <= revision:
                break
            if change.previous is None:
                state.pop(change.current.key, None)
            else:
                state[change.current.key] = change.previous
        return [state[key] for key in sorted(state) if not namespace or state[key].namespace == namespace]

    def put(self, kind: Kind, data: Json) -> Version:
        """Store a new version."""
        self.revision += 1
        stored = {**data, "metadata": {**data["metadata"], "resourceVersion": str(self.revision)}}
        version = Version(kind, stored, self.revision)
        previous = self._spaces[kind].setdefault(version.namespace, _Space()).put(version)
        self._uids[version.uid] = version
        self._publish(kind, Change(self.revision, version, previous))
        return version

    def remove(self, version: Version) -> Version:
        """Remove an object; answers its last state at the version of the removal."""
        self.revision += 1
        self._spaces[version.kind][version.namespace].remove(version.name)
        del self._uids[version.uid]
        data = {**version.data, "metadata": {**version.meta, "resourceVersion": str(self.revision)}}
        last = Version(version.kind, data, self.revision)
        self._publish(version.kind, Change(self.revision, last, version, deleted=True))
        return last

    def since(self, kind: Kind, revision: int) -> list[Change]:
        """The changes after `revision`, which must not be compacted."""
        log = self._logs[kind]
        if not log or log[-1].revision <= revision:
            return []
        changes = list(log)
        return changes[bisect_right(changes, revision, key=lambda change: change.revision) :]

    def oldest(self, kind: Kind) -> int:
        """The oldest version that a watch or a list of this resource can start from."""
        log = self._logs[kind]
        return max(self.compacted, log[0].revision if len(log) == LOG_LIMIT else 0)

    def compact(self) -> None:
        """Forget the history: older versions than the current one are 410 from now on."""
        self.compacted = self.revision
        for log in self._logs.values():
            log.clear()

    def subscribe(self, kind: Kind, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` at once on every change; answers how to stop. It may only take note, never write."""
        self._subscribers[kind].append(subscriber)
        return lambda: self._subscribers[kind].remove(subscriber)

    def _publish(self, kind: Kind, change: Change) -> None:
        self._moments.append((self._clock(), change.revision))
        self._logs[kind].append(change)
        for subscriber in self._subscribers[kind]:
            subscriber(change)
