# SPDX-License-Identifier: Apache-2.0
"""Processes of our own: detached from the terminal, known by pid and start time, and nothing else is ever ended.

A pid alone is not an identity, as the kernel gives it out again; together with the start time and the boot it is.
"""

import os
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.errors import ClusterError

MARKER = "DROVER_CLUSTER_FOLDER"
_PROC = Path("/proc")
_POLL = 0.02
_KILL_WAIT = 10.0
_STATE, _START_TIME = 0, 19  # fields of /proc/PID/stat behind the name: 3 and 22 of the whole line


def boot_id(proc: Path = _PROC) -> str:
    """Return a name for this run of the machine."""
    return (proc / "sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int, proc: Path = _PROC) -> int | None:
    """Return when a process started, in clock ticks since boot; None if it is gone or only waits to be reaped."""
    try:
        fields = (proc / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[_STATE] in "ZX" else int(fields[_START_TIME])


@dataclass(frozen=True)
class Process:
    """One process that we started, and how."""

    pid: int
    started: int
    boot: str
    argv: tuple[str, ...]

    @property
    def alive(self) -> bool:
        """Whether this very process still runs, and not another one with its pid."""
        return self.is_alive()

    def is_alive(self, proc: Path = _PROC) -> bool:
        """Return whether it runs, according to the process table in the given folder."""
        return start_time(self.pid, proc) == self.started and boot_id(proc) == self.boot

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process, or to nothing: the descriptor pins it, so that no pid can be mistaken."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


def spawn(argv: Sequence[str], log: Path, folder: Path) -> Process:
    """Start a program detached from the terminal, its output going to the end of a log file.

    Raises:
        ClusterError: the program cannot be started, or ended at once.

    """
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    environ = {**os.environ, MARKER: str(folder)}
    heard = [signal.SIGINT, signal.SIGTERM, signal.SIGPIPE]
    try:
        pid = os.posix_spawn(argv[0], list(argv), environ, file_actions=actions, setsid=True, setsigmask=[], setsigdef=heard)
    except OSError as error:
        message = f"cannot start {argv[0]}: {error.strerror}"
        raise ClusterError(message) from error
    started = start_time(pid)
    if started is None:
        message = f"{Path(argv[0]).name} ended at once; see {log}"
        raise ClusterError(message)
    return Process(pid, started, boot_id(), tuple(argv))


def _reap(process: Process) -> None:
    with suppress(ChildProcessError):  # not a child of ours: its own parent does it
        os.waitpid(process.pid, os.WNOHANG)


def _wait_gone(processes: Sequence[Process], seconds: float) -> list[Process]:
    deadline = time.monotonic() + seconds
    while left := [process for process in processes if process.alive]:
        if time.monotonic() > deadline:
            return left
        time.sleep(_POLL)
    return []


def stop(processes: Iterable[Process], grace: float) -> None:
    """End processes and wait until they are gone: SIGTERM, and SIGKILL after the grace period (at once if it is 0).

    Raises:
        ClusterError: a process is still there seconds after SIGKILL.

    """
    left = [process for process in processes if process.alive]
    everything = tuple(left)
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, _KILL_WAIT)):
        if number == signal.SIGKILL or grace > 0:
            for process in left:
                process.send(number)
            left = _wait_gone(left, seconds)
    for process in everything:
        _reap(process)
    if left:
        message = f"cannot end {', '.join(f'{Path(process.argv[0]).name} (pid {process.pid})' for process in left)}"
        raise ClusterError(message)


def marked(folder: Path) -> list[Process]:
    """Find processes that carry this folder in their environment: ours, even if a crash kept them out of the record."""
    wanted, boot, found = f"{MARKER}={folder}".encode(), boot_id(), list[Process]()
    for entry in _PROC.iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                words = (entry / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
                if (started := start_time(int(entry.name))) is not None:
                    found.append(Process(int(entry.name), started, boot, tuple(words)))
    return found
