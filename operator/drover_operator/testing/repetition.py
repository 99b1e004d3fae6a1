# SPDX-License-Identifier: Apache-2.0
"""Fields that stand twice in one JSON object: strict field validation names them, and decoders silently take the last."""

import json
from typing import Any


class _Fields(list[tuple[str, Any]]):
    """An object before it becomes one."""


def repeated(body: bytes) -> list[str]:
    """The paths of fields that are given more than once, such as `spec.containers[0].image`."""
    found: list[str] = []
    _look(json.loads(body, object_pairs_hook=_Fields), "", found)
    return found


def _look(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Fields):
        seen: dict[str, None] = {}
        for name, child in value:
            below = f"{path}.{name}" if path else name
            if name in seen and below not in found:
                found.append(below)
            seen[name] = None
            _look(child, below, found)
    elif isinstance(value, list):
        items: list[Any] = value
        for index, item in enumerate(items):
            _look(item, f"{path}[{index}]", found)
