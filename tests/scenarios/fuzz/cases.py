# SPDX-License-Identifier: Apache-2.0
"""What a property may be set to: absent, default, each bound and just beyond it, each word and a wrong one, other types, null, too much.

Every case says what the API server must make of it, from the schema alone: that is the oracle of refusals.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

from scenarios.fuzz.walk import ANY, Json, Property

from drover_operator.api.maintenancewindow import LABEL_VALUE, TIME_ZONE
from drover_operator.api.meta import DNS_LABEL_PATTERN, DURATION_PATTERN
from drover_operator.api.releasegate import DECIMAL
from drover_operator.api.rollout import HEADER
from drover_operator.core.clock import parse_duration

# rule: only a rule in CEL refuses it. open: the CRD takes anything here, what a pod may be is judged by the dry run. broken: no pod is like that.
Expect = Literal["accepted", "refused", "rule", "open", "broken"]
ABSENT: Any = object()
PERCENT_PATTERN = "^(100|[1-9]?[0-9])%$"
REASON_PATTERN = "^[A-Za-z]([A-Za-z0-9]*)$"
URL, SERVER = r"^https?://[^\s@]+$", r"^https?://[^\s@?#]+$"
POINTER, RATIO, PROBABILITY = r"^(/[^/]+)+$", r"^(0|[1-9][0-9]{0,5})(\.[0-9]{1,9})?$", r"^0\.[0-9]{1,10}$"
TIME, DATE = "^[0-9]{2}:[0-9]{2}$", "^20[0-9]{2}-[0-9]{2}-[0-9]{2}$"
EXAMPLES: dict[str, str] = {
    DURATION_PATTERN: "30s",
    DNS_LABEL_PATTERN: "fuzz",
    PERCENT_PATTERN: "50%",
    REASON_PATTERN: "Fuzzed",
    URL: "http://fuzz.example/",
    SERVER: "http://fuzz.example",
    POINTER: "/fuzz",
    DECIMAL: "0.5",
    RATIO: "1.2",
    PROBABILITY: "0.05",
    TIME: "22:00",
    DATE: "2026-12-23",
    TIME_ZONE: "Europe/Berlin",
    LABEL_VALUE: "fuzz",
    HEADER: "x-fuzz",
    "^/": "/healthz",
    "": "fuzz",
}
# The longest text of a pattern where filling up the example does not lead to one.
LONGEST: dict[str, str] = {DECIMAL: "-999999999999999.999999999", RATIO: "999999.999999999", PROBABILITY: "0.9999999999", TIME: "23:59", DATE: "2099-12-31"}
BEGINS: dict[str, str] = {URL: "http://fuzz.example/", SERVER: "http://fuzz.example", POINTER: "/", "^/": "/", TIME_ZONE: "Z"}  # the rest may be any letter
BROKEN: dict[str, tuple[str, ...]] = {
    DURATION_PATTERN: ("30", "ss", "1d", "-5s", "1.5s", "30 s", "\u0663\u0660s", "30s\n"),
    DNS_LABEL_PATTERN: ("Fuzz", "-fuzz", "fuzz-", "fu.zz", "fu_zz", "fuzz\n"),
    PERCENT_PATTERN: ("50", "101%", "-1%", "%", "007%", "1.5%"),
    REASON_PATTERN: ("1st", "two words", ""),
    URL: ("ftp://fuzz.example/", "http://", "http://me@fuzz.example/", "http://fuzz.example/a b", "//fuzz.example", "http://fuzz.example/\n"),
    SERVER: ("ftp://fuzz.example", "http://me@fuzz.example", "http://fuzz.example?a", "http://fuzz.example#a", "http://fuzz.example\n"),
    POINTER: ("fuzz", "/", "//fuzz", "/fuzz/"),
    DECIMAL: ("1.", ".5", "+1", "1e3", "NaN", "Inf", "0x1", "1.0000000001", "1000000000000000", "\u0661", "1\n"),
    RATIO: ("-1", "01", "1.", ".5", "1000000", "1.0000000001", "NaN", "1\n"),
    PROBABILITY: ("0", "1", "1.0", ".05", "0.", "0.00000000001", "1e-2", "-0.1"),
    TIME: ("7:00", "22:0", "22.00", "22:00:00", "2200", "\u0662\u0662:00", "22:00\n"),
    DATE: ("1999-12-31", "2026-1-01", "2026/12/23", "23.12.2026", "2026-12-23\n"),
    TIME_ZONE: ("localtime", "Europe/", "/Europe", "Europe//Berlin", "../Passwd", "+02:00", "right/Europe/Berlin"),
    HEADER: ("x fuzz", "x:fuzz", "", "x\n"),
    LABEL_VALUE: ("-fuzz", "fuzz-", "fu zz", "fu/zz"),
    "^/": ("healthz", ""),
    "": (),
}
RUNNABLE = "app:2.0"  # an image that becomes ready
_BOUNDS = re.compile(r"duration\(self\) >= duration\('(\w+)'\) && duration\(self\) <= duration\('(\w+)'\)")
_HAS = re.compile(r"has\(self\.(\w+)\)")
_ONE_OF_TWO = re.compile(r"has\(self\.\w+\) != has\(self\.\w+\)")
_EITHER = re.compile(r"has\(self\.\w+\) \?[^:?]+:[^:?]+")
_ANY_OF = re.compile(r"has\(self\.\w+\)( \|\| has\(self\.\w+\))+")


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
    key, rules = found.trail[-1][0], choice(found.trail[-2][1])
    missing: Expect = "refused" if found.required else "rule" if rules is not None and key in rules.some else "accepted"
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
    else:
        yield Case("empty", "", "refused" if least or not _fits(pattern, "") else "accepted")
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
    if any("!has(c.match)" in each["rule"] for each in node.get("x-kubernetes-validations", ())):  # one is for everybody else
        rows[1:] = [{**each, "match": example(node["items"]["properties"]["match"], "")} for each in rows[1:]]
    if node.get("x-kubernetes-list-type") == "set":
        yield Case("a word twice", [rows[0], rows[0]], "refused")
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
    rules = choice(node)
    yield Case("empty", {}, "refused" if node.get("required") else "rule" if rules is not None else "accepted")
    yield Case("an example", example(node, ""), "accepted")
    kept = node.get("x-kubernetes-preserve-unknown-fields")
    yield Case("an unknown field", {**example(node, ""), "fuzzed": {"a": [1]}}, "broken" if kept else "accepted")
    if rules is not None and rules.pairs:
        both = {name: example(node["properties"][name], name) for name in (*node.get("required", ()), *rules.pairs[0])}
        yield Case("two kinds", both, "rule")


def _maps(node: Json) -> Iterator[Case]:
    most = node.get("maxProperties")
    text = example(node["additionalProperties"], "")
    yield Case("empty", {}, "refused" if node.get("minProperties") else "accepted")
    yield Case("one", {"fuzz": text}, "accepted")
    if most is not None:
        yield Case("most", {f"fuzz{number}": text for number in range(most)}, "accepted")
        yield Case("too many", {f"fuzz{number}": text for number in range(most + 1)}, "refused")


@dataclass(frozen=True)
class Choice:
    """What a rule says of members beside each other: no pair goes together, without one of `some` alone it is broken, an example has `chosen`."""

    pairs: tuple[tuple[str, str], ...]
    some: tuple[str, ...]
    chosen: str


def choice(node: Json) -> Choice | None:
    """The choice that a node leaves, if it leaves one."""
    for each in node.get("x-kubernetes-validations", ()):
        names = tuple(dict.fromkeys(_HAS.findall(each["rule"])))
        if ".filter(x, x).size() == 1" in each["rule"] or _ONE_OF_TWO.fullmatch(each["rule"]):
            return Choice(tuple(combinations(names, 2)), names, names[0])
        if _ANY_OF.fullmatch(each["rule"]):
            return Choice((), names, names[0])
        if _EITHER.fullmatch(each["rule"]):
            together = "||" not in each["rule"]  # of the others: all of them, or any
            return Choice(tuple((names[0], other) for other in names[1:]), names if together else names[:2], names[0] if together else names[1])
    return None


def rivals(node: Json, name: str) -> list[str]:
    """The members that are taken away where one is set, so that it stands there as it should."""
    found = choice(node)
    if found is None:
        return []
    return [other for other in found.some if other != name] if not found.pairs else [b if a == name else a for a, b in found.pairs if name in (a, b)]


def example(node: Json, key: str | int, number: int = 0) -> Any:
    """A small valid value; two numbers give two values that differ in every key of a list."""
    if key == "image":
        return RUNNABLE
    if "enum" in node:
        return node["enum"][number % len(node["enum"])]
    match node.get("type", "integer"):
        case "object":
            inner = node.get("properties", {})
            if node.get("minProperties"):
                return {"fuzz": example(node["additionalProperties"], "")}
            value: Any = {name: example(inner[name], name, number) for name in (*node.get("required", ()), *_chosen(node))}
        case "array":
            value = [example(node["items"], "", each) for each in range(node.get("minItems", 0))]
        case "integer":
            value = node.get("minimum", 0) + 1 + number
        case "boolean":
            value = True
        case _:
            value = _text(node, number)
    return value


def _chosen(node: Json) -> list[str]:
    found = choice(node)
    return [found.chosen] if found is not None else []


def _text(node: Json, number: int) -> str:
    if node.get("format") == "date-time":
        return "2026-01-01T00:00:00Z"
    text = EXAMPLES[node.get("pattern", "")]
    for each in node.get("x-kubernetes-validations", ()):
        if (match := _BOUNDS.search(each["rule"])) and not parse_duration(match[1]) <= parse_duration(text) <= parse_duration(match[2]):
            text = match[1]
    return f"{text}{number}" if number and text.endswith("fuzz") else text


def longest(node: Json, length: int) -> str:
    """A text of that length that fits the pattern, or the longest that does; beyond what the pattern takes, any."""
    pattern = node.get("pattern", "")
    if pattern in LONGEST:
        return LONGEST[pattern].ljust(length, "0") if length > node["maxLength"] else LONGEST[pattern]
    if pattern in BEGINS:
        return BEGINS[pattern].ljust(length, "z")
    text = "100%" if pattern == PERCENT_PATTERN else _text(node, 0)
    return ("0" if text[0].isdigit() else "z") * (length - len(text)) + text


def _fits(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None
