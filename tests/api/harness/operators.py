# SPDX-License-Identifier: Apache-2.0
"""The operator as a real process, with its own credentials, that a test can stop, kill, freeze and start again."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from typing import Any

from api.harness.plane import LEASE, ROOT, SYSTEM, Plane
from api.harness.waiting import until

TIMES = "3/2/0.5"


class Operator:
    """One process of the operator; its log goes to a file."""

    count = 0

    def __init__(self, plane: Plane, program: tuple[str, ...] = ("-m", "drover_operator")) -> None:
        Operator.count += 1
        self.plane = plane
        self.file = plane.folder / f"operator-{Operator.count}.log"
        command = [
            *(sys.executable, *program, "run", f"--kubeconfig={plane.operator_kubeconfig}", f"--lease-seconds={TIMES}"),
            *("--health-address=127.0.0.1:0", "--log-format=json"),
        ]
        with self.file.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    @property
    def log(self) -> list[dict[str, Any]]:
        """Its lines; what is not JSON comes as {"raw": ...}."""
        lines: list[dict[str, Any]] = []
        for line in self.file.read_text(errors="replace").splitlines():
            try:
                lines.append(dict(json.loads(line)))
            except ValueError:
                lines.append({"raw": line})
        return lines

    def said(self, event: str) -> dict[str, Any] | None:
        """The last line of that event."""
        return next((line for line in reversed(self.log) if line.get("event") == event), None)

    def tail(self, lines: int = 40, namespace: str = "") -> str:
        """The end of its log; with a namespace only what is about it, or about no key."""
        told = self.file.read_text(errors="replace").splitlines()
        return "\n".join([line for line in told if not namespace or '"key"' not in line or f'"{namespace}/' in line][-lines:])

    @property
    def identity(self) -> str:
        """Its identity in the Lease."""
        line = until(lambda: self.said("started"), "the operator starts", seen=self.tail)
        return str(line["identity"])

    @property
    def leading(self) -> bool:
        """Whether the Lease names it as the holder."""
        lease = self.plane.kube.find("leases", SYSTEM, LEASE)
        return lease is not None and lease["spec"].get("holderIdentity") == self.identity

    def leads(self, seconds: float = 20.0) -> "Operator":
        """Wait until it leads."""

        def look() -> bool:
            assert self.running, f"the operator ended with {self.process.returncode}"
            return self.leading

        until(look, "the operator leads", seconds=seconds, seen=self.tail)
        return self

    def metrics(self) -> dict[str, float]:
        """Its metrics by name with labels."""
        line = until(lambda: self.said("started"), "the operator starts", seen=self.tail)
        with urllib.request.urlopen(f"http://127.0.0.1:{line['health_port']}/metrics", timeout=5) as answer:
            text = answer.read().decode()
        return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to this process."""
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """SIGKILL: nothing is given back, nothing is finished."""
        if self.running:
            self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM, and the exit code; a process that does not end is killed, and that is an error."""
        if self.running:
            self.signal(signal.SIGCONT)
            self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end the operator in 20 s\n{self.tail()}") from None
