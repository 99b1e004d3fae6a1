# SPDX-License-Identifier: Apache-2.0
"""Patches: merge (RFC 7386), JSON (RFC 6902) and strategic merge; apply, which knows owners, is `ownership`'s.

None of them changes its argument: changed objects are new, the rest is shared.
"""

from typing import Any

from drover_operator.testing.objects import Json, is_list, is_object
from drover_operator.testing.refusal import Refused, bad_request

# The merge keys of the built-in kinds, by field name.
_LIST_KEYS: dict[str, tuple[str, ...]] = {
    "conditions": ("type",),
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
}
_SETS = ("finalizers",)


def merged(target: Json, patch: Json) -> Json:
    """The merge patch applied; null removes."""
    result: Json = {**target}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif is_object(value):
            before = result.get(key)
            result[key] = merged(before if is_object(before) else {}, value)
        else:
            result[key] = value
    return result


def strategic(target: Json, patch: Json) -> Json:
    """The strategic merge patch applied: as merge, but lists with keys entry by entry.

    `$patch: delete` takes an entry out, `$patch: replace` puts a map or a list in the place of what was there.
    """
    result: Json = {} if patch.get("$patch") == "replace" else {**target}
    for key, value in patch.items():
        before = result.get(key)
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            result[field] = [item for item in result.get(field) or () if item not in value]
        if key.startswith("$"):
            continue
        if value is None:
            result.pop(key, None)
        elif is_object(value):
            result[key] = strategic(before if is_object(before) else {}, value)
        elif is_list(value):
            result[key] = _strategic_list(before if is_list(before) else [], value, key)
        else:
            result[key] = value
    return result


def _strategic_list(target: list[Any], patch: list[Any], field: str) -> list[Any]:
    if field in _SETS:
        return list(dict.fromkeys([*patch, *target]))
    if any(is_object(item) and item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if item.get("$patch") != "replace"]
    keys = _keys(field, patch)
    if not keys:
        return patch
    before = {tuple(item.get(key) for key in keys): item for item in target}
    changes = {tuple(item.get(key) for key in keys): item for item in patch}
    changed = {identity: strategic(before.get(identity, {}), item) for identity, item in changes.items() if item.get("$patch") != "delete"}
    return _in_order({identity: item for identity, item in before.items() if identity not in changes}, changed, list(before))


def _in_order(kept: dict[tuple[Any, ...], Json], changed: dict[tuple[Any, ...], Json], order: list[tuple[Any, ...]]) -> list[Any]:
    """Two parts of a list put together: by where they stood before, and what is new in front of the next that stays."""
    rest, result = list(kept.items()), list[Any]()
    for identity, item in changed.items():
        while rest and identity in order and order.index(rest[0][0]) < order.index(identity):
            result.append(rest.pop(0)[1])
        result.append(item)
    return [*result, *(item for _, item in rest)]


def _keys(field: str, config: list[Any]) -> tuple[str, ...]:
    if field == "ports" and config and isinstance(config[0], dict):
        return ("containerPort", "protocol") if "containerPort" in config[0] else ("port", "protocol")
    return _LIST_KEYS.get(field, ())


def json_patch(target: Json, operations: Any) -> Json:
    """The JSON patch applied, all of it or none."""
    if not is_list(operations):
        raise bad_request("json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    steps: list[Json] = operations
    result: Any = target
    for step in steps:
        result = _step(result, step)
    return result  # type: ignore[no-any-return]


def _step(target: Any, step: Json) -> Any:
    path = _pointer(step.get("path", ""))
    match step.get("op"):
        case "add":
            return _edit(target, path, step["value"], insert=True)
        case "replace":
            _lookup(target, path[:-1])  # upstream's library does not mind that there is nothing to replace
            return _edit(target, path, step["value"])
        case "remove":
            return _remove(target, path)
        case "move":
            source = _pointer(step["from"])
            return _edit(_remove(target, source), path, _lookup(target, source), insert=True)
        case "copy":
            return _edit(target, path, _lookup(target, _pointer(step["from"])), insert=True)
        case "test":
            if _lookup(target, path) != step.get("value"):
                raise _rejected(f"testing value {step.get('path')} failed: test failed")
            return target
        case other:
            raise _rejected(f"Unexpected kind: {other}")


def _pointer(path: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _index(target: list[Any], key: str, *, insert: bool = False) -> int:
    if key == "-" and insert:
        return len(target)
    if not key.isdigit() or int(key) > len(target) - (not insert):
        raise _rejected(f"invalid index {key}")
    return int(key)


def _lookup(target: Any, path: list[str]) -> Any:
    for key in path:
        if is_list(target):
            items: list[Any] = target
            target = items[_index(items, key)]
        elif is_object(target) and key in target:
            target = target[key]  # pyright: ignore[reportUnknownVariableType]
        else:
            raise _rejected(f"missing path: /{'/'.join(path)}: missing value")
    return target  # pyright: ignore[reportUnknownVariableType]


def _edit(target: Any, path: list[str], value: Any, *, insert: bool = False) -> Any:
    if not path:
        return value
    key, rest = path[0], path[1:]
    if is_list(target):
        items: list[Any] = [*target]
        index = _index(items, key, insert=insert and not rest)
        if insert and not rest:
            items.insert(index, value)
        else:
            items[index] = _edit(items[index], rest, value, insert=insert)
        return items
    if not is_object(target) or (rest and key not in target):
        raise _rejected(f"doc is missing path: /{key}: missing value")
    fields: Json = target
    return {**fields, key: _edit(fields.get(key), rest, value, insert=insert)}


def _remove(target: Any, path: list[str]) -> Any:
    _lookup(target, path)
    key, rest = path[0], path[1:]
    if is_list(target):
        items: list[Any] = [*target]
        index = _index(items, key)
        items[index : index + 1] = [_remove(items[index], rest)] if rest else []
        return items
    fields: Json = {**target}
    if rest:
        fields[key] = _remove(fields[key], rest)
    else:
        del fields[key]
    return fields


def _rejected(why: str) -> Refused:
    """Upstream does not tell why; `why` stands in the details for whoever debugs a test."""
    return Refused(422, "Invalid", "the server rejected our request due to an error in our request", {"simulator": why})
