# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server on asyncio streams: one request a connection, bounded in size, time and number.

The standard library's own server blocks, and the answers must come while a probe or a drain waits. Whatever is sent here ends in an
answer or a closed connection, never in a traceback.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus

from drover_agent.core import Event
from drover_agent.log import Log

HEAD = 8192  # bytes of a request's head
PATIENCE = 5.0  # seconds to send it
MOST = 64  # connections at once
LINGER = 1.0  # seconds for the other side to take the answer
LEFT_OVER = 1024 * 1024  # bytes that are read and dropped meanwhile
TEXT, JSON = "text/plain; charset=utf-8", "application/json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """What is answered."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    kind: str = TEXT
    allow: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What was asked, and by whom: path without the query, headers by their names in small letters, `peer` "" for who has gone."""

    method: str
    path: str
    peer: str
    headers: Mapping[str, str] = field(repr=False)  # one of them may be a secret


Handler = Callable[[Request], Awaitable[Response]]
Routes = Mapping[str, Mapping[str, Handler]]  # path -> method -> handler; HEAD goes where GET goes


class Server:
    """Answers by `routes`; `log` hears of what should not happen."""

    def __init__(self, routes: Routes, log: Log, *, patience: float = PATIENCE) -> None:
        self._routes = routes
        self._log = log
        self._patience = patience
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Begin to serve and return the port.

        Raises:
            OSError: the address cannot be used.
        """
        self._server = await asyncio.start_server(self._accept, host, port, limit=HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        """Take no more connections, and give those that are open the time to take their answers."""
        if self._server is not None:
            self._server.close()
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=LINGER)
            for each in late:
                each.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await asyncio.sleep(0)  # a transport that was given up is closed in the next turn of the loop

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        full = len(self._connections) >= MOST
        work = _send(writer, refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"there are {MOST} connections already")) if full else self._serve(reader, writer)
        task = asyncio.create_task(_closing(writer, work))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(self._patience):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:  # nobody is there any more to be told
            return
        except asyncio.LimitOverrunError:
            response, method = refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head of a request has at most {HEAD} bytes"), ""
        except TimeoutError:
            response, method = refusal(HTTPStatus.REQUEST_TIMEOUT, f"the head of a request must be there within {self._patience:g} s"), ""
        else:
            response, method = await self._respond(head, _peer(writer))
        await _send(writer, response, bodiless=method == "HEAD")
        await _linger(reader, writer)

    async def _respond(self, head: bytes, peer: str) -> tuple[Response, str]:
        request = parse(head, peer)
        if isinstance(request, Response):
            return request, ""
        try:
            return await self._handled(request), request.method
        except Exception as error:  # noqa: BLE001  a fault in one page must neither end the agent nor show its inside
            self._log(Event(name="failed", level="error", fields={"path": request.path, "error": repr(error)}))
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the agent failed to answer; its log says more", request.path), request.method

    async def _handled(self, request: Request) -> Response:
        handlers = self._routes.get(request.path)
        if handlers is None:
            return refusal(HTTPStatus.NOT_FOUND, f"there is no such page; there are {', '.join(sorted(self._routes))}", request.path)
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            allow = ", ".join(sorted([*handlers, "HEAD"] if "GET" in handlers else handlers))
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"this page takes {allow}", request.path, allow=allow)
        return await handler(request)


def parse(head: bytes, peer: str) -> Request | Response:
    """The request in a head, or what is answered to something that is none."""
    line, *lines = head.decode("latin-1").split("\r\n")
    words = line.split(" ")
    if len(words) != len(("GET", "/", "HTTP/1.1")) or not all(words) or not words[2].startswith("HTTP/"):
        return refusal(HTTPStatus.BAD_REQUEST, "this is no HTTP request")
    method, target, version = words
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        return refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
    if target.lower().startswith("http://"):  # as a proxy is asked; the standard demands that it is understood
        target = "/" + target[len("http://") :].partition("/")[2]
    if not target.startswith("/"):
        return refusal(HTTPStatus.BAD_REQUEST, "the target of a request is a path")
    return Request(method=method, path=target.partition("?")[0], peer=peer, headers=_headers(lines))


def _headers(lines: Iterable[str]) -> dict[str, str]:
    return {name.lower(): value.strip(" \t") for name, _, value in (line.partition(":") for line in lines)}


def _peer(writer: asyncio.StreamWriter) -> str:
    found = writer.get_extra_info("peername")
    return str(found[0]) if found else ""


def refusal(status: HTTPStatus, sentence: str, path: str = "", *, allow: str = "") -> Response:
    """A refusal in the language of the page: JSON under /admin/."""
    if path.startswith("/admin/"):
        return Response(status=status, kind=JSON, body=f'{{"error": "{sentence}"}}\n'.encode(), allow=allow)
    return Response(status=status, body=f"{sentence}\n".encode(), allow=allow)


async def _closing(writer: asyncio.StreamWriter, work: Awaitable[None]) -> None:
    """Do what is to do on a connection, and close it whatever happens. One that breaks concerns nobody but its other end."""
    try:
        with suppress(OSError):
            await work
    finally:
        writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, response: Response, *, bodiless: bool = False) -> None:
    lines = [
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Content-Type: {response.kind}",
        f"Content-Length: {len(response.body)}",
        "Connection: close",
        *([f"Allow: {response.allow}"] if response.allow else []),
    ]
    head = "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")
    writer.write(head if bodiless else head + response.body)
    async with asyncio.timeout(LINGER):
        await writer.drain()


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close our half, and read what still comes: a connection that is closed with unread bytes is reset, and the answer may be lost."""
    left = LEFT_OVER
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER):
            writer.write_eof()
            while left > 0 and (more := await reader.read(HEAD)):
                left -= len(more)
