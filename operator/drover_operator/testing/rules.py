# SPDX-License-Identifier: Apache-2.0
"""CEL rules of custom resources (x-kubernetes-validations), evaluated as the real API server does.

The language itself comes from an optional library; without it no rule is evaluated, which is said once in the log and can be asked
(`are_evaluated`). A rule that needs more of CEL than is here, such as a function of Kubernetes' own beside `format`, raises when it is
first needed: it never passes in silence. Rejected: cel-python (30 to 100 times slower, 100-900 us a rule, and without `format` too),
an evaluator of our own (a language is no small thing to get wrong).
"""

import itertools
import re
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import structlog

from drover_operator.testing.fields import FieldError, duplicate, forbidden_field, invalid_value, required
from drover_operator.testing.objects import Json, is_list, is_object

log = structlog.get_logger()
PACKAGE = "common-expression-language"
_OLD = re.compile(r"\boldSelf\b")
_HEADS = re.compile(r"\b(?:self|oldSelf)\b(?:\.(\w+)\b(?!\s*\())?")
_LITERALS = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")
_VERB = re.compile(r"%(?:\.(\d+))?([%sdfebxXo])")
ABSENT: Any = object()


class Program(Protocol):
    """A compiled expression."""

    def execute(self, context: Any) -> Any:
        """The value of the expression."""
        ...


class Unsupported(Exception):
    """A rule needs something of CEL that is not simulated."""


class Rule:
    """One rule of one node of a schema, compiled when it is first needed."""

    def __init__(self, rule: Json, kind: str = "") -> None:
        self._rule = rule
        self._kind = kind
        self._text: str = rule["rule"]
        self.is_transition = bool(_OLD.search(self._text)) and not rule.get("optionalOldSelf")
        self.heads = _heads(self._text, rule.get("messageExpression", ""))

    def error(self, path: str, value: Any, variables: Json) -> FieldError | None:
        """What is wrong with a value by this rule, whose `self` and perhaps `oldSelf` are in the variables.

        Raises:
            Unsupported: the rule needs what is not simulated.
        """
        if self._rule.get("optionalOldSelf"):
            raise Unsupported(f"optionalOldSelf is not simulated: {self._text}")
        try:
            holds = _evaluated(self._text, variables)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            return invalid_value(path or "<nil>", self._kind, f"{_said(error)} evaluating rule: {self._rule.get('message') or self._text}")
        return None if holds is True else self._broken(path, value, self._message(variables))

    def _message(self, variables: Json) -> str:
        default = str(self._rule.get("message") or f"failed rule: {self._text}").strip()
        if "messageExpression" not in self._rule:
            return default
        try:
            text = str(_evaluated(self._rule["messageExpression"], variables)).strip()
        except (KeyError, IndexError, ValueError, TypeError):
            return default  # as the real server: the message of a rule must not hide its verdict
        return default if not text or "\n" in text else text

    def _broken(self, path: str, value: Any, why: str) -> FieldError:
        path = path + self._rule.get("fieldPath", "") if path else self._rule.get("fieldPath", "").lstrip(".")
        match self._rule.get("reason", "FieldValueInvalid"):
            case "FieldValueForbidden":
                return forbidden_field(path, why)
            case "FieldValueRequired":
                return required(path, why)
            case "FieldValueDuplicate":
                return duplicate(path, value)
            case _ if is_object(value) or is_list(value):
                return FieldError("FieldValueInvalid", path or "<nil>", f"Invalid value: {why}")
            case _:
                return invalid_value(path, value, why)


@cache
def are_evaluated() -> bool:
    """Whether rules are evaluated at all, which takes the optional library."""
    if _library() is None:
        log.warning("CEL rules of custom resources are not evaluated: what only they refuse is accepted", install=f"drover-operator[testing] ({PACKAGE})")
        return False
    return True


def changed(heads: frozenset[str] | None, value: Any, old: Any) -> bool:
    """Whether anything has changed that a rule with these heads reads."""
    if heads is None or not is_object(value) or not is_object(old):
        return bool(value != old)
    return any(value.get(name, ABSENT) != old.get(name, ABSENT) for name in heads)


def _library() -> Callable[[str], Program] | None:
    """The compiler of expressions; imported late, for it costs half a second."""
    try:
        import cel  # noqa: PLC0415
    except ImportError:
        return None
    return cel.compile


@cache
def _program(expression: str) -> Program:
    compiler = _library()
    if compiler is None:
        raise Unsupported(f"install {PACKAGE} to evaluate: {expression}")
    try:
        return compiler(expression)
    except ValueError as error:
        raise Unsupported(f"{error}: {expression}") from error


def _evaluated(expression: str, variables: Json) -> Any:
    import cel  # noqa: PLC0415

    try:
        return _program(expression).execute(cel.Context(variables=variables, functions={"format": formatted, "isSorted": in_order}))
    except RuntimeError as error:
        if str(error).startswith("Function "):  # it is known, and could not do its work
            raise ValueError(str(error)) from error
        raise Unsupported(f"{error}: {expression}") from error


def in_order(values: list[Any]) -> bool:
    """`isSorted` of CEL's lists: no value is less than the one before it."""
    return all(before <= after for before, after in itertools.pairwise(values))


def formatted(template: str, values: list[Any]) -> str:
    """The `format` of CEL's extended strings, with the verbs that messages need.

    Raises:
        ValueError: a verb does not fit its value, or there are not as many values as verbs.
    """
    left = list(values)

    def shown(match: re.Match[str]) -> str:
        precision, verb = match.groups()
        if verb == "%":
            return "%"
        if not left:
            raise ValueError(f"index {len(values)} out of range")
        return _shown(left.pop(0), verb, int(precision or 6))

    return _VERB.sub(shown, template)


def _shown(value: Any, verb: str, precision: int) -> str:
    match value:
        case bool() if verb in "sb":
            return "1" if value and verb == "b" else "0" if verb == "b" else str(value).lower()
        case int() if verb in "dxXob":
            return format(value, verb)
        case float() if verb in "fe":
            return format(value, f".{precision}{verb}")
        case str() | int() | float() if verb == "s":
            return str(value)
        case _:
            raise ValueError(f"could not convert argument for %{verb}: {value!r}")


def _heads(*expressions: str) -> frozenset[str] | None:
    """The fields of self that expressions read, or None when they look at the whole of it."""
    found = [match[1] for expression in expressions for match in _HEADS.finditer(_LITERALS.sub("''", expression))]
    return None if None in found else frozenset(found)


def _said(error: Exception) -> str:
    return f"no such key: {error.args[0]}" if isinstance(error, KeyError) else str(error)
