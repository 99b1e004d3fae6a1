# SPDX-License-Identifier: Apache-2.0
"""What a real API server finds out while it decodes an object, before anything looks at its meaning.

The simulator takes well-formed objects for granted, as tests write them. People make slips: a number where a text belongs, a list for a
map. And they mistype the annotations that ask the simulation for trouble, which would then be silently without effect.
"""

from typing import Any

import msgspec

from drover_operator.testing.fields import FieldError, invalid_value, unsupported
from drover_operator.testing.kinds import NODES, PODS, Kind
from drover_operator.testing.kubelet import BEHAVIOUR_ANNOTATION, MODES, READY_AFTER_ANNOTATION
from drover_operator.testing.objects import Json, is_list, is_object, mapping
from drover_operator.testing.refusal import bad_request, invalid, undecodable
from drover_operator.testing.sandbox.forms import FORMS, DeleteOptions, Plain, Texts
from drover_operator.testing.sandbox.machines import DOWN

LONGEST_START = 86400.0  # seconds


def check(kind: Kind, obj: Json) -> None:
    """Refuse an object of the wrong form, and one that asks the simulation for something it does not know.

    Raises:
        Refused: 400 that names the field, or 422 for the annotations that the simulation itself reads.
    """
    try:
        msgspec.convert({"metadata": {}, **_without_nulls(obj)}, Plain if kind.schema else FORMS.get(kind.kind, Plain))
    except msgspec.ValidationError as error:
        raise undecodable(kind, str(error)) from None
    if found := _annotation_errors(kind, mapping(mapping(obj, "metadata"), "annotations")):
        raise invalid(kind, mapping(obj, "metadata").get("name", ""), found)


def completed(kind: Kind, obj: Json) -> Json:
    """The object as a typed server has it after decoding: null is the same as nothing, and a spec is always there."""
    if kind.schema:
        return obj
    form = FORMS.get(kind.kind, Plain)
    spec: Json = {"spec": {}} if "spec" in form.__struct_fields__ else {}
    kept: Json = _without_nulls(obj)
    return spec | kept


def check_options(options: Any) -> None:
    """Refuse options of a deletion that have the wrong form.

    Raises:
        Refused: 400 that names the field.
    """
    try:
        msgspec.convert(_without_nulls(options), DeleteOptions)
    except msgspec.ValidationError as error:
        raise bad_request(f"the options of the deletion cannot be read: {error}") from None


def _without_nulls(value: Any) -> Any:
    if is_object(value):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if is_list(value) else value


def _annotation_errors(kind: Kind, annotations: Texts) -> list[FieldError]:
    found: list[FieldError] = []
    known = MODES if kind is PODS else (DOWN,)
    mode = annotations.get(BEHAVIOUR_ANNOTATION)
    if kind in (PODS, NODES) and mode is not None and mode not in known:
        found.append(unsupported(f"metadata.annotations[{BEHAVIOUR_ANNOTATION}]", mode, known))
    delay = annotations.get(READY_AFTER_ANNOTATION)
    if kind is PODS and delay is not None and not _is_delay(delay):
        found.append(invalid_value(f"metadata.annotations[{READY_AFTER_ANNOTATION}]", delay, f"seconds from 0 to {LONGEST_START:g}, such as 5s"))
    return found


def _is_delay(text: str) -> bool:
    try:
        return 0 <= float(text.rstrip("s")) <= LONGEST_START
    except ValueError:
        return False
