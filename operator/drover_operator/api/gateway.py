# SPDX-License-Identifier: Apache-2.0
"""The part of the Gateway API that Drover reads: an HTTPRoute, its backends with their weights, and whether its parents have taken it.

Rules stay as they were sent: a patch replaces the whole list, and what is not ours must go back to the server byte for byte.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from drover_operator.api.fields import duration
from drover_operator.api.meta import Object, Wire

ROUTED_AT = "drover.dev/routed-at"  # when we last wrote weights, RFC 3339: in the write itself, so that a new leader knows it


class BackendRef(Wire, frozen=True):
    """Where requests go; `weight` is a share of the sum of all in the rule."""

    name: str
    group: str = ""
    kind: str = "Service"
    namespace: str = ""
    port: int | None = None
    weight: int = 1


class Rule(Wire, frozen=True):
    """What is read of a rule."""

    name: str = ""
    backend_refs: tuple[BackendRef, ...] = ()


class HTTPRouteSpec(Wire, frozen=True):
    """The rules, each as it was sent."""

    rules: tuple[msgspec.Raw, ...] = ()

    def __post_init__(self) -> None:
        """Detach the rules from the buffer they were decoded from."""
        msgspec.structs.force_setattr(self, "rules", tuple(each.copy() for each in self.rules))


class RouteCondition(Wire, frozen=True):
    """What a parent says of the route."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    observed_generation: int = 0
    last_transition_time: datetime | None = None


class RouteParent(Wire, frozen=True):
    """One parent: a Gateway that the route is attached to."""

    conditions: tuple[RouteCondition, ...] = ()


class HTTPRouteStatus(Wire, frozen=True):
    """What its parents say."""

    parents: tuple[RouteParent, ...] = ()


class HTTPRoute(Object, frozen=True):
    """gateway.networking.k8s.io/v1 HTTPRoute."""

    spec: HTTPRouteSpec = HTTPRouteSpec()
    status: HTTPRouteStatus = HTTPRouteStatus()


class RouteRef(Wire, frozen=True):
    """An HTTPRoute of the same namespace."""

    name: Annotated[str, Meta(description="Name of the HTTPRoute.", min_length=1, max_length=253)]
    rule: Annotated[
        Annotated[str, Meta(min_length=1, max_length=253)] | None,
        Meta(description="Name of the rule; without it every rule whose backends are this service alone."),
    ] = None


class Traffic(Wire, frozen=True):
    """Who splits requests between two revisions."""

    route: Annotated[RouteRef, Meta(description="HTTPRoute whose weights follow the steps of a canary. At rest it points to the Service of this service.")]
    settle: Annotated[
        str, duration("How long a router may go on as before after it has accepted a change; nobody leaves earlier.", "0s", "10m", "spec.traffic.settle")
    ] = "5s"
