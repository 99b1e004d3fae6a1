# SPDX-License-Identifier: Apache-2.0
"""What the operator asks of others, against a real server on the loopback: whoever writes a gate chooses the address, and must get nowhere with it."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from drover_operator.core.plan import Answer, Ask
from drover_operator.kube.errors import ConfigurationError
from drover_operator.runtime.outside import LARGEST, Outside

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler) -> AsyncIterator[str]:
    """A server that answers everything by one handler; its address."""
    runner = web.ServerRunner(web.Server(handler, access_log=None), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def opened(*allowed: str) -> AsyncIterator[Outside]:
    outside = Outside(allowed)
    try:
        yield outside
    finally:
        await outside.close()


def asked(url: str) -> Ask:
    return Ask(id="errors/1/value", url=url, at=7.0, timeout=5.0)


def answered(handler: Handler, path: str = "/prom/api", allowed: str = "/prom") -> Answer:
    """The answer of a server to one question."""

    async def main() -> Answer:
        async with served(handler) as address, opened(address + allowed) as outside:
            return await outside(asked(address + path))

    return asyncio.run(main())


def saying(text: str, status: int = 200) -> Handler:
    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=text, status=status)

    return handle


# --- which addresses

# Why, what is allowed, what is asked, whether it may be.
ADDRESSES: list[tuple[str, str, str, bool]] = [
    ("the very address", "http://prom:9090/api", "http://prom:9090/api", True),
    ("below it", "http://prom:9090/api", "http://prom:9090/api/v1/query?query=up", True),
    ("below it, with a slash at its end", "http://prom:9090/api/", "http://prom:9090/api/v1", True),
    ("all of a host", "http://prom:9090", "http://prom:9090/", True),
    ("all of a host, without a path", "http://prom:9090/", "http://prom:9090", True),
    ("scheme and host are the same in capitals", "http://prom:9090", "HTTP://Prom:9090/api", True),
    ("the usual port need not be written", "http://prom", "http://prom:80/api", True),
    ("nor that of https", "https://prom:443", "https://prom/api", True),
    ("an address of version 6", "http://[::1]:9090", "http://[::1]:9090/api", True),
    ("what looks like a way up in a query is none", "http://prom/api", "http://prom/api?a=/../b", True),
    ("another scheme", "https://prom:9090", "http://prom:9090/api", False),
    ("another port", "http://prom:9090", "http://prom:9091/api", False),
    ("the port of another scheme", "http://prom", "http://prom:443/", False),
    ("another host", "http://prom:9090", "http://prometheus:9090/", False),
    ("a host that begins like it", "http://prom", "http://prom.evil.example/", False),
    ("a host that ends like it", "http://prom", "http://evil-prom/", False),
    ("a path that begins like it: segments are whole", "http://prom/api", "http://prom/apis", False),
    ("above it", "http://prom/api/v1", "http://prom/api", False),
    ("beside it", "http://prom/api", "http://prom/admin", False),
    ("the host in the place of a user", "http://prom", "http://prom@evil.example/", False),
    ("a user of the host that is allowed", "http://prom", "http://me:secret@prom/", False),
    ("a host behind a backslash", "http://prom", "http://evil.example\\@prom/", False),
    ("a way up", "http://prom/api", "http://prom/api/../admin", False),
    ("a way up, as a browser would write it", "http://prom/api", "http://prom/api/%2e%2e/admin", False),
    ("a way up, half of it", "http://prom/api", "http://prom/api/.%2E/admin", False),
    ("a way up with its slash, which servers undo", "http://prom/api", "http://prom/api/%2e%2e%2fadmin", False),
    ("a way up, written twice over", "http://prom/api", "http://prom/api/%252e%252e/admin", False),
    ("no scheme", "http://prom", "//prom/", False),
    ("a file", "http://prom", "file:///etc/passwd", False),
    ("a port that is none", "http://prom", "http://prom:http/", False),
    ("half an address of version 6", "http://prom", "http://[prom/", False),
    ("no host", "http://prom", "http:///api", False),
    ("nothing", "http://prom", "", False),
]


@pytest.mark.parametrize(("why", "allowed", "url", "may"), ADDRESSES, ids=[row[0] for row in ADDRESSES])
def test_which_addresses_may_be_asked(why: str, allowed: str, url: str, may: bool):
    assert Outside((allowed,)).allows(url) is may, why


def test_one_of_several_is_enough_and_none_allows_nothing():
    outside = Outside(("http://a", "http://b/x"))
    assert [outside.allows(url) for url in ("http://a/y", "http://b/x/y", "http://b/y")] == [True, True, False]
    assert not Outside(()).allows("http://a/")


@pytest.mark.parametrize("prefix", ["prom:9090", "ftp://prom", "http://", "http://me@prom", "http://prom/a/../b", "http://prom/%2e%2e", "http://prom:x", ""])
def test_a_prefix_that_is_no_address_ends_the_start(prefix: str):
    with pytest.raises(ConfigurationError, match="is no address to measure at"):
        Outside((prefix,))


@pytest.mark.parametrize(("url", "told"), [("http://evil/a?b", "http://evil"), ("http://me:secret@evil/a", "http://evil"), ("http://[x/", "http://[x")])
def test_what_may_not_be_asked_is_an_error_in_words_and_no_request(url: str, told: str):
    """In whatever shape it is, and without the password that somebody wrote there."""

    async def main() -> Answer:
        async with opened("http://prom") as outside:
            return await outside(asked(url))

    assert asyncio.run(main()) == Answer(at=7.0, error=f"the operator may not ask {told}: it was not started with --measure for it")


def test_what_is_sent_is_what_was_allowed():
    """The library that sends tidies addresses: a path must not come to lie elsewhere by that."""
    paths = list[str]()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        paths.append(request.raw_path)
        return web.Response()

    async def main() -> None:
        async with served(handle) as address, opened(f"{address}/prom") as outside:
            for path in (
                "/prom",
                "/prom/./a",
                "/prom/%61",
                "/prom/..",
                "/prom/%2e%2e/a",
                "/prom/.%2e/a",
                "/prom/%2e%2e%2fa",
                "/prom/%252e%252e/a",
                "/prom/\\..\\a",
            ):
                await outside(asked(address + path))

    asyncio.run(main())
    assert paths == ["/prom", "/prom/a", "/prom/a"]


# --- what is sent, and what comes back


def test_an_answer_has_status_and_body():
    assert answered(saying('{"a": 1}')) == Answer(at=7.0, status=200, body=b'{"a": 1}')


@pytest.mark.parametrize("status", [204, 400, 401, 500, 503])
def test_whatever_status_is_an_answer(status: int):
    """What it means is for the gate to say."""
    assert answered(saying("" if status == 204 else "why", status)).status == status


def test_nothing_of_ours_is_sent_along(monkeypatch: pytest.MonkeyPatch, tmp_path):
    """No token, no cookie that the server set before, no password for that host in a file, no proxy of the environment."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    seen = list[dict[str, str]]()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(dict(request.headers))
        response = web.Response(text="1")
        response.set_cookie("session", "secret")
        return response

    async def main() -> None:
        async with served(handle) as address, opened(address) as outside:
            assert [(await outside(asked(address))).status for _ in range(2)] == [200, 200]

    asyncio.run(main())
    assert [set(each) - {"Host", "Accept", "Accept-Encoding"} for each in seen] == [{"User-Agent"}, {"User-Agent"}]
    assert {each["User-Agent"] for each in seen} == {"drover-operator"}, "nor the version of a library"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(status: int):
    """They would lead out of what was allowed; to whom, the other side would choose."""
    paths = list[str]()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        paths.append(request.path)
        return web.Response(status=status, headers={"Location": "/admin"})

    assert answered(handle).status == status
    assert paths == ["/prom/api"]


def _bytes(count: int, *, chunked: bool = False) -> Handler:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if not chunked:
            return web.Response(body=b"x" * count)
        response = web.StreamResponse()
        await response.prepare(request)
        for begin in range(0, count, 65_536):
            await response.write(b"x" * min(65_536, count - begin))
        await response.write_eof()
        return response

    return handle


SIZES = [(LARGEST, False, True), (LARGEST, True, True), (LARGEST + 1, False, False), (LARGEST + 1, True, False), (8 * LARGEST, False, False)]


@pytest.mark.parametrize(("size", "chunked", "fits"), SIZES, ids=["largest", "largest, in parts", "a byte more", "a byte more, in parts", "much more"])
def test_an_answer_is_bounded(size: int, chunked: bool, fits: bool):
    found = answered(_bytes(size, chunked=chunked))
    assert (len(found.body), found.error) == ((size, "") if fits else (0, "the answer is larger than 1 MiB"))


def test_an_answer_without_end_is_left_alone():
    """A server that goes on sending is not listened to any more."""
    sent = 0

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        while sent < 100 * LARGEST:
            await response.write(b"x" * 65_536)
            sent += 65_536
        return response

    assert answered(handle).error == "the answer is larger than 1 MiB"
    assert sent < 50 * LARGEST


def test_what_is_small_on_the_way_and_large_when_unpacked_is_bounded_too():
    packed = gzip.compress(b"x" * (8 * LARGEST))

    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=packed, headers={"Content-Encoding": "gzip"})

    assert answered(handle).error == "the answer is larger than 1 MiB"


# --- what goes wrong is told


async def broken_off(request: web.BaseRequest) -> web.StreamResponse:
    """Less than was announced."""
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"x")
    assert request.transport is not None
    request.transport.close()
    return response


async def mute(request: web.BaseRequest) -> web.StreamResponse:
    """No answer at all."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def not_packed(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=b"plain", headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize("handler", [broken_off, mute, not_packed])
def test_an_answer_that_is_no_answer_is_an_error_in_words(handler: Handler):
    found = answered(handler)
    assert (found.status, found.body, found.at) == (0, b"", 7.0)
    assert len(found.error) > 5


def test_nobody_there():
    async def main() -> Answer:
        async with served(saying("")) as address:
            pass
        async with opened(address) as outside:
            return await outside(asked(address))

    found = asyncio.run(main())
    assert "Cannot connect to host 127.0.0.1" in found.error
    assert found.status == 0


def test_no_such_name():
    async def main() -> Answer:
        async with opened("http://nowhere.invalid") as outside:
            return await outside(asked("http://nowhere.invalid/"))

    assert "nowhere.invalid" in asyncio.run(main()).error


def test_whoever_is_closed_without_a_question_has_nothing_to_close():
    async def main() -> None:
        async with opened("http://prom"):
            pass

    asyncio.run(main())


def test_several_questions_go_at_once():
    """One that is not answered keeps no other waiting."""
    inside, most = 0, 0

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.1)
        inside -= 1
        return web.Response(text=json.dumps(request.path))

    async def main() -> list[Answer]:
        async with served(handle) as address, opened(address) as outside:
            return list(await asyncio.gather(*(outside(asked(f"{address}/{number}")) for number in range(5))))

    assert [each.body for each in asyncio.run(main())] == [f'"/{number}"'.encode() for number in range(5)]
    assert most == 5
