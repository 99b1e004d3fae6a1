# SPDX-License-Identifier: Apache-2.0
"""The verbs of the operator's hand as a user meets them: in a sandbox with the real operator, and against servers that say no."""

import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from drover_operator.cli import main as entry
from drover_operator.cli import steering
from drover_operator.cli.main import main
from drover_operator.cli.options import Where
from drover_operator.kube.client import Client
from drover_operator.kube.errors import OutcomeUnknown
from drover_operator.kube.transport import Reply, Request

LATEST = 60  # seconds; a change takes about two on an idle machine
NOW = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
Json = dict[str, Any]
Run = Callable[..., tuple[int, str, str]]


def document(name: str, image: str = "i:1", **spec: Any) -> Json:
    env = [{"name": "DB_PASSWORD", "value": f"hunter-{image}"}, {"name": "MODE", "value": f"mode-{image}"}]
    template = {"spec": {"containers": [{"name": "app", "image": image, "env": env}]}}
    body = {"criticality": "Normal", "replicas": 1, "restart": {"settle": "0s"}, "template": template, **spec}
    return {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": {"name": name, "namespace": "default"}, "spec": body}


# --- in a sandbox


@pytest.fixture(scope="module")
def kubeconfig() -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-m", "drover_operator.cli.main", "sandbox"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    lines = [process.stdout.readline() for _ in range(3)]
    found = re.fullmatch(r"  export KUBECONFIG=(\S+)\n", lines[1])
    assert found, lines
    yield found[1]
    process.terminate()
    process.communicate(timeout=LATEST)


@pytest.fixture
def run(kubeconfig: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs the command in this process; answers exit code, output and errors. `body` is applied, and waited for."""
    monkeypatch.setenv("KUBECONFIG", kubeconfig)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("COLUMNS", "200")

    def begin(*words: str, body: Json | None = None) -> tuple[int, str, str]:
        file = tmp_path / "body.json"
        file.write_text(json.dumps(body))
        code = main([*words, *(["-f", str(file)] if body is not None else [])])
        return code, *capsys.readouterr()

    return begin


def stored(name: str) -> Json:
    server = json.loads(Path(os.environ["KUBECONFIG"]).read_text())["clusters"][0]["cluster"]["server"]
    with urllib.request.urlopen(f"{server}/apis/drover.dev/v1alpha1/namespaces/default/managedservices/{name}", timeout=LATEST) as answer:
        return json.load(answer)


def note(name: str, key: str) -> str | None:
    return stored(name)["metadata"].get("annotations", {}).get(f"drover.dev/{key}")


def said(name: str, words: str) -> str:
    return f"managedservice.drover.dev/{name} {words}; watch it: kubectl drover status {name} -n default -w\n"


def test_pause_and_resume_with_a_record_of_who_and_why(run: Run) -> None:
    run("apply", "--wait", body=document("still"))
    assert run("pause", "still", "--reason", "error rate is up") == (0, said("still", "paused"), "")
    assert stored("still")["spec"]["paused"] is True
    assert re.fullmatch(f"pause by kubectl at {NOW}: error rate is up", note("still", "command") or "")
    before = stored("still")["metadata"]["resourceVersion"]
    assert run("pause", "still", "--reason", "again") == (0, "managedservice.drover.dev/still is already paused\n", "")
    assert stored("still")["metadata"]["resourceVersion"] == before, "nothing was written"
    assert run("resume", "msvc/still", "-n", "default") == (0, said("still", "resumed"), "")
    assert stored("still")["spec"]["paused"] is False
    assert re.fullmatch(f"resume by kubectl at {NOW}", note("still", "command") or "")


def test_a_dry_run_shows_the_change_and_stores_nothing(run: Run) -> None:
    run("apply", "--wait", body=document("dry"))
    before = stored("dry")["metadata"]["resourceVersion"]
    code, out, err = run("pause", "dry", "--dry-run", "--reason", "password=hunter2")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        r"~ patch managedservices/dry  \(pause\)\n"
        rf"    metadata.annotations.drover.dev/command: none -> pause by kubectl at {NOW}: password=\*\*\*\n"
        r"    spec.paused: false -> true\n"
        r"managedservice.drover.dev/dry paused \(server dry run\)\n",
        out,
    )
    assert stored("dry")["metadata"]["resourceVersion"] == before


def test_a_restart_is_a_rollout_of_a_new_revision_of_the_same_version(run: Run) -> None:
    run("apply", "--wait", body=document("again"))
    first = stored("again")["status"]
    assert run("restart", "again") == (0, said("again", "restarted: a new revision replaces every instance"), "")
    assert run("status", "again", "--for=run", f"--timeout={LATEST}s")[0] == 0
    then = stored("again")
    assert list(then["spec"]["template"]["metadata"]["annotations"]) == ["drover.dev/restartedAt"]
    assert then["spec"]["template"]["spec"] == document("again")["spec"]["template"]["spec"]
    assert then["status"]["version"] == first["version"]
    assert then["status"]["currentRevision"] != first["currentRevision"]


def test_back_to_the_revision_before_and_on_with_the_template(run: Run) -> None:
    run("apply", "--wait", body=document("back"))
    first = stored("back")["status"]["currentRevision"]
    run("apply", "--wait", body=document("back", "i:2"))
    second = stored("back")["status"]["currentRevision"]
    assert run("rollback", "back") == (0, said("back", f"goes to {first} and stays there until kubectl drover unpin back -n default"), "")
    assert run("rollback", "back", "--to", "1") == (0, f"managedservice.drover.dev/back is already pinned to {first}\n", "")
    run("status", "back", "--for=run", f"--timeout={LATEST}s")
    assert stored("back")["status"]["currentRevision"] == first
    code, out, err = run("rollback", "back", "--to", "nine")
    assert (code, out, err) == (4, "", f"error: no revision 'nine' of service 'back'; recorded are 1 ({first}), 2 ({second})\n")
    assert run("unpin", "back") == (0, said("back", "unpinned: it follows its template again"), "")
    run("status", "back", "--for=run", f"--timeout={LATEST}s")
    assert stored("back")["status"]["currentRevision"] == second
    assert "pin" not in stored("back")["spec"]


def test_an_abort_names_the_revision_and_a_retry_takes_it_back(run: Run) -> None:
    run("apply", "--wait", body=document("halt"))
    first = stored("halt")["status"]["currentRevision"]
    run("pause", "halt")
    run("apply", "--force-conflicts", body=document("halt", "i:2", paused=True))
    run("status", "halt", "--for=update", f"--timeout={LATEST}s")
    target = stored("halt")["status"]["rollout"]["target"]
    code, out, _ = run("abort", "halt")
    assert (code, target != first) == (0, True)
    assert f"aborted the rollout to {target}: {first} serves again; watch it: " in out, "a pause keeps no bad version in place"
    assert note("halt", "aborted") == target
    assert run("retry", "halt")[:2] == (0, out_of_retry(target))
    assert note("halt", "aborted") is None
    assert re.fullmatch(NOW, note("halt", "retried") or "")


def out_of_retry(target: str) -> str:
    return said("halt", f"lets {target} be tried again; spec.paused is true, so nothing moves before kubectl drover resume halt -n default")


def test_steps_are_passed_by_hand(run: Run) -> None:
    steps = {"type": "Canary", "canary": {"steps": [{"weight": 20, "hold": "1h"}, {"pause": {}}]}}
    run("apply", "--wait", body=document("steps", replicas=2, rollout=steps))
    run("apply", body=document("steps", "i:2", replicas=2, rollout=steps))
    run("status", "steps", "--for=update", f"--timeout={LATEST}s")
    target = stored("steps")["status"]["rollout"]["target"]
    assert run("promote", "steps") == (0, said("steps", f"promoted to step 2 of 2 on the way to {target}"), "")
    assert note("steps", "promoted").startswith(f"{target}/1/2")
    assert run("promote", "steps", "--full", "--reason", "a fix") == (0, said("steps", f"promoted past all 2 steps on the way to {target}"), "")
    assert re.fullmatch(f"promote to full by kubectl at {NOW}: a fix", note("steps", "command") or "")
    assert run("status", "steps", "--for=run", f"--timeout={LATEST}s")[0] == 0
    assert stored("steps")["status"]["currentRevision"] == target


REFUSED = [
    ("a reason of two lines", ["pause", "x", "--reason", "a\nb"], "argument --reason: it has line breaks or control characters: give one plain line"),
    ("a reason that is too long", ["abort", "x", "--reason", "a" * 257], "argument --reason: it has 257 characters, at most 256 are allowed: cut it short"),
    ("a freeze without an end", ["freeze", "x"], "the following arguments are required: --for"),
    ("a freeze that is forgotten", ["freeze", "x", "--for", "745h"], "argument --for: '745h' must be from 1m to 744h (31 days)"),
    ("a freeze that is over before it is seen", ["freeze", "x", "--for", "59s"], "argument --for: '59s' must be from 1m to 744h (31 days)"),
    ("days are no unit of Kubernetes", ["freeze", "x", "--for", "1d"], "argument --for: '1d' is no duration: give one such as 90m or 24h"),
    ("a time that is none", ["unfreeze", "x", "--for", "soon"], "argument --for: 'soon' is no duration: give one such as 90m or 24h"),
    ("a step that is no number", ["promote", "x", "--to-step", "two"], "argument --to-step: invalid int value: 'two'"),
    ("a step and all of them", ["promote", "x", "--to-step", "2", "--full"], "argument --full: not allowed with argument --to-step"),
    ("no name", ["restart"], "the following arguments are required: NAME"),
    ("another kind", ["retry", "pod/x"], "'pod/x' is not a service: give NAME or msvc/NAME"),
]


@pytest.mark.parametrize(("why", "words", "message"), REFUSED, ids=[row[0] for row in REFUSED])
def test_wrong_usage_is_one_line_and_4(why: str, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 4, why
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: {message}"), why


def test_a_slip_in_the_name_is_understood(run: Run) -> None:
    run("apply", "--wait", body=document("cart"))
    assert run("pause", "crat") == (1, "", "error: no service 'crat' in namespace 'default'; did you mean cart?\n")
    code, out, err = run("promote", "cart")
    assert (code, out) == (4, "")
    assert err.startswith("error: cannot promote 'cart': status.rollout.target and stable are both 'cart-")


# --- history OLD NEW


def test_two_revisions_side_by_side_without_secrets(run: Run) -> None:
    run("apply", "--wait", body=document("two"))
    run("apply", "--wait", body=document("two", "i:2"))
    revisions = json.loads(run("history", "two", "-o", "json")[1])["revisions"]
    old, new = (each["name"] for each in revisions)
    code, out, err = run("history", "two", "1", new)
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == [f"--- {old} (1)", f"+++ {new} (2)"]
    changed = {line.strip() for line in out.splitlines()[2:] if line[0] in "+-"}
    assert changed == {
        "-        value: '***'",
        "+        value: '*** (another value)'",
        "-        value: mode-i:1",
        "+        value: mode-i:2",
        "-      image: i:1",
        "+      image: i:2",
    }
    assert json.loads(run("history", "two", "1", "2", "-o", "json")[1]) == {"old": old, "new": new, "diff": out.splitlines()}
    assert run("history", "two", old, "1") == (0, f"no differences: {old} and {old} make the same pods\n", "")
    assert run("history", "two", "1", "9") == (4, "", f"error: no revision '9' of service 'two'; recorded are 1 ({old}), 2 ({new})\n")
    assert run("history", "two", "1")[2] == "error: one revision '1' to compare: give two, by name or number, or none to see all that are recorded\n"


# --- against a server that says no


class Server:
    """A service that somebody else changes while it is read; `conflicts` is how often. `review` answers who asks."""

    def __init__(self, conflicts: int = 0, review: tuple[int, str] | None = None) -> None:
        self.conflicts = conflicts
        self.review = review
        self.uids = ["u-1"]
        self.version = 1
        self.patches: list[Json] = []

    async def send(self, request: Request) -> Reply:
        if request.path == steering.REVIEWS:
            if self.review is None:
                raise OutcomeUnknown("no answer in time")
            return Reply(status=self.review[0], body=self.review[1].encode())
        if request.method == "PATCH":
            return self.patched(json.loads(request.body))
        meta = {"name": "cart", "namespace": "shop", "uid": self.uids.pop() if len(self.uids) > 1 else self.uids[0], "resourceVersion": str(self.version)}
        return self.answer({"metadata": meta, "spec": {}})

    def patched(self, patch: Json) -> Reply:
        self.patches.append(patch)
        if len(self.patches) <= self.conflicts:
            self.version += 1
            return self.answer({"kind": "Status", "code": 409, "reason": "Conflict", "message": "changed meanwhile"}, 409)
        return self.answer({"metadata": {"name": "cart", **patch["metadata"]}, "spec": patch["spec"]})

    def answer(self, body: Json, status: int = 200) -> Reply:
        return Reply(status=status, body=json.dumps(body).encode())

    def stream(self, request: Request) -> AbstractAsyncContextManager[tuple[Reply, AsyncIterator[bytes]]]:
        raise AssertionError(request)

    async def close(self) -> None:
        pass


Serve = Callable[[Server], tuple[int, str, str]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Serve:
    """Pauses the service of that server."""

    def begin(server: Server) -> tuple[int, str, str]:
        @contextlib.asynccontextmanager
        async def connected(_where: Where) -> AsyncGenerator[tuple[Client, str]]:
            yield Client(server), "shop"

        monkeypatch.setattr(steering, "connected", connected)
        return main(["pause", "cart"]), *capsys.readouterr()

    return begin


def test_a_service_that_was_changed_meanwhile_is_looked_at_again(serve: Serve) -> None:
    server = Server(conflicts=2)
    assert serve(server)[0] == 0
    assert [each["metadata"]["resourceVersion"] for each in server.patches] == ["1", "2", "3"]
    assert {each["metadata"]["uid"] for each in server.patches} == {"u-1"}


def test_but_not_for_ever(serve: Serve) -> None:
    server = Server(conflicts=100)
    assert serve(server) == (
        1,
        "",
        f"error: service 'cart' was changed by others each of the {steering.MOST_TRIES} times that it was read; nothing was done, try again\n",
    )
    assert len(server.patches) == steering.MOST_TRIES


def test_another_service_of_the_name_is_left_alone(serve: Serve) -> None:
    server = Server(conflicts=1)
    server.uids = ["u-2", "u-1"]
    assert serve(server) == (1, "", "error: service 'cart' was deleted and made anew meanwhile; nothing was done to the new one\n")
    assert [each["metadata"]["uid"] for each in server.patches] == ["u-1"]


WHO: list[tuple[str, tuple[int, str] | None, str]] = [
    ("as the server has it", (201, '{"status": {"userInfo": {"username": "eve@example.com"}}}'), "eve@example.com"),
    ("no right to ask", (403, '{"kind": "Status", "status": "Failure", "message": "no"}'), "unknown"),
    ("an API server without such reviews", (404, "404 page not found"), "unknown"),
    ("an answer without a name", (201, '{"status": {}}'), "unknown"),
    ("no answer", None, "unknown"),
]


@pytest.mark.parametrize(("why", "review", "user"), WHO, ids=[row[0] for row in WHO])
def test_who_it_was(why: str, review: tuple[int, str] | None, user: str, serve: Serve) -> None:
    server = Server(review=review)
    assert serve(server)[0] == 0
    assert f"pause by {user} at " in server.patches[0]["metadata"]["annotations"]["drover.dev/command"], why


def test_all_of_these_verbs_have_the_options_in_common() -> None:
    parser: Any = entry.Parser(prog="kubectl drover")
    verbs = parser.add_subparsers()
    for verb in entry.STEERING:
        entry.add(verb, verbs)
        needed = ["--for", "1h"] if verb == "freeze" else []
        found = parser.parse_args([verb, "cart", "-n", "shop", "--dry-run", "--reason", " why ", *needed])
        assert (found.verb, found.name, found.namespace, found.dry_run, found.reason) == (verb, "cart", "shop", True, "why")
