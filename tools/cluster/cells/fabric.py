# SPDX-License-Identifier: Apache-2.0
"""What connects the nodes: a network namespace of its own with a bridge, `python -m tools.cluster.cells.fabric FOLDER PORT...`.

The control plane stays on the host's loopback, and the host's network is not touched, so that two doors lead through the wall between them:
from the nodes to the API servers (this process may make sockets on both sides), and from the API servers to the kubelets, which is an
HTTP CONNECT proxy on a Unix socket (the API server's own egress selector speaks it). DNS for pods runs in here as well.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools.cluster.cells import kernel
from tools.cluster.cells.addresses import API_PORT, BRIDGE, BRIDGE_MAC, FABRIC
from tools.cluster.relay import Streams, door, in_turn, splice

READY, EGRESS, COREFILE = "ready", "egress.sock", "Corefile"
_HEAD = 4096  # bytes of a CONNECT request, at most
_PATIENCE = 5.0  # seconds for a CONNECT request to be there


def build() -> int:
    """Make the namespace and the bridge, and stay in there; return a descriptor of the host's namespace."""
    host = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    kernel.unshare(kernel.NEW_NETWORK)
    lines = [
        "link set lo up",
        f"link add {BRIDGE} address {BRIDGE_MAC} type bridge",
        f"addr add {FABRIC}/24 dev {BRIDGE}",
        f"link set {BRIDGE} up",
    ]
    subprocess.run(["ip", "-batch", "-"], input="".join(f"{line}\n" for line in lines), text=True, check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    return host


async def _connect_on_host(host: int, port: int) -> Streams:
    with kernel.inside_network(host):
        one = socket.socket()
    one.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
    except OSError:
        one.close()
        raise
    return await asyncio.open_connection(sock=one)


def target(head: bytes) -> tuple[str, int]:
    """Where a CONNECT request wants to go.

    Raises:
        ValueError: it is none.

    """
    method, where, _ = head.split(b" ", 2)
    name, _, port = where.decode().rpartition(":")
    if method != b"CONNECT":
        raise ValueError(f"{method!r} is not CONNECT")
    return name.strip("[]"), int(port)


async def _tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """CONNECT host:port, and the way to it: only to the nodes and their pods, since nothing else is in here."""
    try:
        async with asyncio.timeout(_PATIENCE):
            name, port = target(await reader.readuntil(b"\r\n\r\n"))
            other = await asyncio.open_connection(name, port)
    except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):  # TimeoutError is an OSError
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        return
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await splice((reader, writer), other)


async def serve(folder: Path, host: int, ports: Sequence[int], resolver: str) -> None:
    """Open both doors, start DNS, say that all is there, and go on until ended."""
    api = await asyncio.start_server(door(in_turn(ports, lambda port: _connect_on_host(host, port))), FABRIC, API_PORT)
    kubelets = await asyncio.start_unix_server(_tunnel, folder / EGRESS, limit=_HEAD)
    dns = await asyncio.create_subprocess_exec(resolver, "-conf", str(folder / COREFILE))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, dns.terminate)
    (folder / READY).write_text(str(os.getpid()))
    async with api, kubelets:
        await dns.wait()


def main() -> None:
    """Be the fabric of the cluster with that folder."""
    folder = Path(sys.argv[1])
    for left in (READY, EGRESS):
        (folder / left).unlink(missing_ok=True)
    host = build()
    asyncio.run(serve(folder, host, [int(each) for each in sys.argv[3:]], sys.argv[2]))


if __name__ == "__main__":
    main()
