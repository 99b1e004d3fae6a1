# SPDX-License-Identifier: Apache-2.0
"""The resources that the simulated API server serves, and the paths that lead to them."""

from dataclasses import dataclass
from functools import lru_cache

import msgspec

from drover_operator.api.crd import DEFINITIONS, Definition, schema
from drover_operator.api.meta import GROUP, VERSION
from drover_operator.testing.objects import Json
from drover_operator.testing.ruletree import RuleTree
from drover_operator.testing.schema import Schema
from drover_operator.testing.shapes import Shape, built_in_shape, custom_shape


@dataclass(frozen=True, kw_only=True, eq=False)
class Kind:
    """One served resource; compared by identity, so that it is a cheap key."""

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str
    namespaced: bool = True
    status: bool = False
    scale: bool = False
    generation: bool = False
    # Pods and Services answer a delete with the object even when it is gone at once (ReturnDeletedObject upstream).
    returns_deleted: bool = False
    schema: Schema | None = None
    rules: RuleTree | None = None
    own_shape: Shape | None = None
    selectable: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """group/version as it stands in objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """Plural with group, as messages name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def shape(self) -> Shape:
        """How its parts are merged and owned."""
        return self.own_shape or built_in_shape(self.kind)

    @property
    def qualified_kind(self) -> str:
        """Kind with group, as messages about invalid objects name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


NAMESPACES = Kind(plural="namespaces", kind="Namespace", namespaced=False, status=True)
NODES = Kind(plural="nodes", kind="Node", namespaced=False, status=True)
PODS = Kind(plural="pods", kind="Pod", status=True, generation=True, returns_deleted=True, selectable=(".spec.nodeName", ".status.phase"))
SERVICES = Kind(plural="services", kind="Service", status=True, returns_deleted=True)
CONFIG_MAPS = Kind(plural="configmaps", kind="ConfigMap")
CONTROLLER_REVISIONS = Kind(group="apps", plural="controllerrevisions", kind="ControllerRevision")
ENDPOINT_SLICES = Kind(group="discovery.k8s.io", plural="endpointslices", kind="EndpointSlice", generation=True)
DISRUPTION_BUDGETS = Kind(group="policy", plural="poddisruptionbudgets", kind="PodDisruptionBudget", status=True, generation=True)
JOBS = Kind(group="batch", plural="jobs", kind="Job", status=True, generation=True)
HTTP_ROUTES = Kind(group="gateway.networking.k8s.io", plural="httproutes", kind="HTTPRoute", status=True, generation=True)
LEASES = Kind(group="coordination.k8s.io", plural="leases", kind="Lease")
RESOURCE_QUOTAS = Kind(plural="resourcequotas", kind="ResourceQuota", status=True)
EVENTS = Kind(group="events.k8s.io", plural="events", kind="Event")
CRDS = Kind(group="apiextensions.k8s.io", plural="customresourcedefinitions", kind="CustomResourceDefinition", namespaced=False, status=True)


def custom(definition: Definition) -> Kind:
    """The kind that a CustomResourceDefinition of ours serves."""
    tree: Json = msgspec.json.decode(msgspec.json.encode(schema(definition)))
    return Kind(
        group=GROUP,
        version=VERSION,
        plural=definition.plural,
        kind=definition.kind,
        status=definition.has_status,
        scale=definition.scale,
        generation=True,
        schema=Schema(tree),
        rules=RuleTree(tree),
        own_shape=custom_shape(tree),
        selectable=definition.selectable,
    )


BUILT_IN = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    ENDPOINT_SLICES,
    DISRUPTION_BUDGETS,
    JOBS,
    HTTP_ROUTES,
    LEASES,
    RESOURCE_QUOTAS,
    EVENTS,
    CRDS,
)
KINDS = (*BUILT_IN, *(custom(definition) for definition in DEFINITIONS))
_BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
_BY_NAME = {kind.resource: kind for kind in KINDS} | {kind.plural: kind for kind in KINDS}
_BY_TYPE = {(kind.api_version, kind.kind): kind for kind in KINDS}


def named(resource: str) -> Kind:
    """The kind by plural, with or without its group."""
    return _BY_NAME[resource]


def typed(obj: Json) -> Kind:
    """The kind of an object, by its apiVersion and kind."""
    return _BY_TYPE[(obj.get("apiVersion", ""), obj.get("kind", ""))]


@dataclass(frozen=True, slots=True)
class Target:
    """What a path means; no name means the collection, no namespace all of them."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""


@lru_cache(maxsize=4096)
def route(path: str) -> Target | None:
    """What a path leads to, or None."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and (group, version, rest[2]) in _BY_PATH:
        namespace, rest = rest[1], rest[2:]
    kind = _BY_PATH.get((group, version, rest[0]))
    if kind is None or len(rest) > 3 or bool(namespace) > kind.namespaced:
        return None
    return Target(kind, namespace, *rest[1:])
