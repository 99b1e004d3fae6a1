# SPDX-License-Identifier: Apache-2.0
"""What becomes of objects, field by field. Pure: JSON in, changes out, and changes as lines.

Entries of a list are matched by their name or type where each has one, else by their place. Values that look like secrets by the
name that they go by are not shown. Rejected: a unified diff of YAML as `kubectl diff` prints it; a moved line is a change there, and one
changed field of forty pods is forty pages.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from drover_operator.cli.forecast import Forecast
from drover_operator.cli.layout import Look, clean, cut, paint, width
from drover_operator.cli.redaction import HIDDEN, scrubbed
from drover_operator.cli.scene import Scene
from drover_operator.core.plan import Action, Create, Delete, Patch

Json = dict[str, Any]
NOTHING: Any = object()
SECRET = re.compile(r"pass|pwd|token|secret|key|credential|auth", re.IGNORECASE)
SERVERS_OWN = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KEYS = ("name", "type", "containerPort", "port", "key")  # what an entry of a list may go by
MOST_FIELDS = 12  # of one object that is created
SIGNS = {"create": ("+", "green"), "delete": ("-", "red"), "patch": ("~", "yellow"), "apply": ("~", "yellow")}


@dataclass(frozen=True)
class Change:
    """One field: what it was and what it becomes; `NOTHING` where it is not there."""

    path: str
    old: Any
    new: Any


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What becomes of one object; `like` names one that becomes the same but for its name."""

    does: str
    what: str
    reason: str = ""
    changes: tuple[Change, ...] = ()
    like: str = ""


def wished(was: Json, then: Json) -> Difference:
    """What an apply makes of a service."""
    name = f"managedservices/{then['metadata']['name']}"
    changes = tuple(_changes(_declared(was), _declared(then), ""))
    return Difference(does="apply" if was else "create", what=name, reason="as it would be applied", changes=changes)


def _declared(body: Json) -> Json:
    """What people write of an object."""
    meta = {key: value for key, value in body.get("metadata", {}).items() if key not in SERVERS_OWN}
    notes = {key: value for key, value in meta.get("annotations", {}).items() if key != LAST_APPLIED}
    kept = {**meta, "annotations": notes} if notes else {key: value for key, value in meta.items() if key != "annotations"}
    return {"metadata": kept, "spec": body.get("spec", {})} if body else {}


def planned(forecast: Forecast, scene: Scene) -> Iterator[Difference]:
    """What the actions of a plan do, in their order."""
    first: dict[str, tuple[str, Json]] = {}
    for action in forecast.actions:
        match action:
            case Create():
                yield _created(action, first)
            case Patch():
                was = scene.was(action.resource, (action.namespace, action.name))
                changes = tuple(_changes(was, patched(was, action.body, strategic=action.strategic), ""))
                yield Difference(does="patch", what=_what(action), reason=str(action.reason), changes=changes)
            case Delete():
                yield Difference(does="delete", what=_what(action), reason=str(action.reason))
            case _:
                continue


def _created(action: Create, first: dict[str, tuple[str, Json]]) -> Difference:
    kind = str(action.resource)
    like, body = first.setdefault(kind, (action.name, action.body))
    if like != action.name and body.get("spec") == action.body.get("spec") and body.get("data") == action.body.get("data"):
        return Difference(does="create", what=_what(action), reason=str(action.reason), like=like)
    meta = {key: value for key, value in action.body.get("metadata", {}).items() if key in ("labels", "annotations")}
    told = {key: value for key, value in action.body.items() if key not in ("apiVersion", "kind", "metadata")}
    return Difference(does="create", what=_what(action), reason=str(action.reason), changes=tuple(_changes(NOTHING, {**told, "metadata": meta}, "")))


def _what(action: Action) -> str:
    below = f"/{action.subresource}" if isinstance(action, Patch) and action.subresource else ""
    return f"{action.resource.plural}/{action.name}{below}"


def patched(old: Any, patch: Any, *, strategic: bool) -> Any:
    """The object after a merge patch; a strategic one merges entries of lists by their type or name."""
    if isinstance(patch, dict):
        if patch.get("$patch") == "replace":
            return {key: value for key, value in patch.items() if key != "$patch"}
        before: Json = old if isinstance(old, dict) else {}
        after = {key: patched(before.get(key), value, strategic=strategic) for key, value in patch.items() if value is not None}
        return {key: value for key, value in before.items() if key not in patch} | after
    if strategic and isinstance(patch, list) and isinstance(old, list):
        return _merged(old, patch)
    return patch


def _merged(old: list[Any], patch: list[Any]) -> list[Any]:
    if patch and patch[0] == {"$patch": "replace"}:
        return patch[1:]
    key = _key([*old, *patch])
    if key is None:
        return patch
    by = {each[key]: each for each in old}
    for each in patch:
        by[each[key]] = {**by.get(each[key], {}), **each}
    return list(by.values())


def _key(entries: list[Any]) -> str | None:
    """The field that all entries have and that names them."""
    return next((key for key in KEYS if entries and all(isinstance(each, dict) and key in each for each in entries)), None)


def _changes(old: Any, new: Any, path: str, *, secret: bool = False) -> Iterator[Change]:
    if old == new:
        return
    if isinstance(old, dict | list) or isinstance(new, dict | list):
        before, after = _parts(old), _parts(new)
        if before is not None and after is not None and (before or after):
            for step in {**before, **after}:
                hidden = secret or bool(SECRET.search(step))
                yield from _changes(before.get(step, NOTHING), after.get(step, NOTHING), _joined(path, step), secret=hidden)
            return
    yield Change(path, _shown(old, path, secret=secret), _shown(new, path, secret=secret))


def _parts(value: Any) -> dict[str, Any] | None:
    if value is NOTHING or value is None:
        return {}
    if isinstance(value, dict):
        return value
    if not isinstance(value, list):
        return None
    key = _key(value)
    names = [f"[{each[key]}]" if key else f"[{at}]" for at, each in enumerate(value)]
    return dict(zip(names, value, strict=True)) if len(set(names)) == len(names) else {f"[{at}]": each for at, each in enumerate(value)}


def _joined(path: str, step: str) -> str:
    return f"{path}{step}" if step.startswith("[") or not path else f"{path}.{step}"


def _shown(value: Any, path: str, *, secret: bool) -> Any:
    """The value, but for a literal value of something that goes by the name of a secret."""
    if not isinstance(value, str):
        return value
    return HIDDEN if secret and path.endswith(".value") else scrubbed(value)


# --- lines and JSON


def told(difference: Difference, look: Look) -> list[str]:
    """One object: a line with what is done to it, and one for each field."""
    sign, colour = SIGNS[difference.does]
    reason = f"  ({difference.reason})" if difference.reason else ""
    like = f"  like {difference.like}" if difference.like else ""
    head = paint(f"{sign} {difference.does} {difference.what}", colour, look) + reason + like
    created = difference.does == "create"
    shown = difference.changes[:MOST_FIELDS] if created else difference.changes
    lines = [head, *(line for each in shown for line in _lines(each, look, created=created))]
    if left := len(difference.changes) - len(shown):
        lines.append(f"    ... and {left} more fields; -o json has all")
    return lines


def _lines(change: Change, look: Look, *, created: bool) -> list[str]:
    """One line, or two where one is too short for path and values."""
    value = _text(change.new) if created else f"{_text(change.old)} -> {_text(change.new)}"
    if not created and change.old == change.new:
        value = f"{_text(change.old)} (changed, not shown)"
    room = max(20, look.width - 4)
    if not look.cut or width(change.path) + width(value) + 2 <= room:
        return [f"    {change.path}: {value}"]
    return [f"    {cut(change.path, room - 1)}:", f"      {cut(value, room - 2)}"]


def _text(value: Any) -> str:
    if value is NOTHING or value is None:
        return "none"
    return clean(str(value).lower() if isinstance(value, bool) else str(value)) or '""'


def document(difference: Difference) -> Json:
    """One object as JSON; a field that was not there, or is not any more, is null."""
    fields = [{"path": each.path, "old": _plain(each.old), "new": _plain(each.new)} for each in difference.changes]
    told: Mapping[str, Any] = {"does": difference.does, "object": difference.what, "reason": difference.reason, "fields": fields}
    return {**told, "like": difference.like} if difference.like else dict(told)


def _plain(value: Any) -> Any:
    return None if value is NOTHING else value
