# SPDX-License-Identifier: Apache-2.0
"""The namespace of one case, and the record of everything that was asked and answered in it.

`where` is always `plural[/name[/subresource]]` in the namespace of the case, or a whole path that begins with a slash.
`show` picks parts of the answered object (`"metadata.generation spec.replicas"`); without it the whole object is compared.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import msgspec

from drover_operator.kube.transport import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Reply, Request, Transport

Json = dict[str, Any]
PREFIXES = {
    "namespaces": "/api/v1",
    "nodes": "/api/v1",
    "pods": "/api/v1",
    "services": "/api/v1",
    "configmaps": "/api/v1",
    "resourcequotas": "/api/v1",
    "controllerrevisions": "/apis/apps/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "events": "/apis/events.k8s.io/v1",
    "managedservices": "/apis/drover.dev/v1alpha1",
    "releasegates": "/apis/drover.dev/v1alpha1",
    "maintenancewindows": "/apis/drover.dev/v1alpha1",
}
CLUSTER_WIDE = ("namespaces", "nodes")
PAUSE, PATIENCE = 0.05, 60.0  # seconds between two looks, and in all
CODE = "-"  # what to show of an answer whose words are a Go library's own: code and reason


class Backend(Protocol):
    """One side of the comparison."""

    transport: Transport
    has_accounts: bool  # whether a new namespace gets a service account, which pods need

    def now(self) -> float:
        """Seconds since the epoch, as the server counts them."""
        ...

    async def forget(self) -> None:
        """Compact the history: versions older than the present one cannot be listed any more."""
        ...


class Room:
    """One namespace. Every method sends one request, records it and its answer, and answers the decoded body."""

    def __init__(self, backend: Backend, namespace: str) -> None:
        self.backend = backend
        self.namespace = namespace
        self.record: list[Json] = []
        self.requests = 0

    async def post(self, where: str, body: Any, *, show: str | None = None, headers: Mapping[str, str] | None = None, **query: str) -> Json:
        return await self.send("POST", where, body, show=show, headers=headers, query=query)

    async def get(self, where: str, *, show: str | None = None, headers: Mapping[str, str] | None = None, **query: str) -> Json:
        return await self.send("GET", where, show=show, headers=headers, query=query)

    async def put(self, where: str, body: Any, *, show: str | None = None, **query: str) -> Json:
        return await self.send("PUT", where, body, show=show, query=query)

    async def merge(self, where: str, body: Any, *, show: str | None = None, **query: str) -> Json:
        return await self.send("PATCH", where, body, MERGE_PATCH, show=show, query=query)

    async def json(self, where: str, *steps: Json, show: str | None = None, **query: str) -> Json:
        return await self.send("PATCH", where, list(steps), JSON_PATCH, show=show, query=query)

    async def strategic(self, where: str, body: Any, *, show: str | None = None, **query: str) -> Json:
        return await self.send("PATCH", where, body, STRATEGIC_PATCH, show=show, query=query)

    async def apply(self, where: str, body: Any, manager: str, *, show: str | None = None, **query: str) -> Json:
        return await self.send("PATCH", where, body, APPLY_PATCH, show=show, query={"fieldManager": manager, **query})

    async def delete(self, where: str, options: Json | None = None, *, show: str | None = None, **query: str) -> Json:
        return await self.send("DELETE", where, options, show=show, query=query)

    async def send(
        self,
        method: str,
        where: str,
        body: Any = None,
        content: str = JSON,
        *,
        show: str | None = None,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Json:
        """Any request; a body of bytes is sent as it is."""
        given = {"Content-Type": content, **(headers or {})}
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        request = Request(method=method, path=self.path(where), query=dict(query or {}), body=data, headers=given)
        reply = await self.backend.transport.send(request)
        self.requests += 1
        answer = decoded(reply)
        self.note({"ask": asked(method, where, content if method == "PATCH" else "", request.query), "code": reply.status, **shown(answer, show)})
        return answer

    async def until(self, where: str, holds: Callable[[Json], Any], *, show: str = "", **query: str) -> Json:
        """Look at an object until `holds`, which is asked with what GET answers; only the last look is on record."""
        answer: Json = {}
        for _ in range(int(PATIENCE / PAUSE)):
            answer = decoded(await self.backend.transport.send(Request(method="GET", path=self.path(where), query=query)))
            if holds(answer):
                break
            await asyncio.sleep(PAUSE)
        else:
            raise TimeoutError(f"{where} in {self.namespace} never came to be as it should: {answer}")
        self.note({"until": asked("GET", where, "", query), **shown(answer, show)})
        return answer

    async def takes(self, where: str, body: Any) -> None:
        """Wait until a POST would be accepted; this is not on record: admission learns of a quota's count a moment after everybody can read it."""
        request = Request(method="POST", path=self.path(where), query={"dryRun": "All"}, body=msgspec.json.encode(body), headers={"Content-Type": JSON})
        for _ in range(int(PATIENCE / PAUSE)):
            if (await self.backend.transport.send(request)).status < 300:
                return
            await asyncio.sleep(PAUSE)
        raise TimeoutError(f"{where} in {self.namespace} never took {body}")

    async def refuses(self, where: str, body: Any) -> None:
        """Wait until a POST would be refused; not on record, as `takes`."""
        request = Request(method="POST", path=self.path(where), query={"dryRun": "All"}, body=msgspec.json.encode(body), headers={"Content-Type": JSON})
        for _ in range(int(PATIENCE / PAUSE)):
            if (await self.backend.transport.send(request)).status >= 400:
                return
            await asyncio.sleep(PAUSE)
        raise TimeoutError(f"{where} in {self.namespace} never refused {body}")

    async def settled(self, namespace: str) -> None:
        """Wait until pods can be made in a new namespace; this is not on record, as one of the two servers has no accounts."""
        request = Request(method="GET", path=f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
        while self.backend.has_accounts and (await self.backend.transport.send(request)).status != 200:
            await asyncio.sleep(PAUSE)

    async def gone(self, where: str) -> None:
        """Wait until an object is gone."""
        await self.until(where, lambda answer: answer.get("code") == 404, show="message")

    @asynccontextmanager
    async def watch(self, where: str, *, show: str | None = None, headers: Mapping[str, str] | None = None, **query: str) -> AsyncIterator["Watching"]:
        """An open watch."""
        request = Request(method="GET", path=self.path(where), query={"watch": "true", **query}, headers=headers or {})
        async with self.backend.transport.stream(request) as (reply, chunks):
            self.requests += 1
            entry: Json = {"watch": asked("GET", where, "", query), "code": reply.status}
            self.note(entry | (shown(decoded(reply), None) if reply.status != 200 else {}))
            yield Watching(self, where, show, chunks)

    def path(self, where: str) -> str:
        """The path of the API that `where` means."""
        if where.startswith("/"):
            return where
        plural, _, rest = where.partition("/")
        space = "" if plural in CLUSTER_WIDE else f"/namespaces/{self.namespace}"
        return f"{PREFIXES[plural]}{space}/{plural}" + (f"/{rest}" if rest else "")

    def note(self, entry: Json) -> None:
        """Put something on record."""
        self.record.append({**entry, "at": self.backend.now()})


class Watching:
    """The events of one watch, taken in the numbers that a case expects."""

    def __init__(self, room: Room, where: str, show: str | None, chunks: AsyncIterator[bytes]) -> None:
        self._room, self._where, self._show = room, where, show
        self._lines = _lines(chunks)

    async def take(self, count: int, *, by_object: bool = False) -> list[Json]:
        """The next `count` events; `by_object` where the order between objects is open."""
        events = [await self._next() for _ in range(count)]
        if by_object:
            events.sort(key=lambda event: str(event["object"]["metadata"].get("name")))
        for event in events:
            self._room.note({"event": self._where, "type": event["type"], **shown(event["object"], self._show)})
        return events

    async def until(self, holds: Callable[[Json], Any]) -> None:
        """Drop events until one `holds`, and put that one on record: where others may come in between."""
        while not holds(event := await self._next()):
            pass
        self._room.note({"event": self._where, "type": event["type"], **shown(event["object"], self._show)})

    async def end(self) -> None:
        """The server ends the watch, and nothing came before."""
        async with asyncio.timeout(PATIENCE):
            rest = [line async for line in self._lines]
        self._room.note({"event": self._where, "type": "(end)", "before": [line["type"] for line in rest]})

    async def _next(self) -> Json:
        async with asyncio.timeout(PATIENCE):
            return await anext(self._lines)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[Json]:
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield msgspec.json.decode(line)


def decoded(reply: Reply) -> Json:
    """The body of a reply; text that is no JSON as the message of an object."""
    try:
        return dict(msgspec.json.decode(reply.body))
    except (msgspec.DecodeError, TypeError, ValueError):
        return {"kind": "(text)", "message": reply.body.decode()}


def asked(method: str, where: str, content: str, query: Mapping[str, str]) -> str:
    """One line for a request; the body stands in the case."""
    kind = content.removeprefix("application/").partition("+")[0].removesuffix("-patch")
    words = "&".join(f"{key}={value}" for key, value in sorted(query.items()))
    return " ".join(part for part in (method, kind, where, f"?{words}" if words else "") if part)


def shown(answer: Json, show: str | None) -> Json:
    """The part of an answer that is compared."""
    if answer.get("kind") == "Status" and answer.get("status") == "Failure":
        if show == CODE:
            return {"reason": answer.get("reason", "")}
        return {"reason": answer.get("reason", ""), "message": answer.get("message", ""), **({"details": answer["details"]} if answer.get("details") else {})}
    if show is None or answer.get("kind") == "(text)":
        return {"object": answer}
    if "items" in answer:
        head = picked(answer, "metadata.remainingItemCount metadata.continue")
        return {"object": {**head, "items": [picked(item, show) for item in answer["items"]]}}
    return {"object": picked(answer, show)}


def picked(value: Any, paths: str) -> Json:
    """The parts at dotted paths, those that are there; `*` goes into every item of a list."""
    return {path: part for path in paths.replace(CODE, "").split() if (part := _part(value, path.split("."))) is not None}


def _part(value: Any, path: list[str]) -> Any:
    for index, key in enumerate(path):
        if key == "*" and isinstance(value, list):
            return [_part(item, path[index + 1 :]) for item in value]
        if isinstance(value, list):
            value = value[int(key)] if int(key) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(key)
        else:
            return None
    return value
