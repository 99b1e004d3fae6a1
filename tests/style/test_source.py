# SPDX-License-Identifier: Apache-2.0
"""Rules on the source that no linter knows."""

import ast
import re

import pytest
from style import source
from style.source import ROOT, product, pure, text, tracked, tree

FUNCTION, FILE = 50, 400  # lines
SPDX = "SPDX-License-Identifier: Apache-2.0"


def test_source_roots_are_no_packages():
    """`operator/__init__.py` would shadow the module of that name in the standard library."""
    assert [f"{root}/__init__.py" for root in ("operator", "controllers", "sdk") if (ROOT / root / "__init__.py").exists()] == []


def head(name: str) -> str:
    lines = text(name).splitlines()
    return next((line for line in lines[:2] if not line.startswith("#!")), "")


def test_every_program_names_its_licence():
    scripts = [name for name in tracked() if name.endswith((".py", ".sh"))]
    assert len(scripts) > 100
    assert [name for name in scripts if text(name).strip() and SPDX not in head(name)] == []


@pytest.mark.parametrize("name", product())
def test_functions_and_files_are_short(name: str):
    long = {f"{name}:{each.lineno} {each.name}": source.length(each) for each in source.functions(name) if source.length(each) > FUNCTION}
    assert not long
    assert len(text(name).splitlines()) <= FILE


def test_the_longest_function(record_property):
    """Not a rule: it stands in the report, so that a reviewer sees where it grows."""
    every = [(source.length(each), f"{name} {each.name}") for name in product() for each in source.functions(name)]
    lines, where = max(every)
    record_property("longest_function", f"{lines} {where}")
    print(f"longest function: {lines} lines, {where}")
    assert lines <= FUNCTION


@pytest.mark.parametrize("name", product(kit=True))
def test_product_code_asserts_nothing_swallows_nothing_and_leaves_nothing_to_do(name: str):
    assert source.asserts(tree(name)) == []
    assert source.blankets(tree(name), text(name).splitlines()) == []
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", text(name)) == []


def test_only_command_lines_print():
    speaking = ("operator/drover_operator/cli/", "tools/", "operator/drover_operator/__main__.py")
    assert [(name, at) for name in product(kit=True) if not name.startswith(speaking) for at in source.prints(tree(name))] == []


def test_there_are_pure_files():
    assert len(pure()) > 20
    for name in ("decide", "build", "report", "lifecycle", "drain", "ownership", "values", "naming", "rollout/rolling", "scaling/demand", "failover/cattle"):
        assert f"{source.SERVICE}/{name}.py" in pure()


@pytest.mark.parametrize("name", pure())
def test_pure_files_know_no_clock_no_chance_and_no_io(name: str):
    assert source.impurities(tree(name)) == []


BAD = """
import random, os
from asyncio import sleep
async def f():
    await sleep(1)
def g():
    assert True
    print(datetime.now())
    open("x")
    try:
        pass
    except:
        pass
    try:
        pass
    except Exception:
        pass
    try:
        pass
    except (ValueError, BaseException):  # noqa: BLE001
        pass
    try:
        pass
    except Exception:  # one key must not stop the others
        pass
    try:
        pass
    except BaseException:
        clean()
        raise
    condition(reason="Invented")
    _condition("Ready", True, "Guessed" if x == "Compared" else Reason.HEALTHY)
"""


def test_the_rules_find_what_they_look_for():
    module = ast.parse(BAD)
    what = {each.partition(": ")[2] for each in source.impurities(module)}
    assert what == {"async", "import random", "import os", "from asyncio", ".now()", "open()", "print()"}
    assert len(source.asserts(module)) == 1
    assert len(source.prints(module)) == 1
    assert [each.partition(": ")[2] for each in source.blankets(module, BAD.splitlines())] == [
        "bare except",
        "blanket except without a comment",
        "blanket except without a comment",
    ]
    assert [word for _, word in source.reason_words(module)] == ["Invented", "Guessed"]
    function = next(node for node in ast.walk(module) if isinstance(node, ast.FunctionDef))
    assert source.length(function) == 27
