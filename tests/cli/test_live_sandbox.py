# SPDX-License-Identifier: Apache-2.0
"""`apply --wait`, `status -w` and `--for`, `why` and `history` as a user meets them: in a sandbox with the real operator, and on a pseudo-terminal."""

import fcntl
import itertools
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.terminal import Terminal

MODULE = "drover_operator.cli.main"
LATEST = 60  # seconds; a change takes about two on an idle machine
SPEC: dict[str, Any] = {"criticality": "Normal", "replicas": 1, "restart": {"settle": "0s"}}


def document(name: str, *, image: str = "i:1", simulate: str = "", **spec: Any) -> dict[str, Any]:
    template: dict[str, Any] = {"metadata": {"annotations": {"drover.dev/simulate": simulate} if simulate else {}}}
    template["spec"] = {"containers": [{"name": "app", "image": image}]}
    meta = {"name": name, "namespace": "default"}
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": meta, "spec": {**SPEC, "template": template, **spec}}


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    """The environment in which the sandbox is the cluster."""
    process = subprocess.Popen([sys.executable, "-m", MODULE, "sandbox"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    found = re.fullmatch(r"  export KUBECONFIG=(\S+)\n", lines[1])
    assert found, lines
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    yield {**kept, "KUBECONFIG": found[1], "TERM": "xterm"}
    process.terminate()
    process.communicate(timeout=LATEST)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(environ: dict[str, str], tmp_path: Path) -> Run:
    def begin(*words: str, body: Any = None) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "body.json"
        if body is not None:
            file.write_text(json.dumps(body))
        command = [sys.executable, "-m", MODULE, *words, *(["-f", str(file)] if body is not None else [])]
        return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LATEST, check=False)

    return begin


def begin(environ: dict[str, str], *words: str, **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", MODULE, *words], env=environ, stderr=subprocess.PIPE, text=True, **settings)


def fields(line: str) -> list[str]:
    return line.split()[1:]


# --- apply --wait


def test_apply_waits_until_what_was_applied_runs(run: Run) -> None:
    done = run("apply", "--wait", body=document("web", replicas=3))
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[0] == "managedservice.drover.dev/web created"
    assert fields(lines[-2]) == ["web", "Run", "3/3", "3/3", "1", "Healthy"]
    assert re.fullmatch(r"managedservice\.drover\.dev/web: run reached after \d+s", lines[-1])
    again = run("apply", "--wait", body=document("web", replicas=3))
    assert (again.returncode, again.stdout.splitlines()[0]) == (0, "managedservice.drover.dev/web unchanged")


def test_apply_of_a_new_version_is_not_fooled_by_the_old_one_that_runs(run: Run) -> None:
    run("apply", "--wait", body=document("shop"))
    done = run("apply", "--wait", body=document("shop", image="i:2"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "managedservice.drover.dev/shop configured" in done.stdout
    assert fields(done.stdout.splitlines()[-2])[4:] == ["2", "Healthy"]


def test_apply_of_what_cannot_be_ends_with_2_and_the_reason(run: Run) -> None:
    body = document("bad")
    body["spec"]["template"]["spec"]["containers"][0]["nonsense"] = 1
    done = run("apply", "--wait", body=body)
    assert done.returncode == 2
    assert done.stderr.startswith("error: bad cannot reach run: InvalidTemplate: ") and "nonsense" in done.stderr
    assert done.stderr.endswith("Next: Correct the field that the message names.\n") and done.stderr.count("\n") == 1
    why = run("why", "bad")
    assert why.returncode == 2
    assert "InvalidTemplate" in why.stdout and "Next: Correct the field" in why.stdout


def test_apply_that_does_not_come_up_ends_with_3_and_why_says_more(run: Run) -> None:
    done = run("apply", "--wait", "--timeout=2s", body=document("ill", simulate="crash"))
    assert done.returncode == 3
    assert re.fullmatch(r"error: ill did not reach run in 2s: phase \w+, 0/1 in service, \w+; kubectl drover why ill -n default says more\n", done.stderr)
    why = run("why", "ill")
    assert "container app: " in why.stdout and "last exit code 1" in why.stdout
    assert re.search(r"Next: kubectl logs ill-\w+-\d-\w+ -n default -c app", why.stdout)
    assert why.returncode == 2
    told = json.loads(run("why", "ill", "-o", "json").stdout)
    assert (told["name"], told["healthy"], told["chain"][0]["subject"]) == ("ill", False, "service ill")


APPLIED = [
    ("kinds that are not Drover's go too", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}}, 0, "configmap/c created", ""),
    ("without a namespace", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}, 0, "namespace/n created", ""),
    ("a kind that is not there", {"apiVersion": "x.io/v1", "kind": "X", "metadata": {"name": "x"}}, 1, "", "error: x/x: the server has no kind X in x.io/v1"),
    ("a field that is misspelt", document("typo", replica=3), 1, "", ".spec.replica: field not declared in schema"),
    ("a rule of the CRD", document("rule", replicas=-1), 1, "", "spec.replicas"),
    ("no name", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "c-"}}, 1, "", "it has no metadata.name"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "body", "code", "out", "err"), APPLIED, ids=[row[0] for row in APPLIED])
def test_apply_of_other_things(why: str, body: dict[str, Any], code: int, out: str, err: str, run: Run) -> None:
    dry = run("apply", "--dry-run=server", body=body)
    done = run("apply", body=body)
    assert (done.returncode, done.stdout) == (code, f"{out}\n" if out else ""), why
    assert (dry.returncode, dry.stdout) == (code, f"{out} (server dry run)\n" if out else ""), why
    assert err in done.stderr and done.stderr.count("\n") == bool(err), why


def test_apply_goes_on_after_a_refusal_and_puts_namespaces_first(run: Run) -> None:
    pieces = [document("typo", replica=1), {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "d", "namespace": "late"}}]
    items = [*pieces, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "late"}}]
    done = run("apply", body={"apiVersion": "v1", "kind": "List", "items": items})
    assert (done.returncode, done.stdout) == (1, "namespace/late created\nconfigmap/d created\n")


def test_fields_of_somebody_else_are_not_taken_over_unasked(run: Run, environ: dict[str, str]) -> None:
    server = json.loads(Path(environ["KUBECONFIG"]).read_text())["clusters"][0]["cluster"]["server"]
    run("apply", body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared", "namespace": "default"}, "data": {"a": "1"}})
    import urllib.request

    path = f"{server}/api/v1/namespaces/default/configmaps/shared?fieldManager=somebody"
    change = urllib.request.Request(path, b'{"data": {"a": "2"}}', {"Content-Type": "application/merge-patch+json"}, method="PATCH")
    urllib.request.urlopen(change, timeout=LATEST).close()
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared", "namespace": "default"}, "data": {"a": "3"}}
    done = run("apply", body=body)
    assert (done.returncode, done.stdout) == (1, "")
    assert 'conflict with "somebody"' in done.stderr and "give --force-conflicts" in done.stderr
    assert run("apply", "--force-conflicts", body=body).stdout == "configmap/shared configured\n"


# --- status -w


def test_a_rollout_as_lines_until_ctrl_c(run: Run, environ: dict[str, str]) -> None:
    run("apply", "--wait", body=document("lines"))
    with begin(environ, "status", "lines", "-w", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert fields(process.stdout.readline())[:2] == ["NAME", "PHASE"]
        assert fields(process.stdout.readline())[:3] == ["lines", "Run", "1/1"]
        run("apply", body=document("lines", image="i:2"))
        rows = [fields(process.stdout.readline())]
        while rows[-1][-2:] != ["2", "Healthy"]:
            rows.append(fields(process.stdout.readline()))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LATEST)
    assert (process.returncode, err) == (130, "")
    assert {"Update", "Run"} <= {row[1] for row in rows}
    assert all(row[0] == "lines" for row in rows)
    assert [row for row, then in itertools.pairwise(rows) if row == then] == []


def test_a_view_ends_when_its_reader_is_gone(run: Run, environ: dict[str, str]) -> None:
    run("apply", "--wait", body=document("reader"))
    with begin(environ, "status", "reader", "-w", "-o", "json", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["type"] == "ADDED"
        process.stdout.close()
        run("apply", "--wait", body=document("reader", image="i:2"))
        assert process.wait(LATEST) == 0
        assert process.stderr is not None and process.stderr.read() == ""


class Screen:
    """A verb on a pseudo-terminal, and what one would see."""

    def __init__(self, environ: dict[str, str], *words: str, columns: int = 80, rows: int = 30) -> None:
        self.master, slave = pty.openpty()
        self.terminal = Terminal(columns, rows)
        self._size(columns, rows)
        command = [sys.executable, "-m", MODULE, *words]
        self.process = subprocess.Popen(command, env=environ, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """As most terminals do it: what was there is anywhere."""
        self.read_for(0)
        self._size(columns, rows)
        self.terminal = Terminal(columns, rows)
        self.terminal.write("x" * columns * rows)
        self.process.send_signal(signal.SIGWINCH)

    def until(self, what: Callable[[list[str]], bool]) -> list[str]:
        deadline = time.monotonic() + LATEST
        while not what(self.terminal.lines):
            assert time.monotonic() < deadline, "\n".join(self.terminal.lines)
            self.read_for(1)
        return self.terminal.lines

    def read_for(self, seconds: float) -> bool:
        """Take what comes within that time; False at the end."""
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:  # the other side is closed
            return False
        self.terminal.write(data.decode())
        return bool(data)

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        while self.read_for(LATEST):
            pass
        return self.process.wait(LATEST)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(LATEST)
        os.close(self.master)


Show = Callable[..., Screen]


@pytest.fixture
def show(environ: dict[str, str]) -> Iterator[Show]:
    """Runs a verb on a terminal; what still runs at the end of a test that failed is ended."""
    screens: list[Screen] = []

    def begin(*words: str, **changed: str) -> Screen:
        screens.append(Screen({**environ, **changed}, *words))
        return screens[-1]

    yield begin
    for screen in screens:
        screen.close()


def test_the_live_view_on_a_terminal(run: Run, show: Show) -> None:
    run("apply", "--wait", body=document("view", replicas=3))
    screen = show("status", "view", "-w", COLUMNS="80")  # exported, and old after the resize
    screen.until(lambda lines: any(line.startswith("Phase:     Run") for line in lines) and not screen.terminal.visible)
    run("apply", body=document("view", replicas=3, image="i:2", simulate="never-ready"))
    lines = screen.until(lambda lines: any(line.startswith("Phase:     Update") for line in lines) and any("Starting" in line for line in lines))
    assert lines[0].startswith("Service:   view in namespace default"), "one frame, at its place"
    assert sum(line.startswith("Phase:") for line in lines) == 1
    assert any(line.startswith("Progress:  rolled out 0 of 3") for line in lines)
    screen.resize(60, 12)
    lines = screen.until(lambda lines: "x" * 60 not in lines and any("more lines than this terminal has" in line for line in lines))
    assert lines[0].startswith("Service:") and len(lines) <= 11
    assert screen.end(signal.SIGINT) == 130
    assert screen.terminal.visible, "the cursor is there again"
    assert not any("Traceback" in line for line in screen.terminal.lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_ends_give_the_cursor_back_too(number: int, show: Show) -> None:
    screen = show("status", "-A", "-w")
    screen.until(lambda lines: bool(lines) and not screen.terminal.visible)
    assert screen.end(number) == 130
    assert screen.terminal.visible


def test_ctrl_z_gives_the_cursor_back_and_fg_the_view(show: Show) -> None:
    screen = show("status", "-A", "-w")
    screen.until(lambda lines: bool(lines) and not screen.terminal.visible)
    screen.process.send_signal(signal.SIGTSTP)
    screen.until(lambda _: screen.terminal.visible)
    assert os.waitid(os.P_PID, screen.process.pid, os.WSTOPPED | os.WNOWAIT), "else SIGCONT could come before it stops"
    screen.terminal.write("\r\nzsh: suspended\r\n")
    screen.process.send_signal(signal.SIGCONT)
    lines = screen.until(lambda lines: not screen.terminal.visible and not any("suspended" in line for line in lines))
    assert lines[0].startswith(("NAMESPACE", "no services"))
    assert screen.end(signal.SIGINT) == 130


def test_a_goal_on_a_terminal_leaves_the_last_frame(run: Run, show: Show) -> None:
    run("apply", body=document("goal"))
    screen = show("status", "goal", "--for=run")
    while screen.read_for(LATEST):
        pass
    assert screen.process.wait(LATEST) == 0
    assert screen.terminal.lines[0].startswith("Service:   goal")
    assert re.fullmatch(r"managedservice\.drover\.dev/goal: run reached after \d+s", screen.terminal.lines[-1])
    assert screen.terminal.visible


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(show: Show) -> None:
    screen = show("status", "-w", "-n", "kube-system", TERM="dumb")
    assert screen.until(bool)[0].startswith("TIME  ")
    assert screen.end(signal.SIGINT) == 130


# --- history


def test_history_has_the_revisions_and_what_happened(run: Run) -> None:
    run("apply", "--wait", body=document("past"))
    run("apply", "--wait", body=document("past", image="i:2"))
    done = run("history", "past")
    assert (done.returncode, done.stderr) == (0, "")
    revisions, changes = done.stdout.split("\n\n")
    assert [line.split()[2] for line in revisions.splitlines()[2:]] == ["1", "2"]
    assert "target, stable" in revisions.splitlines()[-1]
    assert [" ".join(line.split()[2:5]) for line in changes.splitlines()[-2:]] == ["Run -> Update", "Update -> Run"]
    told = json.loads(run("history", "past", "-o", "json").stdout)
    assert [each["number"] for each in told["revisions"]] == [1, 2]
    assert told["changes"][-1]["to"] == "Run"
