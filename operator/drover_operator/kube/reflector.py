# SPDX-License-Identifier: Apache-2.0
"""The reflector: keeps a cache equal to what the API server has, for ever.

List in chunks with replace semantics, then watch with bookmarks from the version reached. 410, an in-stream error or a broken
stream never ends it. A stream that is silent for longer than a bookmark should take is taken for dead. Source of the pattern:
client-go's Reflector; of the time limits: anchors of kopf 1.44 (70 s) and client-go (watches of 5 to 10 minutes).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from random import Random
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from drover_operator.api.meta import Object, ObjectMeta
from drover_operator.kube.cache import Cache
from drover_operator.kube.client import Client, Page
from drover_operator.kube.errors import ApiError, DroverError, Gone, KubeError, NotFound, TooManyRequests, Unreadable, Unsent, api_error
from drover_operator.kube.transport import Request

T = TypeVar("T", bound=Object)
SILENCE = 70.0  # seconds; bookmarks come about every 60
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds between attempts after an error
PATIENCE = 2.0  # seconds for the watch to bring what a list has shown
ABSENCE = 30.0  # seconds between two looks for a resource that is not served
PAGE = 500
LONGEST_LINE = 16 * 1024 * 1024  # bytes; an object is at most 1.5 MiB in etcd

log = structlog.get_logger()


class RestoredHistory(DroverError):
    """The server's history went back: its etcd was restored. Nothing that this process remembers can be trusted."""


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Bookmark(msgspec.Struct, frozen=True):
    metadata: ObjectMeta


class _Broken(KubeError):
    """The stream cannot go on; list again."""


_event = msgspec.json.Decoder(_Event)
_bookmark = msgspec.json.Decoder(_Bookmark)


class Reflector(Generic[T]):
    """Fills one cache."""

    def __init__(
        self,
        client: Client,
        cache: Cache[T],
        *,
        namespace: str = "",
        selector: str = "",
        fields: str = "",
        random: Random | None = None,
        optional: bool = False,
    ) -> None:
        self._client = client
        self.cache = cache
        self._namespace = namespace
        self._selector = selector
        self._fields = fields
        self._random = random or Random()
        self._optional = optional  # the server may not have such a resource: then there is none of it
        self._decoder = cache.resource.decoder
        self.synced = asyncio.Event()
        self._again = False  # a fresh list is asked for
        self._patience: asyncio.Timeout | None = None  # with the stream that is being read
        self._listed = 0  # version of the last complete list
        self._heard = asyncio.get_running_loop().time()  # when the server last told anything; before that, when we began to ask
        self._why = "start"  # why the next list is made
        self.relists: Counter[str] = Counter()  # complete lists by reason
        self.restarts: Counter[str] = Counter()  # watches that ended, by reason

    @property
    def age(self) -> float:
        """Seconds since the last event, bookmark or list."""
        return asyncio.get_running_loop().time() - self._heard

    def relist(self) -> None:
        """Ask for a fresh list as soon as possible."""
        self._again = True
        self._why = "asked"
        if self._patience is not None and not self._patience.expired():
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Keep the cache current until cancelled.

        Raises:
            RestoredHistory: the server's history went back.
        """
        pause, loop = FIRST_PAUSE, asyncio.get_running_loop()
        while True:
            begun = loop.time()
            try:
                await self.list()
                await self._follow()
            except Gone:
                self._why = "expired"
                log.info("relist", resource=str(self.cache.resource), reason="expired")
                await asyncio.sleep(self._random.uniform(0, FIRST_PAUSE))
            except KubeError as error:
                if self._optional and isinstance(error, NotFound):
                    await self._absent()
                    continue
                self._why = "error"
                if loop.time() - begun > LONGEST_PAUSE:
                    pause = FIRST_PAUSE  # it went well for a while; a list alone proves nothing, the watch may be refused each time
                log.warning("relist", resource=str(self.cache.resource), reason=str(error), pause=round(pause, 1))
                await asyncio.sleep(pause * self._random.uniform(0.5, 1.0))
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _absent(self) -> None:
        """The server does not know the resource now; somebody may install it."""
        self.cache.replace((), 0)
        self._heard = asyncio.get_running_loop().time()
        self._why = "start"
        self.synced.set()
        await asyncio.sleep(ABSENCE * self._random.uniform(0.9, 1.1))

    async def list(self) -> None:
        """Replace the cache by a consistent list."""
        objects: list[T] = []
        after, version = "", 0
        while True:
            page = await self._client.page(self.cache.resource, self._namespace, selector=self._selector, fields=self._fields, limit=PAGE, after=after)
            version = version or _version(page)
            objects += [item for item in map(self._decoded, page.items or ()) if item is not None]
            after = page.metadata.continue_
            if not after:
                break
        if version < self.cache.watermark:
            raise RestoredHistory(f"{self.cache.resource} was at version {self.cache.watermark}, the server now lists {version}")
        self._again = False
        self.cache.replace(objects, version)
        self._listed = version
        self._heard = asyncio.get_running_loop().time()
        self.relists[self._why] += 1
        self.synced.set()

    async def prove(self) -> None:
        """Return when the cache is certainly as new as the moment of the call, whatever its watch has kept from it.

        A consistent list of metadata says what should be there. A cache that does not match it soon is listed anew.
        """
        await self.synced.wait()
        wanted, version = await self._current()
        loop = asyncio.get_running_loop()
        patience = loop.time() + PATIENCE
        while self._listed < version and not _matches(self.cache, wanted, version, upto=version):
            if loop.time() >= patience:
                self.relist()
                patience = loop.time() + PATIENCE
            await asyncio.sleep(0.02)

    async def _current(self) -> tuple[dict[str, int], int]:
        while True:
            try:
                return await self._versions()
            except KubeError as error:
                if self._optional and isinstance(error, NotFound):
                    return {}, 0
                log.warning("cannot prove the cache", resource=str(self.cache.resource), reason=str(error))
                await asyncio.sleep(1.0)

    async def _versions(self) -> tuple[dict[str, int], int]:
        """The versions of what a consistent list holds now, by uid; and the version of the list."""
        found: dict[str, int] = {}
        after, version, seen = "", 0, self.cache.watermark
        while True:
            page = await self._client.page(
                self.cache.resource, self._namespace, selector=self._selector, fields=self._fields, limit=PAGE, after=after, metadata_only=True
            )
            version = version or _version(page)
            for item in page.items or ():
                meta = _identity(item)
                found[meta.uid] = meta.version
            after = page.metadata.continue_
            if not after:
                break
        if version < seen:
            self.relist()
            raise RestoredHistory(f"{self.cache.resource} was at version {seen}, the server now lists {version}")
        return found, version

    async def _follow(self) -> None:
        """Watch, and watch again from where it ended, until a list is needed."""
        while not self._again:
            try:
                await self._watch()
                if not await self._whole():
                    self._why = "gap"
                    return
            except (Unsent, TooManyRequests) as error:
                self.restarts["broken" if isinstance(error, Unsent) else "busy"] += 1
                log.debug("rewatch", resource=str(self.cache.resource), reason=str(error))
                await asyncio.sleep(self._random.uniform(FIRST_PAUSE, 5 * FIRST_PAUSE))

    async def _whole(self) -> bool:
        """Whether nothing was kept from us. Asked when a watch ends, every few minutes: no event may ever be lost for good."""
        wanted, version = await self._versions()
        return _matches(self.cache, wanted, version, upto=self.cache.watermark)

    async def _watch(self) -> None:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": str(self.cache.watermark),
            "timeoutSeconds": str(self._random.randint(300, 600)),
        }
        query |= {name: value for name, value in (("labelSelector", self._selector), ("fieldSelector", self._fields)) if value}
        request = Request(method="GET", path=self.cache.resource.path(self._namespace), query=query)
        async with self._client.transport.stream(request) as (reply, chunks):
            if reply.status != 200:
                raise api_error(reply.status, reply.body)
            await self._consume(chunks)

    async def _consume(self, chunks: AsyncIterator[bytes]) -> None:
        """Take events until the stream ends, is silent for too long, or a fresh list is asked for."""
        try:
            async with asyncio.timeout(SILENCE) as self._patience:
                await self._take_all(chunks, self._patience)
            self.restarts["ended"] += 1
        except TimeoutError:
            self.restarts["ended" if self._again else "silent"] += 1
        finally:
            self._patience = None

    async def _take_all(self, chunks: AsyncIterator[bytes], patience: asyncio.Timeout) -> None:
        loop, rest = asyncio.get_running_loop(), b""
        while not self._again and (chunk := await anext(chunks, None)) is not None:
            self._heard = loop.time()
            patience.reschedule(self._heard + SILENCE)
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
            if len(rest) > LONGEST_LINE:
                raise _Broken("an event of more than 16 MiB")

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            event = _event.decode(line)
            self._dispatch(event)
        except msgspec.DecodeError as error:
            raise _Broken(f"an event could not be read: {error}") from error

    def _decoded(self, raw: msgspec.Raw) -> T | None:
        """The object, or None for one that this version cannot read: it is left alone and said, and stops nobody else."""
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            meta = _identity(raw)
            log.warning("unreadable object", resource=str(self.cache.resource), key=f"{meta.namespace}/{meta.name}", reason=str(error))
            return None

    def _dispatch(self, event: _Event) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                if (item := self._decoded(event.object)) is not None:
                    self.cache.saw(item)
            case "DELETED":
                if (item := self._decoded(event.object)) is not None:
                    self.cache.lost(item)
            case "BOOKMARK":
                self.cache.bookmark(_bookmark.decode(event.object).metadata.version)
            case _:
                raise _stream_error(bytes(event.object))


def _matches(cache: Cache[Any], wanted: dict[str, int], version: int, *, upto: int) -> bool:
    """Whether the cache holds all that a list shows up to a version, and nothing that the list would have shown."""
    held = {item.metadata.uid: item.metadata.version for item in cache.values()}
    missing = any(held.get(uid, -1) < at <= upto for uid, at in wanted.items())
    return not missing and all(uid in wanted or at > version for uid, at in held.items())


def _version(page: Page) -> int:
    if not page.metadata.resource_version.isdecimal():
        raise Unreadable(f"a list of version '{page.metadata.resource_version}'")
    return int(page.metadata.resource_version)


def _identity(raw: msgspec.Raw) -> ObjectMeta:
    try:
        return _bookmark.decode(raw).metadata
    except msgspec.DecodeError as error:
        raise Unreadable(f"an object without readable metadata: {error}") from error


def _stream_error(body: bytes) -> ApiError:
    code = msgspec.json.decode(body, type=dict[str, object]).get("code", 500)
    return api_error(code if isinstance(code, int) else 500, body)
