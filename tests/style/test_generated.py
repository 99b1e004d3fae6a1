# SPDX-License-Identifier: Apache-2.0
"""What is derived from code is up to date, and CRDs are of the quality that people meet in the best operators."""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import yaml
from style.source import ROOT, text, tracked

from drover_operator.api.crd import DEFINITIONS, crd
from tools import generate

OUTPUTS = generate.outputs()
SAMPLES = [name for name in tracked() if name.startswith("manifests/samples/") and name.endswith((".yaml", ".yml"))]
KNOWN = {"drover.dev/v1alpha1": {definition.kind for definition in DEFINITIONS}, "v1": {"Namespace"}}
BOUNDED = 0.95
Node = dict[str, Any]


@pytest.mark.parametrize("path", OUTPUTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_generated_files_are_up_to_date(path):
    assert path.read_text() == OUTPUTS[path], "run `make generate` and commit the result"


def schema_of(definition: Any) -> Node:
    return crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def fields(node: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every field below a node with its path, items of lists and values of maps included."""
    for name, child in node.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from fields(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(node.get(key), dict):
            yield path + mark, node[key]
            yield from fields(node[key], path + mark)


def undescribed(tree: Node) -> list[str]:
    """Standard metadata and the values of lists and maps are described where they stand."""
    return [path for path, node in fields(tree) if not node.get("description") and path != ".metadata" and not path.endswith(("[]", "{}"))]


def unbounded(tree: Node) -> tuple[list[str], int]:
    """Fields without a bound, and how many should have one."""
    without, total = [], 0
    for path, node in fields(tree):
        if path in (".apiVersion", ".kind", ".metadata"):
            continue
        if node.get("x-kubernetes-int-or-string"):
            bounded = "maxLength" in node and "maximum" in node
        elif node.get("type") == "string":
            bounded = bool({"maxLength", "enum", "format"} & node.keys())
        elif node.get("type") == "array":
            bounded = "maxItems" in node
        elif node.get("type") == "integer":
            bounded = "enum" in node or {"minimum", "maximum"} <= node.keys()
        elif isinstance(node.get("additionalProperties"), dict):
            bounded = "maxProperties" in node
        else:
            continue
        total += 1
        without += [] if bounded else [path]
    return without, total


def untyped_lists(tree: Node) -> list[str]:
    found = []
    for path, node in fields(tree):
        if node.get("type") == "array":
            kind, keys = node.get("x-kubernetes-list-type"), node.get("x-kubernetes-list-map-keys")
            if kind not in ("atomic", "set", "map") or (kind == "map") != bool(keys):
                found.append(path)
    return found


def validations(tree: Node) -> Iterator[tuple[str, Node]]:
    for path, node in [("", tree), *fields(tree)]:
        for rule in node.get("x-kubernetes-validations", ()):
            yield path, rule


def in_a_template(path: str) -> bool:
    """Whether the field is one of a pod template, of which we know an outline alone."""
    return path.startswith((".spec.template", ".spec.measure.job.template", ".spec.rollout.mainFlowTest.job.template"))


UNSEEN = ".status.observedGeneration"  # -1 until somebody has looked: a status that was cleared by hand would else count as current


def faults(tree: Node) -> dict[str, Any]:
    """All that is wrong with a schema."""
    without, total = unbounded(tree)
    return {
        "undescribed": undescribed(tree),
        "unbounded": without if total and len(without) / total > 1 - BOUNDED else [],
        "untyped": untyped_lists(tree),
        "open": [path for path, node in fields(tree) if node.get("x-kubernetes-preserve-unknown-fields") and not in_a_template(path)],
        "silent rules": [path for path, rule in validations(tree) if not rule.get("rule") or bool(rule.get("message")) == bool(rule.get("messageExpression"))],
        "untyped fields": [
            path for path, node in fields(tree) if "type" not in node and not node.get("x-kubernetes-int-or-string") and not in_a_template(path)
        ],
        "defaults in status": [path for path, node in fields(tree) if path.startswith(".status.") and "default" in node and path != UNSEEN],
    }


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.kind)
def test_crds_are_described_bounded_and_typed(definition):
    assert faults(schema_of(definition)) == {key: [] for key in faults({})}


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.kind)
def test_crds_have_what_people_look_for(definition):
    body = crd(definition)["spec"]
    version = body["versions"][0]
    assert body["names"]["categories"] == ["drover"]
    assert body["names"]["shortNames"]
    assert ("status" in version.get("subresources", {})) == definition.has_status
    assert all(column["description"] for column in version["additionalPrinterColumns"])
    messages, rules = (5, 10) if definition.has_status else (1, 1)  # what only configures others is small
    assert sum("messageExpression" in rule for _, rule in validations(schema_of(definition))) >= messages, "messages name the value"
    assert len(list(validations(schema_of(definition)))) >= rules


def test_the_rules_on_schemas_find_what_they_look_for():
    bad: Node = {
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "array", "description": "x", "items": {"type": "integer"}},
            "c": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "description": "x", "x-kubernetes-validations": [{"rule": "true"}]},
            "status": {"type": "object", "description": "x", "properties": {"d": {"description": "x", "default": 1}}},
        }
    }
    assert faults(bad) == {
        "undescribed": [".a"],
        "unbounded": [".a", ".b", ".b[]"],
        "untyped": [".b"],
        "open": [".c"],
        "silent rules": [".c"],
        "untyped fields": [".status.d"],
        "defaults in status": [".status.d"],
    }


def documents(name: str) -> list[Any]:
    return [each for each in yaml.safe_load_all(text(name)) if each is not None]


def test_there_are_samples():
    assert len(SAMPLES) >= 3


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_of_kinds_that_we_know_and_have_no_unknown_field(name: str):
    assert documents(name)
    for body in documents(name):
        assert body["kind"] in KNOWN.get(body["apiVersion"], set()), f"{body['apiVersion']} {body['kind']}"
        for definition in (each for each in DEFINITIONS if each.kind == body["kind"]):
            decoded = msgspec.json.decode(msgspec.json.encode(body), type=definition.model)
            assert decoded.metadata.name
            assert strangers(body, schema_of(definition)) == []


def strangers(value: Any, node: Node, path: str = "") -> list[str]:
    """Fields that the schema does not know: decoding skips them, the API server refuses them."""
    if isinstance(value, list):
        return [each for item in value for each in strangers(item, node.get("items", {}), f"{path}[]")]
    if not isinstance(value, dict) or node.get("x-kubernetes-preserve-unknown-fields") or "properties" not in node:
        return []
    unknown = [f"{path}.{key}" for key in value if key not in node["properties"]]
    return unknown + [each for key in value if key in node["properties"] for each in strangers(value[key], node["properties"][key], f"{path}.{key}")]


def test_a_misspelled_field_of_a_sample_would_be_found():
    assert strangers({"spec": {"replica": 1}}, schema_of(DEFINITIONS[0])) == [".spec.replica"]
