# SPDX-License-Identifier: Apache-2.0
"""The transport over real HTTP: pooled keep-alive connections by aiohttp.

Its work is to tell apart what certainly did not reach the server from what may have. Rejected: a hand-made HTTP/1.1 client
(1.5 to 2 times faster on writes, but the API server is the limit there, and time-outs and TLS would be ours to get right).
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from yarl import URL

from drover_operator.kube.auth import Connection
from drover_operator.kube.errors import KubeError, OutcomeUnknown, Unsent
from drover_operator.kube.transport import Reply, Request

CONNECT_TIMEOUT = 10.0  # seconds


class HttpTransport:
    """Implements `kube.transport.Transport`; made inside a running loop."""

    def __init__(self, connection: Connection, *, agent: str = "drover-operator") -> None:
        self._connection = connection
        self._agent = agent
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=128, ssl=connection.tls or False),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            read_bufsize=2**18,
        )

    async def send(self, request: Request) -> Reply:
        """See `Transport.send`."""
        try:
            async with (
                asyncio.timeout(request.timeout),
                self._session.request(
                    request.method, self._url(request), data=request.body or None, headers=await self._headers(request), allow_redirects=False
                ) as answer,
            ):
                return Reply(status=answer.status, body=await answer.read(), headers=answer.headers)
        except aiohttp.ClientConnectorError as error:
            raise Unsent(f"cannot reach {self._connection.server}: {error.os_error.strerror or error.os_error}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise _lost(request, error) from error

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncGenerator[tuple[Reply, AsyncIterator[bytes]]]:
        """See `Transport.stream`."""
        try:
            async with asyncio.timeout(request.timeout):
                answer = await self._session.request(request.method, self._url(request), headers=await self._headers(request), allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unsent(f"cannot watch {request.path}: {_words(error)}") from error
        try:
            body = b"" if answer.status == 200 else await answer.read()
            yield Reply(status=answer.status, body=body, headers=answer.headers), _chunks(answer, request.path)
        finally:
            answer.close()

    async def close(self) -> None:
        """See `Transport.close`."""
        await self._session.close()

    def _url(self, request: Request) -> URL:
        return URL(self._connection.server + request.path).with_query(request.query) if request.query else URL(self._connection.server + request.path)

    async def _headers(self, request: Request) -> dict[str, str]:
        authorization = await self._connection.authorization()
        proof = {"Authorization": authorization} if authorization else {}
        return {"User-Agent": self._agent, "Accept": "application/json", **request.headers, **proof}


async def _chunks(answer: aiohttp.ClientResponse, path: str) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Unsent(f"the watch of {path} broke: {_words(error)}") from error


def _lost(request: Request, error: Exception) -> KubeError:
    words = f"{request.method} {request.path}: {_words(error)}"
    return OutcomeUnknown(words) if request.mutating else Unsent(words)


def _words(error: Exception) -> str:
    return "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
