# SPDX-License-Identifier: Apache-2.0
"""What a plan is decided by: the objects around some services, in caches as the operator has them, and as they came.

They come from the API server (listed as the operator lists them), from files, or from a report. Imported only by a verb that decides.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import msgspec

from drover_operator.api.meta import Object
from drover_operator.api.resource import MANAGED_SERVICES, Resource
from drover_operator.cli.outcome import Failure
from drover_operator.kube.cache import Cache, Key
from drover_operator.kube.client import Client
from drover_operator.kube.errors import Gone
from drover_operator.runtime.foresight import World
from drover_operator.runtime.registry import Controller, Watch, discover

CHUNK = 500
Progress = Callable[[int], None]
Keep = Callable[[Any], bool]


@dataclass(kw_only=True)
class Scene:
    """Objects by resource, at one time in seconds since the epoch; `raw` has them as they came, by resource and (namespace, name)."""

    controller: Controller
    now: float
    caches: dict[str, Cache[Object]]
    raw: dict[tuple[str, Key], bytes] = field(default_factory=dict[tuple[str, Key], bytes])
    unread: list[str] = field(default_factory=list[str])  # what this version cannot read: the operator leaves it alone too

    def put(self, resource: Resource[Object], found: bytes) -> None:
        """Add one object.

        Raises:
            msgspec.ValidationError: this version cannot read it.
        """
        item = resource.decoder.decode(found)
        self.caches[str(resource)].saw(item)
        self.raw[str(resource), item.metadata.key] = found

    def world(self, names: Mapping[str, str]) -> World:
        """What the controller decides by."""
        return World(caches=self.caches, now=self.now, names=names)

    def was(self, resource: Resource[Object], key: Key) -> dict[str, Any]:
        """The object as it was; empty when it was not there."""
        found = self.raw.get((str(resource), key))
        return msgspec.json.decode(found) if found else {}


@cache
def keeper() -> Controller:
    """The controller of ManagedServices.

    Raises:
        Failure: none is installed.
        ConfigurationError: one cannot be loaded.
    """
    found = next((each for each in discover() if each.resource == MANAGED_SERVICES), None)
    if found is None:
        raise Failure("no controller for ManagedServices is installed beside this command, so nothing can be decided: install drover-operator anew")
    return found


def empty(controller: Controller, now: float) -> Scene:
    """A scene with nothing in it."""
    primary: Cache[Object] = Cache(controller.resource, lambda item: item.metadata.key)
    caches: dict[str, Cache[Object]] = {str(watch.resource): Cache(watch.resource, watch.key_of) for watch in controller.watches}
    return Scene(controller=controller, now=now, caches={str(controller.resource): primary, **caches})


def resources(controller: Controller) -> dict[tuple[str, str], Resource[Object]]:
    """What the controller looks at, by apiVersion and kind."""
    watched: Iterable[Resource[Object]] = (controller.resource, *(watch.resource for watch in controller.watches))
    return {(each.api_version, each.kind): each for each in watched}


async def surround(scene: Scene, client: Client, keys: Collection[Key], progress: Progress) -> None:
    """Read what belongs to these services: each watched resource as the operator lists it, one namespace after the other.

    Raises:
        KubeError: the API server does not answer, or refuses.
    """
    count = 0
    try:
        for watch in scene.controller.watches:
            for namespace in sorted({namespace for namespace, _ in keys}):
                async for found in listed(client, watch.resource, namespace, watch.selector):
                    count += 1
                    if count % CHUNK == 0:
                        progress(count)
                    _take(scene, watch, found, keys)
    finally:
        progress(0)


def _take(scene: Scene, watch: Watch, found: bytes, keys: Collection[Key]) -> None:
    try:
        if watch.key_of(watch.resource.decoder.decode(found)) in keys:
            scene.put(watch.resource, found)
    except msgspec.ValidationError as error:
        scene.unread.append(f"{watch.resource.kind} {_named(found)} cannot be read by this version ({error}), and is left out as the operator does")


def _named(found: bytes) -> str:
    meta = msgspec.json.decode(found, type=dict[str, Any]).get("metadata")
    return str(meta.get("name", "?")) if isinstance(meta, dict) else "?"


async def listed(client: Client, resource: Resource[Any], namespace: str, selector: str = "") -> AsyncIterator[bytes]:
    """All objects of a resource as JSON, read in chunks; some come twice when the list changed for longer than the server remembers."""
    after, limit = "", CHUNK
    while True:
        try:
            page = await client.page(resource, namespace, selector=selector, limit=limit, after=after)
        except Gone:
            after, limit = "", 0  # once more, whole, as kubectl does
            continue
        for item in page.items or ():
            yield bytes(item)
        after = page.metadata.continue_
        if not after:
            return
