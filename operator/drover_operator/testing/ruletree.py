# SPDX-License-Identifier: Apache-2.0
"""Where the CEL rules of a custom resource stand, and which of them a write makes necessary.

A rule is evaluated where something that it reads has changed: what was stored has passed it. The real server evaluates all rules and
forgives what an unchanged part does wrong, which comes to the same; rules about a change (oldSelf) it evaluates always, and so does
this. Not simulated: the cost limits of rules.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from drover_operator.testing.fields import FieldError
from drover_operator.testing.objects import Json, is_list, is_object
from drover_operator.testing.rules import ABSENT, Rule, changed

_TIMES = ("date", "date-time")
# What rules see of metadata.
_VISIBLE = ("name", "generateName")


class RuleTree:
    """The rules at one node of a schema and below."""

    def __init__(self, node: Json) -> None:
        extra, items = node.get("additionalProperties"), node.get("items")
        self._rules = tuple(Rule(rule, node.get("type", "")) for rule in node.get("x-kubernetes-validations", ()))
        self._properties = {name: RuleTree(child) for name, child in node.get("properties", {}).items()}
        self._extra = RuleTree(extra) if is_object(extra) else None
        self._items = RuleTree(items) if items else None
        self._keys: tuple[str, ...] = tuple(node.get("x-kubernetes-list-map-keys", ()))
        self._form: str = "number" if node.get("type") == "number" else node.get("format", "")
        below = [each for each in (*self._properties.values(), self._extra, self._items) if each]
        self.is_ruled: bool = bool(self._rules) or any(each.is_ruled for each in below)
        self.is_plain: bool = self._form not in (*_TIMES, "number") and all(each.is_plain for each in below)
        self.looks_back: bool = any(rule.is_transition for rule in self._rules) or any(each.looks_back for each in below)

    def errors(self, obj: Json, old: Json | None) -> list[FieldError]:
        """What a whole object does wrong; no old object on create."""
        found: list[FieldError] = []
        self.judge(_visible(obj), ABSENT if old is None else _visible(old), "", found)
        return found

    def judge(self, value: Any, old: Any, path: str, found: list[FieldError]) -> None:
        """Add to `found` what one value does wrong; `old` is what was in its place, or ABSENT."""
        is_same = old is not ABSENT and value == old
        if value is None or not self.is_ruled or (is_same and not self.looks_back):
            return
        for rule in self._rules:
            if self._is_due(rule, value, old, is_same=is_same):
                sides = {"self": value} if old is ABSENT else {"self": value, "oldSelf": old}
                seen = {name: self.exposed(_part(side, rule.heads)) for name, side in sides.items()}
                error = rule.error(path, value, seen)
                found += [error] if error else []
        for step, child, child_value, child_old in self._below(value, old):
            child.judge(child_value, child_old, f"{path}{step}".lstrip("."), found)

    def _is_due(self, rule: Rule, value: Any, old: Any, *, is_same: bool) -> bool:
        """Whether a rule must be evaluated: one about a change whenever there was something before, others when there is something new."""
        if old is ABSENT:
            return not rule.is_transition
        return rule.is_transition or (not is_same and changed(rule.heads, value, old))

    def _below(self, value: Any, old: Any) -> Iterator[tuple[str, "RuleTree", Any, Any]]:
        """The parts that have rules, each with what was in its place; entries of lists without keys have no place."""
        if is_object(value):
            for name, part in value.items():
                tree = self._properties.get(name) or self._extra
                if tree and tree.is_ruled:
                    step = f".{name}" if name in self._properties else f"[{name}]"
                    yield step, tree, part, old.get(name, ABSENT) if is_object(old) else ABSENT
        elif is_list(value) and self._items and self._items.is_ruled:
            before = {self._key(item): item for item in old} if self._keys and is_list(old) else {}
            for index, item in enumerate(value):
                yield f"[{index}]", self._items, item, before.get(self._key(item), ABSENT)

    def _key(self, item: Any) -> tuple[Any, ...]:
        return tuple(item.get(key) for key in self._keys) if is_object(item) else ()

    def exposed(self, value: Any) -> Any:
        """The value as rules see it: times as times, numbers as floating point."""
        if self.is_plain or value is None:
            return value
        if is_object(value):
            fields: Json = value
            return {name: tree.exposed(part) if (tree := self._properties.get(name) or self._extra) else part for name, part in fields.items()}
        if is_list(value) and self._items:
            items: list[Any] = value
            return [self._items.exposed(item) for item in items]
        if self._form in _TIMES:
            return datetime.fromisoformat(str(value))
        return float(value) if self._form == "number" and isinstance(value, int | float) else value


def _visible(obj: Json) -> Json:
    meta: Json = obj["metadata"]
    return {**obj, "metadata": {name: meta[name] for name in _VISIBLE if name in meta}}


def _part(value: Any, heads: frozenset[str] | None) -> Any:
    """What of an object a rule reads, so that no more than that is handed over to the language."""
    return {name: value[name] for name in heads if name in value} if heads is not None and is_object(value) else value
