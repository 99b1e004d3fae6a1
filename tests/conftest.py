# SPDX-License-Identifier: Apache-2.0
"""At the end of a session that ran scenarios: what they covered, in numbers and in tests/out/scenarios.json."""

import signal
from typing import Any

import pytest
from scenarios import ledger

# A shell that starts us in the background lets us ignore Ctrl-C, and all that we start would inherit that; several tests send it to programs.
signal.signal(signal.SIGINT, signal.default_int_handler)

SUITES = ("tests/scenarios/", "tests/exhaustive/")
_seconds = 0.0


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up the time and count what failed, in the process that hears of everything."""
    global _seconds  # noqa: PLW0603  a session has one clock
    if report.nodeid.startswith(SUITES):
        _seconds += report.duration
        if report.failed:
            ledger.tally(violations=1)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker hands its counts over."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["ledger"] = ledger.counts(but="violations")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The counts of a worker; one that died has none."""
    ledger.tally(**getattr(node, "workeroutput", {}).get("ledger", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print and write them."""
    if ledger.counted():
        record = ledger.close(_seconds)
        terminalreporter.section("what the scenarios covered")
        terminalreporter.write_line(", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in record.items()))
        terminalreporter.write_line(f"written to {ledger.OUT.relative_to(ledger.OUT.parents[2])}")
