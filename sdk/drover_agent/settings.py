# SPDX-License-Identifier: Apache-2.0
"""Everything that the agent is told: flags, each also a variable DROVER_AGENT_<FLAG>. A flag wins; an empty variable counts as none.

No flag is called --port: Kubernetes sets DROVER_AGENT_PORT by itself in every pod near a Service called drover-agent. The token has a variable
and no flag: where a pod shares its processes, each of them can read the command lines of the others.
"""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

from drover_agent import __version__
from drover_agent.client import Target
from drover_agent.core import Thresholds

PREFIX = "DROVER_AGENT_"
TOKEN = f"{PREFIX}TOKEN"
LAST_PORT = 65535
LONGEST = 1024  # characters of a path
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = r"(?:[0-9]{1,9}(?:ms|s|m|h))+"
_PLAIN = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_TOKEN68 = r"[A-Za-z0-9._~+/=-]{16,256}"
_URL = r"http://(?P<host>\[[^\]/?#@]*\]|[^:/?#@\[\]]*)(?::(?P<port>[0-9]{1,5}))?(?P<path>/.*)?"


class SettingsError(Exception):
    """The agent was told something that cannot be; the text is one line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where to listen; no host is every address of a family."""

    host: str
    port: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the flags say; durations in seconds, "" and None for what was not given."""

    probe: str
    probe_port: int
    probe_path: str
    probe_host: str
    interval: float
    timeout: float
    unhealthy_threshold: int
    healthy_threshold: int
    listen: Address
    ip: str
    process: str
    proc: Path
    active_requests: Target | None
    settle: float
    drain_timeout: float
    grace: float
    token: str = field(repr=False)

    @property
    def thresholds(self) -> Thresholds:
        """The two thresholds of the verdict."""
        return Thresholds(unhealthy=self.unhealthy_threshold, healthy=self.healthy_threshold)

    @property
    def probed(self) -> Target:
        """What the probes ask."""
        return Target(host=self.probe_host, port=self.probe_port, path=self.probe_path)


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A row of `--help`: `read` makes the value and raises ValueError with words that go on after "--flag VALUE". No default: needed."""

    name: str
    metavar: str
    default: str | None
    read: Callable[[str], Any]
    text: str

    @property
    def variable(self) -> str:
        """The environment variable that stands in for the flag."""
        return PREFIX + self.name.upper().replace("-", "_")

    @property
    def field(self) -> str:
        """The field of Settings."""
        return self.name.replace("-", "_")


def _seconds(least: int, most: int) -> Callable[[str], float]:
    def read(text: str) -> float:
        if re.fullmatch(_PLAIN, text):
            seconds = float(text)
        elif re.fullmatch(_DURATION, text):
            seconds = sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9]+)(ms|s|m|h)", text))
        else:
            raise ValueError(f"must be a duration from {least} to {most} seconds, such as 5s or 1m30s")
        if not least <= seconds <= most:
            raise ValueError(f"must be from {least} to {most} seconds")
        return seconds

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be {' or '.join(words)}")
        return text

    return read


def _path(text: str) -> str:
    if not text.startswith("/") or len(text) > LONGEST or not (text.isascii() and text.isprintable()) or set(text) & set(" #"):
        raise ValueError(f"must be a path: / first, at most {LONGEST} characters, none of them a space, # or beyond ASCII")
    return text


def _address(text: str) -> str:
    """An IP address; "" stays, and is filled in by the program."""
    try:
        return str(ip_address(text)) if text else ""
    except ValueError:
        raise ValueError("must be an IP address") from None


def _listen(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    try:
        return Address(host=_address(host.removeprefix("[").removesuffix("]")), port=_whole(0, LAST_PORT)(port if colon else ""))
    except ValueError:
        raise ValueError(f"must be [IP]:PORT, with a port from 0 (any) to {LAST_PORT}") from None


def _url(text: str) -> Target | None:
    """The target of a URL; nothing that needs a resolver, TLS or a password."""
    if not text:
        return None
    match = re.fullmatch(_URL, text)
    host = (match["host"] if match else "").removeprefix("[").removesuffix("]")
    try:
        port = _whole(1, LAST_PORT)((match["port"] or "80") if match else "")
        return Target(host=_address("127.0.0.1" if host == "localhost" else host or "?"), port=port, path=_path((match["path"] or "/") if match else ""))
    except ValueError:
        raise ValueError("must be http://IP:PORT/PATH, without user and fragment") from None


def _name(text: str) -> str:
    if "/" in text or not text.isprintable():
        raise ValueError("must be the name of a process as in /proc/PID/comm, not a path")
    return text


def _folder(text: str) -> Path:
    if not text.startswith("/"):
        raise ValueError("must be an absolute path")
    return Path(text)


FLAGS = (
    Flag(name="probe", metavar="KIND", default="http", read=_one_of("http", "tcp"), text="http: a GET is answered by exactly 200; tcp: a connection is taken"),
    Flag(name="probe-port", metavar="PORT", default=None, read=_whole(1, LAST_PORT), text="port of the application, probed and part of its identity; needed"),
    Flag(name="probe-path", metavar="PATH", default="/", read=_path, text="path of the http probe"),
    Flag(name="probe-host", metavar="IP", default="", read=_address, text="where the application listens; without it the address of --ip"),
    Flag(name="interval", metavar="TIME", default="5s", read=_seconds(2, 60), text="from the beginning of one probe to that of the next, 2 to 60 seconds"),
    Flag(name="timeout", metavar="TIME", default="5s", read=_seconds(1, 300), text="a probe that takes longer has failed, 1 to 300 seconds"),
    Flag(name="unhealthy-threshold", metavar="N", default="3", read=_whole(1, 10), text="failures in a row that make it unhealthy, 1 to 10"),
    Flag(name="healthy-threshold", metavar="N", default="2", read=_whole(1, 10), text="successes in a row that make it healthy, 1 to 10"),
    Flag(
        name="listen", metavar="[IP]:PORT", default=":9909", read=_listen, text="where the agent answers; without an IP on every address of the family of --ip"
    ),
    Flag(name="ip", metavar="IP", default="", read=_address, text="address of the pod, part of the identity; without it the one that packets leave from"),
    Flag(name="process", metavar="NAME", default="", read=_name, text="name of the application's main process; without it that of the probed port"),
    Flag(name="proc", metavar="FOLDER", default="/proc", read=_folder, text="the process table"),
    Flag(name="active-requests", metavar="URL", default="", read=_url, text="where the application tells its number of active requests"),
    Flag(name="settle", metavar="TIME", default="2s", read=_seconds(0, 300), text="the least time of a drain, for proxies that lag, 0 to 300 seconds"),
    Flag(
        name="drain-timeout", metavar="TIME", default="30s", read=_seconds(1, 3600), text="the longest time of a drain, 1 to 3600 seconds, more than --settle"
    ),
    Flag(name="grace", metavar="TIME", default="30s", read=_seconds(0, 3600), text="how long SIGTERM waits for a drain under way, 0 to 3600 seconds"),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise SettingsError(re.sub(r"(--token[= ]).*", r"\1***", message, flags=re.DOTALL))  # there is no such flag, and what was meant by it is not repeated


def read(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings of a command line and an environment.

    Raises:
        SettingsError: a flag is unknown, missing or out of its range, or the token cannot be one.
        SystemExit: --help or --version was asked for, and answered.
    """
    given = vars(_parser().parse_args(arguments))
    values = {flag.field: _value(flag, given[flag.field], environ.get(flag.variable, "")) for flag in FLAGS}
    settings = Settings(**values, token=_token(environ.get(TOKEN, "")))
    if settings.settle >= settings.drain_timeout:
        raise SettingsError(f"--settle {settings.settle:g} must be less than --drain-timeout {settings.drain_timeout:g}")
    return settings


def _value(flag: Flag, given: str | None, variable: str) -> Any:
    text = given if given is not None else variable or flag.default
    if text is None:
        raise SettingsError(f"--{flag.name} is needed")
    source = f" (of {flag.variable})" if given is None else ""
    try:
        return flag.read(text)
    except ValueError as error:
        raise SettingsError(f"--{flag.name} '{_quotable(text)}'{source} {error}") from error


def _token(text: str) -> str:
    """What changes must show; "" is none. A wrong one is not repeated."""
    if text and not re.fullmatch(_TOKEN68, text):
        raise SettingsError(f"{TOKEN} must be 16 to 256 characters, each a letter, a digit or one of -._~+/=")
    return text


def _quotable(text: str) -> str:
    """A value as it may stand in an error: one line, without the password of a URL and without what stands behind a ?."""
    line = re.sub(r"//.*@", "//***@", text.encode("unicode_escape").decode("ascii"))
    return _shown(line[:LONGEST])


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="drover-agent",
        description="Probes one instance from beside it, names its runs, and drains it.",
        epilog=f"Each flag is also read from a variable: --probe-port from {PREFIX}PROBE_PORT. A TIME is 5s, 1m30s, 500ms, or plain seconds. "
        f"{TOKEN}, a variable without a flag, is what requests must show that change something; without it they must come over loopback.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"drover-agent {__version__}")
    for flag in FLAGS:
        parser.add_argument(f"--{flag.name}", metavar=flag.metavar, help=f"{flag.text} (default: {flag.default})" if flag.default else flag.text)
    return parser


def shown(settings: Settings) -> dict[str, object]:
    """The settings for whoever asks, by the names of the flags in camelCase. What stands behind a ? may be a secret, and the token is one."""
    return {_camel(flag.field): _told(getattr(settings, flag.field)) for flag in FLAGS}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _told(value: object) -> object:
    if isinstance(value, Target):
        return f"http://{value.authority}{_shown(value.path)}"
    if isinstance(value, Address):
        return f"{value.host}:{value.port}" if ":" not in value.host else f"[{value.host}]:{value.port}"
    return _shown(str(value)) if isinstance(value, str | Path) else value


def _shown(text: str) -> str:
    path, query, _ = text.partition("?")
    return f"{path}?***" if query else path
