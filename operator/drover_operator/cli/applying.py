# SPDX-License-Identifier: Apache-2.0
"""What `apply` does: objects from files to the server by server-side apply, then a wait for the services among them.

The server says by discovery which resource a kind is, so that every kind goes, those that Drover does not know included. One object that
is refused stops no other, as with kubectl; then nothing is waited for. Rejected: to call kubectl, which need not be there.
"""

import asyncio
import sys
from dataclasses import dataclass
from typing import Any

import msgspec

from drover_operator.api.resource import MANAGED_SERVICES, Resource
from drover_operator.cli import manifests
from drover_operator.cli.cluster import connected
from drover_operator.cli.following import Aim, follow
from drover_operator.cli.goal import goal
from drover_operator.cli.manifests import Manifest
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Exit, Failure, sentence
from drover_operator.cli.screen import write_lines
from drover_operator.cli.watching import Place
from drover_operator.kube.client import Client
from drover_operator.kube.errors import ApiError, Conflict, KubeError, NotFound, Unsent, api_error
from drover_operator.kube.transport import Request

MANAGER = "kubectl-drover"
REFUSED = 400  # HTTP statuses from here on
# What the server writes by itself, and what others write at any time: no difference that an apply made.
PASSING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What `apply` was asked for; `seconds` to wait, 0 for not at all."""

    files: tuple[str, ...]
    where: Where
    dry_run: bool = False
    force: bool = False
    seconds: float = 0.0
    json: bool = False


class _Offer(msgspec.Struct):
    name: str = ""
    kind: str = ""
    namespaced: bool = False


class _Offers(msgspec.Struct):
    resources: list[_Offer] = []


@dataclass(frozen=True)
class _Done:
    """One object as it is after the apply."""

    resource: Resource[Any]
    word: str
    namespace: str
    name: str
    generation: int

    def line(self, *, dry_run: bool) -> str:
        group = f".{self.resource.group}" if self.resource.group else ""
        return f"{self.resource.kind.lower()}{group}/{self.name} {self.word}{' (server dry run)' if dry_run else ''}"


def apply(wish: Wish) -> Exit:
    """Apply and wait; returns the exit code."""
    found = manifests.read(wish.files, sys.stdin.buffer)
    if not found:
        raise Failure("no objects in these files")
    return asyncio.run(_apply(wish, sorted(found, key=lambda each: each["kind"] != "Namespace")))


async def _apply(wish: Wish, found: list[Manifest]) -> Exit:
    async with connected(wish.where) as (client, namespace):
        server = _Server(client, namespace, wish)
        done = [each for body in found if (each := await server.apply(body)) is not None]
        if len(done) < len(found):
            return Exit.ERROR
        services = {(each.namespace, each.name): each.generation for each in done if each.resource == MANAGED_SERVICES}
        if not wish.seconds or not services:
            return Exit.DONE
        keys = list(services)
        spaces = {space for space, _ in keys}
        only = keys[0][1] if len(keys) == 1 else ""
        places = tuple(Place(space, only) for space in sorted(spaces))
        aim = Aim(places=places, name=only, least=services, goal=goal("run"), seconds=wish.seconds, json=wish.json, namespaces=len(spaces) > 1)
        return await follow(client, aim)


class _Server:
    """The server as something to apply to; it is asked once for each group and version what it offers."""

    def __init__(self, client: Client, namespace: str, wish: Wish) -> None:
        self._client = client
        self._namespace = namespace
        self._wish = wish
        self._offers: dict[str, list[_Offer]] = {}

    async def apply(self, body: Manifest) -> _Done | None:
        """Apply one object and print what came of it; None if it was refused.

        Raises:
            Unsent: the server cannot be reached, so that there is no use in trying the others.
        """
        name = _name(body)
        try:
            done = await self._applied(body, name)
        except Unsent:
            raise
        except (KubeError, Failure) as error:
            hint = "; give --force-conflicts to take the fields over, or leave them out of the file" if isinstance(error, Conflict) else ""
            print(f"error: {body['kind'].lower()}/{name}: {sentence(error)}{hint}", file=sys.stderr)
            return None
        if not self._wish.json:
            write_lines([done.line(dry_run=self._wish.dry_run)])
        return done

    async def _applied(self, body: Manifest, name: str) -> _Done:
        if not name:
            raise Failure("it has no metadata.name, which an apply needs: kubectl create is for generated names")
        resource, namespaced = await self._resource(body)
        namespace = self._place(body) if namespaced else ""
        body = {**body, "metadata": {**body["metadata"], **({"namespace": namespace} if namespace else {})}}
        before = await self._held(resource, namespace, name)
        wish = self._wish
        answer = await self._client.apply(resource, namespace, name, body, manager=MANAGER, dry_run=wish.dry_run, force=wish.force)
        after = msgspec.json.decode(answer)
        word = "created" if before is None else "unchanged" if _lasting(before) == _lasting(after) else "configured"
        return _Done(resource, word, namespace, name, after.get("metadata", {}).get("generation", 0))

    async def _held(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        try:
            return msgspec.json.decode(await self._client.get(resource, namespace, name))
        except NotFound:
            return None

    def _place(self, body: Manifest) -> str:
        own, asked = body["metadata"].get("namespace", ""), self._wish.where.namespace
        if own and asked and own != asked:
            raise Failure(f"it is of namespace '{own}', and -n says '{asked}': leave one of the two out")
        return str(own or self._namespace)

    async def _resource(self, body: Manifest) -> tuple[Resource[Any], bool]:
        """The resource that serves the kind, and whether it is in namespaces."""
        version, kind = str(body["apiVersion"]), str(body["kind"])
        if version not in self._offers:
            self._offers[version] = await self._discovered(version)
        offer = next((each for each in self._offers[version] if each.kind == kind and "/" not in each.name), None)
        if offer is None:
            raise Failure(f"the server has no kind {kind} in {version}: is its CustomResourceDefinition applied?")
        group, _, short = version.rpartition("/")
        return Resource[Any](group, short, offer.name, kind, model=msgspec.Raw), offer.namespaced

    async def _discovered(self, version: str) -> list[_Offer]:
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        reply = await self._client.transport.send(Request(method="GET", path=path))
        if reply.status >= REFUSED:
            error: ApiError = api_error(reply.status, reply.body)
            if isinstance(error, NotFound):
                return []
            raise error
        return msgspec.json.decode(reply.body, type=_Offers).resources


def _name(body: Manifest) -> str:
    meta = body.get("metadata")
    return str(meta.get("name", "")) if isinstance(meta, dict) else ""


def _lasting(value: Any) -> Any:
    """The object without what changes by itself."""
    meta = {name: each for name, each in value.get("metadata", {}).items() if name not in PASSING}
    return {**{name: each for name, each in value.items() if name != "status"}, "metadata": meta}
