# SPDX-License-Identifier: Apache-2.0
"""GET requests to addresses that an administrator has named: measurements of release gates.

Whoever may write a ReleaseGate chooses what is asked, and the operator stands where they may not: so only addresses below an allowed prefix are
asked, redirects are not followed, nothing of ours is sent along, and an answer is bounded.
"""

import asyncio
import re
from urllib.parse import unquote, urlsplit

import aiohttp

from drover_operator.core.plan import Answer, Ask
from drover_operator.kube.errors import ConfigurationError

LARGEST = 1 << 20  # bytes of an answer


class Outside:
    """Implements `inquiries.Outside` over HTTP; made inside a running loop, connections are made on first use.

    Raises:
        ConfigurationError: an allowed prefix is no http(s) address.
    """

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = tuple(_parts(each) for each in allowed)
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, ask: Ask) -> Answer:
        """The answer, or why there is none; never raises for what the other side does."""
        if not self.allows(ask.url):
            return Answer(at=ask.at, error=f"the operator may not ask {_told(ask.url)}: it was not started with --measure for it")
        try:
            return await self._get(ask)
        except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as error:
            return Answer(at=ask.at, error=str(error) or type(error).__name__)

    def allows(self, url: str) -> bool:
        """Whether the address is at or below one that was allowed."""
        try:
            scheme, host, path = _parts(url)
        except ConfigurationError:
            return False
        return any((scheme, host) == (s, h) and (path == p or path.startswith(p.rstrip("/") + "/")) for s, h, p in self._allowed)

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    async def _get(self, ask: Ask) -> Answer:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers={"User-Agent": "drover-operator"}, cookie_jar=aiohttp.DummyCookieJar())
        async with self._session.get(ask.url, allow_redirects=False) as reply:
            body = await reply.content.read(LARGEST + 1)
            while len(body) <= LARGEST and (more := await reply.content.read(LARGEST + 1 - len(body))):
                body += more
        if len(body) > LARGEST:
            return Answer(at=ask.at, error="the answer is larger than 1 MiB")
        return Answer(at=ask.at, status=reply.status, body=body)


def _told(url: str) -> str:
    """Scheme and host of an address, whether or not it is one; never a password."""
    scheme, _, rest = url.partition("//")
    return f"{scheme}//{re.split('[/?#]', rest)[0].rpartition('@')[2]}"


def _climbs(path: str) -> bool:
    """Whether a path may lead out of where it begins: `%2e%2e` is as good a way up as `..`, and is one already when the request is sent."""
    return ".." in unquote(unquote(path))


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, host with port, and path.

    Raises:
        ConfigurationError: it is no plain http(s) address.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        parts, port = urlsplit(""), None
    if port is None or not parts.hostname or "@" in parts.netloc or _climbs(parts.path):
        raise ConfigurationError(f"'{url}' is no address to measure at: give http:// or https://, a host and, if it has one, a path")
    return parts.scheme, f"{parts.hostname}:{port}", parts.path or "/"
