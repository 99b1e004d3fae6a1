# SPDX-License-Identifier: Apache-2.0
"""The properties of a schema, one by one, with the way that leads to each.

A part that the schema leaves open (the pod's spec) has no properties to walk. Those of its fields that Drover reads or sets stand in
OPEN, written as a schema of what a pod allows; `test_coverage.py` compares them with what the builder reads.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from drover_operator.api.crd import Definition, schema

Json = dict[str, Any]
Key = str | int
FIRST, ANY = 0, "fuzz"  # the item of a list, and the key of a map, that stand for all

_PROBE: Json = {"type": "object", "properties": {"tcpSocket": {"type": "object", "properties": {"port": {"type": "integer", "minimum": 1, "maximum": 65535}}}}}
_GATE: Json = {"type": "object", "properties": {"conditionType": {"type": "string", "minLength": 1}}, "required": ["conditionType"]}
_SPREAD: Json = {
    "type": "object",
    "properties": {"topologyKey": {"type": "string"}, "maxSkew": {"type": "integer", "minimum": 1}, "whenUnsatisfiable": {"type": "string"}},
}
_SLEEP: Json = {"type": "object", "properties": {"sleep": {"type": "object", "properties": {"seconds": {"type": "integer", "minimum": 0}}}}}
_CONTAINER: Json = {"readinessProbe": _PROBE, "lifecycle": {"type": "object", "properties": {"preStop": _SLEEP}}, "restartPolicy": {"type": "string"}}
_ENV: Json = {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}, "value": {"type": "string"}}}}
_JOB = "spec.rollout.mainFlowTest.job.template.spec"
OPEN: dict[str, Json] = {
    "spec.template.spec": {
        "terminationGracePeriodSeconds": {"type": "integer", "minimum": 0},
        "priorityClassName": {"type": "string", "maxLength": 253},
        "readinessGates": {"type": "array", "items": _GATE},
        "topologySpreadConstraints": {"type": "array", "items": _SPREAD},
    },
    "spec.template.spec.containers[]": _CONTAINER,
    "spec.template.spec.initContainers[]": _CONTAINER,
    f"{_JOB}.containers[]": {"env": _ENV},
    f"{_JOB}.initContainers[]": {"env": _ENV},
}
_TEXTS: Json = {"type": "object", "additionalProperties": {"type": "string"}}
METADATA: Json = {"type": "object", "properties": {"labels": _TEXTS, "annotations": _TEXTS}}


@dataclass(frozen=True)
class Property:
    """One property: `trail` holds each key on the way to it and the schema found there; `open` that the CRD itself says nothing of it."""

    trail: tuple[tuple[Key, Json], ...]
    required: bool = False
    open: bool = False
    listed: bool = False

    @property
    def name(self) -> str:
        """The path as people write it: `spec.ports[].name`."""
        text = ""
        for key, _ in self.trail:
            text += "[]" if key == FIRST else ".*" if key == ANY else f".{key}"
        return text.removeprefix(".")

    @property
    def node(self) -> Json:
        """The schema of the property."""
        return self.trail[-1][1]


def properties(definition: Definition, root: str) -> list[Property]:
    """Everything below `spec` or `status` of a kind, or its labels and annotations for `metadata`. What Drover reads in a pod is that of a service."""
    tree = METADATA if root == "metadata" else schema(definition)["properties"][root]
    return list(_below(Property(((root, tree),))))


def _below(parent: Property) -> Iterator[Property]:
    node = parent.node
    for name, child in node.get("properties", {}).items():
        yield from _with(Property((*parent.trail, (name, child)), name in node.get("required", ()), parent.open))
    for name, child in OPEN.get(parent.name, {}).items():
        yield from _with(Property((*parent.trail, (name, child)), open=True))
    if isinstance(node.get("items"), dict):
        yield from _with(Property((*parent.trail, (FIRST, node["items"])), open=parent.open, listed=True))
    if isinstance(node.get("additionalProperties"), dict):
        yield from _with(Property((*parent.trail, (ANY, node["additionalProperties"])), open=parent.open))


def _with(found: Property) -> Iterator[Property]:
    yield found
    yield from _below(found)
