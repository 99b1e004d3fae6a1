# SPDX-License-Identifier: Apache-2.0
"""Label and field selectors, of query strings and of objects."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from drover_operator.testing.kinds import Kind
from drover_operator.testing.objects import Json, entries, mapping
from drover_operator.testing.refusal import bad_request
from drover_operator.testing.storage import Version

_REQUIREMENT = re.compile(
    r"^\s*(?:(?P<set>[\w./-]+)\s+(?P<op>in|notin)\s+\((?P<values>[^)]*)\)"
    r"|(?P<key>[\w./-]+)\s*(?P<eq>==|=|!=)\s*(?P<value>[\w.-]*)"
    r"|(?P<not>!?)\s*(?P<exists>[\w./-]+))\s*$"
)
_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


@dataclass(frozen=True, slots=True)
class _Requirement:
    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case _:
                return value is None


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none means everything, unless it selects nothing at all."""

    requirements: tuple[_Requirement, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return not self.nothing and all(requirement.holds(labels) for requirement in self.requirements)

    @classmethod
    def parse(cls, text: str) -> "LabelSelector":
        """A selector in the form of the labelSelector parameter."""
        parts = [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]
        return cls(tuple(_requirement(part) for part in parts))

    @classmethod
    def of(cls, selector: Json | None) -> "LabelSelector":
        """A selector in the form of objects (matchLabels, matchExpressions); none selects nothing, an empty one everything."""
        if selector is None:
            return cls(nothing=True)
        equal = [_Requirement(key, "in", (value,)) for key, value in mapping(selector, "matchLabels").items()]
        rest = entries(selector, "matchExpressions")
        return cls((*equal, *(_Requirement(each["key"], _OPERATORS[each["operator"]], tuple(each.get("values", ()))) for each in rest)))


@dataclass(frozen=True, slots=True)
class Selection:
    """What a list or watch is restricted to."""

    namespace: str = ""
    labels: LabelSelector = LabelSelector()
    fields: tuple[tuple[str, str, bool], ...] = field(default=())

    @property
    def everything(self) -> bool:
        """Whether nothing but the namespace restricts it."""
        return not self.labels.requirements and not self.fields

    def matches(self, version: Version | None) -> bool:
        """Whether that version is selected."""
        return (
            version is not None
            and (not self.namespace or version.namespace == self.namespace)
            and self.labels.matches(version.labels)
            and all((version.field(path) == value) == equal for path, value, equal in self.fields)
        )


def selection(kind: Kind, namespace: str, name: str, query: Mapping[str, str]) -> Selection:
    """The selection of a request; a watch on one name is one on its metadata.name."""
    terms = _field_terms(kind, query.get("fieldSelector", ""))
    if name:
        terms = (*terms, (".metadata.name", name, True))
    return Selection(namespace, LabelSelector.parse(query.get("labelSelector", "")), terms)


def _requirement(text: str) -> _Requirement:
    match = _REQUIREMENT.match(text)
    if match is None:
        raise bad_request(f"unable to parse requirement: {text}")
    found = match.groupdict()
    if found["set"]:
        return _Requirement(found["set"], found["op"], tuple(value.strip() for value in found["values"].split(",")))
    if found["key"]:
        return _Requirement(found["key"], "notin" if found["eq"] == "!=" else "in", (found["value"],))
    return _Requirement(found["exists"], "!" if found["not"] else "exists")


def _field_terms(kind: Kind, text: str) -> tuple[tuple[str, str, bool], ...]:
    supported = (".metadata.name", ".metadata.namespace", *kind.selectable)
    terms: list[tuple[str, str, bool]] = []
    for part in filter(None, text.split(",")):
        key, sign, value = (piece.strip() for piece in re.split(r"(==|!=|=)", part, maxsplit=1))
        if "." + key not in supported:
            raise bad_request(f"field label not supported: {key}")
        terms.append(("." + key, value, sign != "!="))
    return tuple(terms)
