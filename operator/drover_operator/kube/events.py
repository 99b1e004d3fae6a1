# SPDX-License-Identifier: Apache-2.0
"""Events about objects: one per change, repeats counted in a series, never in the way of the work.

Events are best effort: a full queue drops the oldest, a refusal (a namespace that is being deleted, a busy server) is not an error, and
an object that makes more news than a person could read is held back: 25 writes at once, then one every five minutes, as in client-go. What
is held back of a series is in the count of its next write. All that a person must act on is in status too, because events expire. Rejected:
asking a busy server again for the sake of an Event; the news of every other object would wait behind it.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, TypeVar

import structlog

from drover_operator.api.meta import GROUP, Object
from drover_operator.api.resource import EVENTS, Resource
from drover_operator.kube.client import Client
from drover_operator.kube.errors import KubeError, NotFound

K = TypeVar("K")
V = TypeVar("V")
log = structlog.get_logger()
EVENT_LABEL = "drover.dev/event"  # marks Events of ours, so that the fence need not look at those of others
QUEUE = 1000  # events waiting to be written
REMEMBERED = 4096  # series, and objects, known
SERIES = 600.0  # seconds in which a repeat belongs to the same series
BURST, REFILL = 25, 300.0  # writes about one object at once, and seconds until it may have one more
CHANGE_ANNOTATION = f"{GROUP}/change"


@dataclass
class _Series:
    name: str
    since: float
    count: int = 0
    told: bool = False  # whether its Event went out, so that there is something to count on


@dataclass
class _Bucket:
    """How many writes about one object may go out; `at` is in seconds since the epoch."""

    at: float
    tokens: float = float(BURST)

    def take(self, now: float) -> bool:
        """Use one up, if there is one."""
        self.tokens = min(float(BURST), self.tokens + max(0.0, now - self.at) / REFILL)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(frozen=True, kw_only=True)
class News:
    """What an Event says; `kind` is Normal or Warning, `change` the id of the change that it belongs to."""

    kind: str
    reason: str
    action: str
    note: str
    change: str = ""


class EventRecorder:
    """Writes events.k8s.io/v1 Events from its own task. `fates` counts what became of them."""

    def __init__(self, client: Client, clock: Callable[[], float], instance: str) -> None:
        self._client = client
        self._clock = clock
        self._instance = instance[:128]
        self._queue: asyncio.Queue[tuple[str, str, dict[str, Any]]] = asyncio.Queue(QUEUE)
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self.fates: Counter[str] = Counter()

    def record(self, resource: Resource[Object], regarding: Object, news: News) -> None:
        """Queue an Event about the object, or count it."""
        meta = regarding.metadata
        now = self._clock()
        same = (meta.uid, news.kind, news.reason, news.note)
        series = self._series.get(same)
        if series is None or now - series.since >= SERIES:
            name = f"{meta.name[:200]}.{sha256(repr((same, now)).encode()).hexdigest()[:16]}"
            series = _keep(self._series, same, _Series(name, now))
        series.count += 1
        if not _keep(self._buckets, meta.uid, self._buckets.get(meta.uid) or _Bucket(now)).take(now):
            self.fates["limited"] += 1
            return
        counted = {"series": {"count": series.count, "lastObservedTime": _micro(now)}} if series.count > 1 else {}
        if series.told:
            self._put("patch", meta.namespace, {"name": series.name, **counted})
            return
        series.told = True
        self._put("create", meta.namespace, {**self._body(series.name, resource, regarding, news), **counted})

    async def run(self) -> None:
        """Write queued events until cancelled."""
        while True:
            what, namespace, body = await self._queue.get()
            try:
                self.fates["written" if await self._write(what, namespace, body) else "refused"] += 1
            except KubeError as error:
                self.fates["refused"] += 1
                log.debug("event not written", reason=str(error))

    async def _write(self, what: str, namespace: str, body: dict[str, Any]) -> bool:
        """Whether the Event is there to be written."""
        if what == "create":
            await self._client.create(EVENTS, namespace, body)
            return True
        name = body.pop("name")
        try:
            await self._client.patch(EVENTS, namespace, name, body)
        except NotFound:  # it has expired or was never written: the next occurrence opens a new series
            for same in [same for same, series in self._series.items() if series.name == name]:
                del self._series[same]
            return False
        return True

    def _put(self, what: str, namespace: str, body: dict[str, Any]) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self.fates["dropped"] += 1
        self._queue.put_nowait((what, namespace, body))

    def _body(self, name: str, resource: Resource[Object], regarding: Object, news: News) -> dict[str, Any]:
        meta = regarding.metadata
        annotations = {"annotations": {CHANGE_ANNOTATION: news.change}} if news.change else {}
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": meta.namespace, "labels": {EVENT_LABEL: ""}, **annotations},
            "eventTime": _micro(self._clock()),
            "reportingController": "drover.dev/operator",
            "reportingInstance": self._instance,
            "regarding": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": meta.namespace,
                "name": meta.name,
                "uid": meta.uid,
            },
            "type": news.kind,
            "reason": news.reason[:128],
            "action": news.action[:128],
            "note": news.note[:1024],
        }


def _keep(store: OrderedDict[K, V], key: K, value: V) -> V:
    """Keep the value under its key, as the newest; the oldest goes when there are too many."""
    store[key] = value
    store.move_to_end(key)
    if len(store) > REMEMBERED:
        store.popitem(last=False)
    return value


def _micro(now: float) -> str:
    return datetime.fromtimestamp(now, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
