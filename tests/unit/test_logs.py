# SPDX-License-Identifier: Apache-2.0
"""Log lines: one JSON object each, whoever wrote them."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from drover_operator.kube.auth import Connection
from drover_operator.observe.logs import configure


class Stderr(io.StringIO):
    terminal = False

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self._monkeypatch = monkeypatch

    def isatty(self) -> bool:
        return self.terminal

    def configure(self, form: Any, level: str = "info") -> None:
        """What the process does at its start, with this as its stderr."""
        self._monkeypatch.setattr(sys, "stderr", self)
        configure(form, level)


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stderr]:
    """What would be on stderr; logging is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield Stderr(monkeypatch)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stream: Stderr) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_time_level_event_and_context(stderr: Stderr) -> None:
    stderr.configure("json")
    with structlog.contextvars.bound_contextvars(controller="service", key="shop/web", epoch=3):
        structlog.get_logger().info("done", step="create pod", reason="Missing")
    (line,) = lines(stderr)
    timestamp = line.pop("timestamp")
    assert line == {"level": "info", "event": "done", "controller": "service", "key": "shop/web", "epoch": 3, "step": "create pod", "reason": "Missing"}
    assert timestamp.endswith("Z"), "UTC, whatever the machine thinks"
    assert timestamp[10] == "T"


def test_an_exception_stays_in_its_line(stderr: Stderr) -> None:
    stderr.configure("json")
    try:
        int("broken")
    except ValueError:
        structlog.get_logger().exception("pass failed", key="shop/web")
    (line,) = lines(stderr)
    assert (line["level"], line["key"]) == ("error", "shop/web")
    assert "ValueError: invalid literal" in line["exception"]


def test_records_of_others_go_the_same_way(stderr: Stderr) -> None:
    stderr.configure("json")
    log = logging.getLogger("somebody.of.a.test")
    log.info("chatter")
    log.warning("watch of %s ended", "pods")
    (line,) = lines(stderr)
    assert (line["event"], line["level"]) == ("watch of pods ended", "warning"), "warnings and up, in the same shape"
    assert "timestamp" in line


LEVELS = (("debug", ["debug", "info", "warning"]), ("info", ["info", "warning"]), ("warning", ["warning"]), ("error", []))


@pytest.mark.parametrize("level, seen", LEVELS, ids=[level for level, _ in LEVELS])
def test_levels(stderr: Stderr, level: str, seen: list[str]) -> None:
    stderr.configure("json", level)
    log = structlog.get_logger()
    log.debug("a")
    log.info("b")
    log.warning("c")
    assert [line["level"] for line in lines(stderr)] == seen


FORMS = (
    ("auto", True, False, "a terminal gets colours"),
    ("auto", False, True, "a pipe gets JSON"),
    ("json", True, True, "JSON is JSON"),
    ("console", False, False, "and a console a console"),
)


@pytest.mark.parametrize("form, terminal, is_json, why", FORMS, ids=[why for *_, why in FORMS])
def test_forms(stderr: Stderr, form: Any, terminal: bool, is_json: bool, why: str) -> None:
    stderr.terminal = terminal
    stderr.configure(form)
    structlog.get_logger().info("done", key="shop/web")
    logging.getLogger("of.a.test").warning("foreign")
    text = stderr.getvalue()
    assert text.startswith("{") is is_json, why
    assert "shop/web" in text
    assert "foreign" in text
    assert len(text.splitlines()) == 2


def test_configuring_twice_does_not_double_the_lines(stderr: Stderr) -> None:
    stderr.configure("json")
    stderr.configure("json")
    logging.getLogger("of.a.test").warning("once")
    assert len(lines(stderr)) == 1


def test_a_connection_in_a_line_shows_no_secret(stderr: Stderr) -> None:
    stderr.configure("json")
    structlog.get_logger().info("connected", to=repr(Connection(server="https://x", token="top-secret")))
    logging.getLogger("of.a.test").warning("to %r", Connection(server="https://x", token="top-secret"))
    assert "https://x" in stderr.getvalue()
    assert "top-secret" not in stderr.getvalue()
