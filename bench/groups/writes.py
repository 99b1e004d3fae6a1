# SPDX-License-Identifier: Apache-2.0
"""What single writes cost the API server: CPU milliseconds of its process for each, made four at a time. The profile behind the other groups.

The operator's are written as it writes them: as its user, in office, past the fence.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from bench.plane import Plane, plane
from bench.processes import cost
from bench.race import prepare
from bench.rows import Figure, at_most, row
from bench.workloads import NAMESPACE, OURS
from drover_controllers.service import build
from drover_controllers.service.gather import wanted_revision
from drover_operator.api.managedservice import ManagedService
from drover_operator.api.resource import LEASES, MANAGED_SERVICES, PODS
from drover_operator.kube.auth import connect
from drover_operator.kube.client import Client
from drover_operator.kube.http import HttpTransport

WARM, COUNTED, AT_ONCE = 30, 300, 4
HOLDER, EPOCH = "bench", 3
OFFICE = {
    "Impersonate-User": "drover:operator:0",
    "Impersonate-Extra-drover.dev%2Fepoch": str(EPOCH),
    "Impersonate-Extra-drover.dev%2Fholder": HOLDER,
}
NOW = "2026-01-01T00:00:00Z"
GATE = {"conditions": [{"type": "drover.dev/in-service", "status": "True", "reason": "InService", "lastTransitionTime": NOW}]}
Write = Callable[[str], Awaitable[object]]


class _InOffice:
    def headers(self) -> Mapping[str, str]:
        return OFFICE


@cache
def _milliseconds() -> dict[str, float]:
    with plane(nodes=False) as built:
        return asyncio.run(_all(built))


async def _all(built: Plane) -> dict[str, float]:
    pid = built.cluster.process_pid("kube-apiserver")
    transport = HttpTransport(connect(str(built.credentials())), agent="bench")
    try:
        async with built.client() as admin:
            await prepare(admin)
            await admin.create(LEASES, "drover-system", _lease())
            await asyncio.sleep(2.0)  # the fence learns of it
            operator = Client(transport, _InOffice())
            return {name: await _cost(pid, write) for name, write in _writes(admin, operator).items()}
    finally:
        await transport.close()


def _writes(admin: Client, operator: Client) -> dict[str, Write]:
    plain, ours = _plain_pod(), _our_pod()
    return {
        "plain": lambda name: admin.create(PODS, NAMESPACE, _named(plain, f"plain-{name}")),
        "create.admin": lambda name: admin.create(PODS, NAMESPACE, _named(ours, f"admin-{name}")),
        "create": lambda name: operator.create(PODS, NAMESPACE, _named(ours, f"ours-{name}")),
        "gate.admin": lambda name: admin.patch(PODS, NAMESPACE, f"admin-{name}", {"status": GATE}, subresource="status", strategic=True),
        "gate": lambda name: operator.patch(PODS, NAMESPACE, f"ours-{name}", {"status": GATE}, subresource="status", strategic=True),
        "service": lambda name: admin.create(MANAGED_SERVICES, NAMESPACE, OURS.bodies(name, 10)[0][1]),
        "status": lambda name: operator.patch(MANAGED_SERVICES, NAMESPACE, name, {"status": _status(name)}, subresource="status"),
    }


async def _cost(pid: int, write: Write) -> float:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with slots:
            await write(name)

    await asyncio.gather(*(one(f"w{number}") for number in range(WARM)))
    before = cost(pid).cpu
    await asyncio.gather(*(one(f"n{number}") for number in range(COUNTED)))
    return (cost(pid).cpu - before) / COUNTED * 1000


def _lease() -> dict[str, Any]:
    meta = {"name": "drover-operator-0", "namespace": "drover-system"}
    return {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": meta, "spec": {"holderIdentity": HOLDER, "leaseTransitions": EPOCH}}


def _named(body: dict[str, Any], name: str) -> dict[str, Any]:
    return {**body, "metadata": {**body["metadata"], "name": name}}


def _plain_pod() -> dict[str, Any]:
    meta = {"labels": {"app.kubernetes.io/name": "one", "pod-template-hash": "abcdef"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "server", "image": "app:1"}]}}


def _our_pod() -> dict[str, Any]:
    """A pod as the builder makes it, but of no owner: the garbage collector would take it away."""
    wire = OURS.bodies("one", 10)[0][1]
    named = {**wire, "metadata": {**wire["metadata"], "uid": "0"}}
    service = msgspec.json.decode(msgspec.json.encode(named), type=ManagedService)
    body = build.pod(service, wanted_revision(service.spec, "one"), 0, "")
    return {**body, "metadata": {key: value for key, value in body["metadata"].items() if key in ("labels", "annotations")}}


def _status(name: str) -> dict[str, Any]:
    """A status in the middle of a rollout, with every instance told."""
    kinds = ("Ready", "Reconciling", "Stalled", "Available", "Progressing", "Degraded", "NeedsHuman")
    told = [{"type": kind, "status": "True", "reason": "Healthy", "message": "10 in service", "lastTransitionTime": NOW} for kind in kinds]
    pods = [{"name": f"{name}-abcdefgh-{slot}-8k8z7", "state": "InService", "version": "1", "revision": f"{name}-abcdefgh"} for slot in range(10)]
    return {"phase": "Update", "observedGeneration": 1, "ready": "10/10", "upToDate": "3/10", "conditions": told, "instances": pods, "summary": "RollingOut"}


@row("writes.create", unit="ms")
def create() -> Figure:
    """A pod of ours is created by the operator; the baseline is a plain pod by an administrator."""
    return Figure(_milliseconds()["create"], _milliseconds()["plain"])


@row("writes.fence.create", unit="ms", goal=at_most(1.2, of="ratio"))
def fence_create() -> Figure:
    """The same; the baseline is the same pod by an administrator, whom no fence and no impersonation touches."""
    return Figure(_milliseconds()["create"], _milliseconds()["create.admin"])


@row("writes.fence.gate", unit="ms", goal=at_most(1.2, of="ratio"))
def fence_gate() -> Figure:
    """The gate of a pod is opened; the baseline is an administrator."""
    return Figure(_milliseconds()["gate"], _milliseconds()["gate.admin"])


@row("writes.status", unit="ms")
def status() -> Figure:
    """The status of a service of ten is told; the baseline is the creation of a plain pod."""
    return Figure(_milliseconds()["status"], _milliseconds()["plain"])
