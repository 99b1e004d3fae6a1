# SPDX-License-Identifier: Apache-2.0
"""Structural schemas as the API server applies them to custom resources: defaulting, pruning, validation. Rules in CEL are `ruletree`'s."""

import re
from typing import Any

import msgspec

from drover_operator.testing.fields import FieldError, duplicate, invalid_value, required, unsupported
from drover_operator.testing.objects import Json, is_list, is_object

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_ROOT = ("apiVersion", "kind", "metadata")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


class Schema:
    """One node of a structural schema, with its children compiled."""

    def __init__(self, tree: Json) -> None:
        node: Json = msgspec.json.decode(msgspec.json.encode(tree))
        self.node = node
        self._properties = {name: Schema(child) for name, child in node.get("properties", {}).items()}
        items, extra = node.get("items"), node.get("additionalProperties")
        self._items = Schema(items) if items else None
        self._extra = Schema(extra) if is_object(extra) else None
        self._open = bool(node.get("x-kubernetes-preserve-unknown-fields")) or (extra is True)
        self._defaults = {name: child.node["default"] for name, child in self._properties.items() if "default" in child.node}
        # In Go `$` is the end of the text, in Python also what stands before a last newline.
        self._pattern = re.compile(re.sub(r"\$$", r"\\Z", node["pattern"])) if "pattern" in node else None

    def completed(self, obj: Json, unknown: list[str], *, old: Json | None = None, keep_nulls: bool = False) -> Json:
        """The whole object pruned and defaulted; paths of what was pruned are added to `unknown`.

        What is as in the old object is so already. Nulls that no default replaces are pruned too, but for what was applied: there they
        stay, and are refused if they are no value.
        """
        known = {key: value for key, value in obj.items() if key in _ROOT}
        stored = _stored(obj, old)
        rest = {key: value for key, value in obj.items() if key not in _ROOT and key not in stored}
        shaped: Json = self.complete(rest, "", unknown, keep_nulls=keep_nulls)
        return known | shaped | stored

    def errors(self, obj: Json, old: Json | None = None) -> list[FieldError]:
        """What is wrong with the whole object, where it is not as in the old one, which was judged before."""
        stored = _stored(obj, old)
        found = [required(name) for name in self.node.get("required", ()) if name not in obj]
        for name, value in obj.items():
            schema = self._properties.get(name)
            if schema and name not in _ROOT and name not in stored:
                schema.check(value, name, found)
        return found

    def complete(self, value: Any, path: str, unknown: list[str], *, keep_nulls: bool = False) -> Any:
        """One value below the root pruned and defaulted."""
        if is_list(value) and self._items:
            items: list[Any] = value
            return [self._items.complete(item, f"{path}[{index}]", unknown, keep_nulls=keep_nulls) for index, item in enumerate(items)]
        if not is_object(value):
            return value
        fields: Json = value
        kept: Json = {}
        for name, child in fields.items():
            below = f"{path}.{name}" if path else name
            schema = self._properties.get(name) or self._extra
            if schema is None:
                self._keep_unknown(kept, name, child, below, unknown)
            elif child is not None or schema.node.get("nullable") or (keep_nulls and name not in self._defaults):
                kept[name] = schema.complete(child, below, unknown, keep_nulls=keep_nulls)
        for name, default in self._defaults.items():
            if name not in kept:
                kept[name] = self._properties[name].complete(default, f"{path}.{name}", unknown)
        return kept

    def _keep_unknown(self, kept: Json, name: str, child: Any, path: str, unknown: list[str]) -> None:
        if self._open:
            kept[name] = child
        else:
            unknown.append(path)

    def check(self, value: Any, path: str, found: list[FieldError]) -> None:
        """Add to `found` what is wrong with one value below the root."""
        node = self.node
        if not self._has_type(value):
            wanted = node.get("type", "integer,string")
            shown = "null" if value is None else _type_name(value)
            found.append(FieldError("FieldValueTypeInvalid", path, f'Invalid value: "{shown}": {path} in body must be of type {wanted}: "{shown}"'))
            return
        if "enum" in node and value not in node["enum"]:
            found.append(unsupported(path, value, node["enum"]))
        if isinstance(value, str):
            self._check_text(value, path, found)
        elif is_object(value):
            self._check_object(value, path, found)
        elif is_list(value):
            self._check_list(value, path, found)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._check_number(value, path, found)

    def _has_type(self, value: Any) -> bool:
        if self.node.get("x-kubernetes-int-or-string"):
            return isinstance(value, int | str) and not isinstance(value, bool)
        wanted = self.node.get("type")
        if wanted is None or (value is None and self.node.get("nullable")):
            return True
        if isinstance(value, bool):
            return bool(wanted == "boolean")
        return isinstance(value, _TYPES[wanted])

    def _check_text(self, value: str, path: str, found: list[FieldError]) -> None:
        node = self.node
        if len(value) < node.get("minLength", 0):
            found.append(invalid_value(path, value, f"{path} in body should be at least {node['minLength']} chars long"))
        if len(value) > node.get("maxLength", len(value)):
            found.append(FieldError("FieldValueTooLong", path, f"Too long: may not be more than {node['maxLength']} bytes"))
        if node.get("format") == "date-time" and not _MOMENT.fullmatch(value):
            found.append(FieldError("FieldValueTypeInvalid", path, f'Invalid value: "{value}": {path} in body must be of type date-time: "{value}"'))
        if self._pattern and not self._pattern.search(value):
            found.append(invalid_value(path, value, f"{path} in body should match '{node['pattern']}'"))

    def _check_number(self, value: float, path: str, found: list[FieldError]) -> None:
        node = self.node
        if value < node.get("minimum", value):
            found.append(invalid_value(path, value, f"{path} in body should be greater than or equal to {node['minimum']}"))
        if value > node.get("maximum", value):
            found.append(invalid_value(path, value, f"{path} in body should be less than or equal to {node['maximum']}"))

    def _check_object(self, value: Json, path: str, found: list[FieldError]) -> None:
        prefix = f"{path}." if path else ""
        found += [required(prefix + name) for name in self.node.get("required", ()) if name not in value]
        if len(value) < (least := self.node.get("minProperties", 0)):
            found.append(invalid_value(path, len(value), f"{path} in body should have at least {least} properties"))
        limit = self.node.get("maxProperties", len(value))
        if len(value) > limit:
            found.append(FieldError("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {limit} items"))
        for name, child in value.items():
            if schema := self._properties.get(name) or self._extra:
                schema.check(child, prefix + name, found)

    def _check_list(self, value: list[Any], path: str, found: list[FieldError]) -> None:
        node = self.node
        if len(value) < node.get("minItems", 0):
            found.append(invalid_value(path, len(value), f"{path} in body should have at least {node['minItems']} items"))
        limit = node.get("maxItems", len(value))
        if len(value) > limit:
            found.append(FieldError("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {limit} items"))
        if self._items:
            for index, item in enumerate(value):
                self._items.check(item, f"{path}[{index}]", found)
        if keys := node.get("x-kubernetes-list-map-keys"):
            _check_unique(value, keys, path, found)
        elif node.get("x-kubernetes-list-type") == "set":
            found += [duplicate(f"{path}[{index}]", value[index]) for index in _repeated(value)]


def _stored(obj: Json, old: Json | None) -> Json:
    """The parts of an object that are as they were; those of the old one, so that they are shared."""
    if old is None:
        return {}
    return {key: old[key] for key, value in obj.items() if key not in _ROOT and key in old and (old[key] is value or same(old[key], value))}


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; Python alone would take 1, 1.0 and true for one value."""
    return bool(one == other) and msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic")


def _repeated(value: list[Any]) -> list[int]:
    """Where something of a set stands for the second time; a third one is not told any more."""
    seen: dict[bytes, int] = {}
    found: list[int] = []
    for index, item in enumerate(value):
        encoded = msgspec.json.encode(item, order="deterministic")
        seen[encoded] = seen.get(encoded, 0) + 1
        if seen[encoded] == 2:
            found.append(index)
    return found


def _check_unique(value: list[Any], keys: list[str], path: str, found: list[FieldError]) -> None:
    seen: dict[bytes, int] = {}
    for index, item in enumerate(value):
        if not is_object(item):
            if item is not None:
                found.append(invalid_value(f"{path}[{index}]", item, "must be an object for an array of list-type map"))
            continue
        entry: Json = item
        identity = {key: entry[key] for key in keys if key in entry}
        encoded = msgspec.json.encode(identity)
        seen[encoded] = seen.get(encoded, 0) + 1
        if seen[encoded] == 2:  # a third one is not told any more
            found.append(duplicate(f"{path}[{index}]", identity))


def _type_name(value: Any) -> str:
    names: dict[type, str] = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names[type(value)]
