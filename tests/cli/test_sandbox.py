# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover sandbox` as a user meets it, without kubectl: start, end, exit codes, files, wrong usage; and verbs of other packages."""

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from drover_operator.cli.main import main
from drover_operator.verbs import sandbox

PROGRAM = [sys.executable, "-m", "drover_operator.cli.main", "sandbox"]
LATEST = 30  # seconds; a start takes one on an idle machine
COUNT_NODES = """
import json, os, urllib.request
server = json.load(open(os.environ["KUBECONFIG"]))["clusters"][0]["cluster"]["server"]
print(len(json.load(urllib.request.urlopen(server + "/api/v1/nodes"))["items"]))
"""
WATCH_PODS = """
import json, os, urllib.request
server = json.load(open(os.environ["KUBECONFIG"]))["clusters"][0]["cluster"]["server"]
watch = urllib.request.urlopen(server + "/api/v1/namespaces/shop/pods?watch=true", timeout=30)
print(json.loads(watch.readline())["object"]["metadata"]["labels"]["drover.dev/service"])
kept = json.load(urllib.request.urlopen(server + "/apis/drover.dev/v1alpha1/namespaces/shop/managedservices/web"))
print(kept["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].strip())
"""


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    """A sandbox in this process sets logging up as its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the verb in this process; answers exit code, output and errors."""

    def begin(*words: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        return main(["sandbox", *words]), *capfd.readouterr()

    return begin


def start(*words: str, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ})


def three_lines(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline() for _ in range(3)]


def kubeconfig(lines: list[str]) -> Path:
    found = re.fullmatch(r"  export KUBECONFIG=(\S+)\n", lines[1])
    assert found, lines
    return Path(found[1])


def server(file: Path) -> str:
    return json.loads(file.read_text())["clusters"][0]["cluster"]["server"]


def nodes(file: Path) -> list[str]:
    with urllib.request.urlopen(f"{server(file)}/api/v1/nodes", timeout=LATEST) as answer:
        return [each["metadata"]["name"] for each in json.load(answer)["items"]]


@pytest.fixture(scope="module")
def running() -> Iterator[list[str]]:
    """The three lines of a sandbox that stays up for all tests here."""
    process = start()
    yield three_lines(process)
    process.terminate()
    process.communicate(timeout=LATEST)


# --- start and end


def test_it_says_what_it_is_how_to_reach_it_and_what_to_try(running: list[str]):
    assert running[0].startswith("This is a simulated cluster with Drover in it: nothing really runs, nothing is stored.")
    file = kubeconfig(running)
    assert file.stat().st_mode & 0o777 == 0o600
    assert nodes(file) == ["simulated-1", "simulated-2", "simulated-3"]
    assert re.fullmatch(r"  kubectl(-drover)? .+\n", running[2])


def test_signals_end_it_cleanly_and_it_takes_its_files_along():
    """SIGHUP too: it comes when the terminal is closed."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    processes = [start("--nodes", "1") for _ in numbers]
    files = [kubeconfig(three_lines(process)) for process in processes]
    for process, number in zip(processes, numbers, strict=True):
        process.send_signal(number)
    for process, file in zip(processes, files, strict=True):
        out, err = process.communicate(timeout=LATEST)
        assert (out, err, process.returncode) == ("\nStopped: the simulated cluster is gone, and everything in it.\n", "", 0)
        assert not file.parent.exists()


def test_the_operator_is_in_it_and_what_is_given_is_applied(run: Run, tmp_path: Path):
    """The namespace comes last in the file, and a later `kubectl apply` finds what it looks for."""
    meta = {"name": "web", "namespace": "shop"}
    spec = {"criticality": "Normal", "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}}
    service = {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": meta, "spec": spec}
    (tmp_path / "a.json").write_text(json.dumps(service))
    (tmp_path / "b.yaml").write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
    code, out, err = run("-f", str(tmp_path), "--", sys.executable, "-c", WATCH_PODS)
    assert (code, err) == (0, "")
    owner, applied = out.splitlines()
    assert (owner, json.loads(applied)) == ("web", service)


def test_two_sandboxes_know_nothing_of_each_other(run: Run, running: list[str]):
    assert run("--nodes", "7", "--", sys.executable, "-c", COUNT_NODES) == (0, "7\n", "")
    assert len(nodes(kubeconfig(running))) == 3


def test_the_default_kubeconfig_is_not_touched(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / ".kube").mkdir()
    mine = tmp_path / ".kube/config"
    mine.write_text("mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    assert run("--", "true") == (0, "", "")
    assert mine.read_text() == "mine"
    assert sorted(tmp_path.rglob("*")) == [tmp_path / ".kube", mine]


# --- with a command

COMMANDS = [
    ("its exit code is ours", ["sh", "-c", "exit 7"], 7, ""),
    ("it ended by a signal", ["sh", "-c", "kill -9 $$"], 137, ""),
    ("there is no such command", ["no-such-command-of-this-test"], 127, "error: cannot run 'no-such-command-of-this-test': there is no such command\n"),
    ("it cannot be run", ["/"], 126, "error: cannot run '/': Permission denied\n"),
    ("options of its own are left alone", ["sh", "-c", 'test "$1 $2" = "-f --port"', "x", "-f", "--port"], 0, ""),
]


@pytest.mark.parametrize(("why", "command", "code", "err"), COMMANDS, ids=[row[0] for row in COMMANDS])
def test_with_a_command(why: str, command: list[str], code: int, err: str, run: Run):
    assert run("--", *command) == (code, "", err), why


def test_our_other_verbs_find_the_cluster(run: Run, tmp_path: Path):
    file = tmp_path / "config"
    status = [sys.executable, "-m", "drover_operator.cli.main", "status", "-A", "-o", "json"]
    code, out, err = run("--kubeconfig", str(file), "--", *status)
    assert (code, json.loads(out)["items"], err) == (0, [], "")
    assert not file.exists()


def test_sigterm_is_passed_on_to_the_command():
    """At any moment, also when the command has only just begun."""
    process = start("--", "sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LATEST)
    assert process.returncode == 3


# --- wrong usage

USAGE = [
    ("a port that is none", ["--port", "http"], "argument --port: 'http' must be a number from 0 to 65535"),
    ("a port that cannot be", ["--port", "70000"], "argument --port: '70000' must be a number from 0 to 65535"),
    ("too many nodes", ["--nodes", "1001"], "argument --nodes: '1001' must be a number from 0 to 1000"),
    ("an unknown option", ["--frob"], "unrecognized arguments: --frob"),
]


@pytest.mark.parametrize(("why", "words", "message"), USAGE, ids=[row[0] for row in USAGE])
def test_wrong_usage(why: str, words: list[str], message: str, run: Run):
    code, out, err = run(*words)
    assert (code, out) == (4, "") and err.startswith(f"error: {message}"), why


FILES = [
    ("a file that is not there", None, "No such file or directory\n"),
    (
        "a kind that is not simulated",
        {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "j"}},
        "error: -f: CronJob of batch/v1 is not simulated\n",
    ),
    (
        "a Deployment, which has a way in",
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}},
        "error: -f: Deployment of apps/v1 is not simulated; `kubectl drover import` makes a ManagedService of it\n",
    ),
    (
        "a namespace that is not there",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "nope"}},
        'error: -f: namespaces "nope" not found\n',
    ),
    (
        "a misspelled field",
        {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": "w"}, "spec": {"replica": 1}},
        'strict decoding error: unknown field "spec.replica"\n',
    ),
]


@pytest.mark.parametrize(("why", "body", "message"), FILES, ids=[row[0] for row in FILES])
def test_files_that_cannot_be_applied(why: str, body: dict[str, Any] | None, message: str, run: Run, tmp_path: Path):
    file = tmp_path / "object.json"
    if body is not None:
        file.write_text(json.dumps(body))
    code, out, err = run("-f", str(file), "--", "true")
    assert (code, out, err.count("\n")) == (1, "", 1), why
    assert err.endswith(message), why


def test_stdin_and_objects_that_are_there_already(run: Run):
    """`-f -`, and a namespace that every cluster has: it is changed, as by `kubectl apply`."""
    assert run("-f", "-", "--", "true", stdin="apiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {a: b}}\n") == (0, "", "")


def test_a_taken_port_is_one_sentence(run: Run, running: list[str]):
    port = server(kubeconfig(running)).rpartition(":")[2]
    assert run("--port", port) == (1, "", f"error: port {port} is in use; choose another with --port, or leave it out for any that is free\n")


def test_a_file_of_somebody_else_is_not_overwritten(run: Run, tmp_path: Path):
    file = tmp_path / "config"
    file.write_text("apiVersion: v1\nkind: Config\ncurrent-context: production\n")
    assert run("--kubeconfig", str(file)) == (1, "", f"error: {file} is there already and no sandbox wrote it: give the name of a new file\n")
    assert "production" in file.read_text()


def test_a_file_of_a_running_sandbox_is_not_taken_over(run: Run, running: list[str]):
    file = kubeconfig(running)
    assert run("--kubeconfig", str(file)) == (1, "", f"error: {file} belongs to a sandbox that is running: give the name of another file\n")
    assert len(nodes(file)) == 3


def test_a_file_that_kubectl_has_rewritten_is_removed_too(run: Run, tmp_path: Path):
    """`kubectl config set-context --current --namespace=shop` writes it anew, as YAML."""
    file = tmp_path / "config"
    rewrite = "import json, os, yaml; f = os.environ['KUBECONFIG']; text = yaml.safe_dump(json.load(open(f))); open(f, 'w').write(text)"
    assert run("--kubeconfig", str(file), "--", sys.executable, "-c", rewrite) == (0, "", "")
    assert not file.exists()


def test_what_a_killed_sandbox_left_behind_is_replaced(run: Run, tmp_path: Path):
    file = tmp_path / "config"
    process = start("--kubeconfig", str(file), TMPDIR=str(tmp_path))
    three_lines(process)
    process.kill()
    process.communicate(timeout=LATEST)
    assert file.exists()
    assert run("--kubeconfig", str(file), "--nodes", "2", "--", sys.executable, "-c", COUNT_NODES) == (0, "2\n", "")


# --- the verb among others


def test_help_has_examples_and_exit_codes(capsys: pytest.CaptureFixture[str]):
    assert main(["sandbox", "--help"]) == 0
    out = capsys.readouterr().out
    assert "kubectl drover sandbox -f shop.yaml" in out and "exit codes: 0 ended by" in out
    assert max(map(len, sandbox.EXAMPLES.splitlines())) <= 100


def test_help_of_all_verbs_names_it_without_the_weight_of_the_simulator():
    heavy = ("asyncio", "aiohttp", "yaml", "drover_operator.testing")
    code = f"import sys\nfrom drover_operator.cli.main import main\nmain(['--help'])\nprint(*[m for m in {heavy!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "    sandbox   try Drover in a simulated cluster on this machine" in done.stdout
    assert done.stderr.strip() == ""


TEAM = """
def good(subparsers):
    subparsers.add_parser("good", help="a verb of a team").set_defaults(run=lambda args: 5)

def nameless(subparsers):
    pass

def status(subparsers):
    raise AssertionError("nobody takes a built-in verb away")
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Installs a distribution of a platform team with the given verbs."""

    def install(*points: str) -> None:
        (tmp_path / "verbs_of_this_test.py").write_text(TEAM)
        (tmp_path / "broken_verbs_of_this_test.py").write_text("import a_module_that_nobody_has\n")
        (tmp_path / "leaving_verbs_of_this_test.py").write_text("raise SystemExit(3)\n")
        info = tmp_path / "team-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: team\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[drover.verbs]\n" + "\n".join(points) + "\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    for name in ("verbs_of_this_test", "broken_verbs_of_this_test", "leaving_verbs_of_this_test"):
        sys.modules.pop(name, None)


def test_a_verb_of_a_team_runs_and_is_in_the_help(distribution: Any, capsys: pytest.CaptureFixture[str]):
    distribution("good = verbs_of_this_test:good")
    assert main(["good"]) == 5
    assert main(["--help"]) == 0
    assert "    good      a verb of a team\n" in capsys.readouterr().out


BROKEN = [
    ("a module that is missing", "bad = broken_verbs_of_this_test:x", "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"),
    ("a module that ends the process", "bad = leaving_verbs_of_this_test:x", "SystemExit: 3"),
    ("a name that is not in the module", "bad = verbs_of_this_test:nope", "AttributeError"),
    ("a function that adds something else", "bad = verbs_of_this_test:nameless", "it adds no parser of that name"),
]


@pytest.mark.parametrize(("why", "point", "words"), BROKEN, ids=[row[0] for row in BROKEN])
def test_a_broken_verb_is_one_sentence_and_breaks_no_other(why: str, point: str, words: str, distribution: Any, capsys: pytest.CaptureFixture[str]):
    distribution(point, "good = verbs_of_this_test:good")
    value = point.partition(" = ")[2]
    assert main(["bad"]) == 1, why
    err = capsys.readouterr().err
    assert err.startswith(f"error: the verb 'bad' ({value}) cannot be loaded: ") and words in err and err.count("\n") == 1
    assert main(["good"]) == 5
    assert main(["version"]) == 0
    capsys.readouterr()
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert "    good " in out and err.startswith(f"warning: the verb 'bad' ({value}) cannot be loaded: ") and err.count("\n") == 1


def test_a_verb_of_ours_cannot_be_taken_away(distribution: Any, capsys: pytest.CaptureFixture[str]):
    distribution("status = verbs_of_this_test:status")
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert "show services, or one service" in out and err == ""


def test_two_packages_with_one_verb_are_told_apart(distribution: Any, capsys: pytest.CaptureFixture[str]):
    distribution("sandbox = verbs_of_this_test:good")
    assert main(["sandbox", "--help"]) == 1
    assert capsys.readouterr().err == (
        "error: two packages offer the verb 'sandbox': drover_operator.verbs.sandbox:add_parser and verbs_of_this_test:good; uninstall one\n"
    )


def test_a_slip_in_the_name_of_such_a_verb_is_understood(capsys: pytest.CaptureFixture[str]):
    assert main(["sandbok"]) == 4
    assert capsys.readouterr().err == "error: unknown verb 'sandbok'; did you mean sandbox?\n"
