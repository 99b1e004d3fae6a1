# SPDX-License-Identifier: Apache-2.0
"""ManagedService: the one writer of its pods. What it watches and may touch; RBAC is generated from this."""

from drover_controllers.service.change import change
from drover_controllers.service.decide import decide
from drover_controllers.service.gather import gather, routes, uses
from drover_controllers.service.naming import SERVICE_LABEL
from drover_controllers.service.report import report
from drover_operator.api.builtin import Pod
from drover_operator.api.meta import Object
from drover_operator.api.resource import (
    CONTROLLER_REVISIONS,
    DISRUPTION_BUDGETS,
    ENDPOINT_SLICES,
    EVENTS,
    HTTP_ROUTES,
    JOBS,
    MAINTENANCE_WINDOWS,
    MANAGED_SERVICES,
    PODS,
    RELEASE_GATES,
    SERVICES,
)
from drover_operator.runtime.registry import Access, Controller, Watch


def key_of(item: Object) -> tuple[str, str] | None:
    """The service that an object says it belongs to."""
    name = item.metadata.labels.get(SERVICE_LABEL)
    return (item.metadata.namespace, name) if name else None


def _own_key(item: Object) -> tuple[str, str]:
    return item.metadata.key


def _namespace_of(item: Object) -> tuple[str, str]:
    """A key that no service has, for what all services of a namespace look at."""
    return (item.metadata.namespace, "")


def _in_same_namespace(service: Object, item: Object) -> bool:
    return service.metadata.namespace == item.metadata.namespace


def _gone_bad(pod: Pod) -> bool:
    return pod.status.phase == "Failed" or pod.metadata.deletion_timestamp is not None


CONTROLLER = Controller(
    name="service",
    resource=MANAGED_SERVICES,
    watches=(
        Watch(resource=PODS, key_of=key_of, selector=SERVICE_LABEL, urgent=_gone_bad),
        Watch(resource=SERVICES, key_of=key_of, selector=SERVICE_LABEL),
        Watch(resource=ENDPOINT_SLICES, key_of=key_of, selector=SERVICE_LABEL),
        Watch(resource=DISRUPTION_BUDGETS, key_of=key_of, selector=SERVICE_LABEL),
        Watch(resource=CONTROLLER_REVISIONS, key_of=key_of, selector=SERVICE_LABEL),
        Watch(resource=JOBS, key_of=key_of, selector=SERVICE_LABEL),
        Watch(resource=RELEASE_GATES, key_of=_own_key, users=uses),
        Watch(resource=MAINTENANCE_WINDOWS, key_of=_namespace_of, users=_in_same_namespace),
        Watch(resource=HTTP_ROUTES, key_of=_own_key, users=routes, optional=True),
    ),
    access=(
        Access(resource=MANAGED_SERVICES, verbs=("patch",)),
        Access(resource=MANAGED_SERVICES, verbs=("patch",), subresource="status"),
        Access(resource=MANAGED_SERVICES, verbs=("update",), subresource="finalizers"),
        Access(resource=PODS, verbs=("create", "delete", "patch")),
        Access(resource=PODS, verbs=("patch",), subresource="status"),
        Access(resource=SERVICES, verbs=("create", "delete", "patch")),
        Access(resource=DISRUPTION_BUDGETS, verbs=("create", "patch")),
        Access(resource=CONTROLLER_REVISIONS, verbs=("create", "delete", "patch")),
        Access(resource=JOBS, verbs=("create", "delete")),
        Access(resource=HTTP_ROUTES, verbs=("patch",)),
        Access(resource=EVENTS, verbs=("create", "patch")),
    ),
    gather=gather,
    decide=decide,
    report=report,
    change=change,
)

__all__ = ["CONTROLLER", "key_of"]
