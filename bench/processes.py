# SPDX-License-Identifier: Apache-2.0
"""What a process has cost so far, as the kernel counts it."""

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")
_USER, _SYSTEM = 11, 12  # fields of /proc/PID/stat behind the name: 14 and 15 of the whole line


@dataclass(frozen=True)
class Cost:
    """CPU seconds used, and the most memory that was ever resident, in MB."""

    cpu: float
    peak: float

    def since(self, before: "Cost") -> "Cost":
        """The CPU seconds from then to now; the peak is that of the whole life."""
        return Cost(self.cpu - before.cpu, self.peak)


def cost(pid: int) -> Cost:
    """Read the counters of a process with all its threads."""
    folder = Path("/proc") / str(pid)
    fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
    return Cost(cpu=(int(fields[_USER]) + int(fields[_SYSTEM])) * _TICK, peak=_status(folder, "VmHWM"))


def resident(pid: int) -> float:
    """Memory that is resident now, in MB."""
    return _status(Path("/proc") / str(pid), "VmRSS")


def _status(folder: Path, field: str) -> float:
    lines = (folder / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) / 1024
