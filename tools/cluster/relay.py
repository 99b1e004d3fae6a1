# SPDX-License-Identifier: Apache-2.0
"""One address for several API servers: `python -m tools.cluster.relay PORT BACKEND...`, all on 127.0.0.1.

Connections are spread in turn over the backends that answer; TLS goes through untouched. For a test cluster: what it loses against a real
load balancer is speed. Rejected: haproxy, which does the same and would have to be installed first.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import count

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial = Callable[[], Awaitable[Streams]]
_CHUNK = 1 << 16
_BACKLOG = 512


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def splice(one: Streams, other: Streams) -> None:
    """Carry bytes both ways until both ends have ended, or one of them broke."""
    with suppress(OSError):
        async with asyncio.TaskGroup() as group:
            group.create_task(_quietly(_copy(one[0], other[1])))
            group.create_task(_quietly(_copy(other[0], one[1])))
    for _, writer in (one, other):
        await _end(writer)


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _quietly(copying: Awaitable[None]) -> None:
    with suppress(OSError):
        await copying


def door(dial: Dial) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """What to do with each connection that comes in: carry it to where `dial` leads, or end it."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            other = await dial()
        except OSError:
            await _end(writer)
            return
        await splice((reader, writer), other)

    return carry


def in_turn(ports: Sequence[int], connect: Callable[[int], Awaitable[Streams]]) -> Dial:
    """A dial that begins with another port each time, and goes on to the next when one does not answer."""
    turn = count()

    async def dial() -> Streams:
        first = next(turn)
        for step in range(len(ports)):
            with suppress(OSError):
                return await connect(ports[(first + step) % len(ports)])
        raise ConnectionRefusedError

    return dial


async def _connect(port: int) -> Streams:
    return await asyncio.open_connection("127.0.0.1", port)


async def _serve(port: int, backends: Sequence[int]) -> None:
    server = await asyncio.start_server(door(in_turn(backends, _connect)), "127.0.0.1", port, family=socket.AF_INET, backlog=_BACKLOG)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1]), [int(each) for each in sys.argv[2:]]))
