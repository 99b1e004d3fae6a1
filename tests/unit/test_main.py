# SPDX-License-Identifier: Apache-2.0
"""`drover-operator run` as a person meets it: what is said about wrong input, how it waits for a cluster, how it ends.

Wrong words are read in this process; only what needs signals, ports or a whole process starts one.
"""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from drover_operator.__main__ import main

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("DROVER_", "KUBE"))}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith(("DROVER_", "KUBE"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


USAGE: tuple[tuple[list[str], dict[str, str], str, str], ...] = (
    ([], {}, "the following arguments are required: verb", "no verb"),
    (["walk"], {}, "invalid choice: 'walk'", "a verb that it does not have"),
    (["run", "--speed", "9"], {}, "unrecognized arguments: --speed 9", "an option that it does not have"),
    (["run", "--workers", "0"], {}, "'0' must be a number from 1 to 256", "no workers"),
    (["run", "--workers", "many"], {}, "'many' must be a number from 1 to 256", "workers that are no number"),
    (["run", "--fence", "maybe"], {}, "'maybe'", "neither on nor off"),
    (["run", "--lease-seconds", "15/10"], {}, "'15/10' must be three falling numbers", "a number is missing"),
    (["run", "--lease-seconds", "10/15/2"], {}, "'10/15/2' must be three falling numbers", "a holder that outlives its lease"),
    (["run", "--lease-seconds", "15/10/0"], {}, "'15/10/0' must be three falling numbers", "no pause at all"),
    (["run", "--lease-seconds", "inf/10/2"], {}, "'inf/10/2' must be three falling numbers", "for ever"),
    (["run", "--lease-seconds", "a/b/c"], {}, "'a/b/c' must be three falling numbers", "no numbers"),
    (["run", "--health-address", "localhost"], {}, "'localhost' must be HOST:PORT", "no port"),
    (["run", "--health-address", ":99999"], {}, "':99999' must be HOST:PORT", "a port that does not exist"),
    (["run"], {"DROVER_WORKERS": "many"}, "'many' must be a number from 1 to 256", "the environment is checked as options are"),
    (["run"], {"DROVER_FENCE": "of"}, "'of'", "a typing error must not switch the fence off"),
    (["run"], {"DROVER_KOPF": "yes"}, "'yes'", "the same for kopf"),
    (["run"], {"DROVER_LOG_LEVEL": "loud"}, "'loud'", "the same for levels"),
    (["run"], {"DROVER_LOG_FORMAT": "xml"}, "'xml'", "the same for formats"),
    (["run"], {"DROVER_LEASE_SECONDS": "1/2/3"}, "'1/2/3' must be three falling numbers", "the same for the lease"),
    (["run"], {"DROVER_HEALTH_ADDRESS": "8080"}, "'8080' must be HOST:PORT", "the same for the address"),
)


@pytest.mark.parametrize("arguments, environment, message, why", USAGE, ids=[why for *_, why in USAGE])
def test_wrong_usage_is_one_line_and_exit_4(
    arguments: list[str], environment: dict[str, str], message: str, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (4, ""), why
    assert said.err.startswith("error: "), why
    assert message in said.err, why
    assert said.err.count("\n") == 1, "one line"
    assert "--help" in said.err, "with a way on"


def test_help_shows_the_defaults_of_this_machine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("DROVER_SHARD", "blue")
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    for part in ("(default: blue)", "(default: 15/10/2)", "--fence {on,off}"):
        assert part in said, part


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "drover_operator", "run", "--log-format", "json", *arguments],
        env=ENVIRONMENT | {"HOME": "/nonexistent", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def taken() -> Iterator[str]:
    """An address that is in use, by somebody who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def kubeconfig(folder: Path, server: str) -> str:
    path = folder / "config"
    path.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
        f" clusters: [{{name: k, cluster: {{server: '{server}'}}}}], users: [{{name: u, user: {{token: top-secret}}}}]}}"
    )
    return str(path)


def test_no_cluster_is_one_line_and_exit_1() -> None:
    process = start()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    assert err == "error: no cluster to talk to: give --kubeconfig FILE, set KUBECONFIG, or start one with `make cluster`\n"


def test_a_health_port_in_use_is_one_line_and_exit_1(tmp_path: Path, taken: str) -> None:
    process = start("--kubeconfig", kubeconfig(tmp_path, f"http://127.0.0.1:{free_port()}"), "--health-address", taken, "--kopf", "off")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith(f"error: cannot serve health on '{taken}': ")
    assert line.endswith("choose another --health-address")


@pytest.mark.parametrize("kopf", ["on", "off"])
def test_a_server_that_is_away_is_waited_for_and_sigterm_ends_it_cleanly(tmp_path: Path, kopf: str) -> None:
    server, health = f"http://127.0.0.1:{free_port()}", free_port()
    process = start("--kubeconfig", kubeconfig(tmp_path, server), "--health-address", f"127.0.0.1:{health}", "--kopf", kopf)
    try:
        assert _status(health, "/livez") == 200
        assert _status(health, "/readyz") == 503, "alive, and not ready while its caches are empty"
        _read_until(process, "cannot reach")
        assert process.poll() is None, "it keeps trying"
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=15)
        assert process.returncode == 0, err
        assert time.monotonic() - begun < 15
        assert "Traceback" not in err
        assert "top-secret" not in out + err
    finally:
        process.kill()
        process.communicate()


def _status(port: int, path: str) -> int:
    """The status of a health check, once somebody serves it."""
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            if path == "/readyz" or time.monotonic() > deadline:
                return error.code
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _read_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(f"it ended without saying '{words}'")
