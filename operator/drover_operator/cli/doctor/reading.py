# SPDX-License-Identifier: Apache-2.0
"""Reads all that the checks look at. What may not be read, or is not served, is a fact too: the check is skipped and says why."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import msgspec

from drover_operator.api.meta import GROUP
from drover_operator.api.resource import LEASES, MANAGED_SERVICES, PODS, Resource
from drover_operator.cli.doctor.facts import Facts, Json, Many, Read, Right, Server
from drover_operator.cli.doctor.operation import OWNER
from drover_operator.cli.doctor.rights import groups, needed
from drover_operator.cli.doctor.wanted import RAW, SHARD, Wanted, wanted
from drover_operator.cli.outcome import sentence
from drover_operator.kube.client import Client
from drover_operator.kube.errors import ApiError, Gone, KubeError, NotFound, api_error
from drover_operator.kube.transport import JSON, Reply, Request
from drover_operator.runtime.measures import installed
from drover_operator.runtime.rbac import SYSTEM
from drover_operator.runtime.registry import Controller

CHUNK = 500
AT_ONCE = 16  # requests
OPERATOR = "app.kubernetes.io/name=drover-operator"
REVIEWS = "/apis/authorization.k8s.io/v1/"
Progress = Callable[[int], None]


class Reader:
    """Reads from one cluster; `namespace` is that of an operator that looks after one only."""

    def __init__(self, client: Client, namespace: str, progress: Progress) -> None:
        self._client = client
        self._namespace = namespace
        self._progress = progress
        self._room = asyncio.Semaphore(AT_ONCE)
        self._read = 0

    async def facts(self, controllers: tuple[Controller, ...]) -> Facts:
        """Everything.

        Raises:
            KubeError: the API server cannot be reached, or does not know us.
        """
        server = await self._server()
        should = wanted(controllers, self._namespace)
        try:
            found = await asyncio.gather(*(self._wanted(each) for each in should))
            rights = await asyncio.gather(*(self._asked(each) for each in needed(controllers, self._namespace)))
            mine = await asyncio.gather(*(self._asked(Right(who="", verb=verb, group=GROUP, resource=MANAGED_SERVICES.plural)) for verb in ("list", "patch")))
            return Facts(
                server=server,
                version=installed(),
                wanted=should,
                found=dict(zip((each.id for each in should), found, strict=True)),
                rights=tuple(rights),
                mine=tuple(mine),
                lease=await self._one(LEASES, f"drover-operator-{SHARD}"),
                floor=await self._one(_raw("", "configmaps"), f"drover-operator-{SHARD}"),
                deployment=await self._one(_raw("apps", "deployments"), "drover-operator"),
                operators=await self._many(_raw("", "pods"), "", OPERATOR),
                services=await self._many(MANAGED_SERVICES, self._namespace),
                instances=await self._many(PODS, self._namespace, OWNER, metadata_only=True),
            )
        finally:
            self._progress(0)

    async def _server(self) -> Server:
        reply = await self._client.transport.send(Request(method="GET", path="/version"))
        _check(reply)
        told = msgspec.json.decode(reply.body, type=dict[str, Any])
        major, minor = (_number(str(told.get(each, ""))) for each in ("major", "minor"))
        date = reply.headers.get("Date", "")
        clock = parsedate_to_datetime(date).timestamp() if date else 0.0
        return Server(major=major, minor=minor, text=str(told.get("gitVersion", "?")), clock=clock, here=time.time())

    async def _wanted(self, each: Wanted) -> Read:
        return await self._one(each.resource, each.name, each.namespace)

    async def _one(self, resource: Resource[Any], name: str, namespace: str = SYSTEM) -> Read:
        raw = Resource(resource.group, resource.version, resource.plural, resource.kind, RAW)
        try:
            async with self._room:
                body = msgspec.json.decode(bytes(await self._client.get(raw, namespace, name)))
        except NotFound as error:
            return Read() if _of_an_object(error) else Read(unread=f"{resource} is not served by this cluster")
        except KubeError as error:
            return Read(unread=_why(error, f"{resource}"))
        return Read(body=body)

    async def _many(self, resource: Resource[Any], namespace: str, selector: str = "", *, metadata_only: bool = False) -> Many:
        found, after, limit = list[Json](), "", CHUNK
        try:
            while True:
                try:
                    page = await self._client.page(resource, namespace, selector=selector, limit=limit, after=after, metadata_only=metadata_only)
                except Gone:
                    found, after, limit = [], "", 0  # it changed for longer than the server remembers: once more, whole
                    continue
                items = [_lean(msgspec.json.decode(each)) for each in page.items or ()]
                found += items
                self._read += len(items)
                self._progress(self._read)
                after = page.metadata.continue_
                if not after:
                    return Many(items=tuple(found))
        except NotFound:
            return Many(unread=f"{resource} is not served by this cluster")
        except KubeError as error:
            return Many(unread=_why(error, f"{resource}"))

    async def _asked(self, right: Right) -> Right:
        """The right with the server's answer."""
        about = {name: getattr(right, name) for name in ("verb", "group", "resource", "subresource", "name", "namespace")}
        kind, who = ("SubjectAccessReview", {"user": right.who, "groups": groups(right.who)}) if right.who else ("SelfSubjectAccessReview", {})
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": {"resourceAttributes": about, **who}}
        request = Request(method="POST", path=f"{REVIEWS}{kind.lower()}s", body=msgspec.json.encode(body), headers={"Content-Type": JSON})
        try:
            async with self._room:
                reply = await self._client.transport.send(request)
            _check(reply)
        except NotFound:
            return replace(right, unread="this cluster does not answer questions about rights")
        except KubeError as error:
            return replace(right, unread=_why(error, f"a {kind}", "ask for"))
        told = msgspec.json.decode(reply.body, type=dict[str, Any]).get("status", {})
        return replace(right, allowed=bool(told.get("allowed")))


def _check(reply: Reply) -> None:
    if reply.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise api_error(reply.status, reply.body)


def _of_an_object(error: ApiError) -> bool:
    """Whether it is the object that is not there, and not its whole resource."""
    return bool(error.status.details and error.status.details.name)


def _why(error: KubeError, what: str, verb: str = "read") -> str:
    """By the status: a refusal to read a policy of the fence names the fence, and counts as refused by it elsewhere."""
    denied = isinstance(error, ApiError) and error.code == HTTPStatus.FORBIDDEN
    return f"you may not {verb} {what}" if denied else f"{what}: {sentence(error)}"


def _lean(item: Json) -> Json:
    """An object without what no check looks at: managedFields are half of it."""
    item.get("metadata", {}).pop("managedFields", None)
    return item


def _number(text: str) -> int:
    """Some providers write a minor version as 33+."""
    digits = text.rstrip("+")
    return int(digits) if digits.isdecimal() else 0


def _raw(group: str, plural: str) -> Resource[Any]:
    return Resource(group, "v1", plural, "", RAW)
