# SPDX-License-Identifier: Apache-2.0
"""Plain JSON as the simulator holds it."""

from typing import Any, TypeGuard

Json = dict[str, Any]


def is_object(value: Any) -> TypeGuard[Json]:
    """Whether it is a JSON object."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether it is a JSON array."""
    return isinstance(value, list)


def mapping(obj: Json, key: str) -> Json:
    """The object under a key; an empty one when it is missing or null."""
    value: Json | None = obj.get(key)
    return value or {}


def entries(obj: Json, key: str) -> list[Any]:
    """The list under a key; an empty one when it is missing or null."""
    value: list[Any] | None = obj.get(key)
    return value or []
