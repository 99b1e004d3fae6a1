# SPDX-License-Identifier: Apache-2.0
"""The sandbox over HTTP on a loopback port: watches that stream, bodies that are too large, requests that come from web pages."""

import asyncio
import io
import json
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from drover_operator.cli.outcome import Failure
from drover_operator.testing import SimulatedCluster
from drover_operator.testing.sandbox.front import Front
from drover_operator.testing.sandbox.server import LARGEST_BODY, Server

PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def with_server(scenario: Callable[[aiohttp.ClientSession, Server, int], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(nodes=1)
        server = Server(Front(cluster.server, cluster.now))
        port = await server.start()
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                await scenario(session, server, port)
        finally:
            await server.stop()
            await cluster.stop()

    asyncio.run(main())


def config_map(name: str, size: int = 1) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "x" * size}}


def large(name: str, size: int) -> io.BytesIO:
    return io.BytesIO(json.dumps(config_map(name, size)).encode())


def test_objects_come_and_go():
    async def scenario(session: aiohttp.ClientSession, server: Server, port: int) -> None:
        async with session.post(CONFIG_MAPS, json=config_map("c")) as answer:
            assert answer.status == 201
        async with session.get(f"{CONFIG_MAPS}/c") as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
            assert (await answer.json())["data"] == {"a": "x"}
        async with session.get("/version") as answer:
            assert (await answer.json())["gitVersion"] == "v1.35.0+drover-simulated"

    with_server(scenario)


def test_a_watch_streams_while_it_is_open_and_ends_with_the_server():
    async def scenario(session: aiohttp.ClientSession, server: Server, port: int) -> None:
        async with session.get(CONFIG_MAPS, params={"watch": "true"}, headers=TABLE) as watch:
            await session.post(CONFIG_MAPS, json=config_map("c"))
            line = json.loads(await asyncio.wait_for(watch.content.readline(), 5))
            assert (line["type"], line["object"]["rows"][0]["cells"][:2]) == ("ADDED", ["c", 1])
            await asyncio.wait_for(server.stop(), 5)
            assert await asyncio.wait_for(watch.content.read(), 5) == b""

    with_server(scenario)


def test_a_watch_that_nobody_reads_any_more_is_closed():
    """A forgotten one would keep every later event in memory."""

    async def scenario(session: aiohttp.ClientSession, server: Server, port: int) -> None:
        async with session.get(CONFIG_MAPS, params={"watch": "1"}):
            assert len(server.watches) == 1
        async with asyncio.timeout(5):
            while server.watches:
                await asyncio.sleep(0)

    with_server(scenario)


def test_a_refused_watch_is_an_answer():
    async def scenario(session: aiohttp.ClientSession, server: Server, port: int) -> None:
        async with session.get("/api/v1/secrets", params={"watch": "true"}) as answer:
            assert answer.status == 404

    with_server(scenario)


def test_bodies_are_bounded():
    async def scenario(session: aiohttp.ClientSession, server: Server, port: int) -> None:
        async with session.post(CONFIG_MAPS, data=large("large", LARGEST_BODY - 200)) as answer:
            assert answer.status == 201
        async with session.post(CONFIG_MAPS, data=large("larger", LARGEST_BODY)) as answer:
            found = await answer.json()
        assert (found["code"], found["reason"], found["message"]) == (413, "RequestEntityTooLarge", "the body is larger than 3145728 bytes")

    with_server(scenario)


FOREIGN = [
    ("another name that leads here, as DNS rebinding uses it", {"Host": "evil.example"}, "is reached as 127.0.0.1 only, not as evil.example"),
    ("the same with a port", {"Host": "evil.example:80"}, "not as evil.example:80"),
    ("a script of a web page", {"Origin": "https://evil.example"}, "takes no requests from web pages"),
]


@pytest.mark.parametrize(("why", "headers", "message"), FOREIGN, ids=[row[0] for row in FOREIGN])
def test_web_pages_are_kept_out(why: str, headers: dict[str, str], message: str):
    async def scenario(session: aiohttp.ClientSession, server: Server, port: int) -> None:
        async with session.post(CONFIG_MAPS, data=json.dumps(config_map("c")), headers=headers) as answer:
            assert answer.status == 403, why
            assert message in (await answer.json())["message"]
        async with session.get(CONFIG_MAPS) as answer:
            assert (await answer.json())["items"] == []

    with_server(scenario)


def test_it_listens_on_loopback_only():
    async def scenario(session: aiohttp.ClientSession, server: Server, port: int) -> None:
        others = {found[4][0] for found in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)} - {"127.0.0.1"}
        for address in {*others, "127.0.0.2"}:
            with pytest.raises(OSError):
                socket.create_connection((address, port), timeout=1).close()

    with_server(scenario)


def test_a_taken_port_is_one_sentence():
    async def main() -> None:
        cluster = SimulatedCluster(nodes=0)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            server = Server(Front(cluster.server, cluster.now), port)
            with pytest.raises(Failure, match=f"port {port} is in use; choose another with --port, or leave it out"):
                await server.start()
            await server.stop()

    asyncio.run(main())
