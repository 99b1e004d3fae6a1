# SPDX-License-Identifier: Apache-2.0
"""Tables: what `kubectl get` asks for instead of objects, for one object, a list, and each event of a watch.

The server makes the cells and kubectl only prints them. The columns of our kinds are those of the CRD; those of the built-in kinds
are in `columns`. Rejected: leaving tables out, kubectl then shows NAME and AGE of everything.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from drover_operator.api.crd import DEFINITIONS, Definition
from drover_operator.api.meta import GROUP
from drover_operator.cli.layout import age
from drover_operator.kube.transport import JSON, Reply, Request
from drover_operator.testing.kinds import Kind
from drover_operator.testing.objects import Json, is_object, mapping
from drover_operator.testing.sandbox.columns import AGE, BUILT_IN, NAME, Column, Seen

_OWN = {f"{definition.plural}.{GROUP}": definition for definition in DEFINITIONS}


def wants_table(request: Request) -> bool:
    """Whether the Accept header asks for a Table."""
    return any(name.lower() == "accept" and "as=Table" in value for name, value in request.headers.items())


def columns_of(kind: Kind) -> Sequence[Column]:
    """The columns of a kind; NAME and AGE where nothing else is known."""
    definition = _OWN.get(kind.resource)
    return _printed(definition) if definition else BUILT_IN.get(kind.resource, (NAME, AGE))


def as_table(reply: Reply, request: Request, kind: Kind, now: float) -> Reply:
    """The reply to a get or a list as a Table; an error stays what it is."""
    if reply.status != 200:
        return reply
    body: Json = msgspec.json.decode(reply.body)
    found: list[Json] = body.get("items", [body])
    return Reply(status=200, body=msgspec.json.encode(table(found, mapping(body, "metadata"), request, kind, now)), headers={"Content-Type": JSON})


def event_as_table(event: Json, request: Request, kind: Kind, now: float) -> Json:
    """One event of a watch with a Table for its object; a bookmark is a Table without rows, an error stays what it is."""
    if event["type"] == "ERROR":
        return event
    found = [] if event["type"] == "BOOKMARK" else [event["object"]]
    return {"type": event["type"], "object": table(found, mapping(event["object"], "metadata"), request, kind, now)}


def table(objects: Sequence[Json], meta: Json, request: Request, kind: Kind, now: float) -> Json:
    """Objects as a Table; `meta` is where the version, and for a chunk of a list its continuation, come from."""
    columns = columns_of(kind)
    include = request.query.get("includeObject", "Metadata")
    kept = {key: meta[key] for key in ("resourceVersion", "continue", "remainingItemCount") if key in meta}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": kept,
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [{"cells": [_cell(column, Seen(each, now)) for column in columns], "object": _included(each, kind, include)} for each in objects],
    }


def _definition(column: Column) -> Json:
    return {
        "name": column.name,
        "type": column.type,
        "format": "name" if column is NAME else "",
        "description": column.description or column.name,
        "priority": int(column.wide),
    }


def _cell(column: Column, seen: Seen) -> Any:
    """What stands in a cell; an object that somebody wrote in a form of their own is no reason to show nothing at all."""
    try:
        return column.cell(seen)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return "<unknown>"


def _included(item: Json, kind: Kind, include: str) -> Json | None:
    if include == "None":
        return None
    typed = {"apiVersion": kind.api_version, "kind": kind.kind, **item}
    if include == "Object":
        return typed
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": typed["metadata"]}


def _printed(definition: Definition) -> tuple[Column, ...]:
    """The printer columns of a CRD after the name."""
    shown = [Column(each.name, _reader(each.path, each.type), type=each.type, wide=each.wide, description=each.description) for each in definition.columns]
    return (NAME, *shown)


def _reader(path: str, kind: str) -> Any:
    def read(seen: Seen) -> Any:
        value: Any = seen.item
        for part in path.strip(".").split("."):
            value = value.get(part) if is_object(value) else None
        return age(seen.now - datetime.fromisoformat(value).timestamp()) if kind == "date" and value else value

    return read
