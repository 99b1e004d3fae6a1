# SPDX-License-Identifier: Apache-2.0
"""A small HTTP client on asyncio streams: one GET, no redirect, no resolver, and whatever the other side does ends in an answer or a line.

The standard library's own client blocks. Time limits are the caller's: cancelling closes the connection at once.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from drover_agent import __version__

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LINE = 8192  # bytes of a line of the head
LINES = 100
INTERIM = range(100, 200)  # answers before the answer, such as 103 Early Hints
OK = 200


class NoAnswerError(Exception):
    """There is no usable answer; the text says why in one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What is asked: `host` is an IP address, since a resolver may hang without end."""

    host: str
    port: int
    path: str = "/"

    @property
    def authority(self) -> str:
        """Host and port as a URL has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Status and body; a body that is longer than was asked for is `cut` there. Only that of a 200 is read."""

    status: int
    body: bytes = b""
    cut: bool = False


@asynccontextmanager
async def connected(host: str, port: int) -> AsyncGenerator[Streams, None]:
    """A connection, closed on leaving.

    Raises:
        NoAnswerError: nobody takes it, or it broke.
    """
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=LINE)
    except OSError as error:
        raise NoAnswerError(f"cannot connect: {_words(error)}") from error
    try:
        if is_own(writer.get_extra_info("sockname"), writer.get_extra_info("peername")):
            raise NoAnswerError("cannot connect: nobody listens")
        yield reader, writer
    except OSError as error:
        raise NoAnswerError(f"the connection broke: {_words(error)}") from error
    finally:
        writer.transport.abort()


def is_own(sockname: object, peername: object) -> bool:
    """Whether a connection met itself: Linux does that when the port that it leaves from happens to be the one it goes to."""
    return sockname is not None and sockname == peername


async def get(target: Target, *, most: int) -> Answer:
    """Ask once, reading at most so many bytes of the body.

    Raises:
        NoAnswerError: no whole answer came.
    """
    async with connected(target.host, target.port) as (reader, writer):
        writer.write(_request(target))
        try:
            status, headers = await _head(reader)
            if status != OK:
                return Answer(status=status)
            body, cut = await _body(reader, headers, most)
        except asyncio.IncompleteReadError as error:
            raise NoAnswerError("the answer ended too early") from error
        return Answer(status=status, body=body, cut=cut)


def _request(target: Target) -> bytes:
    lines = (f"GET {target.path} HTTP/1.1", f"Host: {target.authority}", f"User-Agent: drover-agent/{__version__}", "Accept: */*", "Connection: close")
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("ascii")


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    while True:
        status = _status(await _line(reader))
        headers = await _headers(reader)
        if status not in INTERIM:
            return status, headers


async def _line(reader: asyncio.StreamReader) -> str:
    try:
        line = await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise NoAnswerError(f"a line of the answer is longer than {LINE} bytes") from error
    return line.decode("latin-1").rstrip("\r\n")


def _status(line: str) -> int:
    version, _, rest = line.partition(" ")
    digits = rest.partition(" ")[0]
    if version not in ("HTTP/1.0", "HTTP/1.1") or len(digits) != len("200") or not (digits.isascii() and digits.isdigit()):
        raise NoAnswerError("the answer is no HTTP/1.x")
    return int(digits)


async def _headers(reader: asyncio.StreamReader) -> dict[str, str]:
    found: dict[str, str] = {}
    for _ in range(LINES):
        line = await _line(reader)
        if not line:
            return found
        name, _, value = line.partition(":")
        found[name.strip().lower()] = value.strip()
    raise NoAnswerError(f"the answer has more than {LINES} headers")


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str], most: int) -> tuple[bytes, bool]:
    """The body, and whether it goes on: by chunks, by its length, or to the end of the connection."""
    if headers.get("transfer-encoding", "identity").lower() != "identity":
        return await _chunks(reader, headers["transfer-encoding"], most)
    if "content-length" not in headers:
        return await _to_the_end(reader, most)
    length = _length(headers["content-length"], 10)
    return await reader.readexactly(min(length, most)), length > most


def _length(digits: str, base: int) -> int:
    try:
        length = int(digits, base)
    except ValueError:
        length = -1
    if length < 0:
        raise NoAnswerError("the length of the answer is no number")
    return length


async def _chunks(reader: asyncio.StreamReader, coding: str, most: int) -> tuple[bytes, bool]:
    if coding.lower() != "chunked":
        raise NoAnswerError("the answer has a transfer coding that was not asked for")
    body = bytearray()
    while length := _length((await _line(reader)).partition(";")[0].strip(), 16):
        if len(body) + length > most:
            return bytes(body + await reader.readexactly(most - len(body))), True
        body += await reader.readexactly(length)
        await _line(reader)
    return bytes(body), False


async def _to_the_end(reader: asyncio.StreamReader, most: int) -> tuple[bytes, bool]:
    body = bytearray()
    while len(body) <= most and (more := await reader.read(most + 1 - len(body))):
        body += more
    return bytes(body[:most]), len(body) > most


def _words(error: OSError) -> str:
    """What the system says; asyncio would add the address."""
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
