# SPDX-License-Identifier: Apache-2.0
"""Plays a case on one of the two back ends and answers its normalised record."""

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec

from drover_operator.kube.transport import MERGE_PATCH, Request
from drover_operator.testing import SimulatedCluster, SimulatedTransport, virtualtime
from tests.conformance.case import Case
from tests.conformance.normal import Normaliser
from tests.conformance.room import Backend, Room

Json = dict[str, Any]
HELD = ("api/v1/{}/configmaps", "api/v1/{}/pods", "apis/apps/v1/{}/controllerrevisions", "apis/drover.dev/v1alpha1/{}/managedservices")


@dataclass(frozen=True)
class Record:
    """What came of a case; `broke` tells where a case could not go on."""

    case: Case
    entries: list[Json]
    requests: int
    broke: str = ""


class Simulated:
    """The simulated API server with all its actors."""

    has_accounts = False

    def __init__(self) -> None:
        self.cluster = SimulatedCluster(seed=1)
        self.transport: SimulatedTransport = self.cluster.transport()

    def now(self) -> float:
        return self.cluster.now()

    async def forget(self) -> None:
        self.cluster.compact()


def simulated(case: Case) -> Record:
    """Play a case in a simulated cluster of its own, in virtual time."""

    async def main() -> Record:
        backend = Simulated()
        await backend.cluster.start()
        backend.cluster.create_namespace(namespace := "conf-simulated-000")
        record = await play(case, backend, namespace)
        await backend.cluster.stop()
        return record

    return virtualtime.run(main)


async def play(case: Case, backend: Backend, namespace: str) -> Record:
    """Play a case in a namespace that is there already."""
    room, broke = Room(backend, namespace), ""
    try:
        await case.play(room)
    except (LookupError, TypeError, ValueError, TimeoutError, StopAsyncIteration) as error:  # an answer that the case cannot use
        broke = f"{type(error).__name__}: {error}"
    return Record(case, Normaliser(namespace).entries(room.record), room.requests, broke)


async def all_in_namespaces(cases: list[Case], backend: Backend, prefix: str, at_once: int = 16) -> list[Record]:
    """Play cases side by side, each in a new namespace, those that must be alone at the end.

    The namespaces are deleted last, as the namespace controller would else keep the cases about namespaces waiting; it goes on behind.
    """
    gate = asyncio.Semaphore(at_once)
    names = {case.id: f"{prefix}-{number:03}" for number, case in enumerate(cases)}

    async def one(case: Case) -> Record:
        async with gate:
            room = Room(backend, names[case.id])
            await room.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": room.namespace}})
            await room.settled(room.namespace)
            return await play(case, backend, room.namespace)

    try:
        together = await asyncio.gather(*(one(case) for case in cases if not case.alone))
        return [*together, *[await one(case) for case in cases if case.alone]]
    finally:
        await asyncio.gather(*(_let_go(backend, name) for name in names.values()))


async def _let_go(backend: Backend, name: str) -> None:
    """Delete a namespace; what a case left under a finalizer of its own would keep it for ever."""
    where = f"namespaces/{name}"
    for resource in HELD:
        path = "/" + resource.format(where)
        found = msgspec.json.decode((await backend.transport.send(Request(method="GET", path=path))).body)
        for item in found.get("items") or ():
            if item["metadata"].get("finalizers"):
                body, headers = b'{"metadata": {"finalizers": null}}', {"Content-Type": MERGE_PATCH}
                await backend.transport.send(Request(method="PATCH", path=f"{path}/{item['metadata']['name']}", body=body, headers=headers))
    await backend.transport.send(Request(method="DELETE", path=f"/api/v1/{where}"))
