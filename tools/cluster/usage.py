# SPDX-License-Identifier: Apache-2.0
"""What the processes of a cluster use: processor time since they began, and memory now. A real node counts as a whole, pods included."""

import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.cells import cgroups
from tools.cluster.processes import Process

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_USER, _SYSTEM = 11, 12  # fields of /proc/PID/stat behind the name: 14 and 15 of the whole line
_RESIDENT = 1  # field of /proc/PID/statm


@dataclass(frozen=True)
class Usage:
    """Seconds of processor time, and bytes."""

    cpu: float
    memory: int


def of_process(process: Process, proc: Path = Path("/proc")) -> Usage:
    """Return what one process of the host uses; nothing of one that has ended."""
    folder = proc / str(process.pid)
    try:
        stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
        pages = int((folder / "statm").read_text().split()[_RESIDENT])
    except OSError:
        return Usage(0.0, 0)
    return Usage((int(stat[_USER]) + int(stat[_SYSTEM])) * _TICK, pages * _PAGE)


def of_node(cluster: str, name: str) -> Usage:
    """Return what a real node uses; nothing of one that is off."""
    with suppress(OSError, StopIteration):
        return Usage(cgroups.cpu_seconds(cluster, name), cgroups.memory(cluster, name))
    return Usage(0.0, 0)


def of_all(cluster: str, processes: Mapping[str, Process], nodes: Iterable[str]) -> dict[str, Usage]:
    """Return what each process of a cluster uses, by its name."""
    real = set(nodes)
    return {name: of_node(cluster, name) if name in real else of_process(process) for name, process in processes.items()}


def shares(before: Mapping[str, Usage], after: Mapping[str, Usage], seconds: float) -> dict[str, float]:
    """Return how much of one core each used between two looks, in percent."""
    return {name: 100.0 * max(0.0, after[name].cpu - before[name].cpu) / seconds for name in after if name in before}


def watch(cluster: str, processes: Mapping[str, Process], nodes: Iterable[str], seconds: float) -> tuple[dict[str, Usage], dict[str, float]]:
    """Look twice, so many seconds apart; return what is used at the end, and the shares of one core in percent."""
    names = tuple(nodes)
    before, begun = of_all(cluster, processes, names), time.monotonic()
    time.sleep(seconds)
    after = of_all(cluster, processes, names)
    return after, shares(before, after, time.monotonic() - begun)
