# SPDX-License-Identifier: Apache-2.0
"""The binary form in which some verbs of kubectl send objects: `create namespace`, `create configmap` and their like.

Only what those verbs can send is decoded here, and a field that is not known is refused, never lost. Answers are JSON, which every client
accepts. Rejected: the published message definitions with a protobuf runtime (3 MB installed for five small objects).
"""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from drover_operator.testing.objects import Json

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_NUMBERS = ("number", "truth")

Message = dict[int, "Field"]


class Undecodable(ValueError):
    """The bytes are no object that is known here; the words say what is wrong."""


@dataclass(frozen=True)
class Field:
    """One field of a message: its JSON name and what it holds; no name for one that a server fills in and a client sends empty."""

    name: str = ""
    holds: "Message | str" = "text"
    repeated: bool = False
    table: bool = False


def _texts(name: str) -> Field:
    return Field(name, repeated=True)


def _map(name: str, holds: Message | str = "text") -> Field:
    return Field(name, holds, table=True)


_READERS: dict[str, Callable[[Any], Any]] = {
    "text": bytes.decode,
    "bytes": lambda value: base64.b64encode(value).decode(),
    "truth": bool,
    "number": lambda value: value or None,
    "raw": bytes,
}
_IGNORED = Field()
_META: Message = {
    1: Field("name"),
    2: Field("generateName"),
    3: Field("namespace"),
    **dict.fromkeys((4, 5, 6, 7, 8, 13, 17), _IGNORED),
    11: _map("labels"),
    12: _map("annotations"),
    14: _texts("finalizers"),
}
_INT_OR_STRING: Message = {1: Field("type", "number"), 2: Field("int", "number"), 3: Field("text")}
_QUANTITY: Message = {1: Field("text")}
_REQUIREMENT: Message = {1: Field("key"), 2: Field("operator"), 3: _texts("values")}
_SELECTOR: Message = {1: _map("matchLabels"), 2: Field("matchExpressions", _REQUIREMENT, repeated=True)}
_PORT: Message = {
    1: Field("name"),
    2: Field("protocol"),
    3: Field("port", "number"),
    4: Field("targetPort", _INT_OR_STRING),
    5: Field("nodePort", "number"),
    6: Field("appProtocol"),
}
_SERVICE: Message = {
    1: Field("ports", _PORT, repeated=True),
    2: _map("selector"),
    3: Field("clusterIP"),
    4: Field("type"),
    5: _texts("externalIPs"),
    7: Field("sessionAffinity"),
    8: Field("loadBalancerIP"),
    10: Field("externalName"),
    11: Field("externalTrafficPolicy"),
    12: _IGNORED,
    13: Field("publishNotReadyAddresses", "truth"),
}
_BUDGET: Message = {
    1: Field("minAvailable", _INT_OR_STRING),
    2: Field("selector", _SELECTOR),
    3: Field("maxUnavailable", _INT_OR_STRING),
    4: Field("unhealthyPodEvictionPolicy"),
}
_KINDS: dict[str, Message] = {
    "Namespace": {1: Field("metadata", _META), 2: _IGNORED, 3: _IGNORED},
    "ConfigMap": {1: Field("metadata", _META), 2: _map("data"), 3: _map("binaryData", "bytes"), 4: Field("immutable", "truth")},
    "Service": {1: Field("metadata", _META), 2: Field("spec", _SERVICE), 3: _IGNORED},
    "PodDisruptionBudget": {1: Field("metadata", _META), 2: Field("spec", _BUDGET), 3: _IGNORED},
    "ResourceQuota": {1: Field("metadata", _META), 2: Field("spec", {1: _map("hard", _QUANTITY), 2: _texts("scopes")}), 3: _IGNORED},
}
_ENVELOPE: Message = {1: Field("type", {1: Field("apiVersion"), 2: Field("kind")}), 2: Field("raw", "raw"), 3: _IGNORED, 4: _IGNORED}


def decoded(body: bytes) -> Json:
    """The object in a body.

    Raises:
        Undecodable: it is of a kind that is not known here, has a field that is not, or is no protobuf of Kubernetes at all.
    """
    if not body.startswith(_MAGIC):
        raise Undecodable("the body does not begin as protobuf of Kubernetes does")
    envelope = _message(body[len(_MAGIC) :], _ENVELOPE)
    typed: Json = envelope.get("type", {})
    fields = _KINDS.get(typed.get("kind", ""))
    if fields is None:
        raise Undecodable(f"a {typed.get('kind', 'nameless kind')} is taken as JSON or YAML only: put it into a file and apply that")
    return {**typed, **_message(envelope.get("raw", b""), fields)}


def _message(data: bytes, fields: Message) -> Json:
    """One message as a JSON object; what is empty was left out by the user."""
    found: Json = {}
    for number, value in _parts(data):
        field = fields.get(number)
        if field is None:
            raise Undecodable(f"field {number} is not known to the sandbox: put the object into a file and apply that")
        if isinstance(value, int) != (field.holds in _NUMBERS) and field.name:
            raise Undecodable(f"field {number} is of another type than it should be")
        if field.table:
            entry = _message(value, {1: Field("key"), 2: Field("value", field.holds)})
            found.setdefault(field.name, {})[entry.get("key", "")] = entry.get("value", "")
        elif field.repeated:
            found.setdefault(field.name, []).append(_value(value, field.holds))
        elif field.name and (shown := _value(value, field.holds)) not in ("", {}, None) and shown is not False:
            found[field.name] = shown
    return found


def _value(value: Any, holds: Message | str) -> Any:
    if holds is _INT_OR_STRING:
        either = _message(value, _INT_OR_STRING)
        return either.get("text", "") if either.get("type") else either.get("int", 0)
    if holds is _QUANTITY:
        return _message(value, _QUANTITY).get("text", "0")
    return _message(value, holds) if isinstance(holds, dict) else _READERS[holds](value)


def _parts(data: bytes) -> Iterator[tuple[int, Any]]:
    """Numbers and values of the fields of one message, as they come."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, form = key >> 3, key & 7
        if form == _VARINT:
            value, at = _varint(data, at)
            yield number, value
            continue
        size, at = _varint(data, at) if form == _BYTES else ({_FIXED64: 8, _FIXED32: 4}.get(form, len(data)), at)
        if at + size > len(data):
            raise Undecodable("the body ends in the middle of a field")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise Undecodable("the body ends in the middle of a number")
