# SPDX-License-Identifier: Apache-2.0
"""Control groups of the nodes, version 1 and 2: one folder for each node, in which its kubelet makes those of its pods.

A kubelet that finds groups of a life before spends 3 s on each, which a real power cut would spare it: they go with the node.
"""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
TOP = "drover"
OWN = "system"  # where what is no pod runs
_INHERITED = ("cpuset.cpus", "cpuset.mems")  # version 1: empty in a new group, which then takes no process
_PATIENCE = 10.0  # seconds until the last process of a group is really gone
_UNIFIED = "cgroup.controllers"


def path_of(cluster: str, node: str) -> str:
    """Return the group of a node, as a kubelet is told it."""
    return f"/{TOP}/{cluster}/{node}"


def is_unified(root: Path = ROOT) -> bool:
    """Return whether this machine has version 2 alone."""
    return (root / _UNIFIED).exists()


def hierarchies(root: Path = ROOT) -> list[Path]:
    """Return the trees in which a group must exist: one with version 2, one for each controller with version 1."""
    return [root] if is_unified(root) else [tree for tree in _trees(root) if not is_unified(tree)]


def _trees(root: Path) -> list[Path]:
    """All trees of version 1, and the empty one of version 2 that may stand beside them: a container runtime makes groups there too."""
    return [root] if is_unified(root) else sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.is_symlink())


def make(cluster: str, node: str, root: Path = ROOT) -> None:
    """Make the groups of a node.

    Raises:
        OSError: this machine does not let us.

    """
    for tree in hierarchies(root):
        group = tree
        for part in (TOP, cluster, node, OWN):
            _delegate(group)
            group /= part
            group.mkdir(exist_ok=True)
            _inherit(group)


def _delegate(group: Path) -> None:
    """Version 2: let groups below have the controllers that this one has."""
    with suppress(FileNotFoundError):
        wanted = set((group / _UNIFIED).read_text().split()) - set((group / "cgroup.subtree_control").read_text().split())
        for controller in sorted(wanted):
            (group / "cgroup.subtree_control").write_text(f"+{controller}")


def _inherit(group: Path) -> None:
    for name in _INHERITED:
        with suppress(FileNotFoundError):
            if not (group / name).read_text().strip():
                (group / name).write_text((group.parent / name).read_text())


def enter(cluster: str, node: str, root: Path = ROOT) -> None:
    """Move this process into the group of a node for what is no pod."""
    for tree in hierarchies(root):
        (tree / TOP / cluster / node / OWN / "cgroup.procs").write_text("0")


def remove(cluster: str, node: str, root: Path = ROOT) -> None:
    """Remove the groups of a node whose processes have ended, and those above that are empty then.

    Raises:
        OSError: a process is still in one of them.

    """
    deadline = time.monotonic() + _PATIENCE
    for tree in _trees(root):
        top = tree / TOP
        for folder in _bottom_up(top / cluster / node):
            _remove(folder, deadline)
        for folder in (top / cluster, top):
            with suppress(OSError):  # another node or cluster has its groups there
                folder.rmdir()


def _bottom_up(top: Path) -> Iterable[Path]:
    return (Path(folder) for folder, _, _ in os.walk(top, topdown=False))


def _remove(folder: Path, deadline: float) -> None:
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def cpu_seconds(cluster: str, node: str, root: Path = ROOT) -> float:
    """Return the processor time that a node has used so far, its pods included."""
    where = Path(TOP) / cluster / node
    if is_unified(root):
        lines = (root / where / "cpu.stat").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("usage_usec"))) / 1e6
    return int((root / "cpuacct" / where / "cpuacct.usage").read_text()) / 1e9


def memory(cluster: str, node: str, root: Path = ROOT) -> int:
    """Return the memory that a node uses now, in bytes, without what the kernel could drop."""
    where = Path(TOP) / cluster / node
    if is_unified(root):
        used, stat, cached = root / where / "memory.current", root / where / "memory.stat", "inactive_file"
    else:
        used, stat, cached = root / "memory" / where / "memory.usage_in_bytes", root / "memory" / where / "memory.stat", "total_inactive_file"
    droppable = next((int(line.split()[1]) for line in stat.read_text().splitlines() if line.split()[0] == cached), 0)
    return max(0, int(used.read_text()) - droppable)
