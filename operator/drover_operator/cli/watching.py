# SPDX-License-Identifier: Apache-2.0
"""Services as they are at this moment, kept current by the operator's own reflector; and whether the API server can be reached.

Objects are kept as they came, so that JSON output has every field, those of a later version included; reading them is up to the view.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import msgspec
import structlog

from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import Object, ObjectMeta
from drover_operator.api.resource import MANAGED_SERVICES, Resource
from drover_operator.cli.cluster import NOT_INSTALLED, typed
from drover_operator.cli.outcome import Failure
from drover_operator.kube.cache import Cache, Key
from drover_operator.kube.client import Client
from drover_operator.kube.errors import NotFound, OutcomeUnknown, Unsent, api_error
from drover_operator.kube.reflector import Reflector
from drover_operator.kube.transport import Reply, Request, Transport

SILENT = 50  # the highest level of logging: what the reflector logs the view tells in its own words
# What a refusal says about one request, and not about the server.
PASSING = (410, 429)
BAD = 400


class Kept(Object, frozen=True):
    """A service with the JSON it came in; `service` is None where this version cannot read it, and `problem` says why."""

    raw: bytes
    service: ManagedService | None
    problem: str


class _Identity(msgspec.Struct):
    metadata: ObjectMeta


class _Keeping:
    """Reads an object and keeps its text."""

    def decode(self, raw: bytes | msgspec.Raw) -> Kept:
        service, problem = typed(bytes(raw))
        return Kept(metadata=msgspec.json.decode(raw, type=_Identity).metadata, raw=bytes(raw), service=service, problem=problem)


class _Unabridged(Resource[Kept]):
    @cached_property
    def decoder(self) -> msgspec.json.Decoder[Kept]:
        return cast("msgspec.json.Decoder[Kept]", _Keeping())


UNABRIDGED = _Unabridged(MANAGED_SERVICES.group, MANAGED_SERVICES.version, MANAGED_SERVICES.plural, MANAGED_SERVICES.kind, model=Kept)


@dataclass(frozen=True)
class Trouble:
    """The API server does not answer, or refuses; `since` on the clock of the loop."""

    since: float
    words: str


class Line:
    """A transport that remembers whether the API server answered last."""

    def __init__(self, transport: Transport, changed: Callable[[], None]) -> None:
        self._transport = transport
        self._changed = changed
        self.trouble: Trouble | None = None

    async def send(self, request: Request) -> Reply:
        """See `Transport.send`."""
        try:
            reply = await self._transport.send(request)
        except (Unsent, OutcomeUnknown) as error:
            self._failed(str(error))
            raise
        self._answered(reply)
        return reply

    def stream(self, request: Request) -> AbstractAsyncContextManager[tuple[Reply, AsyncIterator[bytes]]]:
        """See `Transport.stream`."""
        return self._stream(request)

    @contextlib.asynccontextmanager
    async def _stream(self, request: Request) -> AsyncGenerator[tuple[Reply, AsyncIterator[bytes]]]:
        try:
            async with self._transport.stream(request) as (reply, chunks):
                self._answered(reply)
                yield reply, chunks
        except Unsent as error:
            self._failed(str(error))
            raise

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._transport.close()

    def _answered(self, reply: Reply) -> None:
        if reply.status >= BAD and reply.status not in PASSING:
            self._failed(str(api_error(reply.status, reply.body)))
        elif self.trouble is not None:
            self.trouble = None
            self._changed()

    def _failed(self, words: str) -> None:
        since = self.trouble.since if self.trouble else asyncio.get_running_loop().time()
        self.trouble = Trouble(since, " ".join(words.split()))
        self._changed()


Listener = Callable[[Key, Kept | None], None]


@dataclass(frozen=True)
class Place:
    """What to watch: a namespace ("" for all), and one name or all."""

    namespace: str
    name: str = ""


class Feed:
    """The services of some places. `listener(key, service)` hears of each change, None for one that is gone; `changed` of any news."""

    def __init__(self, client: Client, listener: Listener, changed: Callable[[], None]) -> None:
        self._listener = listener
        self._changed = changed
        self._line = Line(client.transport, changed)
        self._client = Client(self._line)
        self.services: dict[Key, Kept] = {}

    @property
    def trouble(self) -> Trouble | None:
        """Why there is no news just now."""
        return self._line.trouble

    async def check(self, place: Place) -> None:
        """Ask once for what will be watched, so that a lack of rights or of CRDs ends the verb and is not waited out.

        Raises:
            Failure: Drover is not installed.
        """
        try:
            await self._client.page(MANAGED_SERVICES, place.namespace, limit=1, metadata_only=True)
        except NotFound:
            raise Failure(NOT_INSTALLED) from None

    @contextlib.asynccontextmanager
    async def running(self, places: Sequence[Place]) -> AsyncGenerator[list[asyncio.Task[None]]]:
        """Watch; when the first list is in, the tasks. They end only by an error."""
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(SILENT))
        reflectors = [self._reflector(each) for each in places]
        tasks = [asyncio.create_task(each.run()) for each in reflectors]
        try:
            await _first(asyncio.gather(*(each.synced.wait() for each in reflectors)), tasks)
            yield tasks
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _reflector(self, place: Place) -> Reflector[Kept]:
        cache = Cache[Kept](UNABRIDGED, lambda item: item.metadata.key)
        cache.listen(self._take)
        return Reflector(self._client, cache, namespace=place.namespace, fields=f"metadata.name={place.name}" if place.name else "")

    def _take(self, key: Key | None, old: Object | None, new: Object | None) -> None:
        del old
        if key is None:
            return
        if isinstance(new, Kept):
            self.services[key] = new
        else:
            self.services.pop(key, None)
        self._listener(key, self.services.get(key))
        self._changed()


async def _first(work: asyncio.Future[Any], tasks: Sequence[asyncio.Task[None]]) -> None:
    """Await the work; a task that ends before it has an error to raise."""
    await asyncio.wait({work, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            work.cancel()
            task.result()
    await work
