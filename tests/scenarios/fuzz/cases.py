# SPDX-License-Identifier: Apache-2.0
"""What a property may be set to: absent, default, each bound and just beyond it, each word and a wrong one, other types, null, too much.

Every case says what the API server must make of it, from the schema alone: that is the oracle of refusals.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from scenarios.fuzz.walk import ANY, Json, Property

from drover_operator.api.meta import DNS_LABEL_PATTERN, DURATION_PATTERN
from drover_operator.core.clock import parse_duration

# rule: only a rule in CEL refuses it. open: the CRD takes anything here, what a pod may be is judged by the dry run. broken: no pod is like that.
Expect = Literal["accepted", "refused", "rule", "open", "broken"]
ABSENT: Any = object()
PERCENT_PATTERN = "^(100|[1-9]?[0-9])%$"
REASON_PATTERN = "^[A-Za-z]([A-Za-z0-9]*)$"
EXAMPLES: dict[str, str] = {DURATION_PATTERN: "30s", DNS_LABEL_PATTERN: "fuzz", PERCENT_PATTERN: "50%", REASON_PATTERN: "Fuzzed", "^/": "/healthz", "": "fuzz"}
BROKEN: dict[str, tuple[str, ...]] = {
    DURATION_PATTERN: ("30", "ss", "1d", "-5s", "1.5s", "30 s", "\u0663\u0660s", "30s\n"),
    DNS_LABEL_PATTERN: ("Fuzz", "-fuzz", "fuzz-", "fu.zz", "fu_zz", "fuzz\n"),
    PERCENT_PATTERN: ("50", "101%", "-1%", "%", "007%", "1.5%"),
    REASON_PATTERN: ("1st", "two words", ""),
    "^/": ("healthz", ""),
    "": (),
}
RUNNABLE = "app:2.0"  # an image that becomes ready
_BOUNDS = re.compile(r"duration\(self\) >= duration\('(\w+)'\) && duration\(self\) <= duration\('(\w+)'\)")
_ONE_OF = re.compile(r"has\(self\.(\w+)\)")


@dataclass(frozen=True)
class Case:
    """One value for one property."""

    name: str
    value: Any
    expect: Expect


def cases(found: Property) -> list[Case]:
    """All the cases of a property, each name once."""
    rows = {each.name: each for each in (*_presence(found), *_types(found.node), *_own(found))}
    if not found.open:
        return list(rows.values())
    return [Case(each.name, each.value, "broken" if each.expect == "refused" else "open") for each in rows.values()]


def _presence(found: Property) -> Iterator[Case]:
    """Absent and null; a null in a list or a map stays there and is of the wrong type."""
    key, parent = found.trail[-1][0], found.trail[-2][1]
    missing: Expect = "refused" if found.required else "rule" if key in only_one(parent) else "accepted"
    if not found.listed and key != ANY:
        yield Case("absent", ABSENT, missing)
    yield Case("null", None, "refused" if found.listed else missing)


def _types(node: Json) -> Iterator[Case]:
    wrong: dict[str, Any] = {"a number": 7, "a text": "fuzz", "a yes": True, "a fraction": 1.5, "a list": ["fuzz"], "an object": {"fuzz": 1}}
    right = {
        "string": {"a text"},
        "integer": {"a number"},
        "number": {"a number", "a fraction"},
        "boolean": {"a yes"},
        "array": {"a list"},
        "object": {"an object"},
    }
    fits = {"a number", "a text"} if node.get("x-kubernetes-int-or-string") else right[node["type"]]
    for name, value in wrong.items():
        if name not in fits:
            yield Case(f"{name} instead", value, "refused")


def _own(found: Property) -> Iterator[Case]:
    node = found.node
    if "default" in node:
        yield Case("default", [*node["default"]] if node["default"] == () else node["default"], "accepted")
    if "enum" in node:
        for word in node["enum"]:
            yield Case(f"'{word}'", word, _ruled(node, word))
        yield Case("a wrong word", "Fuzzed", "refused")
        return
    kind = node.get("type", "both")
    if kind in ("integer", "both"):
        yield from _numbers(node)
    if kind in ("string", "both"):
        yield from _texts(node, found)
    if kind == "boolean":
        yield from (Case("true", True, "accepted"), Case("false", False, "accepted"))
    if kind == "array":
        yield from _lists(node)
    if kind == "object":
        yield from _objects(found)


def _ruled(node: Json, word: str) -> Expect:
    """A word may be refused by a rule that names it."""
    return "rule" if any(f"'{word}'" in each["rule"] for each in node.get("x-kubernetes-validations", ())) else "accepted"


def _numbers(node: Json) -> Iterator[Case]:
    least, most = node.get("minimum"), node.get("maximum")
    if least is not None:
        yield Case("minimum", least, "accepted")
        yield Case("below minimum", least - 1, "refused")
        yield Case("above minimum", least + 1, "accepted")
    if most is not None:
        yield Case("maximum", most, "accepted")
        yield Case("above maximum", most + 1, "refused")
        yield Case("beyond 64 bits", 2**63, "refused")
    yield Case("negative", -7, "refused" if least is not None else "accepted")


def _texts(node: Json, found: Property) -> Iterator[Case]:
    pattern, least, most = node.get("pattern", ""), node.get("minLength", 0), node.get("maxLength")
    yield Case("an example", RUNNABLE if found.trail[-1][0] == "image" else _text(node, 0), "accepted")
    if node.get("format") == "date-time":
        yield Case("a moment", "2026-01-01T00:00:00Z", "accepted")
        yield Case("no moment", "yesterday", "refused")
    elif pattern or least:
        yield Case("empty", "", "refused")
    else:
        yield Case("empty", "", "accepted")
    for number, text in enumerate(BROKEN[pattern]):
        yield Case(f"pattern broken, {number}", text, "refused")
    if most is not None:
        yield Case("longest", RUNNABLE.ljust(most, "0") if found.trail[-1][0] == "image" else longest(node, most), "accepted")
        yield Case("too long", longest(node, most + 1), "refused")
    yield from _durations(node)


def _durations(node: Json) -> Iterator[Case]:
    """The bounds of a duration stand in a rule."""
    for each in node.get("x-kubernetes-validations", ()):
        if match := _BOUNDS.search(each["rule"]):
            least, most = match.groups()
            yield Case("shortest", least, "accepted")
            yield Case("most", most, "accepted")
            yield Case("more than most", f"{round(parse_duration(most) * 1000) + 1}ms", "rule")
            if parse_duration(least):
                yield Case("less than shortest", f"{round(parse_duration(least) * 1000) - 1}ms", "rule")


def _lists(node: Json) -> Iterator[Case]:
    least, most, keys = node.get("minItems", 0), node.get("maxItems"), node.get("x-kubernetes-list-map-keys")
    rows = [example(node["items"], "", number) for number in range((most or 3) + 1)]
    yield Case("empty", [], "refused" if least else "accepted")
    yield Case("one", rows[:1], "accepted")
    yield Case("two", rows[:2], "accepted")
    if most is not None:
        yield Case("most", rows[:most], "accepted")
        yield Case("too many", rows, "refused")
    if keys:
        yield Case("a key twice", [rows[0], rows[1] | {key: rows[0][key] for key in keys}], "refused")


def _objects(found: Property) -> Iterator[Case]:
    node = found.node
    if isinstance(node.get("additionalProperties"), dict):
        yield from _maps(node)
        return
    one_of = only_one(node)
    needs = bool(node.get("required"))
    yield Case("empty", {}, "refused" if needs else "rule" if one_of else "accepted")
    yield Case("an example", example(node, ""), "accepted")
    kept = node.get("x-kubernetes-preserve-unknown-fields")
    yield Case("an unknown field", {**example(node, ""), "fuzzed": {"a": [1]}}, "broken" if kept else "accepted")
    if one_of:
        both = {name: example(node["properties"][name], name) for name in one_of[:2]}
        yield Case("two kinds", both, "rule")


def _maps(node: Json) -> Iterator[Case]:
    most = node.get("maxProperties")
    text = example(node["additionalProperties"], "")
    yield Case("empty", {}, "accepted")
    yield Case("one", {"fuzz": text}, "accepted")
    if most is not None:
        yield Case("most", {f"fuzz{number}": text for number in range(most)}, "accepted")
        yield Case("too many", {f"fuzz{number}": text for number in range(most + 1)}, "refused")


def only_one(node: Json) -> list[str]:
    """The members of which a rule wants exactly one."""
    for each in node.get("x-kubernetes-validations", ()):
        if ".filter(x, x).size() == 1" in each["rule"]:
            return _ONE_OF.findall(each["rule"])
    return []


def example(node: Json, key: str | int, number: int = 0) -> Any:
    """A small valid value; two numbers give two values that differ in every key of a list."""
    if key == "image":
        return RUNNABLE
    if "enum" in node:
        return node["enum"][0]
    match node.get("type", "integer"):
        case "object":
            inner = node.get("properties", {})
            value: Any = {name: example(inner[name], name, number) for name in (*node.get("required", ()), *only_one(node)[:1])}
        case "array":
            value = [example(node["items"], "", each) for each in range(node.get("minItems", 0))]
        case "integer":
            value = node.get("minimum", 0) + 1 + number
        case "boolean":
            value = True
        case _:
            value = _text(node, number)
    return value


def _text(node: Json, number: int) -> str:
    if node.get("format") == "date-time":
        return "2026-01-01T00:00:00Z"
    text = EXAMPLES[node.get("pattern", "")]
    return f"{text}{number}" if number and text == "fuzz" else text


def longest(node: Json, length: int) -> str:
    """A text of that length that fits the pattern."""
    pattern = node.get("pattern", "")
    text = "100%" if pattern == PERCENT_PATTERN else EXAMPLES[pattern]
    fill = "0" if text[0].isdigit() else "z"
    return text[:1] + fill * (length - len(text)) + text[1:] if text[0] == "/" else fill * (length - len(text)) + text
