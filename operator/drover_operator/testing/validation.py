# SPDX-License-Identifier: Apache-2.0
"""What is wrong with an object that is to be stored, in the order of the real server."""

from drover_operator.testing import builtin, metadata
from drover_operator.testing.fields import FieldError, invalid_value
from drover_operator.testing.kinds import Kind
from drover_operator.testing.objects import Json, mapping
from drover_operator.testing.rules import are_evaluated
from drover_operator.testing.shapes import GO_TYPES, go_text

# After one of these the real server does not even try the CEL rules, and says so.
_BLOCKING = ("FieldValueRequired", "FieldValueTypeInvalid", "FieldValueNotSupported", "FieldValueTooLong", "FieldValueTooMany")
_NOT_CHECKED = FieldError(
    "FieldValueInvalid",
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
)


def errors(kind: Kind, obj: Json, old: Json | None) -> list[FieldError]:
    """What is wrong with a new object, or with the change of an old one."""
    # What was stored has passed, and most writes are of status.
    found = [] if old is not None and old["metadata"] == obj["metadata"] else metadata.errors(kind, obj["metadata"])
    if kind.schema is None:
        return [*found, *(builtin.errors(kind, obj) if old is None else builtin.change_errors(kind, old, obj))]
    return _custom_errors(kind, obj, old, found + [_as_told(each) for each in kind.schema.errors(obj, old)])


def _custom_errors(kind: Kind, obj: Json, old: Json | None, found: list[FieldError]) -> list[FieldError]:
    if kind.scale:
        for part in ("spec", "status"):
            found += _scale_errors(f".{part}.replicas", mapping(obj, part).get("replicas"))
    if any(error.reason in _BLOCKING for error in found):
        return [*found, _NOT_CHECKED]
    if kind.rules and kind.rules.is_ruled and are_evaluated():
        found += kind.rules.errors(obj, old)
    return found


def _as_told(error: FieldError) -> FieldError:
    """What is wrong in a status is told with a path that begins below it."""
    within = error.field.removeprefix("status.")
    return error._replace(message=error.message.replace(f"{error.field} in body", f"{within} in body"))


def _scale_errors(path: str, replicas: object) -> list[FieldError]:
    """The scale subresource has its own idea of what a number of replicas is."""
    if replicas is None:
        return []
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        why = f"{path} accessor error: {go_text(replicas)} is of the type {GO_TYPES[type(replicas)]}, expected int64"
        return [invalid_value(path, 0, why)]
    return [invalid_value(path, replicas, "should be a non-negative integer")] if replicas < 0 else []
