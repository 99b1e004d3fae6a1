# SPDX-License-Identifier: Apache-2.0
"""The start of one node, `python -m tools.cluster.cells.room FOLDER`, in namespaces that `unshare` has just made for it.

It plugs itself into the fabric, builds a root of its own (Debian packages below, what is written above, gone with the node), shows in it
the folders that outlive a power cut, makes it the only root, and becomes the supervisor.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tools.cluster.cells import cgroups, kernel
from tools.cluster.cells.addresses import FABRIC, Place
from tools.cluster.cells.node import INSIDE

LASTING = {
    "kubelet": "/var/lib/kubelet",
    "containerd": "/var/lib/containerd",
    "cni": "/var/lib/cni",
    "pods": "/var/log/pods",
    "data": "/data",
}
DISK = "disk.img"  # of the kubelet, where nodes have disks of their own
SCRATCH = "size=1g,mode=755"  # what a node may write outside these folders
# The kubelet sets these for the whole machine: it gets files to write on instead.
SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def plug(fabric: int, mine: Place, others: list[Place]) -> None:
    """A cable from this node to the bridge, and the ways to all pods: plain routes.

    The other end goes by the pid as which this very process sees itself, which is that of the first process of a new pid namespace.
    """
    outside = [
        f"link add {mine.port} type veth peer name eth0 netns {os.getpid()}",
        f"link set {mine.port} master br0 up",
        f"route replace {mine.pods} via {mine.address}",
    ]
    inside = [
        "link set lo up",
        "link set eth0 up",
        f"addr add {mine.address}/24 dev eth0",
        f"route add default via {FABRIC}",
        *(f"route replace {other.pods} via {other.address}" for other in others),
    ]
    _ip(["nsenter", f"--net=/proc/{fabric}/ns/net"], outside)
    _ip([], inside)


def _ip(prefix: list[str], lines: list[str]) -> None:
    subprocess.run([*prefix, "ip", "-batch", "-"], input="".join(f"{line}\n" for line in lines), text=True, check=True)


def build(folder: Path, lower: Path, shown: dict[str, str]) -> Path:
    """Mount the root of the node; return where it is."""
    if (disk := folder / DISK).exists():
        subprocess.run(["mount", "-o", "loop", str(disk), str(folder / "kubelet")], check=True)  # the loop device goes with the last who sees it
    scratch = folder / "scratch"
    kernel.mount("drover", scratch, "tmpfs", data=SCRATCH)
    for part in ("upper", "work", "root"):
        (scratch / part).mkdir()
    root = scratch / "root"
    kernel.mount("drover", root, "overlay", data=f"lowerdir={lower},upperdir={scratch / 'upper'},workdir={scratch / 'work'}")
    _system(root)
    for source, target in {**shown, **{str(folder / name): path for name, path in LASTING.items()}}.items():
        place = root / target.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        kernel.bind(source, place, read_only=source in shown and target != INSIDE)
    return root


def _system(root: Path) -> None:
    for name in ("dev", "proc", "sys", "run", "tmp", "var/log/containers", "etc/cni/net.d"):
        (root / name).mkdir(parents=True, exist_ok=True)
    kernel.mount("/dev", root / "dev", flags=kernel.BIND | kernel.RECURSIVE)
    kernel.mount("proc", root / "proc", "proc")
    kernel.mount("sysfs", root / "sys", "sysfs")
    kernel.mount(cgroups.ROOT, root / "sys/fs/cgroup", flags=kernel.BIND | kernel.RECURSIVE)
    kernel.mount("drover", root / "run", "tmpfs", data="mode=755")
    kernel.mount("drover", root / "tmp", "tmpfs", data="mode=1777")
    (root / "run/lock").mkdir()
    for name, value in SYSCTLS.items():
        file = root / "run/sysctl" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
        kernel.bind(file, root / "proc/sys" / name)


def main() -> None:
    """Become the node of that folder."""
    folder = Path(sys.argv[1])
    start: dict[str, Any] = json.loads((folder / "start.json").read_text())
    mine, fabric = Place(start["index"]), int(Path(start["fabric"]).read_text())
    cgroups.make(start["cluster"], mine.name)
    cgroups.enter(start["cluster"], mine.name)
    plug(fabric, mine, [Place(index) for index in start["others"]])
    root = build(folder, Path(start["lower"]), start["shown"])
    kernel.change_root(root)
    kernel.mount("", "/", flags=kernel.SHARED | kernel.RECURSIVE)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    os.environ["PATH"] = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.execv("/usr/bin/python3", ["python3", f"{INSIDE}/supervisor.py", f"{INSIDE}/spec.json"])


if __name__ == "__main__":
    main()
