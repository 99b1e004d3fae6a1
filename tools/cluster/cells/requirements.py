# SPDX-License-Identifier: Apache-2.0
"""What a machine must have for real nodes; each lack in one line that says what to do about it. Fake nodes need none of it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from tools.cluster.cells import cgroups
from tools.cluster.paths import clusters_folder

TOOLS = {
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "tar": "tar",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}
_TRIALS = (
    # what is tried in namespaces of its own, and what is wrong if it fails
    (
        ("unshare", "--net", "--mount", "--pid", "--fork", "--uts", "--ipc", "true"),
        "namespaces cannot be made: CAP_SYS_ADMIN is needed, as in a privileged one",
    ),
    (
        ("unshare", "--net", "ip", "link", "add", "drover0", "type", "bridge"),
        "no network bridge can be made: the kernel module bridge is missing (modprobe bridge), or CAP_NET_ADMIN",
    ),
    (
        ("unshare", "--net", "ip", "link", "add", "drover0", "type", "veth", "peer", "name", "drover1"),
        "no virtual cable can be made: the kernel module veth is missing (modprobe veth), or CAP_NET_ADMIN",
    ),
)


DISK_TOOLS = {"mkfs.ext4": "e2fsprogs", "mount": "mount"}


def lacks(*, disk: bool = False) -> list[str]:
    """Return what this machine lacks for real nodes, with disks of their own or not, each in one line; nothing if they can be had."""
    if os.geteuid():
        return ["real nodes need root: namespaces, mounts and control groups are made for them (sudo make cluster ...)"]
    tools = _tools(shutil.which, TOOLS | (DISK_TOOLS if disk else {}))
    kernel = _kernel(Path("/proc/filesystems").read_text(), loop=not disk or Path("/dev/loop-control").exists())
    return [*tools, *kernel, *_groups(cgroups.ROOT)] or [*_tried(), *_layers(clusters_folder())]


def _tools(find: Callable[[str], str | None], wanted: Mapping[str, str] = TOOLS) -> list[str]:
    missing = [tool for tool in wanted if not find(tool)]
    packages = sorted({wanted[tool] for tool in missing})
    return [f"the command {', '.join(missing)} is missing: apt-get install {' '.join(packages)}"] if missing else []


def _kernel(filesystems: str, *, loop: bool = True) -> list[str]:
    known = filesystems.split()
    missing = [] if "overlay" in known else ["the kernel has no overlay file system: modprobe overlay"]
    return missing if loop else [*missing, "files cannot be mounted as disks: modprobe loop, or leave out --disk"]


def _groups(root: Path) -> Iterable[str]:
    """Try to make a group in each tree, as a node would have."""
    if not root.is_dir():
        return ["there are no control groups at /sys/fs/cgroup: mount them"]
    for tree in cgroups.hierarchies(root):
        trial = tree / f"{cgroups.TOP}-trial-{os.getpid()}"
        try:
            trial.mkdir()
        except OSError as error:
            return [f"no control group can be made in {tree} ({error.strerror}): it must be writable, as in a privileged container"]
        finally:
            with suppress(OSError):
                trial.rmdir()
    return []


def _tried() -> Iterable[str]:
    for words, why in _TRIALS:
        done = subprocess.run(words, capture_output=True, check=False, timeout=30)
        if done.returncode:
            yield why


def _layers(folder: Path) -> Iterable[str]:
    """Try to mount an overlay whose upper layer is where nodes keep their images."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".trial-") as trial:
        for name in ("lower", "upper", "work", "root"):
            (Path(trial) / name).mkdir()
        options = ",".join(f"{name}dir={trial}/{name}" for name in ("lower", "upper", "work"))
        words = ("unshare", "--mount", "mount", "-t", "overlay", "-o", options, "drover", f"{trial}/root")
        if subprocess.run(words, capture_output=True, check=False, timeout=30).returncode:
            yield f"{folder} is on a file system that cannot hold layers of images (an overlay itself?): set DROVER_STATE to a folder on ext4 or xfs"
