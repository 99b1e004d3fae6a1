# SPDX-License-Identifier: Apache-2.0
"""At the end of a session that ran scenarios: what they covered, in numbers and in tests/out/scenarios.json."""

import time

import pytest
from scenarios import ledger

SUITES = ("tests/scenarios/", "tests/exhaustive/", "scenarios/", "exhaustive/")
_seconds = 0.0


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    global _seconds  # noqa: PLW0603  a session has one clock
    if report.nodeid.startswith(SUITES):
        _seconds += report.duration
        if report.failed:
            ledger.tally(violations=1)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not ledger.counted():
        return
    record = ledger.close(_seconds)
    terminalreporter.section("what the scenarios covered")
    terminalreporter.write_line(", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in record.items()))
    terminalreporter.write_line(f"written {time.strftime('%Y-%m-%d')} to {ledger.OUT.relative_to(ledger.OUT.parents[2])}")
