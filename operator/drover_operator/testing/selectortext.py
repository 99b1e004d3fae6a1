# SPDX-License-Identifier: Apache-2.0
"""The text of a label selector, such as `app in (web, api), !old, tier=front`: read as the real API server reads it, with its complaints."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from drover_operator.testing.fields import quoted
from drover_operator.testing.metadata import key_faults, value_faults
from drover_operator.testing.refusal import bad_request

_TOKEN = re.compile(r"\s*(==|!=|[=!(),<>]|[^\s=!(),<>]+)")
_SIGNS = ("==", "!=", "=", "!", "(", ")", ",", "<", ">")
_OPERATORS = {"in": "in", "notin": "notin", "=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}
_END = ""


@dataclass(frozen=True, slots=True)
class Term:
    """One requirement: in, notin, exists, ! (is not there), gt or lt."""

    key: str
    operator: str
    values: tuple[str, ...] = ()


def read(text: str) -> tuple[Term, ...]:
    """The requirements of a selector.

    Raises:
        Refused: 400 with what was found and what was expected.
    """
    return tuple(_Reader(text).terms())


class _Reader:
    """Goes through the tokens from left to right, one ahead."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = [*_TOKEN.findall(text), _END]

    def terms(self) -> Iterator[Term]:
        if self._ahead == _END:
            return
        while True:
            if self._ahead != "!" and not self._is_word:
                raise bad_request(f"found '{self._ahead}', expected: !, identifier, or 'end of string'")
            yield self._term()
            if (found := self._next()) == _END:
                return
            if found != ",":
                raise bad_request(f"found '{found}', expected: ',' or 'end of string'")
            if self._ahead != "!" and not self._is_word:
                raise bad_request(f"found '{self._ahead}', expected: identifier after ','")

    @property
    def _ahead(self) -> str:
        return self._tokens[0]

    @property
    def _is_word(self) -> bool:
        return self._ahead != _END and self._ahead not in _SIGNS

    def _next(self) -> str:
        return self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0]

    def _term(self) -> Term:
        if self._ahead == "!":
            self._next()
            return _checked(Term(self._next(), "!"))
        key = self._next()
        if self._ahead in (_END, ","):
            return _checked(Term(key, "exists"))
        sign = self._next()
        if sign not in _OPERATORS:
            raise _unparsed(f"found '{sign}', expected: in, notin, =, ==, !=, gt, lt")
        values = self._values() if sign in ("in", "notin") else (self._value(),)
        return _checked(Term(key, _OPERATORS[sign], values))

    def _value(self) -> str:
        """The value after a sign; none is the empty one."""
        return _END if self._ahead in (_END, ",") else self._next()

    def _values(self) -> tuple[str, ...]:
        if (found := self._next()) != "(":
            raise _unparsed(f"found '{found}' expected: '('")
        values: list[str] = []
        while True:
            if self._is_word:
                values.append(self._next())
            elif self._ahead == ",":
                values.append(_END)
            found = self._next()
            if found == ")":
                return tuple(values or (_END,))
            if found != ",":
                raise _unparsed(f"found '{found}', expected: ',' or ')'")


def _checked(term: Term) -> Term:
    for why in key_faults(term.key):
        raise _unparsed(f"<nil>: Invalid value: {quoted(term.key)}: {why}")
    for index, value in enumerate(term.values):
        for why in value_faults(value):
            raise _unparsed(f"values[{index}][{term.key}]: Invalid value: {quoted(value)}: {why}")
    return term


def _unparsed(why: str) -> Exception:
    return bad_request(f"unable to parse requirement: {why}")
