# SPDX-License-Identifier: Apache-2.0
"""The same services for both sides: so many pods with a Service in front, and a rolling update of a quarter at a time."""

from dataclasses import dataclass
from typing import Any

from drover_operator.api.meta import Object
from drover_operator.api.resource import MANAGED_SERVICES, SERVICES, Resource

NAMESPACE = "bench"
APP = "app.kubernetes.io/name"
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment", Object)
Body = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """How one side declares a service; `resource` is what an update patches.

    `careful` keeps every default of ours: nobody missing during an update, and each instance drained before it ends. Without it ours does
    as the baseline: a quarter may be missing, and nothing is drained.
    """

    name: str
    resource: Resource[Any]
    careful: bool = False

    def bodies(self, name: str, replicas: int, *, bound: bool = False) -> list[tuple[Resource[Any], Body]]:
        """All that is created for one service, in order; `bound`: its pods are on the stub's node from the start."""
        if self.resource is DEPLOYMENTS:
            return [(SERVICES, front(name)), (DEPLOYMENTS, _deployment(name, replicas, _template(name, bound=bound)))]
        return [(MANAGED_SERVICES, _managed(name, replicas, _template(name, bound=bound, drained=self.careful), careful=self.careful))]


BUILT_IN = Side("Deployment", DEPLOYMENTS)
OURS = Side("ManagedService", MANAGED_SERVICES)
OURS_CAREFUL = Side("ManagedService, all defaults", MANAGED_SERVICES, careful=True)
QUARTER = "25%"
NODE = "bench"
# Where nodes are stubbed there is no scheduler either. Without a drain a pod is gone at once; with one the stub confirms its end.
BOUND: Body = {"nodeName": NODE}
AT_ONCE: Body = {"terminationGracePeriodSeconds": 0}


def image(version: int) -> str:
    """The image of that version."""
    return f"app:{version}"


def update(version: int) -> Body:
    """The patch that changes the image."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "server", "image": image(version)}]}}}}


def _template(name: str, *, bound: bool, drained: bool = False) -> Body:
    return {
        "metadata": {"labels": {APP: name}},
        "spec": {"containers": [{"name": "server", "image": image(1)}], **(BOUND if bound else {}), **({} if drained or not bound else AT_ONCE)},
    }


def _managed(name: str, replicas: int, template: Body, *, careful: bool) -> Body:
    quick: Body = (
        {} if careful else {"rollout": {"rolling": {"maxSurge": QUARTER, "maxUnavailable": QUARTER}}, "restart": {"settle": "0s", "drainTimeout": "0s"}}
    )
    spec = {"criticality": "Normal", "replicas": replicas, "ports": [{"name": "http", "port": 80}], "template": template, **quick}
    return {"apiVersion": MANAGED_SERVICES.api_version, "kind": "ManagedService", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def _deployment(name: str, replicas: int, template: Body) -> Body:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": QUARTER, "maxUnavailable": QUARTER}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {APP: name}}, "strategy": rolling, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def plain_pod(name: str, version: int, number: int, *, bound: bool) -> Body:
    """A pod as a Deployment would make it, but of nobody."""
    template = _template(name, bound=bound)
    meta = {**template["metadata"], "name": f"{name}-{version}-{number}", "namespace": NAMESPACE}
    spec = {**template["spec"], "containers": [{"name": "server", "image": image(version)}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


def front(name: str) -> Body:
    """The Service in front of the pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": {APP: name}, "ports": [{"name": "http", "port": 80}]},
    }
