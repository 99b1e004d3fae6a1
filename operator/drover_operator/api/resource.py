# SPDX-License-Identifier: Apache-2.0
"""Resources: which path of the API serves a kind, and which struct its objects decode to."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, TypeVar

import msgspec

from drover_operator.api import builtin
from drover_operator.api.gateway import HTTPRoute
from drover_operator.api.maintenancewindow import MaintenanceWindow
from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import GROUP, VERSION, Object
from drover_operator.api.releasegate import ReleaseGate

T_co = TypeVar("T_co", bound=Object, covariant=True)


@dataclass(frozen=True)
class Resource(Generic[T_co]):
    """One resource of the API server."""

    group: str
    version: str
    plural: str
    kind: str
    model: type[T_co] = field(compare=False, repr=False)

    @property
    def api_version(self) -> str:
        """group/version as it stands in objects; only the version for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[T_co]:
        """What reads objects of this resource."""
        return msgspec.json.Decoder(self.model)

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection, of one object, or of its subresource; no namespace means all of them."""
        parts = ["/apis", self.group, self.version] if self.group else ["/api", self.version]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


PODS = Resource("", "v1", "pods", "Pod", builtin.Pod)
SERVICES = Resource("", "v1", "services", "Service", builtin.Service)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap", Object)
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision", builtin.ControllerRevision)
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", builtin.EndpointSlice)
DISRUPTION_BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", builtin.PodDisruptionBudget)
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease", builtin.Lease)
JOBS = Resource("batch", "v1", "jobs", "Job", builtin.Job)
EVENTS = Resource("events.k8s.io", "v1", "events", "Event", Object)
MANAGED_SERVICES = Resource(GROUP, VERSION, "managedservices", "ManagedService", ManagedService)
HTTP_ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", HTTPRoute)
MAINTENANCE_WINDOWS = Resource(GROUP, VERSION, "maintenancewindows", "MaintenanceWindow", MaintenanceWindow)
RELEASE_GATES = Resource(GROUP, VERSION, "releasegates", "ReleaseGate", ReleaseGate)
