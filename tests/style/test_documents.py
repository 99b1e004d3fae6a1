# SPDX-License-Identifier: Apache-2.0
"""The pages do not lie: links lead somewhere, YAML is valid, and command lines of `kubectl drover` are ones that it takes.

The server-side dry run of the same YAML is in the tier on a real API server; here a slip is found in a second.
"""

import json
import re
import shlex
import tomllib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import yaml
from scenarios.troubles import ATTACKS, ON_THE_WAY
from style.source import ROOT, text, tracked

from drover_operator.api.crd import DEFINITIONS, crd
from drover_operator.cli.outcome import Failure
from drover_operator.testing.kubelet import Behaviour
from drover_operator.testing.ruletree import RuleTree
from drover_operator.testing.schema import Schema
from tools import reference_cli
from tools.reference_api import anchor

PAGES = [name for name in tracked() if name.endswith(".md") and not name.startswith("tests/data/")]
DOCS = [name for name in PAGES if name.startswith("docs/")]
FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
READERS = {"yaml": yaml.safe_load_all, "json": json.loads, "toml": tomllib.loads}
KINDS = {definition.kind: crd(definition)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for definition in DEFINITIONS}
# Words that stand for something else, in the places of a verb.
STANDS_FOR = {"VERB", "...", "TYPE"}
Block = tuple[str, str]  # kind and text


def blocks(page: str) -> list[Block]:
    return [(match["kind"], re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)) for match in FENCE.finditer(page)]


def prose(page: str) -> str:
    return FENCE.sub("", page)


# --- links


def headings(page: str) -> set[str]:
    """The anchors of a page, as GitHub makes them; one that comes again gets a number."""
    seen: Counter[str] = Counter()
    found = set[str]()
    for title in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        name = anchor(LINK.sub(lambda match: match[0].partition("](")[0][1:], title))
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def dead_links(name: str, page: str) -> list[str]:
    """Relative links of a page that lead to no file, or to no heading in it."""
    dead = []
    for target in LINK.findall(CODE.sub("", prose(page))):
        where, _, heading = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (ROOT / name).parent / where if where else ROOT / name
        there = page if not where else file.read_text() if file.is_file() else ""
        if not file.exists() or (heading and heading not in headings(there)):
            dead.append(target)
    return dead


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str):
    assert dead_links(name, text(name)) == []


def test_dead_links_are_found():
    page = "# A b\n[x](#a-b) [x](#c) [x](../none.md) [x](https://example.org/) [x](operate.md#nowhere) [x](operate.md)\n```\n[x](no-link)\n```\n`[x](code)`\n"
    assert dead_links("docs/how-to/import.md", page) == ["#c", "../none.md", "operate.md#nowhere"]
    assert headings("# The `a` of B!\n## Twice\n## Twice\n") == {"the-a-of-b", "twice", "twice-1"}


def test_every_page_is_on_the_map():
    """docs/README.md names every page; those of failures stand in the list of failures."""
    listed = {f"docs/{target.partition('#')[0]}" for target in LINK.findall(text("docs/README.md"))}
    failures = {f"docs/failures/{target}" for target in LINK.findall(text("docs/failures/README.md"))}
    assert [name for name in DOCS if name not in listed | failures | {"docs/README.md"}] == [], "give each of them a line in docs/README.md"


# --- data


def problems(body: dict[str, Any]) -> list[str]:
    """What the API server would say to an object of ours, without the CEL of admission policies."""
    tree = KINDS[body["kind"]]
    unknown: list[str] = []
    whole = Schema(tree).completed(body, unknown)
    return [f"unknown field {each}" for each in unknown] + [str(each) for each in (*Schema(tree).errors(whole), *RuleTree(tree).errors(whole, None))]


WRITTEN = [(f"{name} {number}", kind, block) for name in PAGES for number, (kind, block) in enumerate(blocks(text(name))) if kind in READERS]


@pytest.mark.parametrize(("where", "kind", "block"), WRITTEN, ids=[row[0] for row in WRITTEN])
def test_data_can_be_read_and_our_objects_are_valid(where: str, kind: str, block: str):
    found = READERS[kind](block)
    for body in [*found] if kind == "yaml" else []:
        if isinstance(body, dict) and str(body.get("apiVersion", "")).startswith("drover.dev/"):
            assert problems(body) == []


def test_wrong_objects_are_found():
    spec: dict[str, Any] = {"criticality": "Normal", "template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}
    body = {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": "a"}, "spec": spec}
    assert problems(body) == []
    assert problems({**body, "spec": {**spec, "replica": 1}}) == ["unknown field spec.replica"]
    assert len(problems({**body, "spec": {**spec, "criticality": "High"}})) == 1
    assert len(problems({**body, "spec": {**spec, "scaling": {"min": 2, "max": 1}}})) >= 1, "CEL rules count too"


# --- commands


def command_lines(page: str) -> Iterator[str]:
    """What a reader may type: after `$` in console blocks, whole lines of sh blocks and of plain ones, and code in sentences."""
    for kind, block in blocks(page):
        if kind == "console":
            yield from re.findall(r"^\$ (.*)$", block, re.MULTILINE)
        elif kind in ("", "sh", "bash"):
            yield from block.splitlines()
    yield from CODE.findall(prose(page))


def invocations(line: str) -> Iterator[list[str]]:
    """The arguments of every `kubectl drover` in a command line."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>()")
    lexer.whitespace_split = True
    lexer.commenters = "#"
    words: list[str] = []
    for word in [*_words(lexer), ";"]:
        if set(word) <= set("|;&()"):
            yield from _ours(words)
            words = []
        else:
            words.append(word)


def _words(lexer: shlex.shlex) -> list[str]:
    try:
        return list(lexer)
    except ValueError:  # a quote that is not closed: no command line
        return []


def _ours(words: list[str]) -> Iterator[list[str]]:
    for number, word in enumerate(words):
        rest = words[number + 1 :]
        if word == "kubectl" and rest[:1] == ["drover"]:
            yield _plain(rest[1:])
            return
        if re.search(r"(^|/)kubectl-drover$", word):
            yield _plain(rest)
            return


def _plain(words: list[str]) -> list[str]:
    """Without redirections."""
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if not set(word) <= set("<>") and not (before and set(before) <= set("<>")):
            kept.append(word)
    return kept


@cache
def command() -> Any:
    return reference_cli.parsers()


def complaint(words: list[str]) -> str:
    """What the command says to these words, "" when it takes them."""
    if not words or words[0] in STANDS_FOR or words[0] in ("-h", "--help"):
        return ""
    try:
        command().parse_args(words)
    except Failure as failure:
        return str(failure)
    except SystemExit:  # help
        return ""
    return ""


COMMANDS = sorted({(name, shlex.join(words)) for name in PAGES for line in command_lines(text(name)) for words in invocations(line)})


@pytest.mark.parametrize(("name", "words"), COMMANDS, ids=[f"{name} {words}" for name, words in COMMANDS])
def test_commands_are_taken(name: str, words: str, capsys: pytest.CaptureFixture[str]):
    assert complaint(shlex.split(words)) == ""


def test_there_are_commands_and_wrong_ones_are_found():
    assert len({words.split()[0] for _, words in COMMANDS if words}) >= 4
    page = "`kubectl drover status -x` a\n```console\n$ A=1 kubectl drover import -f - > a.yaml && echo; cat x | kubectl-drover sandbox -- bash # kubectl drover no\nkubectl drover no\n```\n"
    found = [words for line in command_lines(page) for words in invocations(line)]
    assert found == [["import", "-f", "-"], ["sandbox", "--", "bash"], ["status", "-x"]]
    assert [bool(complaint(words)) for words in found] == [False, False, True]
    assert complaint(["stats"]) and not complaint(["VERB"]) and not complaint(["status", "--help"])


# --- damage


def test_every_damage_has_a_page_that_names_its_test():
    """Whoever reads what happens can run it; whoever adds a damage says what it means for people."""
    files = ("tests/real/test_damage.py", "tests/real/test_control_plane_away.py")
    tests = [test for file in files for test in re.findall(r"^def (test_\w+)", text(file), re.MULTILINE)]
    pages = "".join(text(name) for name in DOCS if name.startswith("docs/failures/"))
    assert [name for name in tests if name not in pages] == []


def test_every_fault_class_of_the_simulator_is_replayed_for_real():
    """What the simulator believes of the world is asked of the world; a class that is added here needs its case there."""
    page = text("docs/explanation/proof.md").partition("## Replayed for real")[2]
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and "`" in line]
    named = {name.partition("(")[0] for left, _ in rows for name in re.findall(r"`([^`]+)`", left)}
    nodes = ("node_down", "node_up", "remove_node", "evict", "restart_containers")
    modes = set(re.findall(r"(?:^|\. |\n)\s*([a-z-]+): ", Behaviour.__doc__ or "")) - {"normal"}
    assert len(modes) == 5
    assert {*ON_THE_WAY, *ATTACKS, *nodes, *modes} <= named
    for file, test in (found for _, right in rows for found in re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", right)):
        assert f"def {test}(" in text(file), f"{file}::{test}"
