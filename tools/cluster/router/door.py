# SPDX-License-Identifier: Apache-2.0
"""The way from the host's loopback to Envoy in the fabric: `python -m tools.cluster.router.door FOLDER PORT`.

The socket that listens is made on the host, all others in the fabric. Rejected: a door of the fabric's own process, where a load of requests
would hold up what nodes say to the API server.
"""

import asyncio
import socket
import sys
from contextlib import suppress
from pathlib import Path

from tools.cluster.relay import Streams, door
from tools.cluster.router.inside import join
from tools.cluster.router.objects import ENVOY_PORT

_BACKLOG = 512


async def _dial() -> Streams:
    return await asyncio.open_connection("127.0.0.1", ENVOY_PORT)


async def _serve(folder: Path, port: int) -> None:
    outside = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
    join(folder)
    server = await asyncio.start_server(door(_dial), sock=outside, backlog=_BACKLOG)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2])))
