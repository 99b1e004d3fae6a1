# SPDX-License-Identifier: Apache-2.0
"""OpenAPI v3, as far as kubectl reads it: the schemas behind `explain`, and that the server checks fields itself.

Our kinds are described whole, from their CRDs. Of the built-in ones there is only the outermost level: their schemas are a megabyte
that belongs to Kubernetes. Version 2 says nothing at all: kubectl asks for it about kinds that it did not find, and only wants an answer.
"""

from functools import cache

from drover_operator.api.crd import DEFINITIONS, schema
from drover_operator.api.meta import GROUP
from drover_operator.testing.kinds import Kind
from drover_operator.testing.objects import Json
from drover_operator.testing.sandbox.offers import Offer, groups

ROOT = "/openapi/v3"
OLD = "/openapi/v2"
OLD_MEDIA_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
EMPTY = b"\n\x032.0\x12\x11\n\x06Drover\x12\x07sandbox"  # version and title: the least that the published message of a document must say
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_OWN = {f"{definition.plural}.{GROUP}": definition for definition in DEFINITIONS}
_PARAMETERS = [{"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}} for name in ("dryRun", "fieldManager", "fieldValidation")]
_OUTLINE = "The sandbox does not describe the fields of built-in kinds; see the reference of the Kubernetes API."


@cache
def document(path: str) -> Json | None:
    """The document at this path, or None."""
    if path.rstrip("/") == ROOT:
        return {"paths": {_place(*each): {"serverRelativeURL": f"{ROOT}/{_place(*each)}"} for each in groups()}}
    found = next((each for each in groups() if path == f"{ROOT}/{_place(*each)}"), None)
    return _described(groups()[found]) if found else None


def _place(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _described(offers: list[Offer]) -> Json:
    schemas: Json = {_name(offer.kind): _schema(offer.kind) for offer in offers} | {_META: _metadata()}
    paths: Json = {}
    for offer in offers:
        paths |= _paths(offer.kind)
    return {"openapi": "3.0.0", "info": {"title": "Drover sandbox: a simulation", "version": "v1.35.0"}, "paths": paths, "components": {"schemas": schemas}}


def _paths(kind: Kind) -> Json:
    """The collection and the item of a resource with the operations that kubectl looks for."""
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"/{_place(kind.group, kind.version)}{scope}/{kind.plural}"
    return {
        collection: {"get": _operation("list", kind), "post": _operation("post", kind)},
        collection + "/{name}": {method: _operation(method, kind) for method in ("get", "put", "patch", "delete")},
    }


def _operation(action: str, kind: Kind) -> Json:
    answer = {"description": "OK", "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_name(kind)}"}}}}
    typed = {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": _gvk(kind)}
    return {"parameters": [] if action in ("get", "list") else _PARAMETERS, "responses": {"200": answer}, **typed}


def _gvk(kind: Kind) -> Json:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _name(kind: Kind) -> str:
    return ".".join([*reversed((kind.group or "core").split(".")), kind.version, kind.kind])


def _schema(kind: Kind) -> Json:
    definition = _OWN.get(kind.resource)
    tree: Json = schema(definition) if definition else _outline(kind)
    return {**tree, "properties": {**tree["properties"], "metadata": _reference()}, "x-kubernetes-group-version-kind": [_gvk(kind)]}


def _outline(kind: Kind) -> Json:
    shown = {"apiVersion": "Version of the schema.", "kind": "Kind of the object."}
    open_fields = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "description": _OUTLINE}
    properties: Json = {name: {"type": "string", "description": text} for name, text in shown.items()}
    properties |= dict.fromkeys(("spec", "status") if kind.status else ("spec",), open_fields)
    return {"type": "object", "description": f"{kind.kind} of {kind.api_version}. {_OUTLINE}", "properties": properties}


def _reference() -> Json:
    return {"description": "Standard metadata of an object.", "allOf": [{"$ref": f"#/components/schemas/{_META}"}]}


def _metadata() -> Json:
    words = {"type": "string"}
    table = {"type": "object", "additionalProperties": words}
    return {
        "type": "object",
        "description": "Metadata that every object has.",
        "properties": {
            "name": {**words, "description": "Name, unique in its namespace; it cannot be changed."},
            "namespace": {**words, "description": "Namespace of the object; it cannot be changed."},
            "labels": {**table, "description": "Words to select objects by."},
            "annotations": {**table, "description": "Words that tools keep with an object."},
            "generation": {"type": "integer", "description": "Counts the changes of what is wanted."},
            "resourceVersion": {**words, "description": "Version of the object, for comparison only."},
            "creationTimestamp": {**words, "format": "date-time", "description": "When it was created."},
            "deletionTimestamp": {**words, "format": "date-time", "description": "When it was asked to go."},
            "finalizers": {"type": "array", "items": words, "description": "Who must agree before it goes."},
            "ownerReferences": {"type": "array", "items": {"type": "object"}, "description": "What it belongs to."},
            "uid": {**words, "description": "Identity of this very object."},
        },
    }
