# SPDX-License-Identifier: Apache-2.0
"""One watch: what the log says after a version, as JSON lines, then what happens, bookmarks, and how it ends."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from drover_operator.kube.errors import Unsent
from drover_operator.testing.faults import Deliver, Faults, Overtaken, Repeated, WatchEvent
from drover_operator.testing.kinds import Kind
from drover_operator.testing.objects import Json
from drover_operator.testing.refusal import Refused
from drover_operator.testing.selectors import Selection
from drover_operator.testing.storage import Change, Storage, Version

BOOKMARK_INTERVAL = 60.0
BOOKMARK_BEFORE_END = 2.0
_INSTANT = 1e-9  # seconds; timers of the loop are as exact as floating point is


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """The parameters of a watch; no revision means: first everything that is there."""

    kind: Kind
    selection: Selection
    revision: int | None
    bookmarks: bool
    initial_bookmark: bool = False
    only_metadata: bool = False
    timeout: float


@dataclass(slots=True)
class _Line:
    """One line on its way; `event` is None once its fate is known. Times are the server's."""

    due: float
    text: bytes
    event: WatchEvent | None


class WatchStream:
    """An open watch; iterate over it for chunks of bytes. It works by the server's clock, whoever reads it."""

    def __init__(self, storage: Storage, options: WatchOptions, faults: Faults, latency: float) -> None:
        self._storage = storage
        self._options = options
        self._faults = faults
        self._latency = latency
        self._way: deque[_Line] = deque()  # not due yet, in order
        self._there: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._broken: str | None = None
        self._ended = False
        self._loop = asyncio.get_running_loop()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unsubscribe: Callable[[], None] = lambda: None
        self._open()

    def close(self) -> None:
        """Stop following; nothing is delivered any more."""
        self._unsubscribe()
        self._unsubscribe = lambda: None
        for timer in self._timers.values():
            timer.cancel()
        self._end()

    def break_off(self, why: str) -> None:
        """Cut the connection: what is not delivered yet is lost."""
        self._broken = why
        self._wake()

    def __aiter__(self) -> "WatchStream":
        return self

    async def __anext__(self) -> bytes:
        while True:
            if self._broken:
                raise Unsent(self._broken)
            if self._there:
                lines, self._there = self._there, []
                return b"".join(lines)
            if self._ended and not self._way:
                raise StopAsyncIteration
            self._waiter = self._loop.create_future()
            await self._waiter

    def _arrive(self) -> None:
        """Let through what is due; a line that is not holds up all behind it."""
        self._timers.pop("way", None)
        now = self._loop.time() + _INSTANT
        while self._way and self._way[0].due <= now:
            line = self._way.popleft()
            if line.event is None or self._passes(line, line.event):
                self._there.append(line.text)
        if self._way:
            self._timers["way"] = self._loop.call_at(self._way[0].due, self._arrive)
        self._wake()

    def _passes(self, line: _Line, event: WatchEvent) -> bool:
        """Ask the faults about an event whose turn has come; whether it is there now."""
        verdict = self._faults.event(self._options.kind.resource, event)
        match verdict:
            case Deliver():
                return verdict is Deliver.NOW
            case Overtaken(seconds):
                self._loop.call_later(seconds, self._come_late, line.text)
                return False
            case Repeated(seconds):
                self._loop.call_later(seconds, self._come_late, line.text)
                return True
            case seconds if seconds > 0:
                self._way.appendleft(_Line(self._loop.time() + seconds, line.text, None))
                return False
            case _:
                return True

    def _come_late(self, text: bytes) -> None:
        if not self._ended:
            self._there.append(text)
            self._wake()

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self) -> None:
        self._ended = True
        self._wake()

    def _open(self) -> None:
        options = self._options
        if options.revision is not None and options.revision < self._storage.oldest(options.kind):
            why = f"too old resource version: {options.revision} ({self._storage.revision})"
            status = Refused(410, "Expired", why).status
            self._push("ERROR", None, msgspec.json.encode(status))
            self._end()
            return
        if options.revision is None:
            for version in self._storage.items(options.kind, options.selection.namespace):
                if options.selection.matches(version):
                    self._send("ADDED", version)
            if options.initial_bookmark:
                self._bookmark({"k8s.io/initial-events-end": "true"})
        else:
            for change in self._storage.since(options.kind, options.revision):
                self._on_change(change)
        self._unsubscribe = self._storage.subscribe(options.kind, self._on_change)
        self._timers["end"] = self._loop.call_later(options.timeout, self._end)
        self._last = self._loop.time() + options.timeout - BOOKMARK_BEFORE_END
        if options.bookmarks:
            self._plan_bookmark()

    def _on_change(self, change: Change) -> None:
        if self._ended:
            return
        selection = self._options.selection
        is_in = not change.deleted and selection.matches(change.current)
        was_in = selection.matches(change.previous)
        if is_in:
            self._send("MODIFIED" if was_in else "ADDED", change.current)
        elif was_in and change.deleted:
            self._send("DELETED", change.current)
        elif was_in and change.previous:
            # It left the selector: the last state that matched, at the version that took it out.
            meta = {**change.previous.meta, "resourceVersion": str(change.revision)}
            self._send("DELETED", Version(self._options.kind, {**change.previous.data, "metadata": meta}, change.revision))

    def _send(self, kind: str, version: Version) -> None:
        self._push(kind, version.data, version.metadata_body if self._options.only_metadata else version.body)

    def _push(self, kind: str, data: Json | None, body: bytes) -> None:
        line = _Line(self._loop.time() + self._latency, b'{"type":"%b","object":%b}\n' % (kind.encode(), body), WatchEvent(kind, data))
        self._way.append(line)
        if "way" not in self._timers:
            self._timers["way"] = self._loop.call_at(line.due, self._arrive)

    def _bookmark_again(self) -> None:
        self._bookmark({})
        self._plan_bookmark()

    def _plan_bookmark(self) -> None:
        """Every minute, and shortly before the end."""
        now = self._loop.time()
        due = self._last if now < self._last < now + BOOKMARK_INTERVAL else now + BOOKMARK_INTERVAL
        self._timers["bookmark"] = self._loop.call_at(due, self._bookmark_again)

    def _bookmark(self, annotations: dict[str, str]) -> None:
        kind = self._options.kind
        meta: Json = {"resourceVersion": str(self._storage.revision)}
        if annotations:
            meta["annotations"] = annotations
        self._push("BOOKMARK", None, msgspec.json.encode({"kind": kind.kind, "apiVersion": kind.api_version, "metadata": meta}))
