# SPDX-License-Identifier: Apache-2.0
"""How an object differs from what it should be. The server adds defaults, so what is only there in the live object is no difference."""

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]


def differences(wanted: Any, live: Any, path: str = "") -> Iterator[str]:
    """Paths at which the live object lacks or contradicts what is wanted."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key, value in wanted.items():
            yield from differences(value, live.get(key), f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, (one, other) in enumerate(zip(wanted, live, strict=True)):
            yield from differences(one, other, f"{path}[{index}]")
    elif _plain(wanted) != _plain(live):
        yield path


def _plain(value: Any) -> Any:
    """The server leaves out what is empty."""
    return None if value in ({}, [], "") else value


def fields(schema: Json, path: str = "") -> Iterator[str]:
    """Paths of all fields of a schema, items of lists and values of maps included."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields(child, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from fields(schema[key], path + mark)


def schema_of(definition: Json, version: str) -> Json:
    """The schema of one version of a CRD; {} when it does not serve it."""
    found = [each for each in definition.get("spec", {}).get("versions", ()) if each["name"] == version]
    return dict(found[0].get("schema", {}).get("openAPIV3Schema", {})) if found else {}
