# SPDX-License-Identifier: Apache-2.0
"""The transport over real HTTP, against real servers on the loopback: what surely did not arrive, and what may have.

The only tests of this folder with sockets and real time, all of it fractions of a second.
"""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from drover_operator.kube.auth import Connection, from_kubeconfig
from drover_operator.kube.errors import ConfigurationError, KubeError, OutcomeUnknown, Unsent
from drover_operator.kube.http import HttpTransport
from drover_operator.kube.transport import Request

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PATH = "/api/v1/namespaces/default/pods"
READ, WRITE = Request(method="GET", path=PATH), Request(method="POST", path=PATH, body=b'{"kind":"Pod"}')


@asynccontextmanager
async def served(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """An HTTP server that answers everything by one handler; its URL."""
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that does with its connections what it likes; its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await answer(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def transport(server: str, **credentials: object) -> AsyncIterator[HttpTransport]:
    each = HttpTransport(Connection(server=server, **credentials), agent="drover-test")  # type: ignore[arg-type]
    try:
        yield each
    finally:
        await each.close()


async def whole_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
    return head + await reader.readexactly(length)


@pytest.mark.parametrize("status", [200, 201, 301, 404, 409, 410, 422, 429, 500, 503])
def test_statuses_are_returned_never_raised(status: int) -> None:
    async def main() -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=status, body=b'{"kind":"Status"}', headers={"Retry-After": "3", "Location": "/elsewhere"})

        async with served(answer) as url, transport(url) as http:
            for request in (READ, WRITE):
                reply = await http.send(request)
                assert (reply.status, reply.body) == (status, b'{"kind":"Status"}'), "and no redirection is followed: it would carry the token away"
                assert reply.headers.get("retry-after") == reply.headers.get("Retry-After") == "3"

    asyncio.run(main())


def test_what_reaches_the_server() -> None:
    async def main() -> None:
        seen: list[tuple[str, dict[str, str], bytes]] = []

        async def answer(request: web.Request) -> web.Response:
            seen.append((str(request.rel_url), dict(request.headers), await request.read()))
            return web.Response(body=b"{}")

        async with served(answer) as url, transport(url, token="secret") as http:
            await http.send(Request(method="GET", path=PATH, query={"labelSelector": "drover.dev/service=web,a in (b)", "continue": "x+/="}))
            await http.send(Request(method="PATCH", path=f"{PATH}/a/status", body=b"{}", headers={"Content-Type": "application/merge-patch+json"}))
            await http.send(Request(method="GET", path=PATH, headers={"Accept": "application/json;as=PartialObjectMetadataList", "Authorization": "forged"}))
            await http.send(Request(method="DELETE", path=f"{PATH}/a", body=b"{}", headers={"Impersonate-Extra-drover.dev%2Fepoch": "7"}))
        listed, patched, metadata, deleted = seen
        assert "continue=x%2B/%3D" in listed[0] or "continue=x%2B%2F%3D" in listed[0], "a plus is a plus"
        assert all(headers["Authorization"] == "Bearer secret" for _, headers, _ in seen)
        assert all(headers["User-Agent"] == "drover-test" for _, headers, _ in seen)
        assert listed[1]["Accept"] == "application/json"
        assert patched[0] == f"{PATH}/a/status"
        assert (patched[1]["Content-Type"], patched[2]) == ("application/merge-patch+json", b"{}")
        assert metadata[1]["Accept"] == "application/json;as=PartialObjectMetadataList"
        assert deleted[1]["Impersonate-Extra-drover.dev%2Fepoch"] == "7", "the name goes out as the API server decodes it"

    asyncio.run(main())


def test_without_a_token_nothing_is_claimed() -> None:
    async def main() -> None:
        async def answer(request: web.Request) -> web.Response:
            return web.Response(status=500 if "Authorization" in request.headers else 200)

        async with served(answer) as url, transport(url) as http:
            assert (await http.send(READ)).status == 200

    asyncio.run(main())


def test_a_refused_connection_is_surely_unsent() -> None:
    async def main() -> None:
        async with raw(lambda *_: asyncio.sleep(0)) as url:
            pass  # the port is closed again
        async with transport(url) as http:
            for request in (READ, WRITE):
                with pytest.raises(Unsent, match=rf"cannot reach {url}: .*(refused|Connect call failed)"):
                    await http.send(request)
            with pytest.raises(Unsent, match=f"cannot watch {PATH}"):
                async with http.stream(READ):
                    pass

    asyncio.run(main())


def test_a_name_that_nobody_knows_is_surely_unsent() -> None:
    async def main() -> None:
        async with transport("http://drover.invalid:1") as http:
            with pytest.raises(Unsent, match="cannot reach http://drover.invalid:1"):
                await http.send(WRITE)

    asyncio.run(main())


async def cut_after_the_request(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await whole_request(reader)


async def cut_in_the_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)
    writer.write(b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"kind":')
    await writer.drain()


async def reset_after_the_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)
    writer.transport.abort()


async def no_http_at_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await whole_request(reader)
    writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    await writer.drain()


async def never_answers(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()
    await reader.read()


LOST = (
    (cut_after_the_request, "the connection was cut after the request had arrived"),
    (cut_in_the_answer, "the connection was cut in the middle of the answer"),
    (reset_after_the_request, "the connection was reset"),
    (no_http_at_all, "the answer is no HTTP"),
    (never_answers, "no answer in time"),
)


@pytest.mark.parametrize("answer, why", LOST, ids=[why for _, why in LOST])
@pytest.mark.parametrize("method, error", [("POST", OutcomeUnknown), ("PATCH", OutcomeUnknown), ("DELETE", OutcomeUnknown), ("GET", Unsent)])
def test_a_lost_answer_is_unknown_for_writes_and_nothing_for_reads(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], why: str, method: str, error: type[KubeError]
) -> None:
    async def main() -> None:
        async with raw(answer) as url, transport(url) as http:
            with pytest.raises(KubeError) as caught:
                await http.send(Request(method=method, path=PATH, body=b"" if method == "GET" else b"{}", timeout=0.1 if answer is never_answers else 5.0))
            assert type(caught.value) is error, why
            assert str(caught.value).startswith(f"{method} {PATH}: "), "it says what was asked"
            if answer is never_answers:
                assert str(caught.value).endswith("timed out")

    asyncio.run(main())


def test_a_post_is_never_sent_twice_by_itself() -> None:
    """A kept connection that the server has closed meanwhile: a library that repeats the request would make two pods."""

    async def main() -> None:
        posts = []

        async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await whole_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
            posts.append(await whole_request(reader))  # taken, and the connection closed without a word

        async with raw(once) as url, transport(url) as http:
            await http.send(READ)
            with pytest.raises(OutcomeUnknown):
                await http.send(WRITE)
            assert len(posts) == 1

    asyncio.run(main())


def test_connections_are_kept_and_used_again() -> None:
    async def main() -> None:
        ports = set()

        async def answer(request: web.Request) -> web.Response:
            ports.add(request.transport.get_extra_info("peername")[1])  # type: ignore[union-attr]
            return web.Response(body=b"{}")

        async with served(answer) as url, transport(url) as http:
            for _ in range(5):
                await http.send(READ)
        assert len(ports) == 1

    asyncio.run(main())


# -- streams


def test_chunks_come_as_they_are_sent() -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def answer(request: web.Request) -> web.StreamResponse:
            assert request.query["watch"] == "true"
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b'{"type":"ADD')
            await go.wait()
            await response.write(b'ED"}\n')
            return response

        async with served(answer) as url, transport(url) as http, http.stream(Request(method="GET", path=PATH, query={"watch": "true"})) as (reply, chunks):
            assert reply.status == 200
            assert await anext(chunks) == b'{"type":"ADD', "before the answer has ended"
            go.set()
            assert b"".join([chunk async for chunk in chunks]) == b'ED"}\n', "and it ends quietly with the answer"

    asyncio.run(main())


def test_the_time_limit_of_a_watch_covers_its_opening_only() -> None:
    async def main() -> None:
        async def slow_events(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.sleep(0.2)
            await response.write(b"late\n")
            return response

        async def never(_: web.Request) -> web.StreamResponse:
            await asyncio.sleep(30)
            return web.Response()

        request = Request(method="GET", path=PATH, timeout=0.1)
        async with served(slow_events) as url, transport(url) as http, http.stream(request) as (_, chunks):
            assert [chunk async for chunk in chunks] == [b"late\n"]
        async with served(never) as url, transport(url) as http:
            with pytest.raises(Unsent, match="timed out"):
                async with http.stream(request):
                    pass

    asyncio.run(main())


def test_a_refused_watch_brings_its_status_and_body() -> None:
    async def main() -> None:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(status=410, body=b'{"code":410}')

        async with served(answer) as url, transport(url) as http, http.stream(READ) as (reply, chunks):
            assert (reply.status, reply.body) == (410, b'{"code":410}')
            assert [chunk async for chunk in chunks] == []

    asyncio.run(main())


def test_a_broken_stream_is_unsent_and_what_came_stands() -> None:
    async def main() -> None:
        async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await whole_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)

        async with raw(break_off) as url, transport(url) as http, http.stream(READ) as (_, chunks):
            assert await anext(chunks) == b"first\n"
            with pytest.raises(Unsent, match=f"the watch of {PATH} broke"):
                await anext(chunks)

    asyncio.run(main())


def test_leaving_a_watch_closes_its_connection() -> None:
    async def main() -> None:
        left = asyncio.Event()

        async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await whole_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nfirst\n\r\n")
            await reader.read()
            left.set()

        async with raw(endless) as url, transport(url) as http:
            async with http.stream(READ) as (_, chunks):
                await anext(chunks)
            await asyncio.wait_for(left.wait(), 5)

    asyncio.run(main())


# -- TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a server certificate for 127.0.0.1 and a client certificate, made by openssl."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for ca in ("ca", "other"):
        openssl("req", "-x509", *key, "-keyout", f"{ca}.key", "-out", f"{ca}.crt", "-subj", f"/CN={ca}", "-days", "2", "-addext", "keyUsage=keyCertSign")
    for name in ("server", "client"):
        openssl("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / "ext").write_text("subjectAltName=IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signed)
    return folder


def kubeconfig(folder: Path, url: str, cluster: str, user: str) -> Path:
    path = folder / "config"
    path.write_text(
        f"{{current-context: c, contexts: [{{name: c, context: {{cluster: k, user: u}}}}],"
        f" clusters: [{{name: k, cluster: {{server: '{url}', {cluster}}}}}], users: [{{name: u, user: {{{user}}}}}]}}"
    )
    return path


CLIENT = "client-certificate: client.crt, client-key: client.key"
TLS: tuple[tuple[str, str, bool, str], ...] = (
    ("certificate-authority: ca.crt", CLIENT, True, "each shows a certificate of the one CA"),
    ("insecure-skip-tls-verify: true", CLIENT, True, "whoever asks for it is not protected"),
    ("certificate-authority: other.crt", CLIENT, False, "a server of another CA is not talked to"),
    ("certificate-authority: ca.crt", "", False, "a server that wants a certificate gets none"),
)


@pytest.mark.parametrize("cluster, user, works, why", TLS, ids=[why for *_, why in TLS])
def test_tls(pki: Path, cluster: str, user: str, works: bool, why: str) -> None:
    async def main() -> None:
        asked = []

        async def answer(request: web.Request) -> web.Response:
            asked.append(request.transport.get_extra_info("peercert")["subject"])  # type: ignore[union-attr]
            return web.Response(body=b"{}")

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / "server.crt", pki / "server.key")
        context.verify_mode = ssl.CERT_REQUIRED
        async with served(answer, context) as url:
            http = HttpTransport(from_kubeconfig(kubeconfig(pki, url, cluster, user)))
            try:
                if works:
                    assert (await http.send(WRITE)).status == 200, why
                    assert asked == [((("commonName", "client"),),)], why
                else:
                    with pytest.raises(KubeError) as caught:
                        await http.send(WRITE)
                    assert asked == [], why
                    if user:
                        assert isinstance(caught.value, Unsent), "the handshake is before the request"
                        assert "certificate verify failed" in str(caught.value).lower(), caught.value
            finally:
                await http.close()

    asyncio.run(main())


def test_a_key_of_another_certificate_is_said_at_once(pki: Path) -> None:
    with pytest.raises(ConfigurationError, match="client certificate of the kubeconfig cannot be used"):
        from_kubeconfig(kubeconfig(pki, "https://x", "certificate-authority: ca.crt", "client-certificate: client.crt, client-key: server.key"))
