# SPDX-License-Identifier: Apache-2.0
"""HTTP on loopback in front of the sandbox. There is no option for another address, and no TLS: nothing leaves this machine.

A web page that the user looks at must not reach it either, not even under a name that it lets point to 127.0.0.1: requests with
another Host, and all with an Origin, are refused.
"""

import contextlib
import errno

from aiohttp import web

from drover_operator.cli.outcome import Failure
from drover_operator.kube.transport import JSON, Reply, Request
from drover_operator.testing.refusal import Refused
from drover_operator.testing.sandbox.front import Front, Watching

HOST = "127.0.0.1"
LARGEST_BODY = 3 * 2**20  # bytes, as the real API server takes at most
_NAMES = (HOST, "localhost")
_END = 0.2  # seconds that requests under way have when the server stops


class Server:
    """Serves one sandbox."""

    def __init__(self, front: Front, port: int = 0) -> None:
        self._front = front
        self._port = port
        self.watches: dict[int, Watching] = {}
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_END)

    async def start(self) -> int:
        """Begin to serve and return the port.

        Raises:
            Failure: the port is taken or may not be used.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, HOST, self._port).start()
        except OSError as error:
            why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise Failure(f"port {self._port} {why}; choose another with --port, or leave it out for any that is free") from error
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """End all watches and stop serving."""
        for watch in list(self.watches.values()):
            watch.close()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if why := _foreign(request):
            return _response(Refused(403, "Forbidden", why).reply)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _response(Refused(413, "RequestEntityTooLarge", f"the body is larger than {LARGEST_BODY} bytes").reply)
        asked = Request(method=request.method, path=request.path, query=dict(request.query), body=body, headers=request.headers)
        if request.method == "GET" and request.query.get("watch") in ("true", "1"):
            opened = self._front.watch(asked)
            return _response(opened) if isinstance(opened, Reply) else await self._stream(request, opened)
        return _response(self._front.handle(asked))

    async def _stream(self, request: web.Request, watch: Watching) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": JSON})
        self.watches[id(watch)] = watch
        try:
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):  # the reader has gone, which is how most watches end
                async for chunk in watch.lines:
                    await response.write(chunk)
        finally:
            del self.watches[id(watch)]
            watch.close()
        return response


def _foreign(request: web.Request) -> str:
    """Why a request does not come from a tool of this machine's user; "" when it does."""
    name, _, _ = request.host.rpartition(":")
    if (name or request.host) not in _NAMES:
        return f"the Drover sandbox is reached as {HOST} only, not as {request.host}"
    return "the Drover sandbox takes no requests from web pages" if "Origin" in request.headers else ""


def _response(reply: Reply) -> web.Response:
    return web.Response(status=reply.status, body=reply.body, headers=reply.headers)
