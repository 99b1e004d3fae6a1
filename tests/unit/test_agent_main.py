# SPDX-License-Identifier: Apache-2.0
"""The program as the kubelet runs it: a process of its own beside a real HTTP application, its pages, its log, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from drover_agent import __version__
from drover_agent.access import WRONG
from drover_agent.admin import NO_RELOAD
from drover_agent.settings import TOKEN

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds, on a machine that may be busy


class Application(ThreadingHTTPServer):
    """Answers /hang when the test lets it, /active with a number, and all else at once."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.let_go = threading.Event()
        self.hung = threading.Event()
        self.active = 0


class _Handler(BaseHTTPRequestHandler):
    server: Application

    def do_GET(self) -> None:
        if self.path == "/hang":
            self.server.hung.set()
            self.server.let_go.wait(PATIENCE)
        body = str(self.server.active).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def application() -> Iterator[Application]:
    server = Application()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.let_go.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Sidecar:
    """A drover-agent of our own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.port = 0

    def wait_for(self, event: str) -> dict[str, Any]:
        """Read the log up to an event."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        pytest.fail(f"the agent ended without {event}: {self.lines}")

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def json(self, path: str, method: str = "GET") -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.ask(path, method)[1])
        return found

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def sidecar(proc: Path, application: Application, *flags: str) -> Iterator[Sidecar]:
    (proc / "7").mkdir(exist_ok=True)
    (proc / "7" / "stat").write_text(f"7 (web) S 0 {'1 ' * 17}100 0\n")
    (proc / "stat").write_text("btime 1700000000\n")
    told = {"DROVER_AGENT_PROC": str(proc), "DROVER_AGENT_IP": "127.0.0.1", "DROVER_AGENT_PROBE_PORT": str(application.server_port)}
    command = [sys.executable, "-m", "drover_agent", "--listen=127.0.0.1:0", "--healthy-threshold=1", *flags]
    with subprocess.Popen(command, env={**os.environ, **told}, stderr=subprocess.PIPE, text=True) as process:
        agent = Sidecar(process)
        try:
            agent.port = agent.wait_for("started")["port"]
            yield agent
        finally:
            process.kill()


def test_one_life(tmp_path: Path, application: Application) -> None:
    with sidecar(tmp_path, application, "--active-requests", f"http://127.0.0.1:{application.server_port}/active?key=secret") as agent:
        agent.wait_for("healthy")
        assert agent.ask("/readyz") == (200, "ok\n")
        assert agent.ask("/livez") == (200, "ok\n")
        assert agent.ask("/readyz", "HEAD") == (200, "")
        health = agent.json("/admin/health")
        assert set(health) == {"healthy", "since", "consecutive", "lastError", "probes", "started"}
        assert (health["healthy"], health["consecutive"], health["lastError"], health["probes"]) == (True, {"successes": 1, "failures": 0}, None, 1)
        assert agent.json("/admin/load") == {"activeRequests": 0}
        identity = f"127.0.0.1:{application.server_port}:1700000001000:7"
        ticks = os.sysconf("SC_CLK_TCK")
        assert ticks == 100, "else the start is another one"
        assert agent.json("/admin/identity") == {
            "identity": identity, "ip": "127.0.0.1", "port": application.server_port, "startTime": 1700000001000, "pid": 7, "ambiguous": False, "runs": 1,
        }  # fmt: skip
        config = agent.json("/admin/config")
        assert (config["version"], config["interval"], config["listen"]) == (__version__, 5.0, "127.0.0.1:0")
        assert "secret" not in json.dumps(config)
        assert agent.ask("/admin/reload", "POST") == (501, json.dumps({"error": NO_RELOAD}, indent=2) + "\n")
        assert agent.ask("/admin/reload")[0] == 405
        assert agent.ask("/none")[0] == 404
        assert agent.end() == 0
        agent.wait_for("ended")
        assert [line["event"] for line in agent.lines] == ["started", "found", "healthy", "ended"]
        assert all(set(line) >= {"timestamp", "level", "event"} for line in agent.lines)
        assert "secret" not in json.dumps(agent.lines)


def test_a_token_is_needed_for_changes_and_told_nowhere(tmp_path: Path, application: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN, secret := "0123456789abcdef-secret")
    with sidecar(tmp_path, application, "--settle=0") as agent:
        agent.wait_for("healthy")
        for method in ("GET", "HEAD"):
            assert agent.ask("/drain", method, X_Drover_Token="0123456789abcdef")[0] == 403, "HEAD goes where GET goes, and no further"
        assert agent.ask("/drain") == (403, f"{WRONG}\n")
        assert agent.ask("/admin/reload", "POST") == (403, json.dumps({"error": WRONG}) + "\n")
        assert agent.ask("/readyz") == (200, "ok\n"), "nothing is drained, and the kubelet needs no token to see it"
        assert secret not in agent.ask("/admin/config")[1]
        assert agent.ask("/admin/reload", "POST", X_Drover_Token=secret)[0] == 501
        status, answer = agent.ask("/drain", X_Drover_Token=secret)
        assert (status, json.loads(answer)["drained"]) == (200, True)
        assert agent.ask("/readyz") == (503, "draining\n")
        assert agent.end() == 0
        agent.wait_for("ended")
        assert [line["event"] for line in agent.lines] == ["started", "found", "healthy", "refused", "draining", "drained", "ended"]
        assert "0123456789abcdef" not in json.dumps(agent.lines)


def test_what_prometheus_reads(tmp_path: Path, application: Application) -> None:
    with sidecar(tmp_path, application) as agent:
        agent.wait_for("healthy")
        families = {family.name: family for family in text_string_to_metric_families(agent.ask("/metrics")[1])}
        samples = {(each.name, each.labels.get("result", "")): each.value for family in families.values() for each in family.samples}
        assert samples == {
            ("drover_agent_probes_total", "success"): 1.0,
            ("drover_agent_probes_total", "failure"): 0.0,
            ("drover_agent_healthy", ""): 1.0,
            ("drover_agent_process_restarts_total", ""): 0.0,
            ("drover_agent_drains_total", ""): 0.0,
        }
        assert {name: family.type for name, family in families.items()} == {
            "drover_agent_probes": "counter", "drover_agent_healthy": "gauge", "drover_agent_process_restarts": "counter", "drover_agent_drains": "counter",
        }  # fmt: skip
        assert all(family.documentation for family in families.values())


def test_every_page_answers_while_a_probe_hangs(tmp_path: Path, application: Application) -> None:
    with sidecar(tmp_path, application, "--probe-path=/hang", "--timeout=300") as agent:
        assert application.hung.wait(PATIENCE)
        assert agent.ask("/livez") == (200, "ok\n")
        assert agent.ask("/readyz") == (503, "not proved yet: 0 of 1 successes in a row\n")
        assert agent.json("/admin/health")["probes"] == 0
        assert agent.json("/admin/identity")["pid"] == 7
        assert agent.json("/admin/load") == {"activeRequests": None, "error": "--active-requests was not given"}
        for path in ("/admin/config", "/metrics"):
            assert agent.ask(path)[0] == 200
        assert agent.end() == 0, "and its end does not wait for the probe"


def test_sigterm_waits_for_a_drain_under_way(tmp_path: Path, application: Application) -> None:
    application.active = 1
    with sidecar(tmp_path, application, "--settle=0", "--active-requests", f"http://127.0.0.1:{application.server_port}/active") as agent:
        answers: list[dict[str, Any]] = []
        asking = threading.Thread(target=lambda: answers.append(agent.json("/drain")))
        asking.start()
        agent.wait_for("draining")
        agent.process.send_signal(signal.SIGTERM)
        assert agent.ask("/readyz") == (503, "draining\n"), "it still answers"
        application.active = 0
        asking.join(PATIENCE)
        assert (answers[0]["drained"], answers[0]["activeRequests"]) == (True, 0)
        assert agent.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("hurry", [False, True], ids=["the grace passes", "a second SIGTERM"])
def test_sigterm_waits_no_longer_than_it_may(tmp_path: Path, application: Application, hurry: bool) -> None:
    application.active = 1
    with sidecar(tmp_path, application, f"--grace={3600 if hurry else 0}", "--active-requests", f"http://127.0.0.1:{application.server_port}/active") as agent:
        answers: list[dict[str, Any]] = []
        asking = threading.Thread(target=lambda: answers.append(agent.json("/drain")))
        asking.start()
        agent.wait_for("draining")
        agent.process.send_signal(signal.SIGTERM)
        if hurry:
            assert agent.ask("/livez")[0] == 200, "the first one has arrived, or will before the second"
            agent.process.send_signal(signal.SIGINT)
        asking.join(PATIENCE)
        assert (answers[0]["drained"], answers[0]["why"]) == (False, "the agent was told to end")
        assert agent.process.wait(PATIENCE) == 0


def test_a_second_copy_on_the_port_fails_at_start(tmp_path: Path) -> None:
    """The invariant of M14."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "drover_agent", "--ip=127.0.0.1", "--probe-port=1", f"--listen=127.0.0.1:{port}", f"--proc={tmp_path}"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"error: cannot listen on '127.0.0.1:{port}': Address already in use; choose another --listen\n"


def test_what_it_loads() -> None:
    """It runs beside every instance, so its start and its memory count: the standard library only, without its heavy parts."""
    code = "import sys; sys.path.insert(0, 'sdk'); import drover_agent.__main__; print(*sorted(sys.modules))"
    ran = subprocess.run([sys.executable, "-I", "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    loaded = set(ran.stdout.split())
    assert {"drover_agent.agent", "asyncio"} <= loaded
    strangers = {name.partition(".")[0] for name in loaded} - sys.stdlib_module_names
    assert {name for name in strangers if not name.startswith("_sysconfigdata")} == {"__main__", "drover_agent"}
    assert not loaded & {"http.client", "http.server", "urllib.request", "email", "multiprocessing", "xml", "unittest"}
