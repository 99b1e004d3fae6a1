# SPDX-License-Identifier: Apache-2.0
"""A program of the harness as a process of its own, which a test can freeze and thaw.

It gets its task as JSON, and says what it does in lines of JSON, which go to a file. Both ends are here.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from api.harness.plane import ROOT, Plane
from api.harness.waiting import until

Told = dict[str, Any]
START, STOP = signal.SIGUSR1, signal.SIGUSR2  # begin with the work; come to an end


def tell(event: str, **more: Any) -> None:
    """The program's side: say something."""
    sys.stdout.write(json.dumps({"event": event, "at": time.time(), **more}) + "\n")
    sys.stdout.flush()


def task() -> Told:
    """The program's side: what it is to do."""
    return dict(json.loads(Path(sys.argv[1]).read_text()))


class Program:
    """The test's side: one process, started with its task."""

    count = 0

    def __init__(self, plane: Plane, module: str, what: Told) -> None:
        Program.count += 1
        name = f"{module.rpartition('.')[2]}-{Program.count}"
        self.file, order = plane.folder / f"{name}.log", plane.folder / f"{name}.json"
        order.write_text(json.dumps({**what, "records": str(plane.folder / f"{name}.records")}))
        with self.file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(order)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def said(self, event: str) -> Told:
        """The last line of that event, {} when there is none."""
        found: Told = {}
        for line in self.file.read_text(errors="replace").splitlines():
            if line.startswith('{"event"') and line.endswith("}") and (told := json.loads(line))["event"] == event:
                found = told
        return found

    def until(self, event: str, *, seconds: float = 30.0) -> Told:
        """Wait until it says that."""

        def look() -> Told:
            running, told = self.running, self.said(event)
            if not told and not running:
                raise RuntimeError(f"{self.file.name} ended with {self.process.returncode} and never said '{event}'\n{self.tail()}")
            return told

        return until(look, f"{self.file.name} says '{event}'", seconds=seconds, seen=self.tail)

    def done(self, *, seconds: float = 30.0) -> list[Told]:
        """Wait for its orderly end; the records that it left."""
        until(lambda: not self.running, f"{self.file.name} ends", seconds=seconds, seen=self.tail)
        assert self.process.returncode == 0, f"it ended with {self.process.returncode}\n{self.tail()}"
        return list(json.loads(Path(self.until("done")["records"]).read_text()))

    def tail(self, lines: int = 20) -> str:
        """The end of what it said."""
        return "\n".join(self.file.read_text(errors="replace").splitlines()[-lines:])

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process."""
        self.process.send_signal(number)

    def freeze(self) -> None:
        """SIGSTOP, and wait until every thread of it stands still."""
        freeze(self.process.pid)

    def thaw(self) -> None:
        """SIGCONT."""
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it, whatever state it is in."""
        if self.running:
            self.process.kill()
        self.process.wait(10)


def freeze(pid: int) -> None:
    """SIGSTOP to a process that is ours, and wait until all of it stands still."""
    os.kill(pid, signal.SIGSTOP)

    def states() -> set[str]:
        return {(each / "stat").read_text().rpartition(")")[2].split()[0] for each in Path(f"/proc/{pid}/task").iterdir()}

    until(lambda: states() == {"T"}, f"process {pid} stands still", seconds=10, seen=states)
