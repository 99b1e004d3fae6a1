# SPDX-License-Identifier: Apache-2.0
"""The agent's small HTTP server over real sockets: what is answered, and that nothing sent to it makes it stop or show its inside."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import pytest

from drover_agent.core import Event
from drover_agent.server import HEAD, JSON, MOST, Request, Response, Routes, Server


class Site:
    """A server with a page of each sort."""

    def __init__(self) -> None:
        self.lines: list[Event] = []
        self.go = asyncio.Event()
        self.entered = asyncio.Event()
        self.asked: list[Request] = []

    async def page(self, request: Request) -> Response:
        self.asked.append(request)
        return Response(body=b"page\n")

    async def slow(self, _: Request) -> Response:
        self.entered.set()
        await self.go.wait()
        return Response(body=b"slow\n")

    async def faulty(self, _: Request) -> Response:
        raise ZeroDivisionError("inside")

    async def posted(self, _: Request) -> Response:
        return Response(status=HTTPStatus.NOT_IMPLEMENTED, kind=JSON, body=b"{}\n")

    @property
    def routes(self) -> Routes:
        return {"/": {"GET": self.page}, "/slow": {"GET": self.slow}, "/faulty": {"GET": self.faulty}, "/admin/posted": {"POST": self.posted}}


@asynccontextmanager
async def served(patience: float = 20.0) -> AsyncIterator[tuple[Site, Server, int]]:
    site = Site()
    server = Server(site.routes, site.lines.append, patience=patience)
    port = await server.start("127.0.0.1", 0)
    try:
        yield site, server, port
    finally:
        await server.stop()


async def exchange(port: int, *parts: bytes) -> bytes:
    """Everything that comes back on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
        await writer.drain()
    answer = await asyncio.wait_for(reader.read(), 20)
    await gone(writer)
    return answer


async def gone(*writers: asyncio.StreamWriter) -> None:
    """Close connections, and wait until they are."""
    for each in writers:
        each.close()
        with suppress(OSError):
            await each.wait_closed()


GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\nConnection: close\r\n\r\npage\n"
ANSWERS = (
    (GET, 200, "", "an ordinary request"),
    (b"GET / HTTP/1.0\r\n\r\n", 200, "", "the oldest client"),
    (b"GET /?verbose=1 HTTP/1.1\r\n\r\n", 200, "", "a query is left out"),
    (b"GET http://10.0.0.7:9909/ HTTP/1.1\r\n\r\n", 200, "", "as a proxy is asked"),
    (b"GET HTTP://10.0.0.7 HTTP/1.1\r\n\r\n", 200, "", "the same without a path"),
    (b"HEAD / HTTP/1.1\r\n\r\n", 200, "", "HEAD goes where GET goes"),
    (GET + GET, 200, "", "a second request on the connection is not answered: it is closed"),
    (b"GET /none HTTP/1.1\r\n\r\n", 404, "there is no such page; there are /, /admin/posted, /faulty, /slow\n", "an unknown page"),
    (b"GET /admin/none HTTP/1.1\r\n\r\n", 404, {"error": "there is no such page; there are /, /admin/posted, /faulty, /slow"}, "JSON under /admin/"),
    (b"GET /../etc/passwd HTTP/1.1\r\n\r\n", 404, "there is no such page; there are /, /admin/posted, /faulty, /slow\n", "paths lead to no files"),
    (b"POST / HTTP/1.1\r\n\r\n", 405, "this page takes GET, HEAD\n", "another method"),
    (b"get / HTTP/1.1\r\n\r\n", 405, "this page takes GET, HEAD\n", "methods are in capitals"),
    (b"GET /admin/posted HTTP/1.1\r\n\r\n", 405, {"error": "this page takes POST"}, "a page that is not read"),
    (b"HEAD /admin/posted HTTP/1.1\r\n\r\n", 405, "", "HEAD has no body even then"),
    (b"GET /faulty HTTP/1.1\r\n\r\n", 500, "the agent failed to answer; its log says more\n", "a fault of ours"),
    (b"\r\n\r\n", 400, "this is no HTTP request\n", "empty lines"),
    (b"hello\r\n\r\n", 400, "this is no HTTP request\n", "no HTTP at all"),
    (b"GET  / HTTP/1.1\r\n\r\n", 400, "this is no HTTP request\n", "two spaces"),
    (b"GET / HTTP/1.1 x\r\n\r\n", 400, "this is no HTTP request\n", "a word too many"),
    (b"GET / FTP/1.1\r\n\r\n", 400, "this is no HTTP request\n", "another protocol"),
    (b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03\r\n\r\n", 400, "this is no HTTP request\n", "TLS"),
    (b"\xff\xfe / HTTP/1.1\r\n\r\n", 405, "this page takes GET, HEAD\n", "bytes that are no text"),
    (b"GET index.html HTTP/1.1\r\n\r\n", 400, "the target of a request is a path\n", "no path"),
    (b"OPTIONS * HTTP/1.1\r\n\r\n", 400, "the target of a request is a path\n", "a star"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "this server speaks HTTP/1.1\n", "HTTP/2 without a word before"),
    (b"GET / HTTP/1.1\r\nX: " + b"x" * HEAD + b"\r\n\r\n", 431, f"the head of a request has at most {HEAD} bytes\n", "a head that is too long"),
    (b"x" * 4 * HEAD, 431, f"the head of a request has at most {HEAD} bytes\n", "a line without an end"),
    (b"POST /admin/posted HTTP/1.1\r\nContent-Length: 900000\r\n\r\n" + b"x" * 900_000, 501, {}, "a body is dropped, and the answer arrives all the same"),
)  # fmt: skip


@pytest.mark.parametrize("request_, status, body, why", ANSWERS, ids=[row[-1] for row in ANSWERS])
def test_answers(request_: bytes, status: int, body: str | dict[str, str], why: str) -> None:
    async def main() -> None:
        async with served() as (site, _, port):
            head, _, rest = (await exchange(port, request_)).partition(b"\r\n\r\n")
            lines = head.decode("ascii").split("\r\n")
            assert lines[0] == f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", why
            assert "Connection: close" in lines
            if isinstance(body, dict):
                assert "Content-Type: application/json" in lines
                assert json.loads(rest) == body
            elif body or request_.startswith(b"HEAD"):
                assert rest == body.encode()
            assert [each.name for each in site.lines] == (["failed"] if status == 500 else [])
            assert ("Allow: GET, HEAD" in lines or "Allow: POST" in lines) == (status == 405)

    asyncio.run(main())


def test_an_answer_byte_for_byte() -> None:
    async def main() -> None:
        async with served() as (_, _, port):
            assert await exchange(port, GET) == PAGE
            assert await exchange(port, GET.replace(b"GET", b"HEAD")) == PAGE.removesuffix(b"page\n")
            assert await exchange(port, *(bytes([each]) for each in GET)) == PAGE, "byte by byte, but in time"

    asyncio.run(main())


HEADERS = (
    (b"", {}, "none"),
    (b"X-Drover-Token: abc", {"x-drover-token": "abc"}, "as a kubelet writes it"),
    (b"x-drover-TOKEN:abc", {"x-drover-token": "abc"}, "names are the same in all letters, and a space is not needed"),
    (b"X-Drover-Token:  a b\t ", {"x-drover-token": "a b"}, "spaces around a value are none of it"),
    (b"X-Drover-Token: a:b", {"x-drover-token": "a:b"}, "a colon in a value"),
    (b"X-Drover-Token: abc\r\nX-Drover-Token: xyz", {"x-drover-token": "xyz"}, "the last one of two"),
    (b"X-Drover-Token : abc", {"x-drover-token ": "abc"}, "a space before the colon makes another name"),
    (b"X: y\r\n X-Drover-Token: abc", {"x": "y", " x-drover-token": "abc"}, "a line that goes on is no header of its own"),
    (b"X-Drover-Token: \xff", {"x-drover-token": "\xff"}, "bytes that are no text"),
)  # fmt: skip


@pytest.mark.parametrize("sent, headers, why", HEADERS, ids=[row[-1] for row in HEADERS])
def test_what_a_page_hears_of_who_asks(sent: bytes, headers: dict[str, str], why: str) -> None:
    async def main() -> None:
        async with served() as (site, _, port):
            assert await exchange(port, b"GET /?a=b HTTP/1.1\r\n" + sent + b"\r\n\r\n" * bool(sent) + b"\r\n" * (not sent)) == PAGE
            (asked,) = site.asked
            assert (asked.method, asked.path, asked.peer) == ("GET", "/", "127.0.0.1")
            assert {name: value for name, value in asked.headers.items() if name} == headers, why

    asyncio.run(main())


def test_an_answer_ends_without_waiting_for_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client may wait for the end of the connection, and close its own half only then."""
    monkeypatch.setattr("drover_agent.server.LINGER", 30.0)

    async def main() -> None:
        async with served() as (_, _, port):
            assert await exchange(port, GET) == PAGE

    asyncio.run(main())


def test_a_fault_is_logged_with_its_page_and_not_shown() -> None:
    async def main() -> None:
        async with served() as (site, _, port):
            answer = await exchange(port, b"GET /faulty?token=secret HTTP/1.1\r\n\r\n")
            assert b"inside" not in answer
            assert site.lines == [Event(name="failed", level="error", fields={"path": "/faulty", "error": "ZeroDivisionError('inside')"})]

    asyncio.run(main())


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a line", "half a head"])
def test_a_head_that_does_not_come_in_time(sent: bytes) -> None:
    async def main() -> None:
        async with served(patience=0.1) as (_, _, port):
            assert (await exchange(port, sent)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")

    asyncio.run(main())


def test_who_goes_is_not_answered_and_nothing_is_said() -> None:
    async def main() -> None:
        async with served() as (site, server, port):
            for sent in (b"", b"GET / HT"):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                await gone(writer)
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /slow HTTP/1.1\r\n\r\n")
            await site.entered.wait()
            writer.transport.abort()
            site.go.set()
            assert await exchange(port, GET) == PAGE
            if server._connections:
                await asyncio.wait(server._connections)
            assert site.lines == []

    asyncio.run(main())


def test_slow_pages_hold_up_nobody() -> None:
    async def main() -> None:
        async with served() as (site, _, port):
            slow = asyncio.create_task(exchange(port, b"GET /slow HTTP/1.1\r\n\r\n"))
            await site.entered.wait()
            assert await exchange(port, GET) == PAGE
            site.go.set()
            assert (await slow).endswith(b"\r\n\r\nslow\n")

    asyncio.run(main())


def test_connections_are_limited_and_come_free_again() -> None:
    async def main() -> None:
        async with served() as (_, server, port):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(MOST)]
            answer = await exchange(port)
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert answer.endswith(f"\r\n\r\nthere are {MOST} connections already\n".encode())
            await gone(*(writer for _, writer in held))
            await asyncio.wait(server._connections)
            assert await exchange(port, GET) == PAGE

    asyncio.run(main())


def test_the_port_is_taken() -> None:
    async def main() -> None:
        async with served() as (site, _, port):
            with pytest.raises(OSError, match="address already in use"):
                await Server(site.routes, site.lines.append).start("127.0.0.1", port)

    asyncio.run(main())


def test_the_end_lets_answers_out_and_waits_for_nobody_else() -> None:
    async def main() -> None:
        async with served() as (site, server, port):
            silent, writer = await asyncio.open_connection("127.0.0.1", port)
            slow = asyncio.create_task(exchange(port, b"GET /slow HTTP/1.1\r\n\r\n"))
            await site.entered.wait()
            site.go.set()
            await server.stop()
            assert (await slow).endswith(b"\r\n\r\nslow\n")
            assert await asyncio.wait_for(silent.read(), 20) == b""
            await gone(writer)
            with pytest.raises(OSError):
                await asyncio.open_connection("127.0.0.1", port)

    asyncio.run(main())


def test_a_server_that_never_started_can_be_stopped() -> None:
    asyncio.run(Server({}, lambda _: None).stop())
