# SPDX-License-Identifier: Apache-2.0
"""Which process is the instance: read from /proc of a pod whose containers share their process namespace.

The first process of each container has parent 0 there, because its parent lives outside. So has what `kubectl exec` and exec probes
start, for as long as it runs: the oldest is the better guess, and who owns the probed socket the best one. A guess is looked at anew
before each probe, since the instance may start after its neighbours; a name or a socket settles it for the life of the process.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drover_agent.core import Run

Table = Mapping[int, "Process"]
PAUSE = 1
OUTSIDE = 0  # the parent of what was started from outside the namespace
COMM = 15  # bytes of a name that the kernel keeps
LISTEN = "0A"
_STATE, _PARENT, _TICKS = 0, 1, 19  # fields of /proc/PID/stat behind the name: 3, 4 and 22 of the whole line
_LOCAL, _SOCKET_STATE, _INODE = 1, 3, 9  # fields of /proc/net/tcp


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A line of the process table; `ticks` is its start, in clock ticks since boot."""

    pid: int
    parent: int
    name: str
    ticks: int
    ended: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The process to watch: a guess among several if ambiguous, and never looked for again while it lives if settled."""

    run: Run
    ambiguous: bool = False
    settled: bool = False


class ProcFolder:
    """A mounted /proc; `hertz` are its clock ticks in a second."""

    def __init__(self, root: Path = Path("/proc"), *, hertz: int = 0) -> None:
        self._root = root
        self._hertz = hertz or os.sysconf("SC_CLK_TCK")

    def process(self, pid: int) -> Process | None:
        """The process of this pid, None if there is none.

        Raises:
            OSError: it cannot be said whether there is one.
        """
        try:
            line = (self._root / str(pid) / "stat").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return parse_stat(line)

    def table(self) -> dict[int, Process]:
        """Every process that can be read; empty if the folder cannot."""
        found: dict[int, Process] = {}
        with suppress(OSError):
            for name in os.listdir(self._root):  # noqa: PTH208  a Path for each would cost more than the reading
                with suppress(OSError):
                    if name.isdigit() and (process := self.process(int(name))) is not None:
                        found[process.pid] = process
        return found

    def run_of(self, process: Process) -> Run:
        """The run that a process is.

        Raises:
            OSError: the time of boot cannot be read.
            ValueError: it is not told.
        """
        for line in (self._root / "stat").read_text().splitlines():
            if line.startswith("btime "):
                milliseconds = int(line.split()[1]) * 1000 + process.ticks * 1000 // self._hertz
                return Run(pid=process.pid, ticks=process.ticks, start_time=milliseconds)
        raise ValueError(f"{self._root / 'stat'} does not tell btime")

    def listeners(self, port: int) -> frozenset[str]:
        """The sockets that listen on a port, as the links in /proc/PID/fd name them."""
        found: set[str] = set()
        for name in ("tcp", "tcp6"):  # one of the two is missing where a family is switched off
            with suppress(OSError), (self._root / "net" / name).open() as lines:
                found |= {f"socket:[{inode}]" for inode in _listening(lines, port)}
        return frozenset(found)

    def readable(self, pid: int) -> bool:
        """Whether its open files may be listed: not those of another user."""
        return os.access(self._root / str(pid) / "fd", os.R_OK | os.X_OK)

    def holds(self, pid: int, sockets: frozenset[str]) -> bool:
        """Whether the process has one of these sockets open, as far as that can be read."""
        with suppress(OSError), os.scandir(self._root / str(pid) / "fd") as entries:
            return any(_link(entry.path) in sockets for entry in entries)
        return False


def parse_stat(line: bytes) -> Process | None:
    """A process by its line in /proc/PID/stat; the name stands in brackets and may hold brackets and spaces itself."""
    pid, _, rest = line.partition(b" (")
    name, _, behind = rest.rpartition(b")")
    fields = behind.split()
    try:
        return Process(
            pid=int(pid),
            parent=int(fields[_PARENT]),
            name=name.decode(errors="replace"),
            ticks=int(fields[_TICKS]),
            ended=fields[_STATE] in (b"Z", b"X"),
        )
    except (IndexError, ValueError):
        return None


def _listening(lines: Iterator[str], port: int) -> Iterator[str]:
    ending = f":{port:04X}"
    for line in lines:
        fields = line.split()
        if len(fields) > _INODE and fields[_SOCKET_STATE] == LISTEN and fields[_LOCAL].endswith(ending):
            yield fields[_INODE]


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115  a Path for each would cost more than the reading
    except OSError:  # closed since, or not ours to read
        return ""


def ancestor(table: Table, pid: int) -> int:
    """The first process of the container that `pid` lives in; `pid` itself if it is not in the table."""
    seen: set[int] = set()
    while pid in table and table[pid].parent in table and pid not in seen:
        seen.add(pid)
        pid = table[pid].parent
    return pid


def tree(table: Table, root: int) -> frozenset[int]:
    """A process and all its descendants."""
    return frozenset(pid for pid in table if _descends(table, pid, root))


def _descends(table: Table, pid: int, root: int) -> bool:
    seen: set[int] = set()
    while pid != root and pid in table and pid not in seen:
        seen.add(pid)
        pid = table[pid].parent
    return pid == root


def mains(table: Table, *, own: int, name: str = "") -> tuple[Process, ...]:
    """The first processes of the other containers, the oldest first; only those called `name`, if one is given."""
    mine, wanted = ancestor(table, own), name.encode()[:COMM].decode(errors="replace")
    return tuple(
        sorted(
            (
                each
                for each in table.values()
                if each.parent == OUTSIDE and each.pid not in (PAUSE, mine) and not each.ended and (not name or each.name == wanted)
            ),
            key=lambda each: (each.ticks, each.pid),
        )
    )


class Watch:
    """Finds the process of the instance: the one called `name`, the one that owns the probed `port`, or the oldest. `own` is the agent's pid."""

    def __init__(self, folder: ProcFolder, *, own: int, port: int, name: str = "") -> None:
        self._folder = folder
        self._own = own
        self._port = port
        self._name = name

    def alive(self, run: Run) -> bool:
        """Whether this very run goes on; one small file is read. What cannot be read is no proof of an end."""
        try:
            process = self._folder.process(run.pid)
        except OSError:
            return True
        return process is not None and not process.ended and process.ticks == run.ticks

    def look(self, known: Found | None) -> Found | None:
        """The process to watch, None if there is none. `known` lives; unless it is settled, a socket may prove another one.

        An unreadable folder shows nobody, which is no proof that `known` has ended.
        """
        if known is not None and known.settled:
            return known
        table = self._folder.table()
        candidates = mains(table, own=self._own, name=self._name)
        owners = self._owners(candidates, table)
        sure = owners or (candidates if self._name else ())
        return self._choose(owners or candidates, known, settled=len(sure) == 1) or known

    def _choose(self, candidates: Sequence[Process], known: Found | None, *, settled: bool) -> Found | None:
        kept = {(each.pid, each.ticks) for each in candidates}
        if known is not None and (known.run.pid, known.run.ticks) in kept:
            return Found(run=known.run, ambiguous=len(candidates) > 1, settled=settled)
        try:
            return Found(run=self._folder.run_of(candidates[0]), ambiguous=len(candidates) > 1, settled=settled) if candidates else None
        except (OSError, ValueError):  # without its start there is no identity
            return None

    def _owners(self, candidates: Sequence[Process], table: Table) -> tuple[Process, ...]:
        """Those whose tree holds a socket that listens on the port. The kernel's list may be long: it is read only if it can be of use."""
        trees = {each: [pid for pid in tree(table, each.pid) if self._folder.readable(pid)] for each in candidates}
        sockets = self._folder.listeners(self._port) if any(trees.values()) else frozenset[str]()
        return tuple(each for each, pids in trees.items() if sockets and any(self._folder.holds(pid, sockets) for pid in pids))
