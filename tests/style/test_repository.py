# SPDX-License-Identifier: Apache-2.0
"""What a newcomer finds: a map that is true, a Makefile that explains itself, and nothing of this machine."""

import os
import re
import subprocess

import pytest
from style.source import ROOT, text, tracked

TARGET = re.compile(r"^(?P<name>[a-z][a-z-]*):(?!=)(?P<rest>.*)$", re.MULTILINE)
# Written in parts, or this file would be found.
FORBIDDEN = re.compile(
    "|".join(("/ro" + "ot/", "/wo" + "rk/", "python" + "hosted", "pypi" + r"\.org", "registry" + r"\.npmjs", "proxy" + r"\.golang", r"/ho" + r"me/[a-z]"))
)
EXEMPT = {"uv.lock"}


def mapped(page: str) -> list[str]:
    """Backticked paths in tables under a heading with "Where"."""
    under, paths = False, list[str]()
    for line in page.splitlines():
        if line.startswith("#"):
            under = "Where" in line
        elif under and line.startswith("|"):
            paths += [word for word in re.findall(r"`([^`]+)`", line) if "/" in word]
    return paths


def test_the_map_of_features_is_true():
    paths = mapped(text("ARCHITECTURE.md"))
    assert len(paths) >= 10, "ARCHITECTURE.md has a table of features under a heading with 'Where'"
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_map_knows_every_file_of_the_service_controller():
    known = set(mapped(text("ARCHITECTURE.md")))
    mine = [
        name for name in tracked() if re.fullmatch(r"controllers/drover_controllers/service/(\w+/)?[a-z]\w*\.py", name) and not name.endswith("__init__.py")
    ]
    assert [name for name in mine if name not in known and not name.endswith(("/values.py", "/naming.py", "/gather.py"))] == []


def test_a_wrong_path_in_the_map_would_be_found():
    assert mapped("# Where\n| a | `x/y.py` |\n# Else\n| b | `z/z.py` |") == ["x/y.py"]


def targets() -> dict[str, str]:
    return {match["name"]: match["rest"] for match in TARGET.finditer(text("Makefile"))}


def test_every_target_of_the_makefile_is_explained():
    assert len(targets()) > 10
    assert [name for name, rest in targets().items() if not re.search(r"## \S", rest)] == []


def test_make_alone_lists_the_targets():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "MAKEFLAGS": ""}).stdout
    assert [name for name, rest in targets().items() if not re.search(rf"^  {name} +{re.escape(rest.split('## ')[1])}$", shown, re.MULTILINE)] == []


def test_every_make_command_of_the_pages_is_there():
    pages = [name for name in tracked() if name.endswith(".md") and not name.startswith("docs/reference/")]
    named = {(page, word) for page in pages for word in re.findall(r"(?:^|`|&& )make ([a-z][a-z-]*)", text(page), re.MULTILINE)}
    assert {word for page, word in named if page == "README.md"} >= {"demo", "test"}
    assert [each for each in named if each[1] not in targets()] == []


def test_what_ci_runs():
    assert os.access(ROOT / ".ci/run", os.X_OK)
    assert re.search(r"^\s*make .*\btest\b", text(".ci/run"), re.MULTILINE)
    assert text(".ci/run").startswith("#!/bin/sh\n")
    assert "set -eu" in text(".ci/run")


def binary(name: str) -> bool:
    return b"\0" in (ROOT / name).read_bytes()[:4096]


@pytest.mark.parametrize("pattern", [FORBIDDEN], ids=["paths and hosts"])
def test_nothing_of_this_machine_is_in_the_files(pattern):
    found = [(name, match.group()) for name in tracked() if name not in EXEMPT and not binary(name) for match in pattern.finditer(text(name))]
    assert found == []


def test_what_is_forbidden_would_be_found():
    for sample in ("/ro" + "ot/x", "https://files.python" + "hosted.org/x", "/ho" + "me/me/x", "cd /wo" + "rk/main"):
        assert FORBIDDEN.search(sample), sample
