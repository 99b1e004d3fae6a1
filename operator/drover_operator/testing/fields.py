# SPDX-License-Identifier: Apache-2.0
"""Field errors: what is wrong with which field, in the words of the real API server."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec


class FieldError(NamedTuple):
    """One wrong field: the machine-readable reason, its path, the words."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def quoted(value: Any) -> str:
    """A value as Go prints it in a field error."""
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, dict | list) else msgspec.json.encode(value).decode()


def required(field: str, detail: str = "") -> FieldError:
    """A field that is missing or empty."""
    return FieldError("FieldValueRequired", field, "Required value" + (f": {detail}" if detail else ""))


def invalid_value(field: str, value: Any, detail: str) -> FieldError:
    """A value that breaks a rule."""
    return FieldError("FieldValueInvalid", field, f"Invalid value: {quoted(value)}: {detail}")


def unsupported(field: str, value: Any, supported: Sequence[str]) -> FieldError:
    """A value that is not in the enumeration."""
    return FieldError("FieldValueNotSupported", field, f"Unsupported value: {quoted(value)}: supported values: {', '.join(map(quoted, supported))}")


def duplicate(field: str, value: Any) -> FieldError:
    """A value that stands twice where it must be unique."""
    return FieldError("FieldValueDuplicate", field, f"Duplicate value: {quoted(value)}")


def forbidden_field(field: str, detail: str) -> FieldError:
    """A value that may not be set now."""
    return FieldError("FieldValueForbidden", field, f"Forbidden: {detail}")
