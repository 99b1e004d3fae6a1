# SPDX-License-Identifier: Apache-2.0
"""Label and field selectors, of query strings and of objects."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from drover_operator.testing.kinds import Kind
from drover_operator.testing.objects import Json, entries, mapping
from drover_operator.testing.refusal import bad_request
from drover_operator.testing.selectortext import Term, read
from drover_operator.testing.storage import Version

_ONLY = 'only "metadata.name", "metadata.namespace"'
_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none means everything, unless it selects nothing at all."""

    requirements: tuple[Term, ...] = ()
    nothing: bool = False

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        if self.nothing:
            return False
        for each in self.requirements:  # noqa: SIM110  asked for every change and every watch: a generator takes twice the time
            if not _holds(each, labels.get(each.key)):
                return False
        return True

    @property
    def equal(self) -> dict[str, str]:
        """Labels that whatever is selected has, for a look-up."""
        return {each.key: each.values[0] for each in self.requirements if each.operator == "in" and len(each.values) == 1}

    @classmethod
    def parse(cls, text: str) -> "LabelSelector":
        """A selector in the form of the labelSelector parameter."""
        return cls(read(text))

    @classmethod
    def of(cls, selector: Json | None) -> "LabelSelector":
        """A selector in the form of objects (matchLabels, matchExpressions); none selects nothing, an empty one everything."""
        if selector is None:
            return cls(nothing=True)
        equal = [Term(key, "in", (value,)) for key, value in mapping(selector, "matchLabels").items()]
        rest = entries(selector, "matchExpressions")
        return cls((*equal, *(Term(each["key"], _OPERATORS[each["operator"]], tuple(each.get("values", ()))) for each in rest)))


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


def _holds(term: Term, value: str | None) -> bool:
    match term.operator:
        case "in":
            return value is not None and value in term.values
        case "notin":
            return value is None or value not in term.values
        case "exists" | "!":
            return (value is not None) == (term.operator == "exists")
        case operator:
            return value is not None and value.isdigit() and (int(value) > int(term.values[0])) == (operator == "gt") and value != term.values[0]


def _field_terms(kind: Kind, text: str) -> tuple[tuple[str, str, bool], ...]:
    supported = (".metadata.name", ".metadata.namespace", *kind.selectable)
    terms: list[tuple[str, str, bool]] = []
    for part in filter(None, text.split(",")):
        key, sign, value, *_ = (piece.strip() for piece in (*re.split(r"(==|!=|=)", part, maxsplit=1), "", ""))
        if not sign:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        if "." + key not in supported:
            raise bad_request(f"field label not supported: {key}" if kind.selectable else f'"{key}" is not a known field selector: {_ONLY}')
        terms.append(("." + key, value, sign != "!="))
    return tuple(terms)
