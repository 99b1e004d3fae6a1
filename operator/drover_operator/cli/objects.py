# SPDX-License-Identifier: Apache-2.0
"""Reading manifests of any shape: nothing here trusts that a field is there or is of its type."""

from collections.abc import Iterable
from typing import Any, TypeGuard

from drover_operator.cli.notes import Refused

Manifest = dict[str, Any]
Key = tuple[str, str]

IMPORTED_KINDS = ("Deployment", "StatefulSet")
# They run pods, but not as a service that has to be there all the time.
OTHER_WORKLOADS = ("DaemonSet", "Job", "CronJob", "ReplicaSet", "ReplicationController", "Pod")
SERVER_METADATA = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields", "selfLink")


def mapping(parent: Manifest, name: str, path: str = "") -> Manifest:
    """A mapping of a workload; absent is empty, anything else is refused."""
    value = parent.get(name)
    if value is None:
        return {}
    if not _is_mapping(value):
        raise Refused(path or name, "must be a mapping")
    return value


def part(manifest: Manifest, *path: str) -> Manifest:
    """A mapping of an object that is only looked at; empty when there is none."""
    value: Any = manifest
    for name in path:
        value = value.get(name) if _is_mapping(value) else None
    return value if _is_mapping(value) else {}


def _is_mapping(value: object) -> TypeGuard[Manifest]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _items(value: object) -> list[Any]:
    return value if _is_list(value) else []


def mappings(value: object) -> list[Manifest]:
    """The mappings of a list; none if it is no list."""
    return [each for each in _items(value) if _is_mapping(each)]


def key_of(manifest: Manifest) -> Key:
    """Namespace and name, "" where one is missing."""
    metadata = part(manifest, "metadata")
    return (str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def reference_of(manifest: Manifest) -> str:
    """The object as kubectl names it: deployment/frontend."""
    return f"{str(manifest.get('kind')).lower()}/{key_of(manifest)[1] or '?'}"


def is_live(manifest: Manifest) -> bool:
    """Whether it was read from a cluster, with the fields that an API server fills in."""
    return bool(part(manifest, "metadata").get("uid"))


def has_controller(manifest: Manifest) -> bool:
    """Whether a controller made it, as a Deployment makes ReplicaSets and they make pods."""
    return any(owner.get("controller") is True for owner in mappings(part(manifest, "metadata").get("ownerReferences")))


def portable(manifest: Manifest) -> Manifest:
    """The object as it is; one from a cluster without the parts that would bind it to that cluster."""
    if not is_live(manifest):
        return manifest
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in SERVER_METADATA}
    return {**{name: value for name, value in manifest.items() if name != "status"}, "metadata": metadata}


def pod_labels(manifest: Manifest) -> Manifest | None:
    """The labels of the pods that the object makes, None when it makes none."""
    kind = manifest.get("kind")
    if kind == "Pod":
        return part(manifest, "metadata", "labels")
    if kind not in (*IMPORTED_KINDS, *OTHER_WORKLOADS):
        return None
    path = ("spec", "jobTemplate", "spec", "template") if kind == "CronJob" else ("spec", "template")
    return part(manifest, *path, "metadata", "labels")


def matches(selector: Any, labels: Manifest) -> bool:
    """Whether a label selector matches; an empty one matches all, none at all matches nothing."""
    if not _is_mapping(selector):
        return False
    wanted = part(selector, "matchLabels")
    expressions = mappings(selector.get("matchExpressions"))
    return all(labels.get(name) == value for name, value in wanted.items()) and all(_holds(each, labels) for each in expressions)


def _holds(expression: Manifest, labels: Manifest) -> bool:
    key, operator = str(expression.get("key")), expression.get("operator")
    if operator in ("Exists", "DoesNotExist"):
        return (key in labels) is (operator == "Exists")
    return (key in labels and labels[key] in _items(expression.get("values"))) is (operator == "In")


def texts(mapping: Manifest) -> Manifest:
    """Labels or annotations, with an empty value where YAML has none, as the API server reads them."""
    return {name: "" if value is None else value for name, value in mapping.items()}


def without_nulls(value: Any) -> Any:
    """A copy without the fields that are null: for the API server they are not there."""
    if _is_mapping(value):
        return {name: without_nulls(child) for name, child in value.items() if child is not None}
    return [without_nulls(child) for child in value] if _is_list(value) else value


def listed(names: Iterable[str]) -> str:
    """The names once each, in order, for a message."""
    return ", ".join(sorted(set(names)))
