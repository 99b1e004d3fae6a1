# SPDX-License-Identifier: Apache-2.0
"""The simulated API server: requests in, replies out, every write on record.

Simplified against the real one: no authorization, no priority and fairness, no discovery; webhooks are functions (`admission`), fields
are owned from the first apply on (`ownership`), and CEL rules need an optional library (`rules`).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from drover_operator.kube.transport import APPLY_PATCH, JSON, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Reply, Request
from drover_operator.testing import patch as patches
from drover_operator.testing.deletion import DeleteOptions, delete
from drover_operator.testing.eviction import evict
from drover_operator.testing.faults import Faults
from drover_operator.testing.fence import Caller, caller_of, check_fence
from drover_operator.testing.kinds import DISRUPTION_BUDGETS, LEASES, PODS, Kind, Target, route
from drover_operator.testing.listing import lists_only_metadata, read_list, watched_version
from drover_operator.testing.objects import Json, is_object, mapping
from drover_operator.testing.options import check_list, check_write
from drover_operator.testing.refusal import Refused, bad_request, no_such_page, no_such_resource, not_allowed, not_found, unconditional, undecodable
from drover_operator.testing.registry import Call, Patch, Registry
from drover_operator.testing.repetition import repeated
from drover_operator.testing.selectors import selection
from drover_operator.testing.storage import Storage, Version
from drover_operator.testing.watch import WatchOptions, WatchStream

_VERBS = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
_PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_HEADERS = {"Content-Type": JSON}


class Write(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One mutating request as the audit log shows it; `changed` is False for a no-op and a dry run."""

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    user: str
    status: int
    dry_run: bool
    changed: bool
    time: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a write came to; `answer` stands in for the object in the reply."""

    version: Version
    code: int = 200
    answer: Json | None = None


class ApiServer:
    """Storage behind the semantics of the Kubernetes API."""

    def __init__(self, clock: Callable[[], float], seed: int) -> None:
        self.storage = Storage(clock)
        self.registry = Registry(self.storage, clock, seed)
        self.writes: list[Write] = []
        self._clock = clock
        self._random = random.Random(seed)

    def handle(self, request: Request, user: str, *, lag: float = 0.0, rewind: float = 0.0) -> Reply:
        """Carry out one request, all of it at once; see `Faults` for `lag` and `rewind`."""
        try:
            if request.path in ("/version", "/readyz", "/livez"):
                return _answer(200, {"major": "1", "minor": "35", "gitVersion": "v1.35.0+drover-simulated"})
            target = _target(request)
            if request.method == "GET":
                any_version = request.query.get("resourceVersion") == "0"
                return self._read(request, target, self._seen(max(rewind, lag * any_version)))
            return self._write(request, target, caller_of(request, user), self._seen(lag))
        except Refused as refused:
            return refused.reply

    def watch(self, request: Request, faults: Faults, latency: float) -> WatchStream | Reply:
        """Open a watch, or answer why not."""
        try:
            target = _target(request)
            query = request.query
            check_list(query, watch=True)
            version = watched_version(query)
            options = WatchOptions(
                kind=target.kind,
                selection=selection(target.kind, target.namespace, target.name, query),
                revision=int(version) if version not in ("", "0") and query.get("sendInitialEvents") != "true" else None,
                bookmarks=query.get("allowWatchBookmarks") == "true",
                initial_bookmark=query.get("sendInitialEvents") == "true",
                only_metadata=lists_only_metadata(request),
                timeout=float(query.get("timeoutSeconds") or self._random.uniform(1800, 3600)),
            )
            return WatchStream(self.storage, options, faults, latency)
        except Refused as refused:
            return refused.reply

    def create(self, kind: Kind, obj: Json, *, user: str) -> Version:
        """Create as an actor in the process."""
        meta: Json = obj["metadata"]
        call = Call(verb="create", kind=kind, namespace=meta.get("namespace", ""), name=meta.get("name", ""), user=user)
        return self._perform(call, lambda: Outcome(self.registry.create(call, obj), 201)).version

    def patch(self, version: Version, change: Json | Patch, *, user: str, subresource: str = "") -> Version:
        """Merge-patch, or change by a function, as an actor in the process."""
        call = _call("patch", version, user, subresource)
        function: Patch = (lambda old: patches.merged(old, change)) if isinstance(change, dict) else change
        return self._perform(call, lambda: Outcome(self.registry.update(call, function))).version

    def delete(self, version: Version, *, user: str, grace: int | None = None, propagation: str = "Background") -> None:
        """Delete as an actor in the process, if it is still this very object."""
        call = _call("delete", version, user)
        options = DeleteOptions(uid=version.uid, grace=grace, propagation=propagation)
        self._perform(call, lambda: Outcome(self._deleted(call, options)[0]))

    def _perform(self, call: Call, operation: Callable[[], Outcome]) -> Outcome:
        """Carry out a write and put it on record."""
        before = self.storage.revision
        try:
            outcome = operation()
        except Refused as refused:
            self._record(call, call.name, refused.code, before)
            raise
        self._record(call, outcome.version.name, outcome.code, before)
        return outcome

    def _record(self, call: Call, name: str, status: int, before: int) -> None:
        self.writes.append(
            Write(
                verb=call.verb,
                resource=call.kind.resource,
                subresource=call.subresource,
                namespace=call.namespace,
                name=name,
                user=call.user,
                status=status,
                dry_run=call.dry_run,
                changed=self.storage.revision != before,
                time=self._clock(),
            )
        )

    def _seen(self, age: float) -> int:
        """The version that was current so many seconds ago."""
        return self.storage.revision_at(self._clock() - age) if age else self.storage.revision

    def _read(self, request: Request, target: Target, revision: int) -> Reply:
        if not target.name:
            check_list(request.query)
            return Reply(status=200, body=read_list(self.storage, request, target, revision), headers=_HEADERS)
        version = self.storage.get_at(target.kind, target.namespace, target.name, revision)
        if version is None:
            raise not_found(target.kind, target.name)
        if target.subresource == "scale":
            return _answer(200, _scale_of(version))
        return Reply(status=200, body=version.metadata_body if lists_only_metadata(request) else version.body, headers=_HEADERS)

    def _write(self, request: Request, target: Target, caller: Caller, seen: int) -> Reply:
        body = _decoded(request)
        verb = "apply" if _content_type(request) == APPLY_PATCH else _VERBS[request.method]
        if request.query or request.method in ("PATCH", "DELETE"):
            check_write(request.method, request.query, body, is_apply=verb == "apply")
        call = Call(
            verb=verb,
            kind=target.kind,
            namespace=target.namespace,
            name=target.name,
            subresource=target.subresource,
            user=caller.user,
            manager=_manager(request),
            dry_run=request.query.get("dryRun") == "All" or _wants_dry_run(request.method, target.subresource, body),
            strict=request.query.get("fieldValidation") == "Strict",
            force=request.query.get("force") in ("true", "1"),
        )
        if call.strict and request.method in ("POST", "PUT") and (twice := repeated(request.body)):
            raise undecodable(call.kind, "strict decoding error: " + ", ".join(f'duplicate field "{path}"' for path in twice))
        outcome = self._perform(call, lambda: self._written(call, caller, request, body, seen))
        content = outcome.version.body if outcome.answer is None else msgspec.json.encode(outcome.answer)
        return Reply(status=outcome.code, body=content, headers=_HEADERS)

    def _written(self, call: Call, caller: Caller, request: Request, body: Any, seen: int) -> Outcome:
        check_fence(self.storage, caller, call, seen)
        match request.method:
            case "POST":
                return self._post(call, body)
            case "DELETE":
                return self._delete(call, request, body)
            case _:
                return self._patch(call, request, body)

    def _post(self, call: Call, body: Any) -> Outcome:
        if not is_object(body):
            raise bad_request("the object provided is unrecognized (must be of type Object)")
        obj: Json = body
        if call.subresource == "eviction":
            if mapping(obj, "metadata").get("name") != call.name:
                raise bad_request("name in URL does not match name in Eviction object")
            version = evict(self.registry, call, DeleteOptions.read(mapping(obj, "deleteOptions"), {}))
            return Outcome(version, 201, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
        return Outcome(self.registry.create(call, obj), 201)

    def _delete(self, call: Call, request: Request, body: Any) -> Outcome:
        if not call.name:
            return self._delete_all(call, request, body)
        version, gone = self._deleted(call, DeleteOptions.read(body or {}, dict(request.query)))
        if not gone or call.kind.returns_deleted:
            return Outcome(version)
        details = {"name": call.name, "kind": call.kind.plural, "uid": version.uid}
        details |= {"group": call.kind.group} if call.kind.group else {}
        return Outcome(version, 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    def _delete_all(self, call: Call, request: Request, body: Any) -> Outcome:
        """Delete what a list with the same selectors would show, and answer with that list."""
        listed: Json = msgspec.json.decode(read_list(self.storage, request, Target(call.kind, call.namespace), self.storage.revision))
        for item in listed["items"]:
            self._deleted(replace(call, name=item["metadata"]["name"]), DeleteOptions.read(body or {}, dict(request.query)))
        return Outcome(Version(call.kind, {"metadata": {"name": ""}}, 0), 200, listed)

    def _patch(self, call: Call, request: Request, body: Any) -> Outcome:
        if call.verb == "apply":
            return self._apply(call, body)
        change = _change(call.kind, request, body)
        if request.method == "PUT" and not call.subresource and not mapping(body, "metadata").get("resourceVersion"):
            self._check_unconditional(call)
        if call.subresource == "scale":
            version = self._rescale(call, change)
            return Outcome(version, 200, _scale_of(version))
        return Outcome(self.registry.update(call, change))

    def _apply(self, call: Call, body: Any) -> Outcome:
        if not is_object(body):
            raise bad_request("the body of the request must be an object")
        if call.subresource:
            self.registry.existing(call)
        if call.subresource == "scale":  # an error of upstream's
            what = f"(/{call.name}; autoscaling/v1, Kind=Scale) to proper version: request to convert CR to an invalid group/version: autoscaling/v1"
            raise Refused(500, "", f"failed to convert new object {what}")
        version, is_new = self.registry.apply(call, body)
        return Outcome(version, 201 if is_new else 200)

    def _deleted(self, call: Call, options: DeleteOptions) -> tuple[Version, bool]:
        if self.registry.admission.is_used and (version := self.storage.get(call.kind, call.namespace, call.name)):
            self.registry.admission.check(call.kind, call.subresource, version.data, None)
        return delete(self.registry, call, options)

    def _check_unconditional(self, call: Call) -> None:
        """A whole update of a custom resource, a Lease or a budget must say which version it is based on."""
        if call.kind.schema or call.kind in (LEASES, DISRUPTION_BUDGETS):
            raise unconditional(self.registry.existing(call).kind, call.name)

    def _rescale(self, call: Call, change: Patch) -> Version:
        version = self.registry.existing(call)
        if not call.kind.scale:
            raise no_such_resource()
        wanted = change(_scale_of(version))
        replicas = wanted.get("spec", {}).get("replicas", 0)
        meta = {"resourceVersion": wanted["metadata"].get("resourceVersion"), "uid": wanted["metadata"].get("uid")}
        scaled = self.registry.update(call, lambda old: patches.merged(old, {"metadata": meta, "spec": {"replicas": replicas}}))
        # Upstream remembers who wrote it without the time, which never looks the same: even a no-op is a new version.
        return self.storage.put(call.kind, version.data) if scaled is version and not call.dry_run else scaled


def _call(verb: str, version: Version, user: str, subresource: str = "") -> Call:
    return Call(verb=verb, kind=version.kind, namespace=version.namespace, name=version.name, subresource=subresource, user=user)


def _target(request: Request) -> Target:
    target = route(request.path)
    if target is None or (target.kind.namespaced and target.name and not target.namespace):
        raise no_such_page()
    allowed = {"", "status"} if target.kind.status else {""}
    allowed |= {"scale"} if target.kind.scale else set()
    allowed |= {"eviction"} if target.kind is PODS else set()
    if target.subresource not in allowed:
        raise no_such_resource()
    is_made = request.method == "POST" and not target.subresource
    if bool(target.name) == is_made and request.method in ("PATCH", "PUT", "POST"):
        raise not_allowed()
    return target


def _content_type(request: Request) -> str:
    found = next((value for name, value in request.headers.items() if name.lower() == "content-type"), JSON)
    return found.partition(";")[0].strip()


def _manager(request: Request) -> str:
    """The name that fields are owned under, as far as the request tells one: the program of the user agent, if no other is given."""
    if given := request.query.get("fieldManager"):
        return given
    for name, value in request.headers.items():
        if name.lower() == "user-agent":
            return value.partition("/")[0]
    return ""


def _wants_dry_run(method: str, subresource: str, body: Any) -> bool:
    """Whether the body says so: that of a deletion, or the one within an eviction."""
    if not is_object(body) or (method != "DELETE" and subresource != "eviction"):
        return False
    return bool((mapping(body, "deleteOptions") if subresource == "eviction" else body).get("dryRun"))


def _decoded(request: Request) -> Any:
    if not request.body:
        return None
    try:
        return msgspec.json.decode(request.body)
    except msgspec.DecodeError as error:
        raise bad_request(f"error decoding the body: {error}") from None


def _change(kind: Kind, request: Request, body: Any) -> Patch:
    content_type = JSON if request.method == "PUT" else _content_type(request)
    if content_type == JSON_PATCH:
        return lambda old: patches.json_patch(old, body)
    if not is_object(body):
        raise bad_request("the body of the request must be an object")
    match content_type:
        case "application/json" if request.method == "PUT":
            return lambda _: {**body, "metadata": mapping(body, "metadata")}
        case "application/merge-patch+json":
            return lambda old: patches.merged(old, body)
        case "application/strategic-merge-patch+json" if kind.schema is None:
            return lambda old: patches.strategic(old, body)
        case _:
            accepted = ", ".join(each for each in _PATCHES if each != STRATEGIC_PATCH or kind.schema is None)
            message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
            raise Refused(415, "UnsupportedMediaType", message)


def _answer(status: int, body: Json) -> Reply:
    return Reply(status=status, body=msgspec.json.encode(body), headers=_HEADERS)


def _scale_of(version: Version) -> Json:
    spec, status = version.data.get("spec", {}), version.data.get("status", {})
    meta = {key: version.meta.get(key) for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    scale_status: Json = {"replicas": status.get("replicas", 0)}
    if status.get("selector"):
        scale_status["selector"] = status["selector"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": meta,
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": scale_status,
    }
