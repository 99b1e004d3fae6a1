# SPDX-License-Identifier: Apache-2.0
"""Probes and the question for active requests over real sockets, against servers that do everything wrong that a server can do."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import cast

import pytest

from drover_agent import __version__, probe
from drover_agent.client import LINE, LINES, Answer, NoAnswerError, Target, get, is_own
from drover_agent.core import Reading

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(behave: Behaviour, host: str = "127.0.0.1") -> AsyncIterator[Target]:
    """A server that treats each connection as the test wants, after its request has come."""

    handling: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(cast("asyncio.Task[None]", asyncio.current_task()))
        with suppress(OSError, asyncio.IncompleteReadError):
            await behave(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, host, 0)
    try:
        yield Target(host=host, port=server.sockets[0].getsockname()[1], path="/healthz?deep=1")
    finally:
        server.close()
        if handling:
            await asyncio.wait(handling)  # every probe has left its connection by now


def says(*parts: bytes) -> Behaviour:
    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for part in parts:
            writer.write(part)
            await writer.drain()

    return behave


def stays(*parts: bytes) -> Behaviour:
    """Says it, and keeps the connection open until the other side goes."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(*parts)(reader, writer)
        await reader.read()

    return behave


async def resets_in_mid_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")(reader, writer)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def drips(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await says(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")(reader, writer)
    while True:
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(0.01)


async def drips_its_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await says(b"HTTP/1.1 200 OK\r\n")(reader, writer)
    while True:
        writer.write(b"X-Drip: 1\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


async def sends_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await says(b"HTTP/1.1 200 OK\r\n\r\n")(reader, writer)
    while True:
        writer.write(b"." * 65536)
        await writer.drain()


async def answers_before_it_is_asked(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


OK = b"HTTP/1.1 200 OK\r\n"
CUT = "cut at its time limit"
HTTP: tuple[tuple[Behaviour, str, str], ...] = (
    (says(OK + b"Content-Length: 2\r\n\r\nok"), "", "an ordinary answer"),
    (stays(OK + b"Content-Length: 2\r\n\r\nok"), "", "its length is its end, though the connection stays open"),
    (stays(OK + b"Content-Length: 0\r\n\r\n"), "", "nothing is a body too"),
    (says(OK + b"\r\nok"), "", "without a length it ends with the connection"),
    (says(b"HTTP/1.0 200 OK\r\n\r\nok"), "", "HTTP/1.0"),
    (says(b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), "", "without a phrase"),
    (says(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"), "", "bare line ends, as sloppy servers send them"),
    (stays(OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n"), "", "chunks tell the end themselves"),
    (says(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"), "", "an answer before the answer"),
    (answers_before_it_is_asked, "", "a server that does not read what it is asked"),
    (sends_without_end, "", "a huge answer: 200 is 200, and the rest is not waited for"),
    (stays(OK + b"Content-Length: 99999999999\r\n\r\n" + b"." * 70_000), "", "a huge answer that tells its length"),
    (stays(OK + b"Transfer-Encoding: chunked\r\n\r\nfffffff\r\n" + b"." * 70_000), "", "a huge chunk"),
    (says(b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n"), "status 302, not 200", "a redirect is not followed, and not healthy (C10)"),
    (says(b"HTTP/1.1 204 No Content\r\n\r\n"), "status 204, not 200", "exactly 200, not any 2xx"),
    (says(b"HTTP/1.1 399 Odd\r\n\r\n"), "status 399, not 200", "the last that a kubelet takes for healthy"),
    (stays(b"HTTP/1.1 500 Broken\r\nContent-Length: 1000\r\n\r\n"), "status 500, not 200", "the body of another status is not waited for"),
    (resets_in_mid_answer, "the connection broke: Connection reset by peer", "reset in mid answer"),
    (says(OK + b"Content-Length: 1000\r\n\r\nhalf"), "the answer ended too early", "closed in mid answer"),
    (says(OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhal"), "the answer ended too early", "closed in mid chunk"),
    (says(OK), "the answer ended too early", "closed in the head"),
    (says(), "the answer ended too early", "closed without a word"),
    (stays(), CUT, "it takes the request and hangs"),
    (stays(OK + b"Content-Length: 2\r\n\r\no"), CUT, "it hangs in its answer"),
    (stays(OK + b"\r\nok"), CUT, "an answer without an end"),
    (drips, CUT, "a drip that keeps the connection busy beyond the time limit"),
    (drips_its_head, CUT, "a drip of headers"),
    (stays(b"SSH-2.0-OpenSSH_9.6\r\n"), "the answer is no HTTP/1.x", "another protocol"),
    (stays(b"HTTP/2 200\r\n"), "the answer is no HTTP/1.x", "another version"),
    (stays(b"HTTP/1.1 2000 OK\r\n"), "the answer is no HTTP/1.x", "a status of four digits"),
    (stays("HTTP/1.1 ²00 OK\r\n".encode("latin-1")), "the answer is no HTTP/1.x", "digits that are none"),
    (stays(b"H" * (LINE + 1)), f"a line of the answer is longer than {LINE} bytes", "a line without an end"),
    (stays(OK + b"A: b\r\n" * (LINES + 1)), f"the answer has more than {LINES} headers", "headers without an end"),
    (stays(OK + b"Content-Length: two\r\n\r\n"), "the length of the answer is no number", "a length in words"),
    (stays(OK + b"Content-Length: -2\r\n\r\n"), "the length of the answer is no number", "a negative length"),
    (stays(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"), "the length of the answer is no number", "more digits than Python reads"),
    (stays(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), "the length of the answer is no number", "a chunk without a length"),
    (stays(OK + b"Transfer-Encoding: gzip\r\n\r\n"), "the answer has a transfer coding that was not asked for", "a coding that nobody asked for"),
)  # fmt: skip


async def within(ask: probe.Probe, seconds: float) -> str:
    """The result of a probe that its caller cuts, as the agent does."""
    try:
        async with asyncio.timeout(seconds):
            return await ask()
    except TimeoutError:
        return CUT


@pytest.mark.parametrize("behave, expected, why", HTTP, ids=[row[-1] for row in HTTP])
def test_http(behave: Behaviour, expected: str, why: str) -> None:
    async def main() -> None:
        async with serving(behave) as target:
            assert await within(probe.http(target), 0.15 if expected == CUT else 20) == expected, why

    asyncio.run(main())


TCP: tuple[tuple[Behaviour, str], ...] = (
    (stays(), "it says nothing"),
    (says(b"220 mail\r\n"), "it speaks"),
    (resets_in_mid_answer, "it would break off"),
)


@pytest.mark.parametrize("behave, why", TCP, ids=[row[-1] for row in TCP])
def test_a_connection_that_is_taken_is_all_that_tcp_asks_for(behave: Behaviour, why: str) -> None:
    async def main() -> None:
        async with serving(behave) as target:
            assert await within(probe.tcp(target), 20) == "", why

    asyncio.run(main())


def test_nobody_listens() -> None:
    async def main() -> None:
        async with serving(says()) as target:
            pass
        for kind in (probe.http, probe.tcp):
            assert await within(kind(target), 20) == "cannot connect: Connection refused"

    asyncio.run(main())


def test_a_queue_of_connections_that_is_full_is_cut_at_the_time_limit() -> None:
    """A listener that takes nobody: what a stuck program looks like to tcp."""

    async def main() -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            with socket.socket() as first, socket.socket() as second:
                for each in (first, second):
                    each.setblocking(False)
                    each.connect_ex(address)
                assert await within(probe.tcp(Target(host="127.0.0.1", port=address[1])), 0.2) == CUT

    asyncio.run(main())


def test_a_connection_that_met_itself_is_nobody() -> None:
    """The kernel may choose the probed port for our own end, if nobody listens there: then the probe would be its own answer."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.connect(one.getsockname())
        assert is_own(one.getsockname(), one.getpeername())
    assert not is_own(("127.0.0.1", 1), ("127.0.0.1", 2))
    assert not is_own(None, None)


def test_what_is_asked() -> None:
    async def main() -> None:
        seen: list[bytes] = []

        async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        async with serving(behave) as target:
            assert await within(probe.http(target), 20) == ""
            lines = (f"Host: 127.0.0.1:{target.port}", f"User-Agent: drover-agent/{__version__}", "Accept: */*", "Connection: close", "", "")
            assert seen == ["\r\n".join(("GET /healthz?deep=1 HTTP/1.1", *lines)).encode()]

    asyncio.run(main())


def test_a_probe_leaves_no_connection_behind() -> None:
    async def main() -> None:
        left = asyncio.Event()

        async def behave(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            with suppress(OSError):
                await reader.read()
            left.set()

        async with serving(behave) as target:
            assert await within(probe.http(target), 0.1) == CUT
            await asyncio.wait_for(left.wait(), 20)

    asyncio.run(main())


def test_ipv6() -> None:
    assert Target(host="::1", port=80).authority == "[::1]:80"

    async def main() -> None:
        async with serving(says(b"HTTP/1.1 200 OK\r\n\r\n"), "::1") as target:
            assert await within(probe.http(target), 20) == ""

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    asyncio.run(main())


BODIES: tuple[tuple[bytes, bytes, bool, str], ...] = (
    (b"Content-Length: 4\r\n\r\nfour", b"four", False, "as long as is wanted"),
    (b"Content-Length: 5\r\n\r\nfive.", b"five", True, "longer by one"),
    (b"\r\nfour", b"four", False, "to the end"),
    (b"\r\nfive.", b"five", True, "longer, without a length"),
    (b"Transfer-Encoding: Chunked\r\n\r\n2\r\nfo\r\n2\r\nur\r\n0\r\n\r\n", b"four", False, "in chunks"),
    (b"Transfer-Encoding: chunked\r\n\r\n2\r\nfi\r\n3\r\nve.\r\n0\r\n\r\n", b"five", True, "longer, in chunks"),
    (b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", b"ok", False, "a coding that is none"),
)  # fmt: skip


@pytest.mark.parametrize("answer, body, cut, why", BODIES, ids=[row[-1] for row in BODIES])
def test_bodies(answer: bytes, body: bytes, cut: bool, why: str) -> None:
    async def main() -> None:
        async with serving(says(OK + answer)) as target:
            assert await get(target, most=4) == Answer(status=200, body=body, cut=cut), why

    asyncio.run(main())


def test_a_caller_learns_why_there_is_no_answer() -> None:
    async def main() -> None:
        async with serving(says()) as target:
            with pytest.raises(NoAnswerError, match="the answer ended too early"):
                await get(target, most=4)

    asyncio.run(main())


# -- active requests

LOADS: tuple[tuple[Behaviour, Reading, str], ...] = (
    (says(OK + b"Content-Length: 2\r\n\r\n12"), Reading(count=12), "a plain integer"),
    (says(OK + b"\r\n" + b'{"activeRequests": 0}'), Reading(count=0), "JSON"),
    (says(b"HTTP/1.1 503 Busy\r\n\r\n"), Reading(error="status 503, not 200"), "an error"),
    (sends_without_end, Reading(error="longer than 4096 bytes"), "no number is so long"),
    (resets_in_mid_answer, Reading(error="the connection broke: Connection reset by peer"), "reset"),
    (stays(), Reading(error="no answer within 0.15 s"), "it hangs"),
)


@pytest.mark.parametrize("behave, expected, why", LOADS, ids=[row[-1] for row in LOADS])
def test_active_requests(behave: Behaviour, expected: Reading, why: str) -> None:
    async def main() -> None:
        async with serving(behave) as target:
            assert await probe.load(target, patience=0.15 if "within" in expected.error else 20)() == expected, why

    asyncio.run(main())
