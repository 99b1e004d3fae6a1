# SPDX-License-Identifier: Apache-2.0
"""What `why` reads: the service, its pods, a few Events and Nodes of those that are not well. Imported only when the verb runs.

Only what adds to the answer is asked for, and what may not be read is left out: the chain then says less, and the exit code is the same.
"""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import Object
from drover_operator.api.resource import Resource
from drover_operator.cli.ailment import Case, diagnose
from drover_operator.cli.chain import chain
from drover_operator.cli.cluster import connected, one, typed
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.screen import Counter, look, write_lines
from drover_operator.cli.sightings import EVENTS, NODES, PODS, SERVICE_LABEL, EventSeen, NodeSeen, PodSeen, Sightings
from drover_operator.cli.telling import document, lines
from drover_operator.kube.client import Client
from drover_operator.kube.errors import ApiError, Forbidden, NotFound

T = TypeVar("T", bound=Object)
CHUNK = 500
FEW = 3  # pods whose Events and Nodes are asked for
MESSAGES = 100  # Events of one pod


class _Entry(msgspec.Struct):
    time: datetime | None = None
    subresource: str = ""


class _Meta(msgspec.Struct, rename="camel"):
    managed_fields: list[_Entry] = []


class _Managed(msgspec.Struct):
    metadata: _Meta


def why(where: Where, name: str, *, json: bool) -> Exit:
    """Read, find the reasons, print."""
    return asyncio.run(_why(where, name, json=json))


async def _why(where: Where, name: str, *, json: bool) -> Exit:
    async with connected(where) as (client, namespace):
        found = await one(client, namespace, name)
        service, problem = typed(found)
        if service is None:
            raise Failure(f"service '{name}' was written by another version of Drover ({problem}): use kubectl drover of that version")
        told = chain(await _sightings(client, service, found))
    if json:
        write_lines([msgspec.json.format(msgspec.json.encode(document(told, namespace, name)), indent=2).decode()])
    else:
        write_lines(lines(told, look()))
    return Exit.DEGRADED if told.wrong else Exit.DONE


async def _sightings(client: Client, service: ManagedService, found: bytes) -> Sightings:
    now, namespace = datetime.now(UTC), service.metadata.namespace
    pods = await _pods(client, service)
    ill = _ill(pods or (), now)
    nodes = await _nodes(client, sorted({each.spec.node_name for each in ill if each.spec.node_name}))
    events = await _events(client, namespace, [f"involvedObject.uid={each.metadata.uid}" for each in ill])
    if service.status.rollout.blocked_revision:
        events += await _events(client, namespace, ["involvedObject.kind=Pod,type=Warning"], CHUNK)
    return Sightings(service=service, now=now, pods=pods, events=tuple(events), nodes=nodes, changed=_changed(found))


def _ill(pods: Sequence[PodSeen], now: datetime) -> list[PodSeen]:
    """Those with something to explain, what is wrong before what only takes time."""
    found = [(each, diagnose(Case(each, (), {}, now))) for each in pods]
    # A node that is gone freezes what its pods say: they look well, and are not ready.
    ill = [(each, ailment is None or not ailment.wrong) for each, ailment in found if ailment is not None or not each.status.is_true("Ready")]
    return [each for each, _ in sorted(ill, key=lambda row: (row[1], row[0].metadata.name))][:FEW]


async def _pods(client: Client, service: ManagedService) -> tuple[PodSeen, ...] | None:
    """The pods of the service, None when they may not be read."""
    meta, progress = service.metadata, Counter(sys.stderr, "pods")
    found: list[PodSeen] = []
    after = ""
    try:
        while True:
            page = await client.page(PODS, meta.namespace, selector=f"{SERVICE_LABEL}={meta.name}", limit=CHUNK, after=after)
            found += _decoded(PODS, page.items)
            after = page.metadata.continue_
            if not after:
                return tuple(each for each in found if each.metadata.controller_uid() in ("", meta.uid))
            progress(len(found))
    except Forbidden:
        return None
    finally:
        progress(0)


async def _events(client: Client, namespace: str, fields: Sequence[str], limit: int = MESSAGES) -> list[EventSeen]:
    """Events that the selectors of fields choose; none where they may not be read."""
    found: list[EventSeen] = []
    for each in fields:
        try:
            page = await client.page(EVENTS, namespace, fields=each, limit=limit)
        except ApiError:
            return found
        found += _decoded(EVENTS, page.items)
    return found


async def _nodes(client: Client, names: Sequence[str]) -> dict[str, NodeSeen]:
    """The Nodes of that name, those that may be read."""
    found: dict[str, NodeSeen] = {}
    for name in names:
        try:
            found[name] = await client.get(NODES, "", name)
        except NotFound:
            continue
        except ApiError:
            return found
    return found


def _decoded(resource: Resource[T], items: Sequence[msgspec.Raw] | None) -> list[T]:
    """What can be read of them: one that is of another shape hides no other."""
    found: list[T] = []
    for each in items or ():
        try:
            found.append(resource.decoder.decode(each))
        except msgspec.ValidationError:
            continue
    return found


def _changed(found: bytes) -> datetime | None:
    """When the object was last written by anything but a status."""
    entries = msgspec.json.decode(found, type=_Managed).metadata.managed_fields
    return max((each.time for each in entries if each.time and each.subresource != "status"), default=None)
