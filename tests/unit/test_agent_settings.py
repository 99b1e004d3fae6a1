# SPDX-License-Identifier: Apache-2.0
"""What the agent is told: flags, variables, ranges, one line for each mistake, and a page that names every flag."""

import re
import tomllib
from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from drover_agent import __version__
from drover_agent.__main__ import _own_address, completed, main
from drover_agent.client import Target
from drover_agent.settings import FLAGS, TOKEN, Address, Settings, SettingsError, read, shown

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ["--ip=10.0.0.7", "--probe-port=8080"]
FULL = completed(read(NEEDED, {}))

ACCEPTED: tuple[tuple[list[str], str, Any, str], ...] = (
    ([], "interval", 5.0, "the default"),
    (["--interval=2"], "interval", 2.0, "the least, in plain seconds"),
    (["--interval", "1m"], "interval", 60.0, "the most, as the CRD writes it"),
    (["--interval", "2.5"], "interval", 2.5, "a fraction"),
    (["--timeout=1s"], "timeout", 1.0, "the least"),
    (["--timeout=5m"], "timeout", 300.0, "the most: longer than the interval is allowed (C10)"),
    (["--unhealthy-threshold=1"], "unhealthy_threshold", 1, "the least"),
    (["--healthy-threshold=10"], "healthy_threshold", 10, "the most"),
    (["--probe=tcp"], "probe", "tcp", "the other kind"),
    (["--probe-path=/a?b=c"], "probe_path", "/a?b=c", "a path with a query"),
    (["--probe-host=127.0.0.1"], "probe_host", "127.0.0.1", "an application that listens on loopback only"),
    (["--probe-host=::1"], "probe_host", "::1", "IPv6"),
    (["--process=nginx: master"], "process", "nginx: master", "a name may hold anything but a slash"),
    (["--proc=/host/proc"], "proc", Path("/host/proc"), "another folder"),
    (["--listen=:80"], "listen", Address(host="", port=80), "every address"),
    (["--listen=127.0.0.1:0"], "listen", Address(host="127.0.0.1", port=0), "any port"),
    (["--listen=[::1]:80"], "listen", Address(host="::1", port=80), "IPv6 in brackets"),
    ([], "active_requests", None, "nobody counts"),
    (["--active-requests=http://127.0.0.1:80/a"], "active_requests", Target(host="127.0.0.1", port=80, path="/a"), "a URL"),
    (["--active-requests=http://localhost:80"], "active_requests", Target(host="127.0.0.1", port=80, path="/"), "this very pod; no path is the first page"),
    (["--active-requests=http://[::1]/a?b"], "active_requests", Target(host="::1", port=80, path="/a?b"), "IPv6, and the port of HTTP"),
    (["--settle=0"], "settle", 0.0, "no settle"),
    (["--drain-timeout=1h"], "drain_timeout", 3600.0, "the most"),
    (["--settle=0", "--drain-timeout=1"], "drain_timeout", 1.0, "the least"),
    (["--settle=250ms"], "settle", 0.25, "milliseconds"),
    (["--grace=0s"], "grace", 0.0, "no grace"),
)


@pytest.mark.parametrize("arguments, field, value, why", ACCEPTED, ids=[row[-1] for row in ACCEPTED])
def test_what_is_accepted(arguments: list[str], field: str, value: Any, why: str) -> None:
    assert getattr(read([*NEEDED, *arguments], {}), field) == value, why


PLAIN = "must be a duration from {} to {} seconds, such as 5s or 1m30s"
REFUSED: tuple[tuple[list[str], str, str], ...] = (
    (["--interval=1s"], "--interval '1s' must be from 2 to 60 seconds", "below the range"),
    (["--interval=61"], "--interval '61' must be from 2 to 60 seconds", "above the range"),
    (["--interval", "-5"], f"--interval '-5' {PLAIN.format(2, 60)}", "negative"),
    (["--interval=nan"], f"--interval 'nan' {PLAIN.format(2, 60)}", "no number is no time"),
    (["--interval=1e1"], f"--interval '1e1' {PLAIN.format(2, 60)}", "not as computers write"),
    (["--interval=5 s"], f"--interval '5 s' {PLAIN.format(2, 60)}", "a space within"),
    (["--interval="], f"--interval '' {PLAIN.format(2, 60)}", "a flag that is given and empty is a mistake"),
    (["--interval=" + "9" * 5000], f"--interval '{'9' * 1024}' {PLAIN.format(2, 60)}", "more digits than anybody reads"),
    (["--timeout=999ms"], "--timeout '999ms' must be from 1 to 300 seconds", "below the range"),
    (["--timeout=301s"], "--timeout '301s' must be from 1 to 300 seconds", "above the range"),
    (["--unhealthy-threshold=0"], "--unhealthy-threshold '0' must be a whole number from 1 to 10", "below the range"),
    (["--healthy-threshold=11"], "--healthy-threshold '11' must be a whole number from 1 to 10", "above the range"),
    (["--healthy-threshold=1.5"], "--healthy-threshold '1.5' must be a whole number from 1 to 10", "no whole number"),
    (["--healthy-threshold=²"], r"--healthy-threshold '\xb2' must be a whole number from 1 to 10", "digits that are none"),
    (["--probe=grpc"], "--probe 'grpc' must be http or tcp", "a kind that is not there"),
    (["--probe-port=0"], "--probe-port '0' must be a whole number from 1 to 65535", "nothing listens on 0"),
    (["--probe-port=http"], "--probe-port 'http' must be a whole number from 1 to 65535", "a name of a port"),
    (["--probe-path=a"], "--probe-path 'a' must be a path: / first", "no slash"),
    (["--probe-path=/a\r\nX: y"], r"--probe-path '/a\r\nX: y' must be a path: / first", "a header smuggled in, and the error is one line"),
    (["--probe-path=/ü"], r"--probe-path '/\xfc' must be a path: / first", "beyond ASCII"),
    (["--probe-path=/" + "a" * 1024], "--probe-path '/" + "a" * 1023 + "' must be a path: / first", "too long"),
    (["--probe-host=web"], "--probe-host 'web' must be an IP address", "names need a resolver, which may hang"),
    (["--ip=10.0.0"], "--ip '10.0.0' must be an IP address", "a part of one"),
    (["--listen=80"], "--listen '80' must be [IP]:PORT, with a port from 0 (any) to 65535", "no colon"),
    (["--listen=web:80"], "--listen 'web:80' must be [IP]:PORT", "a name"),
    (["--listen=:65536"], "--listen ':65536' must be [IP]:PORT", "above the range"),
    (["--active-requests=127.0.0.1:80/a"], "--active-requests '127.0.0.1:80/a' must be http://IP:PORT/PATH", "no scheme"),
    (["--active-requests=https://127.0.0.1/a"], "--active-requests 'https://127.0.0.1/a' must be http://IP:PORT/PATH", "TLS"),
    (["--active-requests=http://web/a"], "--active-requests 'http://web/a' must be http://IP:PORT/PATH", "a name"),
    (["--active-requests=http:///a"], "--active-requests 'http:///a' must be http://IP:PORT/PATH", "no host"),
    (["--active-requests=http://127.0.0.1:0/a"], "--active-requests 'http://127.0.0.1:0/a' must be http://IP:PORT/PATH", "nothing listens on 0"),
    (["--active-requests=http://me:secret@127.0.0.1/a?k=secret"], "--active-requests 'http://***@127.0.0.1/a?***' must be http://IP:PORT/PATH", "passwords are refused, and not repeated"),
    (["--process=/bin/web"], "--process '/bin/web' must be the name of a process", "a path"),
    (["--proc=proc"], "--proc 'proc' must be an absolute path", "a relative folder"),
    (["--settle=301"], "--settle '301' must be from 0 to 300 seconds", "above the range"),
    (["--drain-timeout=0"], "--drain-timeout '0' must be from 1 to 3600 seconds", "below the range"),
    (["--grace=3601"], "--grace '3601' must be from 0 to 3600 seconds", "above the range"),
    (["--settle=30", "--drain-timeout=30"], "--settle 30 must be less than --drain-timeout 30", "a drain that could never be drained"),
    (["--intervall=5"], "unrecognized arguments: --intervall=5", "a slip"),
    (["--inter=5"], "unrecognized arguments: --inter=5", "no guessing at beginnings"),
    (["run"], "unrecognized arguments: run", "there are no verbs"),
    (["--interval"], "argument --interval: expected one argument", "nothing behind it"),
    (["--token=0123456789abcdef-secret"], "unrecognized arguments: --token=***; see", "a command line can be read by others; what was meant is not repeated"),
    (["--token", "0123456789abcdef-secret"], "unrecognized arguments: --token ***; see", "nor is it as a word of its own"),
)  # fmt: skip


@pytest.mark.parametrize("arguments, line, why", REFUSED, ids=[row[-1] + f" {n}" for n, row in enumerate(REFUSED)])
def test_what_is_refused_in_one_line(arguments: list[str], line: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*NEEDED, *arguments]) == 2, why
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {line}")
    assert said.err.endswith("; see drover-agent --help\n")
    assert said.err.count("\n") == 1


VARIABLES: tuple[tuple[list[str], dict[str, str], float, str], ...] = (
    ([], {"DROVER_AGENT_INTERVAL": "7s"}, 7.0, "a variable stands in for a flag"),
    (["--interval=9"], {"DROVER_AGENT_INTERVAL": "7s"}, 9.0, "a flag wins"),
    (["--interval=9"], {"DROVER_AGENT_INTERVAL": "nonsense"}, 9.0, "what is not used is not read"),
    ([], {"DROVER_AGENT_INTERVAL": ""}, 5.0, "an empty variable is none"),
    ([], {"DROVER_AGENT_PORT": "tcp://10.0.0.1:80", "DROVER_AGENT_SERVICE_HOST": "10.0.0.1"}, 5.0, "what Kubernetes sets near a Service drover-agent is no setting"),
)  # fmt: skip


@pytest.mark.parametrize("arguments, environ, interval, why", VARIABLES, ids=[row[-1] for row in VARIABLES])
def test_variables(arguments: list[str], environ: dict[str, str], interval: float, why: str) -> None:
    assert read([*NEEDED, *arguments], environ).interval == interval, why


def test_every_flag_has_a_variable_that_no_service_can_set() -> None:
    """For a Service called NAME, Kubernetes sets NAME_PORT, NAME_PORT_80_TCP, NAME_SERVICE_HOST and the like."""
    assert {flag.field for flag in FLAGS} == {each.name for each in fields(Settings)} - {"token"}
    for variable in (TOKEN, *(flag.variable for flag in FLAGS)):
        assert re.fullmatch(r"DROVER_AGENT_[A-Z_]+", variable)
        assert not re.match(r"DROVER_AGENT_(PORT|SERVICE)(_|$)", variable)
    assert read([], {"DROVER_AGENT_PROBE_PORT": "8080", "DROVER_AGENT_IP": "10.0.0.7"}) == read(NEEDED, {})


def test_a_mistake_in_a_variable_names_it() -> None:
    with pytest.raises(SettingsError, match=r"^--interval '99' \(of DROVER_AGENT_INTERVAL\) must be from 2 to 60 seconds$"):
        read(NEEDED, {"DROVER_AGENT_INTERVAL": "99"})


TOKENS = (
    ("", True, "none: an empty variable is no token"),
    ("0123456789abcdef", True, "the least"),
    ("a" * 256, True, "the most"),
    ("5f" * 32, True, "as the operator makes it"),
    ("AZaz09-._~+/==", False, "14 characters"),
    ("AZaz09-._~+/====", True, "every sign that there may be"),
    ("0123456789abcde", False, "too short to be a secret"),
    ("a" * 257, False, "too long"),
    ("0123456789abcdef\n", False, "the end of a line, as a file has it: no header could carry it"),
    ("0123456789 abcdef", False, "a space"),
    ("0123456789\r\nX: y", False, "a header smuggled in"),
    ("0123456789abcdef\u00fc", False, "beyond ASCII"),
    ("0123456789\x00abcdef", False, "a byte that no header carries"),
)


@pytest.mark.parametrize("token, taken, why", TOKENS, ids=[row[-1] for row in TOKENS])
def test_tokens(token: str, taken: bool, why: str) -> None:
    if taken:
        assert read(NEEDED, {TOKEN: token}).token == token, why
        return
    with pytest.raises(SettingsError) as refused:
        read(NEEDED, {TOKEN: token})
    assert str(refused.value) == "DROVER_AGENT_TOKEN must be 16 to 256 characters, each a letter, a digit or one of -._~+/=", "and it is not repeated"


def test_a_wrong_token_ends_the_program_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(TOKEN, "a secret")
    assert main(NEEDED) == 2
    assert (
        capsys.readouterr().err == "error: DROVER_AGENT_TOKEN must be 16 to 256 characters, each a letter, a digit or one of -._~+/=; see drover-agent --help\n"
    )


def test_what_is_needed() -> None:
    with pytest.raises(SettingsError, match="^--probe-port is needed$"):
        read([], {})


def test_addresses_that_were_not_given() -> None:
    assert (FULL.probe_host, FULL.listen) == ("10.0.0.7", Address(host="0.0.0.0", port=9909))
    six = completed(read(["--ip=fd00::7", "--probe-port=8080"], {}))
    assert (six.probe_host, six.listen) == ("fd00::7", Address(host="::", port=9909))
    kept = completed(read([*NEEDED, "--probe-host=127.0.0.1", "--listen=127.0.0.1:1"], {}))
    assert (kept.probe_host, kept.listen) == ("127.0.0.1", Address(host="127.0.0.1", port=1))


@pytest.mark.parametrize("found", ["10.1.2.3", ""], ids=["a route", "no route"])
def test_the_address_of_the_pod_is_never_guessed(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drover_agent.__main__._own_address", lambda: found)
    settings = read(["--probe-port=8080"], {})
    if found:
        assert completed(settings).ip == found
    else:
        with pytest.raises(SettingsError, match="^--ip is needed"):
            completed(settings)


def test_the_address_that_packets_leave_from_is_no_loopback() -> None:
    found = _own_address()
    assert found == "" or not ip_address(found).is_loopback


def test_what_is_shown_has_no_secret() -> None:
    flags = ["--probe-path=/h?token=secret", "--active-requests=http://127.0.0.1:80/a?k=secret"]
    settings = completed(read([*NEEDED, *flags], {TOKEN: "0123456789abcdef-secret"}))
    told = shown(settings)
    assert "secret" not in repr(told)
    assert "abcdef" not in repr((told, settings)), "nor in what a traceback shows"
    assert told["probePath"] == "/h?***"
    assert told["activeRequests"] == "http://127.0.0.1:80/a?***"
    assert (told["listen"], told["unhealthyThreshold"], told["drainTimeout"], told["proc"]) == ("0.0.0.0:9909", 3, 30.0, "/proc")
    assert shown(completed(read([*NEEDED, "--listen=[::1]:80"], {})))["listen"] == "[::1]:80"


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--help", "--version"):
        with pytest.raises(SystemExit) as ended:
            main([flag])
        assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith(f"drover-agent {__version__}")
    assert [flag.name for flag in FLAGS if f"--{flag.name} {flag.metavar}" not in said] == []
    assert TOKEN in said


def test_the_version_is_that_of_the_distribution() -> None:
    assert tomllib.loads((ROOT / "sdk" / "pyproject.toml").read_text())["project"]["version"] == __version__


def test_the_page_names_every_flag_with_its_default() -> None:
    page = (ROOT / "docs" / "reference" / "agent.md").read_text()
    rows = re.findall(r"^\| `--([a-z-]+)` `(.+?)` \| (.*?) \| (.+?) \|$", page, re.MULTILINE)
    assert rows == [(flag.name, flag.metavar, f"`{flag.default}`" if flag.default else "needed" if flag.default is None else "-", flag.text) for flag in FLAGS]
