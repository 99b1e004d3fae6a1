# SPDX-License-Identifier: Apache-2.0
"""Models to structural CustomResourceDefinitions.

msgspec gives JSON Schema with references and unions; a CRD wants one inlined tree without them. Rejected: pydantic (needs the
same rewriting and decodes five times slower) and hand-written YAML (two truths).
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from drover_operator.api.fields import rule
from drover_operator.api.maintenancewindow import MaintenanceWindow
from drover_operator.api.managedservice import MAX_NAME, ManagedService
from drover_operator.api.meta import DNS_LABEL_PATTERN, GROUP, VERSION, Object
from drover_operator.api.podtemplate import JobTemplate, PodTemplate
from drover_operator.api.releasegate import MAX_GATE_NAME, ReleaseGate

JsonMap = dict[str, Any]
_UNSEEN = -1  # generation that a status describes which nobody has written yet


@dataclass(frozen=True, kw_only=True)
class Column:
    """A printer column; `wide` shows it only with -o wide."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """All that a CRD says beside the schema of its model."""

    model: type[Object]
    plural: str
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    rules: tuple[dict[str, str], ...] = ()
    scale: bool = False
    selectable: tuple[str, ...] = ()

    @property
    def has_status(self) -> bool:
        """Whether a controller tells anything on the object."""
        return "status" in self.model.__struct_fields__

    @property
    def kind(self) -> str:
        """The kind, which is the name of the model."""
        return self.model.__name__


MANAGED_SERVICE = Definition(
    model=ManagedService,
    plural="managedservices",
    short_names=("msvc",),
    scale=True,
    selectable=(".spec.criticality", ".status.phase"),
    rules=(
        rule(
            f"self.metadata.name.size() <= {MAX_NAME} && self.metadata.name.matches('{DNS_LABEL_PATTERN}')",
            f"'metadata.name must be a DNS label of at most {MAX_NAME} characters, not ' + self.metadata.name",
        ),
        rule(
            "!has(self.spec.scaling) || (self.spec.replicas >= self.spec.scaling.min && self.spec.replicas <= self.spec.scaling.max)",
            "'spec.replicas must be from %d to %d as spec.scaling says, not %d'.format([self.spec.scaling.min, self.spec.scaling.max, self.spec.replicas])",
        ),
        rule(
            "!has(self.spec.restart) || !has(self.spec.restart.activeRequests)"
            " || (has(self.spec.healthCheck) && (has(self.spec.healthCheck.http) || has(self.spec.healthCheck.tcp)))",
            "'spec.restart.activeRequests needs spec.healthCheck with http or tcp: the agent that asks for them probes as well'",
        ),
        rule(
            "!has(self.spec.environment) || self.spec.environment != 'Production' || !has(self.spec.rollout) || self.spec.rollout.type != 'Recreate'"
            " || has(self.spec.rollout.recreate)",
            "'spec.rollout.type Recreate is a downtime, and spec.environment is Production: say who knows of it in spec.rollout.recreate.acknowledge'",
        ),
    ),
    columns=(
        Column(name="Phase", path=".status.phase", description="One word for people."),
        Column(name="Ready", path=".status.ready", description="Instances in service of those wanted."),
        Column(name="Up-To-Date", path=".status.upToDate", description="Instances at the target revision of those wanted."),
        Column(name="Version", path=".status.version", description="Version that serves."),
        Column(name="Status", path=".status.summary", description="Most telling reason."),
        Column(name="Step", path=".status.step", wide=True, description="Step that a rollout is at, of how many."),
        Column(name="Weight", path=".status.rollout.weight.actual", type="integer", wide=True, description="Share of the target in percent."),
        Column(name="Criticality", path=".spec.criticality", wide=True, description="How much depends on it."),
        Column(name="Revision", path=".status.currentRevision", wide=True, description="Revision that serves."),
        Column(name="Target", path=".status.targetRevision", wide=True, description="Revision that is wanted."),
        Column(name="Age", path=".metadata.creationTimestamp", type="date", description="Time since it was created."),
    ),
)

RELEASE_GATE = Definition(
    model=ReleaseGate,
    plural="releasegates",
    short_names=("gate",),
    rules=(
        rule(
            f"self.metadata.name.size() <= {MAX_GATE_NAME} && self.metadata.name.matches('{DNS_LABEL_PATTERN}')",
            f"'metadata.name must be a DNS label of at most {MAX_GATE_NAME} characters, not ' + self.metadata.name",
        ),
    ),
    columns=(
        Column(name="Interval", path=".spec.interval", description="Time between two measurements."),
        Column(name="Samples", path=".spec.samples", type="integer", description="Good measurements that a pass takes."),
        Column(name="Tolerated", path=".spec.tolerated", type="integer", description="Bad measurements that are not yet a failure."),
        Column(name="Age", path=".metadata.creationTimestamp", type="date", description="Time since it was created."),
    ),
)

MAINTENANCE_WINDOW = Definition(
    model=MaintenanceWindow,
    plural="maintenancewindows",
    short_names=("mwin",),
    columns=(
        Column(name="Purpose", path=".spec.purpose", description="Whether rollouts may run in it, or must not."),
        Column(name="Time-Zone", path=".spec.timeZone", description="Zone of its local times."),
        Column(name="Reason", path=".spec.reason", description="Why, for people."),
        Column(name="Age", path=".metadata.creationTimestamp", type="date", description="Time since it was created."),
    ),
)

DEFINITIONS = (MANAGED_SERVICE, RELEASE_GATE, MAINTENANCE_WINDOW)
OUTLINES: dict[str, type[msgspec.Struct]] = {"PodTemplate": PodTemplate, "JobTemplate": JobTemplate}


def crd(definition: Definition) -> JsonMap:
    """The CustomResourceDefinition of one kind, ready to be written as YAML."""
    subresources: JsonMap = {"status": {}} if definition.has_status else {}
    if definition.scale:
        subresources["scale"] = {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.kind.lower(),
                "shortNames": list(definition.short_names),
                "categories": ["drover"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema(definition)},
                    **({"subresources": subresources} if subresources else {}),
                    # An empty list is not stored, and would be a difference for whoever applies the file again.
                    **({"selectableFields": [{"jsonPath": path} for path in definition.selectable]} if definition.selectable else {}),
                    "additionalPrinterColumns": [_column(column) for column in definition.columns],
                }
            ],
        },
    }


def schema(definition: Definition) -> JsonMap:
    """The structural schema of one kind, with the standard top-level fields."""
    tree = structural(definition.model)
    kinds = {
        "apiVersion": {"type": "string", "description": "Version of the schema."},
        "kind": {"type": "string", "description": "Kind of the object."},
        "metadata": {"type": "object"},
    }
    tree["properties"] = {**kinds, **{k: v for k, v in tree["properties"].items() if k != "metadata"}}
    tree["required"] = ["spec"]
    if definition.has_status:
        # A fresh object would else say nothing of its state, and kstatus takes silence for Current.
        status = without_defaults(tree["properties"]["status"])
        status["properties"]["observedGeneration"]["default"] = _UNSEEN  # also when somebody clears the status by hand
        tree["properties"]["status"] = {**status, "default": {"observedGeneration": _UNSEEN}}
    if definition.rules:
        tree["x-kubernetes-validations"] = list(definition.rules)
    return tree


def structural(model: type[msgspec.Struct]) -> JsonMap:
    """The model as one inlined schema tree."""
    (reference,), components = msgspec.json.schema_components([model], ref_template="{name}")
    return _Inliner(components).inline(reference)


def without_defaults(node: JsonMap) -> JsonMap:
    """The same schema without defaults: nothing of ours may appear in a user's pod template or in a status."""
    kept: JsonMap = {k: v for k, v in node.items() if k != "default"}
    if "properties" in kept:
        kept["properties"] = {name: without_defaults(child) for name, child in kept["properties"].items()}
    if isinstance(kept.get("items"), dict):
        kept["items"] = without_defaults(kept["items"])
    return kept


def _column(column: Column) -> JsonMap:
    shown = {"name": column.name, "type": column.type, "jsonPath": column.path, "description": column.description}
    return {**shown, "priority": 1} if column.wide else shown


class _Inliner:
    """Rewrites JSON Schema with references into the subset that a structural schema allows."""

    def __init__(self, components: dict[str, Any]) -> None:
        self._components = components

    def inline(self, node: JsonMap) -> JsonMap:
        if outline := node.get("x-drover-outline"):
            extra = {k: v for k, v in node.items() if k != "x-drover-outline"}
            return {**without_defaults(structural(OUTLINES[outline])), **extra}
        node = self._resolved(node)
        node.pop("title", None)
        if node.get("x-kubernetes-int-or-string"):
            node.pop("type", None)
            node.pop("anyOf", None)
        if node.get("default", ...) in (None, [], {}):
            node.pop("default", None)
        self._children(node)
        return node

    def _resolved(self, node: JsonMap) -> JsonMap:
        """Follow a reference or the one real member of an optional union; what stands beside it wins."""
        if reference := node.get("$ref"):
            beside = {k: v for k, v in node.items() if k != "$ref"}
            return self._resolved({**self._components[reference], **beside})
        members = [m for m in node.get("anyOf", ()) if m.get("type") != "null"]
        if len(members) == 1:
            beside = {k: v for k, v in node.items() if k != "anyOf"}
            return self._resolved({**members[0], **beside})
        if isinstance(node.get("enum"), list) and "type" not in node:
            values = [v for v in node["enum"] if v is not None]
            return {**node, "enum": values, "type": "string"}
        return dict(node)

    def _children(self, node: JsonMap) -> None:
        if node.get("properties") == {}:
            del node["properties"]  # an empty map is not stored, and would be a difference for whoever applies the file again
        if "properties" in node:
            node["properties"] = {name: self.inline(child) for name, child in node["properties"].items()}
        if not node.get("required"):
            node.pop("required", None)
        if isinstance(node.get("items"), dict):
            node["items"] = self.inline(node["items"])
        if isinstance(node.get("additionalProperties"), dict):
            extra = self.inline(node["additionalProperties"])
            node["additionalProperties"] = extra
            if not extra:
                node.pop("additionalProperties")
