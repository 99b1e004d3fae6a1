# SPDX-License-Identifier: Apache-2.0
"""Completion: what can stand where, as kubectl asks for it; light, limited, and silent when anything is wrong."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cli.test_main import Api, api, point, service

from drover_operator.cli import completion
from drover_operator.cli.completion import main
from drover_operator.cli.main import VERBS
from drover_operator.cli.main import main as drover

__all__ = ["api"]
PROGRAM = Path(sys.executable).with_name("kubectl_complete-drover")
LATEST = 30  # seconds
HEAVY = ("aiohttp", "asyncio", "yaml", "structlog", "ssl", "drover_operator.kube.client", "drover_operator.testing")


def asked(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[list[str], str]:
    """Candidates without what they are, and the directive."""
    assert main(words) == 0
    out, err = capsys.readouterr()
    *lines, mark = out.splitlines()
    assert err == ""
    return [line.partition("\t")[0] for line in lines], mark


def test_verbs_with_what_they_do(capsys: pytest.CaptureFixture[str]) -> None:
    words, mark = asked(capsys, "")
    assert (set(VERBS) | {"sandbox"}, mark) == (set(words), ":4")
    main(["hist"])
    assert capsys.readouterr().out == "history\tshow revisions and changes of phase of a service\n:4\n"


WHERE = ["--namespace", "--context", "--kubeconfig"]
CASES = [
    ("an option by its start", ["status", "--wa"], ["--watch"], ":4"),
    ("options that are given are not offered again", ["why", "-o", "json", "--"], ["--help", "--namespace", "--context", "--kubeconfig"], ":4"),
    ("one that may be repeated is", ["apply", "-f", "a", "--file"], ["--filename"], ":4"),
    ("choices of an option", ["status", "-o", ""], ["json"], ":4"),
    ("the same in one word", ["status", "--output=j"], ["--output=json"], ":4"),
    ("what can be waited for", ["status", "--for=r"], ["--for=run", "--for=ready", "--for=rollback"], ":4"),
    ("options of one verb of several in a module", ["promote", "cart", "--"], ["--help", "--to-step", "--full", *WHERE, "--reason", "--dry-run"], ":4"),
    ("a reason of somebody is no reason of ours", ["abort", "cart", "--reason", ""], [], ":4"),
    ("choices of an argument", ["completion", ""], ["bash", "zsh", "fish"], ":4"),
    ("reasons", ["explain", "Roll"], ["RollingOut", "RollingBack", "RolledBack"], ":4"),
    ("pages about failures", ["explain", "node"], ["node-cut-off", "node-lost", "node-removed"], ":4"),
    ("files", ["apply", "-f", ""], [], ":0"),
    ("files of another option", ["status", "--kubeconfig", ""], [], ":0"),
    ("a number, which nobody can guess", ["status", "--timeout", ""], [], ":4"),
    ("no argument is left", ["why", "cart", ""], [], ":4"),
    ("nothing is known of it", ["nonsense", ""], [], ":4"),
    ("a verb of another package", ["sandbox", "--po"], ["--port"], ":4"),
    ("after -- anything can stand", ["sandbox", "--", ""], [], ":0"),
]


@pytest.mark.parametrize(("why", "words", "expected", "mark"), CASES, ids=[row[0] for row in CASES])
def test_what_can_stand_where(
    why: str, words: list[str], expected: list[str], mark: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert asked(capsys, *words) == (expected, mark), why


NAMED = [
    ("services of the namespace of the context", ["status", ""], ["cart", "checkout", "payment", "search"]),
    ("by their start", ["why", "c"], ["cart", "checkout"]),
    ("of the namespace that is given", ["history", "-n", "attic", ""], ["lonely"]),
    ("for a verb that steers", ["rollback", "--to", "2", "c"], ["cart", "checkout"]),
    ("in one word", ["history", "--namespace=attic", ""], ["lonely"]),
    ("contexts", ["status", "--context", ""], ["here"]),
]


@pytest.mark.parametrize(("why", "words", "expected"), NAMED, ids=[row[0] for row in NAMED])
def test_names_of_the_cluster(why: str, words: list[str], expected: list[str], api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert asked(capsys, *words) == (expected, ":4"), why


def test_namespaces(tmp_path: Path, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.always = (200, {"metadata": {}, "items": [{"metadata": {"name": name}} for name in ("shop", "attic")]})
    assert asked(capsys, "status", "-n", "") == (["attic", "shop"], ":4")


def test_at_most_some_hundreds(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.services = [service(f"s{number:04}") for number in range(1200)]
    assert len(asked(capsys, "status", "")[0]) == completion.MOST


TROUBLE: list[tuple[str, Any]] = [
    ("no right", (403, {"kind": "Status", "code": 403, "message": "no"})),
    ("no CRDs", (404, "404 page not found")),
    ("not an API server", (200, "<html>")),
]


@pytest.mark.parametrize(("why", "always"), TROUBLE, ids=[row[0] for row in TROUBLE])
def test_trouble_is_no_candidates_and_no_word(why: str, always: Any, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.always = always
    assert asked(capsys, "status", "") == ([], ":4"), why


@pytest.mark.parametrize("content", ["{", "[1]", ""])
def test_a_kubeconfig_that_is_none(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config").write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    assert asked(capsys, "status", "") == ([], ":4")
    assert asked(capsys, "status", "--context", "") == ([], ":4")


# --- the executable


def test_a_cluster_that_does_not_answer_is_not_waited_for(api: Api) -> None:
    api.always = (200, "hang")
    begun = time.monotonic()
    done = subprocess.run([PROGRAM, "status", ""], capture_output=True, text=True, timeout=LATEST, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, ":4\n", "")
    assert api.asked.is_set()
    assert time.monotonic() - begun < completion.PATIENCE + 6, "on a machine with other work too"
    api.hang.set()


def test_verbs_and_options_import_nothing_heavy() -> None:
    for words in ([""], ["status", "--"], ["completion", ""]):
        code = (
            f"import sys\nfrom drover_operator.cli.completion import main\nmain({words!r})\nprint(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LATEST)
        assert done.stderr == "\n", words


# --- in shells


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_ask_the_executable_and_say_how_kubectl_does(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert drover(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Completes kubectl-drover. For `kubectl drover <TAB>`") and "kubectl_complete-drover" in out.splitlines()[1]
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=out, capture_output=True, text=True, check=False, timeout=LATEST).stderr == ""


BASH = [
    ("a verb", ["kubectl-drover", "exp"], "explain"),
    ("a name", ["kubectl-drover", "status", "che"], "checkout"),
    ("bash cuts at =", ["kubectl-drover", "status", "--output", "=", "j"], "json"),
    ("right behind it", ["kubectl-drover", "status", "--output", "="], "json"),
    ("files where a file is meant", ["kubectl-drover", "apply", "-f", "a-fi"], "a-file.yaml"),
    ("nothing where nothing is known", ["kubectl-drover", "why", "cart", ""], ""),
]


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize(("why", "words", "expected"), BASH, ids=[row[0] for row in BASH])
def test_bash(why: str, words: list[str], expected: str, api: Api, tmp_path: Path) -> None:
    (tmp_path / "a-file.yaml").touch()
    script = 'source <(kubectl-drover completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _kubectl_drover; echo "${COMPREPLY[*]}"'
    environ = {**os.environ, "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, text=True, check=False, timeout=LATEST, cwd=tmp_path, env=environ)
    assert (done.stdout.strip(), done.stderr) == (expected, ""), why


def test_kubectl_asks_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`kubectl __complete drover ...` is what the completion of kubectl runs."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl here")
    point(monkeypatch, tmp_path, "http://127.0.0.1:1")
    environ = {**os.environ, "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([kubectl, "__complete", "drover", "explain", "RolledB"], capture_output=True, text=True, check=True, timeout=LATEST, env=environ)
    *words, mark = done.stdout.splitlines()
    assert ([each.partition("\t")[0] for each in words], mark) == (["RolledBack"], ":4")
