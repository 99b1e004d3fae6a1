# SPDX-License-Identifier: Apache-2.0
"""What the tests of the simulated API server share: requests with decoded answers, and bodies to send."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from drover_operator.kube.transport import APPLY_PATCH, JSON, MERGE_PATCH, Request
from drover_operator.testing import SimulatedCluster, SimulatedTransport
from drover_operator.testing.virtualtime import run

Json = dict[str, Any]
CONFIGS = "/api/v1/namespaces/shop/configmaps"
PODS = "/api/v1/namespaces/shop/pods"
PLAIN_SERVICES = "/api/v1/namespaces/shop/services"
QUOTAS = "/api/v1/namespaces/shop/resourcequotas"
REVISIONS = "/apis/apps/v1/namespaces/shop/controllerrevisions"
BUDGETS = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
SERVICES = "/apis/drover.dev/v1alpha1/namespaces/shop/managedservices"


class Api:
    """Requests and decoded answers."""

    def __init__(self, cluster: SimulatedCluster, transport: SimulatedTransport) -> None:
        self.cluster = cluster
        self.transport = transport

    async def __call__(
        self, method: str, path: str, body: Any = None, content: str = JSON, headers: dict[str, str] | None = None, **query: str
    ) -> tuple[int, Json]:
        encoded = b"" if body is None else msgspec.json.encode(body)
        sent = Request(method=method, path=path, query=query, body=encoded, headers={"Content-Type": content, **(headers or {})})
        reply = await self.transport.send(sent)
        return reply.status, msgspec.json.decode(reply.body)

    async def patch(self, path: str, body: Any, **query: str) -> tuple[int, Json]:
        return await self("PATCH", path, body, MERGE_PATCH, **query)

    async def merge(self, path: str, body: Any, manager: str = "someone", **query: str) -> tuple[int, Json]:
        return await self("PATCH", path, body, MERGE_PATCH, fieldManager=manager, **query)

    async def apply(self, path: str, body: Any, manager: str = "me", **query: str) -> tuple[int, Json]:
        return await self("PATCH", path, body, APPLY_PATCH, fieldManager=manager, **query)


def simulate(scenario: Callable[[Api], Awaitable[None]], *, start: bool = False) -> None:
    async def main() -> None:
        cluster = SimulatedCluster(seed=1)
        cluster.create_namespace("shop")
        if start:
            await cluster.start()
        await scenario(Api(cluster, cluster.transport()))
        await cluster.stop()

    run(main)


def config(name: str = "c", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name: str = "p", labels: dict[str, str] | None = None, requests: dict[str, str] | None = None, **spec: Any) -> Json:
    container = {"name": "main", "image": "web:1", "resources": {"requests": requests or {}}}
    meta = {"name": name, "namespace": "shop", "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container], **spec}}


def service(**spec: Any) -> Json:
    template = {"spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    return {
        "apiVersion": "drover.dev/v1alpha1",
        "kind": "ManagedService",
        "metadata": {"name": "web"},
        "spec": {"criticality": "Normal", "template": template} | spec,
    }


def part(**fields: Any) -> Json:
    """What one of several appliers says about the service."""
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": "web"}, **fields}


def owners(obj: Json) -> dict[tuple[str, str, str], Json]:
    """The fields of an object by manager, operation and subresource."""
    entries = obj["metadata"].get("managedFields") or []
    return {(each["manager"], each["operation"], each.get("subresource", "")): each["fieldsV1"] for each in entries}
