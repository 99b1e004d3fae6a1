# SPDX-License-Identifier: Apache-2.0
"""Events about objects: one per change, repeats counted in a series, never in the way of the work.

Events are best effort: a full queue drops the oldest, and a refusal (a namespace that is being deleted) is not an error. All that
a person must act on is in status too, because events expire.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import structlog

from drover_operator.api.meta import Object
from drover_operator.api.resource import EVENTS, Resource
from drover_operator.kube.client import Client
from drover_operator.kube.errors import KubeError, NotFound

log = structlog.get_logger()
QUEUE = 1000  # events waiting to be written
REMEMBERED = 4096  # series known
SERIES = 600.0  # seconds in which a repeat belongs to the same series


@dataclass
class _Series:
    name: str
    since: float
    count: int = 1


class EventRecorder:
    """Writes events.k8s.io/v1 Events from its own task."""

    def __init__(self, client: Client, clock: Callable[[], float], instance: str) -> None:
        self._client = client
        self._clock = clock
        self._instance = instance[:128]
        self._queue: asyncio.Queue[tuple[str, str, dict[str, Any]]] = asyncio.Queue(QUEUE)
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()

    def record(self, resource: Resource[Object], regarding: Object, *, kind: str, reason: str, action: str, note: str) -> None:
        """Queue an event; `kind` is Normal or Warning."""
        meta = regarding.metadata
        now = self._clock()
        same = (meta.uid, kind, reason, note)
        series = self._series.get(same)
        if series is not None and now - series.since < SERIES:
            series.count += 1
            self._put("patch", meta.namespace, {"name": series.name, "series": {"count": series.count, "lastObservedTime": _micro(now)}})
            return
        name = f"{meta.name[:200]}.{sha256(repr((same, now)).encode()).hexdigest()[:16]}"
        self._series[same] = _Series(name, now)
        if len(self._series) > REMEMBERED:
            self._series.popitem(last=False)
        told = {"type": kind, "reason": reason[:128], "action": action[:128], "note": note[:1024]}
        self._put("create", meta.namespace, {**self._body(name, resource, regarding), **told})

    async def run(self) -> None:
        """Write queued events until cancelled."""
        while True:
            what, namespace, body = await self._queue.get()
            try:
                await self._write(what, namespace, body)
            except KubeError as error:
                log.debug("event not written", reason=str(error))

    async def _write(self, what: str, namespace: str, body: dict[str, Any]) -> None:
        if what == "create":
            await self._client.create(EVENTS, namespace, body)
            return
        name = body.pop("name")
        try:
            await self._client.patch(EVENTS, namespace, name, body)
        except NotFound:  # it has expired or was never written: the next occurrence opens a new series
            for same in [same for same, series in self._series.items() if series.name == name]:
                del self._series[same]

    def _put(self, what: str, namespace: str, body: dict[str, Any]) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait((what, namespace, body))

    def _body(self, name: str, resource: Resource[Object], regarding: Object) -> dict[str, Any]:
        meta = regarding.metadata
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"name": name, "namespace": meta.namespace},
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
        }


def _micro(now: float) -> str:
    return datetime.fromtimestamp(now, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
