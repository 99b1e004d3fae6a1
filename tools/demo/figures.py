# SPDX-License-Identifier: Apache-2.0
"""What stands in for Prometheus in the demonstration of a delivery: a small server on loopback that makes up an error rate for a revision.

Pods of fake nodes run no program, so that there is nothing to measure. The number follows from what the cluster really runs: the image of the
revision's pods, and how many of them are in service. Where there are none there is no number either, as with Prometheus.

It is a process of its own, found and ended by the mark of the cluster, so that gates still have numbers when the demonstration is over.
"""

import argparse
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tools.cluster import Cluster
from tools.cluster.api import Api
from tools.cluster.processes import marked, spawn, stop

Json = dict[str, Any]
Pods = Callable[[str], list[Json] | None]  # those of a revision, None if the cluster does not answer

MODULE = "tools.demo.figures"
LEAKY = "leaky"  # in the tag of an image that fails
BASE = 0.004  # of all requests fail, with any version
LEAK = 0.007  # fail for each instance in service of a leaky one
WOBBLE = 0.0002
NOTE = "made up by make demo-canary, from the image and the number of instances in service"
REVISION = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
OK, WRONG, UNKNOWN = 200, 400, 404


def error_rate(image: str, instances: int, at: float) -> float:
    """The share of requests that fail, made up: a leaky version exhausts something that all its instances share."""
    leak = LEAK * instances - BASE if LEAKY in image.rpartition(":")[2] else 0.0
    return round(BASE + leak + WOBBLE * (int(at) * 3 % 7 - 3), 4)


def answer(target: str, pods: Pods, at: float) -> tuple[int, Json]:
    """Status and body for a request to that path and query, at that time in seconds since the epoch."""
    parts = urlsplit(target)
    if parts.path != "/statistics":
        return UNKNOWN, {"error": "ask for /statistics?revision=NAME", "note": NOTE}
    revision = "".join(parse_qs(parts.query).get("revision", []))
    if not REVISION.fullmatch(revision):
        return WRONG, {"error": "revision is no name of a revision", "note": NOTE}
    found = pods(revision)
    serving = [each for each in found or () if _serves(each)]
    body: Json = {"revision": revision, "instances": len(serving), "note": NOTE}
    if not serving:
        return OK, {**body, "error": "the cluster does not answer" if found is None else "no instance of it is in service"}
    image = serving[0]["spec"]["containers"][0]["image"]
    return OK, {**body, "image": image, "errorRate": error_rate(image, len(serving), at)}


def _serves(pod: Json) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return "deletionTimestamp" not in pod["metadata"] and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


class _Handler(BaseHTTPRequestHandler):
    """Answers GET."""

    def __init__(self, pods: Pods, *connection: Any) -> None:
        self._pods = pods
        super().__init__(*connection)

    def do_GET(self) -> None:
        """Tell the number."""
        status, body = answer(self.path, self._pods, time.time())
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def server(listening: socket.socket, pods: Pods) -> ThreadingHTTPServer:
    """A server on a socket that listens already."""
    made = ThreadingHTTPServer(listening.getsockname(), partial(_Handler, pods), bind_and_activate=False)
    made.socket.close()
    made.socket = listening
    return made


def start(cluster: Cluster, namespace: str) -> str:
    """Start it as a process of its own, in place of an earlier one; return its address."""
    stop([each for each in marked(cluster.folder) if MODULE in each.argv], 5.0)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        os.set_inheritable(listening.fileno(), True)
        words = ["--socket", str(listening.fileno()), "--port", str(cluster.status().port), "--namespace", namespace]
        arguments = [sys.executable, "-m", MODULE, *words, "--certificates", str(cluster.folder / "certificates")]
        spawn(arguments, cluster.folder / "logs" / "figures.log", cluster.folder)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"


def pods_of(api: Api, namespace: str, revision: str) -> list[Json] | None:
    """The pods of a revision, as the API server has them."""
    status, found = api.call("GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector=drover.dev%2Frevision%3D{revision}")
    return found["items"] if status == OK else None


def main() -> None:
    """Serve until somebody ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=int, required=True, help="descriptor that listens")
    parser.add_argument("--port", type=int, required=True, help="port of the API server")
    parser.add_argument("--certificates", type=Path, required=True, help="folder with the keys for it")
    parser.add_argument("--namespace", required=True)
    options = parser.parse_args()
    api = Api(options.port, options.certificates)
    server(socket.socket(fileno=options.socket), partial(pods_of, api, options.namespace)).serve_forever()


if __name__ == "__main__":
    main()
