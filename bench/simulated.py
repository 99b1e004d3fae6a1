# SPDX-License-Identifier: Apache-2.0
"""The real operator on the simulated cluster, in virtual time: what the groups have in common."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from drover_controllers.service import CONTROLLER
from drover_operator.runtime.process import Process, Settings
from drover_operator.runtime.registry import Controller
from drover_operator.testing import SimulatedCluster

NAMESPACE = "shop"


def service(name: str = "web", *, replicas: int = 3, image: str = "app:1.0") -> dict[str, Any]:
    """A ManagedService with one port and the defaults of everything else."""
    template = {"spec": {"containers": [{"name": "server", "image": image}]}}
    spec = {"criticality": "Normal", "replicas": replicas, "ports": [{"name": "http", "port": 80}], "template": template}
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


@asynccontextmanager
async def operated(*, nodes: int = 3, controller: Controller = CONTROLLER) -> AsyncGenerator[SimulatedCluster, None]:
    """A cluster with an operator at work, both with the settings of production."""
    cluster = SimulatedCluster(seed=1, nodes=nodes)
    cluster.create_namespace(NAMESPACE)
    await cluster.start()
    settings = Settings(identity="bench", shell=False)
    process = Process(cluster.transport("operator"), (controller,), settings, clock=cluster.now, random=Random(1))
    working = asyncio.create_task(process.run())
    try:
        yield cluster
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        await cluster.stop()


def converged(cluster: SimulatedCluster, name: str = "web") -> bool:
    """Whether the newest spec is reached, the status says so, and nobody is left who is leaving."""
    found = cluster.get("managedservices", NAMESPACE, name)
    status, replicas = found.get("status", {}), found["spec"]["replicas"]
    current = status.get("observedGeneration") == found["metadata"]["generation"]
    whole = status.get("upToDate") == status.get("ready") == f"{replicas}/{replicas}"
    return bool(current and whole and status.get("phase") == "Run" and len(pods(cluster, name)) == replicas)


def pods(cluster: SimulatedCluster, name: str = "web") -> list[dict[str, Any]]:
    """The pods of a service, those that are leaving among them."""
    return [pod for pod in cluster.objects("pods", NAMESPACE) if pod["metadata"]["labels"]["drover.dev/service"] == name]


def images(cluster: SimulatedCluster) -> dict[str, int]:
    """How many pods there are of each image."""
    return dict(Counter(pod["spec"]["containers"][0]["image"] for pod in cluster.objects("pods", NAMESPACE)))
