# SPDX-License-Identifier: Apache-2.0
"""What kubectl meets: the simulated API server, and around it what only people's tools ask for.

    documents (discovery, OpenAPI) | reviews | core events | tables | everything else: the simulated API server

What cannot be simulated is refused with one sentence that says so.
"""

import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import msgspec
import structlog

from drover_operator.kube.transport import Reply, Request
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.faults import Before, Faults
from drover_operator.testing.kinds import CRDS, Target, route
from drover_operator.testing.objects import Json, is_object
from drover_operator.testing.refusal import Refused, bad_request
from drover_operator.testing.sandbox import bodies, decoding, documents, events, tables
from drover_operator.testing.sandbox.documents import USER
from drover_operator.testing.sandbox.offers import subresources_of
from drover_operator.testing.watch import WatchStream

A = TypeVar("A")
log = structlog.get_logger()
SIMULATION = "this is the Drover sandbox, a simulation without containers"
_NOTHING_RUNS = "there is nothing to run a command in"
_NOTHING_LISTENS = "nothing listens on any port"
_WITHOUT_CONTAINERS = {
    "log": "there are no logs",
    "exec": _NOTHING_RUNS,
    "attach": _NOTHING_RUNS,
    "ephemeralcontainers": _NOTHING_RUNS,
    "portforward": _NOTHING_LISTENS,
    "proxy": _NOTHING_LISTENS,
}
_CONTAINER_PATH = re.compile(rf"^/api/v1/(?:nodes|namespaces/[^/]+/(?:pods|services))/[^/]+/({'|'.join(_WITHOUT_CONTAINERS)})(?:/|$)")
_CHANGES = ("POST", "PUT", "PATCH")
_WITH_BODY = ("POST", "PUT", "DELETE")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_RESOURCE_PATH = re.compile(r"^/apis?/(?:[^/]+/)?v[0-9][^/]*/(?:namespaces/[^/]+/)?([^/]+)")


@dataclass(frozen=True)
class Watching:
    """An open watch: its lines, and how to stop it."""

    lines: AsyncIterator[bytes]
    close: Callable[[], None]


class Front:
    """Answers requests; `now` is in seconds since the epoch."""

    def __init__(self, server: ApiServer, now: Callable[[], float]) -> None:
        self._server = server
        self._now = now
        self._faults = Faults(latency=0.0)

    def handle(self, request: Request) -> Reply:
        """Carry out one request, all of it at once."""
        return self._guarded(request, lambda: documents.answer(request) or self._object(request))

    def watch(self, request: Request) -> Watching | Reply:
        """Open a watch, or answer why not."""
        return self._guarded(request, lambda: self._opened(request))

    def process(self, user: str) -> Before:
        """How a process in the sandbox reaches the API server: a hook for its transport that carries the requests out under our guard.

        Without it a pod template of the wrong form would end in an exception where a real server says no.
        """

        def carry_out(request: Request) -> Reply | None:
            if request.query.get("watch"):
                return None
            return self._guarded(request, lambda: self._server.handle(self._formed(request, _target(request)), user))

        return carry_out

    def _guarded(self, request: Request, answer: Callable[[], A]) -> A | Reply:
        try:
            return answer()
        except Refused as refused:
            return refused.reply
        except Exception as error:  # a form of request that nobody thought of: the user is told, the sandbox goes on
            log.info("request failed", method=request.method, path=request.path, exc_info=True)
            return bad_request(f"the Drover sandbox cannot make sense of this: {type(error).__name__}: {error}").reply

    def _opened(self, request: Request) -> Watching | Reply:
        target = _target(request)
        stored = events.watch_request(request) if target.kind is events.CORE_EVENTS else request
        opened = self._server.watch(stored, self._faults, 0.0)
        if isinstance(opened, Reply):
            return opened
        return Watching(self._lines(opened, request, target), opened.close)

    def _lines(self, stream: WatchStream, request: Request, target: Target) -> AsyncIterator[bytes]:
        """The lines as they are, or each made into what was asked for."""
        as_core, as_table = target.kind is events.CORE_EVENTS, tables.wants_table(request)
        if not (as_core or as_table):
            return stream
        found = _decoded(stream)
        if as_core:
            found = events.translated(found, target, request.query)
        return self._encoded(found, request, target, as_table=as_table)

    async def _encoded(self, found: AsyncIterator[Json], request: Request, target: Target, *, as_table: bool) -> AsyncIterator[bytes]:
        async for event in found:
            shown = tables.event_as_table(event, request, target.kind, self._now()) if as_table else event
            yield msgspec.json.encode(shown) + b"\n"

    def _object(self, request: Request) -> Reply:
        if request.path == "/version":
            return self._server.handle(request, USER)
        _check_containers(request)
        target = _target(request)
        if request.method not in _METHODS:
            raise _not_allowed(f"{request.method} is no method of this API")
        if target.kind is CRDS and request.method != "GET":
            raise _not_allowed("the CustomResourceDefinitions of Drover are there already, and the sandbox serves no others")
        reply = self._core_event(request, target) if target.kind is events.CORE_EVENTS else self._carried_out(bodies.as_json(request), target)
        if request.method == "GET" and not target.subresource and tables.wants_table(request):
            return tables.as_table(reply, request, target.kind, self._now())
        return reply

    def _carried_out(self, request: Request, target: Target) -> Reply:
        """What the API server answers; to a write with unknown fields, with a warning that they are dropped."""
        request = self._formed(request, target)
        if request.method not in _CHANGES:
            return self._server.handle(request, USER)
        if request.method != "POST":
            self._check_result(request, target)
        unknown = self._unknown_fields(request) if request.query.get("fieldValidation", "Warn") == "Warn" else []
        reply = self._server.handle(request, USER)
        told = ", ".join(f'299 - "unknown field \\"{path}\\""' for path in unknown)
        return replace(reply, headers={**reply.headers, "Warning": told}) if told else reply

    def _formed(self, request: Request, target: Target) -> Request:
        """The request with a body of the right form; patches say only what changes, so it is what they lead to that counts."""
        body: Any = _decoded_body(request) if request.method in _WITH_BODY else None
        if request.method == "DELETE" or target.subresource == "eviction":
            options = body.get("deleteOptions") if target.subresource and is_object(body) else body
            decoding.check_options(options or {})
        if request.method not in ("POST", "PUT") or target.subresource not in ("", "status"):
            return request
        if not is_object(body):
            raise bad_request("the body of the request must be an object")
        body = decoding.completed(target.kind, body)
        decoding.check(target.kind, body)
        return replace(request, body=msgspec.json.encode(body))

    def _check_result(self, request: Request, target: Target) -> None:
        """Check the form of what a change leads to, by a dry run."""
        reply = self._server.handle(replace(request, query={**request.query, "dryRun": "All"}), USER)
        if reply.status in (200, 201) and target.subresource in ("", "status"):
            decoding.check(target.kind, msgspec.json.decode(reply.body))

    def _unknown_fields(self, request: Request) -> list[str]:
        """The fields that a strict server would refuse, by asking for a strict dry run."""
        strict = replace(request, query={**request.query, "fieldValidation": "Strict", "dryRun": "All"})
        reply = self._server.handle(strict, USER)
        if reply.status not in (400, 422):
            return []
        _, _, told = json.loads(reply.body)["message"].rpartition("strict decoding error: ")
        return re.findall('unknown field "([^"]+)"', told)

    def _core_event(self, request: Request, target: Target) -> Reply:
        if request.method == "GET":
            return events.read(self._server.storage, request, target)
        if request.method == "DELETE":
            return self._server.handle(replace(request, path=events.stored_path(request.path)), USER)
        raise _not_allowed("events are written by the operator; the sandbox takes none from elsewhere")


def _target(request: Request) -> Target:
    target = events.target_of(request.path) or route(request.path)
    if target is None or target.subresource not in ("", *subresources_of(target.kind)):
        raise _not_simulated(request)
    return target


def _check_containers(request: Request) -> None:
    """Refuse what needs containers."""
    if found := _CONTAINER_PATH.match(request.path):
        raise Refused(501, "NotImplemented", f"{SIMULATION}: {_WITHOUT_CONTAINERS[found[1]]}")


def _not_allowed(why: str) -> Refused:
    return Refused(405, "MethodNotAllowed", why)


def _not_simulated(request: Request) -> Refused:
    """A bare "no such resource" in words that help: most of Kubernetes is not simulated."""
    found = _RESOURCE_PATH.match(request.path)
    what = found[1] if found else request.path
    return Refused(404, "NotFound", f"the Drover sandbox does not simulate {what}; `kubectl api-resources` lists what it has", {})


def _decoded_body(request: Request) -> Any:
    try:
        return msgspec.json.decode(request.body) if request.body else None
    except msgspec.DecodeError as error:
        raise bad_request(f"error decoding the body: {error}") from None


async def _decoded(stream: AsyncIterator[bytes]) -> AsyncIterator[Json]:
    async for chunk in stream:
        for line in chunk.splitlines():
            yield msgspec.json.decode(line)
