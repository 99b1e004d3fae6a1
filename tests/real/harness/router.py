# SPDX-License-Identifier: Apache-2.0
"""Requests through the cluster's Gateway API router: which version answered, how often, and what a steady load met on its way."""

import json
import math
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import count
from typing import Any

from api.harness.kube import APPLY, Body, Kube
from api.harness.waiting import until

from tools.cluster import Cluster
from tools.cluster.router.objects import GATEWAY, NAMESPACE

TIMEOUT = 10.0  # seconds for one request
API = "gateway.networking.k8s.io/v1"
PARENT = {"name": GATEWAY, "namespace": NAMESPACE}
SIGMAS = 4  # one run in 16,000 is outside


@dataclass(frozen=True)
class Answer:
    """What came back; no version if the router itself answered, as it does when there is nobody to ask."""

    status: int
    version: str = ""
    pod: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def label(self) -> str:
        """The version, or the status where no pod of the sample answered well."""
        return self.version if self.status == 200 and self.version else str(self.status)


class Router:
    """The way to one host name through the router, as a client outside the cluster has it."""

    def __init__(self, cluster: Cluster, host: str) -> None:
        self.address, self.host = cluster.router, host

    def get(self, path: str = "/", headers: Mapping[str, str] | None = None, host: str = "") -> Answer:
        """One request over a connection of its own.

        Raises:
            OSError: the router cannot be reached, or did not answer in time.
            HTTPException: the connection broke off.
        """
        connection = self._connect()
        try:
            return self._ask(connection, path, headers, host)
        finally:
            connection.close()

    def tally(self, n: int, path: str = "/", headers: Mapping[str, str] | None = None, host: str = "", *, seconds: float = 120.0) -> Counter[str]:
        """Who answered how many of `n` requests over one connection, by version, or by status where nobody did.

        Raises:
            OSError, HTTPException: as `get`.
            AssertionError: they took longer than `seconds` together.
        """
        found, deadline, connection = Counter[str](), time.monotonic() + seconds, self._connect()
        try:
            for _ in range(n):
                found[self._ask(connection, path, headers, host).label] += 1
                assert time.monotonic() < deadline, f"{found.total()} of {n} requests in {seconds:.0f} s: {dict(found)}"
        finally:
            connection.close()
        return found

    def until(self, look: Any, what: str, path: str = "/", headers: Mapping[str, str] | None = None, *, seconds: float = 30.0) -> Answer:
        """Ask until `look(answer)` holds, and return that answer; a router that cannot be reached yet is asked again."""
        last: list[object] = []

        def check() -> Answer | None:
            try:
                answer = self.get(path, headers)
            except (OSError, HTTPException) as error:
                last[:] = [repr(error)]
                return None
            last[:] = [answer]
            return answer if look(answer) else None

        return until(check, what, seconds=seconds, seen=lambda: last) or Answer(0)

    @contextmanager
    def steady(self, *, rate: float = 100.0, workers: int = 8, slow: float = 0.3, fresh: bool = False) -> Iterator["Steady"]:
        """A steady load for as long as the context lasts; each tenth request takes `slow` seconds to be answered, so that changes meet some on their way.

        `fresh` takes a connection of its own for each request, so that all proxies get their share.
        """
        load = Steady(self, rate, workers, slow=slow, fresh=fresh)
        load.start()
        try:
            yield load
        finally:
            load.stop()

    def _connect(self) -> HTTPConnection:
        return HTTPConnection(self.address, timeout=TIMEOUT)

    def _ask(self, connection: HTTPConnection, path: str, headers: Mapping[str, str] | None = None, host: str = "") -> Answer:
        connection.request("GET", path, headers={"Host": host or self.host, **(headers or {})})
        response = connection.getresponse()
        said, heads = response.read(), {name.lower(): value for name, value in response.getheaders()}
        body = json.loads(said) if said.startswith(b"{") else {}
        return Answer(response.status, body.get("version", ""), body.get("pod", ""), heads)


class Steady:
    """Workers that ask at a fixed rate, each over a connection that is kept; nothing is asked twice. Moments are those of the wall clock."""

    def __init__(self, router: Router, rate: float, workers: int, *, slow: float, fresh: bool) -> None:
        self.answers: Counter[str] = Counter()
        self.failed: list[str] = []
        self._seen: list[tuple[float, float, str]] = []  # asked, answered, by whom
        self._router, self._apart, self._slow, self._fresh = router, workers / rate, slow, fresh
        self._ended, self._lock, self._turn = threading.Event(), threading.Lock(), count()
        self._workers = [threading.Thread(target=self._work, name=f"steady {number}", daemon=True) for number in range(workers)]

    def start(self) -> None:
        """Begin."""
        for each in self._workers:
            each.start()

    def stop(self) -> None:
        """Let what is on its way come back, and end."""
        self._ended.set()
        for each in self._workers:
            each.join(2 * TIMEOUT)

    def seconds(self, seconds: float) -> None:
        """Go on for a while."""
        self._ended.wait(seconds)

    def since(self, begin: float) -> Counter[str]:
        """Who answered what was asked after that moment."""
        with self._lock:
            return Counter(label for asked, _, label in self._seen if asked >= begin)

    def last(self, label: str) -> float:
        """When the last answer with that label came; 0 for never."""
        with self._lock:
            return max((answered for _, answered, each in self._seen if each == label), default=0.0)

    def _work(self) -> None:
        connection, following = self._router._connect(), time.monotonic()
        while not self._ended.wait(max(0.0, following - time.monotonic())):
            following = max(following + self._apart, time.monotonic())
            slow = self._slow and next(self._turn) % 10 == 0
            asked = time.time()
            try:
                answer = self._router._ask(connection, f"/?wait={self._slow}" if slow else "/")
            except (OSError, HTTPException) as error:
                connection.close()
                self._note(asked, "", f"{time.time():.3f} {error!r}")
            else:
                self._note(asked, answer.label, "" if answer.status == 200 else f"{time.time():.3f} {answer.status}")
            if self._fresh:
                connection.close()  # the next request opens it anew
        connection.close()

    def _note(self, asked: float, label: str, why: str) -> None:
        with self._lock:
            if why:
                self.failed.append(why)
            else:
                self.answers[label] += 1
                self._seen.append((asked, time.time(), label))


def likely(found: int, n: int, share: float) -> bool:
    """Whether so many of `n` can be chance, each having come with that probability; exact for 0 and 1."""
    return abs(found - n * share) <= SIGMAS * math.sqrt(n * share * (1 - share))


def route_path(namespace: str, name: str) -> str:
    """The path of an HTTPRoute."""
    return f"/apis/{API}/namespaces/{namespace}/httproutes/{name}"


def put_route(kube: Kube, namespace: str, name: str, host: str, rules: list[Body]) -> Body:
    """Create or replace an HTTPRoute of the cluster's Gateway, as a person with `kubectl apply` would."""
    spec = {"parentRefs": [PARENT], "hostnames": [host], "rules": rules}
    body = {"apiVersion": API, "kind": "HTTPRoute", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
    return kube.call("patch", route_path(namespace, name), body, query={"fieldManager": "test", "force": "true"}, content=APPLY)


def accepted(kube: Kube, namespace: str, name: str, *, seconds: float = 30.0) -> Body:
    """Wait until the router has taken the present generation of a route, and found all it names; requests may still go the old way then."""

    def look() -> Body | None:
        item = kube.call("get", route_path(namespace, name))
        generation = item["metadata"]["generation"]
        conditions = [each for parent in item.get("status", {}).get("parents", ()) for each in parent["conditions"]]
        kinds = {each["type"] for each in conditions if each["status"] == "True" and each["observedGeneration"] == generation}
        return item if {"Accepted", "ResolvedRefs"} <= kinds else None

    return until(look, f"route {name} is accepted", seconds=seconds, seen=lambda: kube.call("get", route_path(namespace, name)).get("status")) or {}
