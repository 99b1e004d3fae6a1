# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server that behaves as services should, and can be made to misbehave: what the demonstration and the tests run on real nodes.

`/` says which version of which pod answered, after `?wait=SECONDS`; `/healthz` is 200 until `/sick` is asked for; `/load` is the number of
requests that are being answered; `/exit` ends the process at once. On SIGTERM it stops taking requests and finishes those it has.

Some versions are bad ones: `broken` does not start, `faulty` is healthy and answers `/` with 500, and `crashing` ends some seconds after each start.
"""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast
from urllib.parse import parse_qs, urlsplit

PORT = int(os.environ.get("PORT", "8080"))
VERSION = os.environ.get("VERSION", "")
CRASHES_AFTER = 3.0  # seconds


class Server(ThreadingHTTPServer):
    """Counts what it is doing."""

    daemon_threads = False  # they are waited for
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("", PORT), Handler)
        self.active = 0
        self.sick = False
        self.lock = threading.Lock()

    def count(self, by: int) -> None:
        """A request begins or ends."""
        with self.lock:
            self.active += by


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    protocol_version = "HTTP/1.1"

    @property
    def mine(self) -> Server:
        """The server, as what it is."""
        return cast("Server", self.server)

    def do_GET(self) -> None:
        """Answer by path."""
        where = urlsplit(self.path)
        if where.path == "/exit":
            os._exit(3)
        if where.path == "/sick":
            self.mine.sick = True
        if where.path == "/load":
            self._answer(200, {"activeRequests": self.mine.active})
        elif where.path == "/healthz":
            self._answer(500 if self.mine.sick else 200, {"sick": self.mine.sick})
        else:
            self._serve(float(parse_qs(where.query).get("wait", ["0"])[0]))

    def _serve(self, seconds: float) -> None:
        self.mine.count(1)
        try:
            time.sleep(min(seconds, 60.0))
            self._answer(500 if VERSION == "faulty" else 200, {"pod": os.environ.get("HOSTNAME", ""), "version": VERSION})
        finally:
            self.mine.count(-1)

    def _answer(self, code: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the name is the base class's
        """Say nothing: a steady load would fill the disk."""


def main() -> None:
    """Serve until SIGTERM."""
    if VERSION == "broken":
        sys.exit("this version is broken")
    if VERSION == "crashing":
        threading.Timer(CRASHES_AFTER, os._exit, (3,)).start()
    server = Server()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.05)
    server.server_close()  # waits for the threads


if __name__ == "__main__":
    main()
