# SPDX-License-Identifier: Apache-2.0
"""The generated reference pages: nothing is missing in them, and they are the same wherever they are written."""

import argparse
import re
from collections.abc import Iterator
from typing import Any

import pytest

from drover_operator.api.crd import DEFINITIONS, crd
from tools import reference_api, reference_cli

CLI = reference_cli.page()
API = reference_api.page(DEFINITIONS)
ENDING = """\
examples:
  # a pipe
  kubectl drover x -f - | cat

  kubectl drover x

what comes next:
  a    one
    b  two

It ends well, mostly,
in time.

exit codes: 0 done,
  1 error
"""


def every(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """All parsers below one, each with the heading of its section."""
    for action in parser._actions:
        for name, below in (action.choices or {}).items() if isinstance(action.choices, dict) else ():
            yield f"{path} {name}".strip(), below
            yield from every(below, f"{path} {name}".strip())


PARSERS = list(every(reference_cli.parsers()))


def section(page: str, heading: str) -> str:
    _, words = re.split(rf"^##+ {re.escape(heading)}\n", page, maxsplit=1, flags=re.MULTILINE)
    return re.split(r"^##+ ", words, maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(("heading", "parser"), PARSERS, ids=[row[0] for row in PARSERS])
def test_every_verb_has_all_its_options_and_its_exit_codes(heading: str, parser: argparse.ArgumentParser):
    words = section(CLI, heading)
    for action in parser._actions:
        if action.dest == "help" or action.help == argparse.SUPPRESS or isinstance(action.choices, dict):
            continue
        assert all(f"`{option}`" in words for option in action.option_strings), action
        assert action.option_strings or action.metavar is None or str(action.metavar).replace("|", r"\|") in words, action
    assert "%(" not in words, "every help is filled in"
    assert " " in heading or "Exit codes: 0 " in words


def test_the_command_line_page_does_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch):
    for columns in ("20", "300"):
        monkeypatch.setenv("COLUMNS", columns)
        assert reference_cli.page() == CLI


def test_the_end_of_a_help_becomes_blocks_and_sentences():
    assert reference_cli._ending(ENDING) == [
        *("", "Examples:", "", "```sh", "# a pipe", "kubectl drover x -f - | cat", "", "kubectl drover x", "```"),
        *("", "What comes next:", "", "```text", "a    one", "  b  two", "```"),
        *("", "It ends well, mostly, in time."),
        *("", "Exit codes: 0 done, 1 error."),
    ]


def test_usage_tells_what_is_needed_and_what_excludes_each_other():
    parser = argparse.ArgumentParser(prog="kubectl drover x")
    both = parser.add_mutually_exclusive_group()
    both.add_argument("-a", action="store_true")
    both.add_argument("-b", "--bee", metavar="B")
    parser.add_argument("--must", required=True, choices=("x", "y"))
    parser.add_argument("--hidden", help=argparse.SUPPRESS)
    parser.add_argument("one")
    parser.add_argument("more", nargs="*", metavar="MORE")
    assert reference_cli._usage(parser) == ["kubectl drover x [-a | -b B] --must x|y ONE [MORE ...]"]
    assert reference_cli._row(parser._actions[3], parser) == r"| `--must` `x\|y` |  |"


def fields(node: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """Every object with each of its fields, as the sections are called."""
    for name, child in node.get("properties", {}).items():
        yield path, name
        for mark, inner in (("[]", child.get("items")), (".*", child.get("additionalProperties")), ("", child)):
            yield from fields(inner, f"{path}.{name}{mark}") if isinstance(inner, dict) else ()


LEAST = {"ManagedService": (200, 30), "ReleaseGate": (40, 10), "MaintenanceWindow": (9, 5)}  # fields and rules, so that none is looked for in vain


@pytest.mark.parametrize("definition", DEFINITIONS, ids=lambda each: each.kind)
def test_every_field_and_every_rule_is_on_the_page(definition: Any):
    tree = crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    rows = [
        (path, name) for path, name in fields(tree, definition.kind) if path != definition.kind and ".metadata." not in path.removeprefix(definition.kind)[:10]
    ]
    assert len(rows) > LEAST[definition.kind][0]
    missing = [(path, name) for path, name in rows if f"`{name}`" not in section(API, path)]
    assert missing == []
    rules = re.findall(r"'rule': (?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")", repr(tree))
    assert len(rules) >= LEAST[definition.kind][1]
    told = [line for path in {definition.kind, *(path for path, _ in rows)} for line in re.findall(r"^- `.+`: .+$", section(API, path), re.MULTILINE)]
    assert len(told) == len(rules)


CELLS: list[tuple[str, dict[str, Any], str]] = [
    # why, schema of a field, its row
    ("an enumeration with a default", {"type": "string", "enum": ["A", "B"], "default": "A", "description": "D."}, "| `f` | string | `A` | `A` `B` | D. |"),
    ("false is a default too", {"type": "boolean", "default": False}, "| `f` | boolean | `false` |  |  |"),
    ("and so is no text", {"type": "string", "default": "", "maxLength": 3}, '| `f` | string | `""` | at most 3 characters |  |'),
    ("a list that nothing is in", {"type": "array", "items": {"type": "string", "maxLength": 2}, "maxItems": 4, "default": ()}, "| `f` | list of string | `[]` | at most 4 items, each at most 2 characters |  |"),
    ("one bound", {"type": "integer", "minimum": 0}, "| `f` | integer |  | at least 0 |  |"),
    ("a pattern with a bar must not end its cell", {"type": "string", "pattern": "a|b"}, r"| `f` | string |  | `a\|b` |  |"),
    ("two types", {"x-kubernetes-int-or-string": True, "minimum": 0, "maximum": 5}, "| `f` | integer or string |  | 0 to 5 |  |"),
    ("a list of objects leads to their section", {"type": "array", "items": {"type": "object", "properties": {}}, "x-kubernetes-list-map-keys": ["name"]}, "| [`f`](#kspecf) | list of object, by name |  |  |  |"),
    ("a map", {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 2}, "| `f` | map of string |  | at most 2 keys |  |"),
    ("a whole object by default", {"type": "object", "properties": {}, "default": {"a": 1}}, "| [`f`](#kspecf) | object | those of its fields |  |  |"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "node", "row"), CELLS, ids=[row[0] for row in CELLS])
def test_rows_of_fields(why: str, node: dict[str, Any], row: str):
    assert reference_api._row("K.spec", "f", node, required=False) == row, why


def test_a_required_field_has_no_default():
    assert reference_api._row("K.spec", "f", {"type": "string"}, required=True) == "| `f` | string | required |  |  |"
