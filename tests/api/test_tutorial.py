# SPDX-License-Identifier: Apache-2.0
"""docs/tutorial.md is played from its first command to its last: in the sandbox with what it prints, and on a real control plane."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from api.harness.operators import Operator
from api.harness.plane import Plane

from tools.cluster import binaries

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/tutorial.md").read_text()
FENCE = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL)
START, OWN = "Start", "On a control plane of your own"
# What the environment of the tests has done already, or does in its own way: the rest of these sections is run.
DONE = {
    "make setup",
    "export PATH=$PWD/.venv/bin:$PATH",
    "make cluster",
    "export KUBECONFIG=$(make -s cluster-kubeconfig)",
    "drover-operator run &",
}
SANDBOX = "kubectl drover sandbox -- bash"


@pytest.fixture(scope="session", autouse=True)
def _remembered() -> None:
    """Instead of that of the tier: the sandbox needs no control plane."""


@dataclass(frozen=True)
class Step:
    """One command, and the lines that the page shows below it."""

    command: str
    shown: tuple[str, ...]


def section(title: str) -> str:
    return re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def steps(text: str) -> Iterator[Step]:
    for match in FENCE.finditer(text):
        if match["kind"] == "console":
            for each in re.split(r"^\$ ", match["text"], flags=re.MULTILINE)[1:]:
                command, *shown = each.splitlines()
                yield Step(command, tuple(shown))


def story() -> list[Step]:
    """From the declaration to the end, without the two ways to begin."""
    return list(steps(PAGE.replace(section(START), "").replace(section(OWN), "")))


def saved(folder: Path) -> None:
    """The file that the reader is asked to save."""
    match = re.search(r"Save this as `(\S+)`:\n\n```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert match
    (folder / match[1]).write_text(match[2])


def environ(*more: Path) -> dict[str, str]:
    path = (Path(sys.executable).parent, *more, Path(os.environ["PATH"]))
    return {**os.environ, "PATH": os.pathsep.join(map(str, path))}


def play(shell: list[str], played: list[Step], folder: Path, variables: dict[str, str]) -> list[str]:
    """What each command prints; the first one that fails ends it."""
    script = "set -e -o pipefail\n" + "".join(f"echo '@@ {number}'\n{each.command}\n" for number, each in enumerate(played)) + "echo @@ end\n"
    done = subprocess.run(shell, cwd=folder, env=variables, input=script, capture_output=True, text=True, timeout=140, check=False)
    outputs = re.split(r"^@@ \w+\n", done.stdout, flags=re.MULTILINE)[1:]
    last = ["the shell", *(each.command for each in played), "the end"][len(outputs)]
    assert (done.returncode, len(outputs)) == (0, len(played) + 1), f"at {last}:\n{done.stdout}\n{done.stderr}"
    return outputs[:-1]


def plain(line: str) -> str:
    """Without what differs from one run to the next: ages, and widths that follow from them."""
    return " ".join(re.sub(r"\b\d+(?:m\d+)?s\b", "AGE", line).split())


def agrees(shown: tuple[str, ...], printed: list[str]) -> bool:
    """Whether the page shows what was printed; `...` stands for any lines."""
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(plain(line)) + "\n" for line in shown)
    return re.fullmatch(pattern, "".join(plain(line) + "\n" for line in printed)) is not None


def test_in_the_sandbox_it_prints_what_the_page_shows(tmp_path: Path) -> None:
    assert [each.command for each in steps(section(START)) if each.command not in DONE] == [SANDBOX]
    saved(tmp_path)
    variables = environ(binaries.ensure(print))
    variables.pop("KUBECONFIG", None)
    printed = play(SANDBOX.split(), story(), tmp_path, variables)
    wrong = [f"$ {step.command}\n{text}" for step, text in zip(story(), printed, strict=True) if not agrees(step.shown, text.splitlines())]
    assert wrong == [], "the page shows something else:\n" + "\n".join(wrong)


def test_on_a_control_plane_of_ones_own(plane: Plane, operator: Operator, tmp_path: Path) -> None:
    """The installation is applied over that of the tier, which came another way; then the same story, whatever it prints."""
    install = [each for each in steps(section(OWN)) if each.command not in DONE]
    assert len(install) == 4
    variables = environ(plane.cluster.bin) | {"KUBECONFIG": str(plane.cluster.kubeconfig)}
    play(["bash"], install, ROOT, variables)
    saved(tmp_path)
    play(["bash"], story(), tmp_path, variables)


def test_a_page_that_shows_something_else_is_found() -> None:
    """The comparison itself: ages may differ, `...` is any number of lines, all else must be there."""
    printed = ["NAME   AGE", "hello  14s", "more", "end"]
    assert agrees(("NAME AGE", "hello 3s", "...", "end"), printed)
    assert agrees(("...",), []) and agrees((), [])
    assert not agrees(("NAME AGE", "hello 3s"), printed)
    assert not agrees(("NAME AGE", "other 3s", "..."), printed)
