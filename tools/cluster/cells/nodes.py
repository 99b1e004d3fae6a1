# SPDX-License-Identifier: Apache-2.0
"""A real node that was started, as it is seen from the host, and what can be done to it."""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.arguments import Layout
from tools.cluster.cells import node
from tools.cluster.cells.addresses import Place
from tools.cluster.commands import run
from tools.cluster.errors import ClusterError
from tools.cluster.processes import Process

_PATIENCE = 10.0  # seconds
_FILLER = "/var/lib/kubelet/filler"
_LEFT = 512 << 10  # bytes that a full disk has left, for the kubelet's own records


@dataclass(frozen=True)
class Node:
    """A real node that was started."""

    cluster: str
    layout: Layout
    place: Place
    process: Process
    fabric: Process
    disk: str = ""

    @property
    def name(self) -> str:
        """Its name, in Kubernetes as well."""
        return self.place.name

    @property
    def logs(self) -> Path:
        """The folder with the logs of its programs."""
        return self.layout.node(self.name) / "logs"

    def enter(self, argv: Sequence[str]) -> list[str]:
        """Return the command line that runs a command inside.

        Raises:
            ClusterError: the node is off.

        """
        return ["nsenter", "--target", str(self._first()), "--net", "--mount", "--pid", "--uts", "--ipc", "--", *argv]

    def run(self, *argv: str) -> str:
        """Run a command inside and return what it wrote.

        Raises:
            ClusterError: the node is off, or the command failed.

        """
        return run(self.enter(argv))

    def cut(self) -> None:
        """Pull the cable: nothing reaches the node or leaves it, and what runs there runs on.

        Raises:
            ClusterError: the node is off.

        """
        self._cable("down")

    def heal(self) -> None:
        """Plug the cable in again.

        Raises:
            ClusterError: the node is off.

        """
        self._cable("up")

    def _cable(self, state: str) -> None:
        self._first()
        run(["nsenter", f"--net=/proc/{self.fabric.pid}/ns/net", "ip", "link", "set", self.place.port, state])

    def fill(self) -> None:
        """Fill the disk of its kubelet, on which pods keep their data and logs, but for half a MiB.

        Raises:
            ClusterError: the node is off, or has no disk of its own.

        """
        if not self.disk:
            raise ClusterError(f"{self.name} has no disk of its own, and the host's must not be filled: `up --disk 64M` gives it one")
        self.free()
        available = int(self.run("df", "--output=avail", "--block-size=1", "/var/lib/kubelet").split()[-1])
        self.run("fallocate", f"--length={max(4096, available - _LEFT)}", _FILLER)

    def free(self) -> None:
        """Take away what fills it.

        Raises:
            ClusterError: the node is off.

        """
        self.run("rm", "-f", _FILLER)

    def stop(self, program: str) -> None:
        """End one of its programs with SIGKILL, and keep it from being started; containers run on without kubelet and containerd.

        Raises:
            ClusterError: the node is off, or has no such program.

        """
        hold = self._hold(program)
        hold.touch()
        with suppress(FileNotFoundError, ClusterError):  # it has ended already
            self.run("kill", "-KILL", hold.with_suffix(".pid").read_text())

    def cont(self, program: str) -> None:
        """Let a program be started again.

        Raises:
            ClusterError: the node has no such program.

        """
        self._hold(program).unlink(missing_ok=True)

    def _hold(self, program: str) -> Path:
        names = [each["name"] for each in node.programs(self.place)]
        if program not in names:
            raise ClusterError(f"{self.name} has no program {program}: it has {', '.join(names)}")
        return self.layout.node(self.name) / "hold" / program

    def _first(self) -> int:
        """The pid of its first process, as the host sees it."""
        deadline = time.monotonic() + _PATIENCE
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        while self.process.alive and time.monotonic() < deadline:
            if found := children.read_text().split():
                return int(found[0])
            time.sleep(0.01)
        raise ClusterError(f"{self.name} is off; `start {self.name}` brings it back")
