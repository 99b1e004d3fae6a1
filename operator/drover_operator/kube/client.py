# SPDX-License-Identifier: Apache-2.0
"""Typed requests on top of a transport: paths, JSON, the error tree, and patience with a busy server.

Writes answer with what the own-write guard needs (uid, version, gone), not with the object: the cache is the only source of
objects. Rejected: client-side rate limits (the built-in controller's 20/s is why it is slow); the server's priority and fairness
decides, and its 429 with Retry-After is obeyed: here, by a client that has patience, or by who gets the error.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from copy import copy
from typing import Any, Protocol, TypeVar

import msgspec

from drover_operator.api.meta import Object, ObjectMeta
from drover_operator.api.resource import Resource
from drover_operator.kube.errors import OutcomeUnknown, ServerError, TooManyRequests, Unreadable, api_error
from drover_operator.kube.transport import APPLY_PATCH, JSON, MERGE_PATCH, METADATA, METADATA_LIST, STRATEGIC_PATCH, Reply, Request, Transport

T = TypeVar("T", bound=Object)
D = TypeVar("D")
MUTATIONS_AT_ONCE = 16  # the API server of a small cluster answers no faster to more, only later
PATIENCE = 60.0  # seconds that one call may spend waiting on 429 before it gives up, unless the client was made with another patience
LONGEST_PAUSE = 30.0  # seconds; a server that asks for more gets asked again earlier
FIELD_MANAGER = "drover"


class Fence(Protocol):
    """Proof of leadership that every write carries."""

    def headers(self) -> Mapping[str, str]:
        """Headers of a write; raises LostLeadership when this process may not write any more."""
        ...


class Written(msgspec.Struct, frozen=True):
    """What a write left behind: the object's uid and version, or that it is gone."""

    uid: str
    version: int
    gone: bool = False


class ListMeta(msgspec.Struct, frozen=True, rename="camel"):
    """Metadata of a list."""

    resource_version: str = ""
    continue_: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, frozen=True):
    """One chunk of a list, items still encoded."""

    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


class _Identity(msgspec.Struct, frozen=True, rename="camel"):
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()
    details: dict[str, Any] | None = None


_BRIEF = {"Accept": METADATA}  # a write needs no more of its answer; the server spares itself the rest

_identity = msgspec.json.Decoder(_Identity)
_page = msgspec.json.Decoder(Page)


class Client:
    """Talks to one API server; safe to share between tasks.

    Every method raises errors of `kube.errors`: `Unsent` and `OutcomeUnknown` from the transport, `ApiError` by status. A busy server is
    asked again within `patience` seconds; with none, its first 429 is the answer, and nothing is held while somebody waits.
    """

    def __init__(self, transport: Transport, fence: Fence | None = None, *, patience: float = PATIENCE) -> None:
        self.transport = transport
        self._fence = fence
        self._patience = patience
        self._mutations: AbstractAsyncContextManager[None] = asyncio.Semaphore(MUTATIONS_AT_ONCE)

    async def get(self, resource: Resource[T], namespace: str, name: str) -> T:
        """One object, read from the quorum."""
        reply = await self._call(Request(method="GET", path=resource.path(namespace, name)))
        return _read(resource.decoder, reply.body)

    async def page(
        self,
        resource: Resource[Object],
        namespace: str = "",
        *,
        selector: str = "",
        fields: str = "",
        limit: int = 500,
        after: str = "",
        metadata_only: bool = False,
    ) -> Page:
        """One chunk of a consistent list; `after` is the continue token of the chunk before, `selector` is of labels, `fields` of fields."""
        chosen = {"labelSelector": selector, "fieldSelector": fields, "continue": after}
        query = {"limit": str(limit)} | {name: value for name, value in chosen.items() if value}
        headers = {"Accept": METADATA_LIST} if metadata_only else {}
        reply = await self._call(Request(method="GET", path=resource.path(namespace), query=query, headers=headers, timeout=60.0))
        return _read(_page, reply.body)

    async def create(self, resource: Resource[Object], namespace: str, body: Any, *, dry_run: bool = False) -> Written:
        """Create an object; a dry run checks every field strictly and stores nothing."""
        query = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All", "fieldValidation": "Strict"} if dry_run else {})
        request = Request(method="POST", path=resource.path(namespace), query=query, body=msgspec.json.encode(body), headers=_BRIEF | {"Content-Type": JSON})
        return _written(await self._write(request))

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncGenerator["Client"]:
        """One place among the writes for several that belong together; the second would else wait behind all that wait already."""
        async with self._mutations:
            inside = copy(self)
            inside._mutations = contextlib.nullcontext()  # noqa: SLF001  a client of the same kind
            yield inside

    async def patch(self, resource: Resource[Object], namespace: str, name: str, body: Any, *, subresource: str = "", strategic: bool = False) -> Written:
        """Merge-patch an object; uid and resourceVersion inside the body are preconditions. `strategic` merges lists by key."""
        request = Request(
            method="PATCH",
            path=resource.path(namespace, name, subresource),
            query={"fieldManager": FIELD_MANAGER},
            body=msgspec.json.encode(body),
            headers=_BRIEF | {"Content-Type": STRATEGIC_PATCH if strategic else MERGE_PATCH},
        )
        return _written(await self._write(request))

    async def apply(
        self,
        resource: Resource[Object],
        namespace: str,
        name: str,
        body: Any,
        *,
        manager: str,
        merge: bool = False,
        dry_run: bool = False,
        force: bool = True,
    ) -> bytes:
        """Server-side apply by that manager, every field checked strictly; the object as the server has it then, as JSON.

        What others own is taken over, without `force` that is a Conflict. `merge` sends a merge patch instead, in which null removes a field.
        With `dry_run` the server stores nothing: what comes back is what it would have.
        """
        query = {"fieldManager": manager, "fieldValidation": "Strict"}
        query |= ({} if merge else {"force": "true" if force else "false"}) | ({"dryRun": "All"} if dry_run else {})
        request = Request(
            method="PATCH",
            path=resource.path(namespace, name),
            query=query,
            body=msgspec.json.encode(body),
            headers={"Content-Type": MERGE_PATCH if merge else APPLY_PATCH},
        )
        return (await self._write(request)).body

    async def delete(self, resource: Resource[Object], namespace: str, name: str, *, uid: str, version: str = "") -> Written:
        """Delete that very object, in that very version if one is given; what it owns goes with it, also where the server would orphan it (Jobs)."""
        conditions = {"uid": uid} | ({"resourceVersion": version} if version else {})
        body = msgspec.json.encode({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": conditions, "propagationPolicy": "Background"})
        request = Request(method="DELETE", path=resource.path(namespace, name), body=body, headers=_BRIEF | {"Content-Type": JSON})
        return _written(await self._write(request), uid)

    async def _write(self, request: Request) -> Reply:
        async with self._mutations:
            return await self._call(request)

    async def _call(self, request: Request) -> Reply:
        deadline = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                return await self._once(request)
            except TooManyRequests as busy:
                if asyncio.get_running_loop().time() + busy.pause > deadline:
                    raise
                await asyncio.sleep(busy.pause)

    async def _once(self, request: Request) -> Reply:
        if request.mutating and self._fence is not None:
            request = _with_headers(request, self._fence.headers())
        reply = await self.transport.send(request)
        if reply.status < 300:
            return reply
        error = api_error(reply.status, reply.body)
        if isinstance(error, TooManyRequests):
            error.pause = _pause(error, reply)
        if request.mutating and isinstance(error, ServerError) and not error.before_storage:
            raise OutcomeUnknown(str(error)) from error
        raise error


def _with_headers(request: Request, more: Mapping[str, str]) -> Request:
    return Request(
        method=request.method, path=request.path, query=request.query, body=request.body, headers={**request.headers, **more}, timeout=request.timeout
    )


def _read(decoder: msgspec.json.Decoder[D], body: bytes) -> D:
    try:
        return decoder.decode(body)
    except msgspec.DecodeError as error:
        raise Unreadable(f"an answer could not be read: {error}") from error


def _pause(busy: TooManyRequests, reply: Reply) -> float:
    """Priority and fairness answers in plain text: there the header alone says how long."""
    asked = busy.status.details.retry_after_seconds if busy.status.details else 0
    header = reply.headers.get("Retry-After", "")
    return min(float(asked or (int(header) if header.isdecimal() else 0) or 1), LONGEST_PAUSE)


def _written(reply: Reply, uid: str = "") -> Written:
    try:
        found = _identity.decode(reply.body)
    except msgspec.DecodeError as error:
        raise OutcomeUnknown(f"the answer to a write could not be read: {error}") from error
    if found.kind == "Status":
        return Written(uid, 0, gone=True)
    return Written(found.metadata.uid, found.metadata.version, gone=_ended(found.metadata))


def _ended(meta: ObjectMeta) -> bool:
    """Whether the write took away the last thing that kept a deleted object: its finalizers are gone, and no kubelet has to confirm."""
    return meta.deletion_timestamp is not None and not meta.finalizers and not meta.deletion_grace_period_seconds
