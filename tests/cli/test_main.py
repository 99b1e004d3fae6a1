# SPDX-License-Identifier: Apache-2.0
"""The command as a user meets it: exit codes, one line for every error, a light start; against a small HTTP server in this process."""

import asyncio
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drover_operator.cli import cluster, screen, version_verb
from drover_operator.cli import main as entry
from drover_operator.cli.main import main
from drover_operator.cli.outcome import Failure
from drover_operator.kube.client import Client
from drover_operator.kube.transport import Reply, Request

ROOT = Path(__file__).parents[2]
COLLECTION = "/apis/drover.dev/v1alpha1"
HEAVY = ("aiohttp", "kopf", "structlog", "yaml", "asyncio", "ssl", "prometheus_client", "kubernetes", "drover_operator.kube.client")


def service(name: str, namespace: str = "shop", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "drover.dev/v1alpha1",
        "kind": "ManagedService",
        "metadata": {"name": name, "namespace": namespace, "managedFields": [{"manager": "kubectl"}], "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"criticality": "Normal", "template": {}, "aFieldOfTomorrow": 1},
        "status": {"phase": "Run", "summary": "Healthy", "ready": "1/1", "upToDate": "1/1", "version": "1.0", **status},
    }


STALLED = {"conditions": [{"type": "Stalled", "status": "True", "reason": "InvalidTemplate", "message": "no"}]}
SERVICES = [
    service("cart"),
    service("checkout", summary="InvalidTemplate", **STALLED),
    service("payment", phase="Failed"),
    service("search", conditions=[{"type": "Degraded", "status": "True", "reason": "InstancesMissing"}]),
    service("lonely", "attic"),
]


def refusal(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message}


class Api:
    """What the server answers: services, or one answer to everything."""

    def __init__(self, services: list[dict[str, Any]]) -> None:
        self.services = services
        self.always: tuple[int, Any] | None = None
        self.hang = threading.Event()
        self.asked = threading.Event()

    def answer(self, path: str, query: Mapping[str, list[str]]) -> tuple[int, Any]:
        self.asked.set()
        if self.always is not None:
            return self.always
        match = re.fullmatch(rf"{COLLECTION}(?:/namespaces/([^/]+))?/managedservices(?:/([^/]+))?", path)
        assert match, path
        namespace, name = match.groups()
        found = [each for each in self.services if namespace in (None, each["metadata"]["namespace"]) and name in (None, each["metadata"]["name"])]
        if name:
            return (200, found[0]) if found else refusal(404, "NotFound", f'managedservices.drover.dev "{name}" not found')
        return self.chunk(found, query)

    def chunk(self, found: list[dict[str, Any]], query: Mapping[str, list[str]]) -> tuple[int, Any]:
        start, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0]) or len(found)
        after = str(start + limit) if start + limit < len(found) else ""
        return 200, {"metadata": {"resourceVersion": "7", "continue": after}, "items": found[start : start + limit]}


class Stub:
    """A Transport in front of an Api, without sockets."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.requests: list[Request] = []
        self.gone_after = 10**9

    async def send(self, request: Request) -> Reply:
        self.requests.append(request)
        if int(request.query.get("continue", "0")) >= self.gone_after:
            code, body = refusal(410, "Expired", "too old")
        else:
            code, body = self.api.answer(request.path, {name: [value] for name, value in request.query.items()})
        return Reply(status=code, body=json.dumps(body).encode())

    def stream(self, request: Request) -> AbstractAsyncContextManager[tuple[Reply, AsyncIterator[bytes]]]:
        raise AssertionError(request)

    async def close(self) -> None:
        pass


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A server that is the current context of $KUBECONFIG, with namespace shop."""
    api = Api(SERVICES)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            code, body = api.answer(url.path, parse_qs(url.query))
            api.hang.wait(10) if body == "hang" else None
            data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    point(monkeypatch, tmp_path, f"http://127.0.0.1:{server.server_port}")
    yield api
    api.hang.set()
    server.shutdown()
    server.server_close()
    thread.join()


def point(monkeypatch: pytest.MonkeyPatch, folder: Path, server: str) -> None:
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
    }
    (folder / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(folder / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("COLUMNS", raising=False)


# --- usage

USAGE = [
    ("a verb with a slip", ["statsu"], "unknown verb 'statsu'; did you mean status?"),
    ("a verb like none", ["zzz"], f"unknown verb 'zzz'; verbs are {', '.join(entry.VERBS)}, sandbox"),
    (
        "kubectl's habit of options first",
        ["-n", "shop", "status"],
        "option -n before the verb; options come after it, as in kubectl drover status -n NAMESPACE",
    ),
    ("an unknown option", ["status", "--frob"], "unrecognized arguments: --frob; see kubectl drover --help"),
    ("an option cut short is not guessed", ["status", "--name", "x"], "unrecognized arguments: --name; see kubectl drover --help"),
    ("an unknown output", ["status", "-o", "xml"], "argument -o/--output: invalid choice: 'xml' (choose from 'json'); see kubectl drover status --help"),
    ("an option without its value", ["import", "-f"], "argument -f/--filename: expected one argument; see kubectl drover import --help"),
    ("one name in all namespaces", ["status", "cart", "-A"], "a service has one namespace: give NAME with -n NAMESPACE, or -A without NAME"),
    (
        "one and all namespaces",
        ["status", "-n", "shop", "-A"],
        "argument -A/--all-namespaces: not allowed with argument -n/--namespace; see kubectl drover status --help",
    ),
    ("another kind", ["status", "pod/cart"], "'pod/cart' is not a service: give NAME or msvc/NAME"),
    ("a path for a name", ["status", "msvc/.."], "'..' is not a name of a service: small letters, digits and - only"),
    ("a kind without a name", ["status", "msvc/"], "'' is not a name of a service: small letters, digits and - only"),
    ("a path for a namespace", ["status", "-n", "a/b"], "'a/b' is not a name of a namespace: small letters, digits and - only"),
]


@pytest.mark.parametrize(("why", "argv", "message"), USAGE, ids=[row[0] for row in USAGE])
def test_wrong_usage_is_one_line_and_4(why: str, argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 4, why
    assert capsys.readouterr() == ("", f"error: {message}\n"), why


@pytest.mark.parametrize("argv", [[], ["--help"], ["status", "--help"], ["import", "-h"], ["version", "-h"]])
def test_help_has_exit_codes_and_examples_to_copy(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "exit codes: 0 done" in out
    assert not re.search(r"^\s*\$", out, re.MULTILINE)


@pytest.mark.parametrize("verb", ["", *entry.VERBS])
def test_every_example_is_wrong_usage_of_nothing(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*filter(None, [verb]), "--help"]) == 0
    commands = re.findall(rf"^ +(?:.*[|] )?kubectl drover ({verb or '[a-z]+'}.*?)(?:;.*| [|>] .*)?$", capsys.readouterr().out, re.MULTILINE)
    assert commands
    for words in (shlex.split(each) for each in commands):
        parser = entry.Parser(prog="kubectl drover")
        entry.add(words[0], parser.add_subparsers())
        parser.parse_args(words)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert re.fullmatch(r"kubectl-drover [0-9.]+\S*, API drover\.dev/v1alpha1\n", capsys.readouterr().out)


@pytest.mark.parametrize("argv", [["--help"], ["version"], ["statsu"], ["explain"], ["completion", "bash"], *([verb, "--help"] for verb in entry.VERBS)])
def test_start_is_light(argv: list[str]) -> None:
    code = f"import sys\nfrom drover_operator.cli.main import main\nmain({argv!r})\nprint(*[m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr.splitlines()[-1] == ""


# --- status against a server

SHOWN = [
    ("a healthy service", ["cart"], 0, "Phase:     Run"),
    ("by kind and name", ["msvc/cart"], 0, "Phase:     Run"),
    ("Stalled", ["checkout"], 2, "InvalidTemplate: Stalled=True"),
    ("Failed", ["payment"], 2, "Phase:     Failed"),
    ("Degraded", ["search"], 2, "InstancesMissing: Degraded=True"),
    ("another namespace", ["lonely", "-n", "attic"], 0, "lonely in namespace attic"),
    ("the namespace of the context", [], 0, "4 services: 3 Run, 1 Failed; not healthy: InvalidTemplate, Failed,\n  InstancesMissing"),
    ("all namespaces", ["-A"], 0, "attic      lonely    Run"),
    ("the context by name", ["cart", "--context", "here"], 0, "Phase:     Run"),
]


@pytest.mark.parametrize(("why", "argv", "code", "text"), SHOWN, ids=[row[0] for row in SHOWN])
def test_status(why: str, argv: list[str], code: int, text: str, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", *argv]) == code, why
    out, err = capsys.readouterr()
    assert text in out, why
    assert err == "", why


TROUBLE = [
    ("a slip in the name", ["crat"], None, "no service 'crat' in namespace 'shop'; did you mean cart?"),
    ("the wrong namespace", ["lonely"], None, "no service 'lonely' in namespace 'shop'; there is one in namespace attic: add -n attic"),
    ("a name like none", ["zzz"], None, "no service 'zzz' in namespace 'shop'; kubectl drover status lists what there is"),
    ("no CRDs, as the server says it", [], (404, "404 page not found\n"), "Drover is not installed in this cluster: apply crds/ first"),
    ("no CRDs, asked for a name", ["cart"], (404, "404 page not found\n"), "Drover is not installed in this cluster: apply crds/ first"),
    ("no right", [], refusal(403, "Forbidden", "User 'eve' cannot list"), "no right to do this: User 'eve' cannot list"),
    (
        "bad credentials",
        [],
        refusal(401, "Unauthorized", "Unauthorized"),
        "the cluster does not accept these credentials (Unauthorized): log in again, or choose another context with --context",
    ),
    ("a broken server", [], (500, "boom"), "the API server answered 500: boom"),
    ("not an API server", [], (200, "<html>"), "JSON is malformed: invalid character (byte 0)"),
    (
        "a context that is not there",
        ["--context", "nope"],
        None,
        "has no context 'nope' (it has: here); choose one with --context or kubectl config use-context",
    ),
    ("a kubeconfig that is not there", ["--kubeconfig", "/nope"], None, "no kubeconfig file /nope"),
    ("a service of a newer operator", ["cart"], (200, service("cart", phase="Dancing")), "was written by another version of Drover"),
]


@pytest.mark.parametrize(("why", "argv", "always", "message"), TROUBLE, ids=[row[0] for row in TROUBLE])
def test_trouble_is_one_line_and_1(
    why: str, argv: list[str], always: tuple[int, Any] | None, message: str, api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    api.always = always
    assert main(["status", *argv]) == 1, why
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:7]) == ("", 1, "error: "), why
    assert message in err, why


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    point(monkeypatch, tmp_path, "http://127.0.0.1:1")
    assert main(["status"]) == 1
    expected = "error: cannot reach http://127.0.0.1:1: Connection refused; is the cluster running, and is it the right context?\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("content", ["[1]", "{", '{"contexts": 3}', ""])
def test_a_kubeconfig_of_a_wrong_shape(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config").write_text(content)
    assert main(["status", "--kubeconfig", str(tmp_path / "config")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "unexpected" not in err


def test_no_services_is_no_error(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "-n", "nothing"]) == 0
    assert capsys.readouterr() == ("", "no services in namespace nothing\n")
    api.services = []
    assert main(["status", "-A"]) == 0
    assert capsys.readouterr() == ("", "no services in any namespace\n")


def test_one_unreadable_service_hides_no_other(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.services = [service("cart"), service("odd", phase="Dancing")]
    assert main(["status"]) == 1
    out, err = capsys.readouterr()
    assert "1 service: 1 Run" in out
    assert err.startswith("error: 1 services were written by another version of Drover")


def test_json_is_what_the_server_has(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "cart", "-o", "json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["spec"]["aFieldOfTomorrow"] == 1
    assert "managedFields" not in one["metadata"]
    assert main(["status", "-A", "-o", "json"]) == 0
    every = json.loads(capsys.readouterr().out)
    assert (every["kind"], len(every["items"])) == ("List", len(SERVICES))
    assert main(["status", "payment", "-o", "json"]) == 2
    assert json.loads(capsys.readouterr().out)["status"]["phase"] == "Failed"
    assert main(["status", "-n", "nothing", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"] == []


# --- reading


def read(stub: Stub) -> tuple[int, list[int]]:
    progress: list[int] = []

    async def go() -> int:
        return len(await cluster.every(Client(stub), "shop", progress.append))

    return asyncio.run(go()), progress


def test_lists_are_read_in_chunks_with_progress() -> None:
    stub = Stub(Api([service(f"s{number}") for number in range(1200)]))
    assert read(stub) == (1200, [500, 1000, 0])
    assert [(each.query["limit"], each.query.get("continue")) for each in stub.requests] == [("500", None), ("500", "500"), ("500", "1000")]


def test_a_list_that_expires_is_read_once_more_and_whole() -> None:
    stub = Stub(Api([service(f"s{number}") for number in range(1200)]))
    stub.gone_after = 1000
    assert read(stub) == (1200, [500, 1000, 0])
    assert (stub.requests[-1].query["limit"], len(stub.requests)) == ("0", 4)


def test_hints_need_no_rights() -> None:
    class NoWideRights(Api):
        def answer(self, path: str, query: Mapping[str, list[str]]) -> tuple[int, Any]:
            return super().answer(path, query) if "/namespaces/" in path else refusal(403, "Forbidden", "no")

    with pytest.raises(Failure, match="no service 'lonely' in namespace 'shop'; kubectl drover status lists"):
        asyncio.run(cluster.one(Client(Stub(NoWideRights(SERVICES))), "shop", "lonely"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_and_taken_away() -> None:
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        show = screen.Counter(stream)
        for count in (500, 1000, 0, 0):
            show(count)
    assert terminal.getvalue() == "\r500 services read ...\r1000 services read ...\r\x1b[K"
    assert log.getvalue() == ""


LOOKS = [
    ("a pipe: plain, whole names", False, {}, (False, False, False)),
    ("a terminal", True, {}, (True, True, True)),
    ("NO_COLOR", True, {"NO_COLOR": "1"}, (True, False, True)),
    ("an empty NO_COLOR says nothing", True, {"NO_COLOR": ""}, (True, True, True)),
    ("a dumb terminal", True, {"TERM": "dumb"}, (True, False, True)),
]


@pytest.mark.parametrize(("why", "terminal", "environment", "expected"), LOOKS, ids=[row[0] for row in LOOKS])
def test_look(why: str, terminal: bool, environment: dict[str, str], expected: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdout", stream)
    look = screen.look()
    assert (look.unicode, look.colour, look.cut) == expected, why
    assert look.width == 80, why
    monkeypatch.setenv("COLUMNS", "132")
    assert screen.look().width == 132, why


# --- ends


def run_verb(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def run(_args: Any) -> int:
        raise error

    monkeypatch.setattr(version_verb, "run", run)
    return main(["version"])


def test_a_bug_is_one_line_and_a_traceback_only_on_request(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("DROVER_DEBUG", raising=False)
    assert run_verb(monkeypatch, KeyError("two\nlines")) == 1
    assert capsys.readouterr().err == "error: unexpected: KeyError: 'two\\nlines'; run with DROVER_DEBUG=1 for details\n"
    monkeypatch.setenv("DROVER_DEBUG", "1")
    assert run_verb(monkeypatch, ValueError()) == 1
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")


ENDS = [
    ("Ctrl-C says nothing", KeyboardInterrupt(), 130, ""),
    ("a reader that went away", BrokenPipeError(), 0, ""),
    ("a full disk", OSError(28, "No space left on device"), 1, "error: cannot read or write: No space left on device\n"),
]


@pytest.mark.parametrize(("why", "error", "code", "said"), ENDS, ids=[row[0] for row in ENDS])
def test_ends(why: str, error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_verb(monkeypatch, error) == code, why
    assert capsys.readouterr() == ("", said), why


def start(*argv: str, **settings: Any) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", "drover_operator.cli.main", *argv], stderr=subprocess.PIPE, **settings)


def test_interrupted_while_it_waits_for_the_server(api: Api) -> None:
    api.always = (200, "hang")
    with start("status", stdout=subprocess.PIPE) as process:
        assert api.asked.wait(20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        api.hang.set()
    assert (process.returncode, out, err) == (130, b"", b"")


@pytest.mark.parametrize("count", [1, 100])
def test_a_reader_that_goes_away_does_not_change_the_exit_code(api: Api, count: int) -> None:
    instances = [{"name": f"payment-{number}", "state": "Lost", "reason": "x" * 250} for number in range(count)]
    api.services = [service("payment", phase="Failed", instances=instances)]
    inlet, outlet = os.pipe()
    os.close(inlet)
    with start("status", "payment", stdout=outlet) as process:
        os.close(outlet)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (2, b"")


def test_closed_stdout() -> None:
    ended = subprocess.run(["/bin/sh", "-c", f"{sys.executable} -m drover_operator.cli.main version >&-"], capture_output=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(api: Api) -> None:
    with Path("/dev/full").open("wb") as full:
        for argv in (["status", "cart"], ["version"]):
            with start(*argv, stdout=full) as process:
                _, err = process.communicate(timeout=20)
            assert (process.returncode, err.count(b"\n")) == (1, 1)
            assert b"No space left on device" in err
