# SPDX-License-Identifier: Apache-2.0
"""Everything that real nodes are made of, before they start: their system, their images, their folders with keys and settings."""

import json
import shutil
from pathlib import Path

from tools.cluster import certificates
from tools.cluster.arguments import Layout
from tools.cluster.cells import cluster_objects, debian, fabric, images, node
from tools.cluster.cells.addresses import API_PORT, FABRIC, Place, places
from tools.cluster.cells.room import DISK
from tools.cluster.commands import run
from tools.cluster.errors import ClusterError
from tools.cluster.record import Settings

API = f"https://{FABRIC}:{API_PORT}"
FOLDERS = ("keys", "hold", "logs", "scratch", "kubelet", "containerd", "cni", "pods", "data")
# What a node's own system consists of; containerd brings runc, python3 is for the supervisor.
PACKAGES = (
    *("containerd", "runc", "containernetworking-plugins", "nftables", "iproute2", "conntrack", "kmod"),
    *("python3", "dash", "coreutils", "grep", "sed", "util-linux", "mount", "procps", "busybox-static"),
)
FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}


def system(log: debian.Log) -> Path:
    """Return the root filesystem of nodes, made the first time."""
    return debian.root_filesystem("node", PACKAGES, FILES, log)


def prepare(cluster: str, layout: Layout, settings: Settings, lower: Path) -> None:
    """Write all that the fabric and the nodes need before they start.

    Raises:
        ClusterError: an archive of images cannot be read, a disk cannot be made that large, or openssl failed.

    """
    layout.fabric.mkdir()
    layout.images.mkdir()
    for index, file in enumerate(settings.images):
        _copy(Path(file), layout.images / f"{index}.tar")
    images.base(layout.images, lower / "bin/busybox")
    layout.egress.write_text(json.dumps(cluster_objects.egress(str(layout.fabric / fabric.EGRESS))))
    kubeconfig = layout.component_kubeconfig("coredns")
    certificates.write_kubeconfig(kubeconfig, layout.certificates, "coredns", API, cluster)
    (layout.fabric / fabric.COREFILE).write_text(cluster_objects.corefile(str(kubeconfig)))
    for place in places(settings.nodes):
        _prepare(cluster, layout, place, settings, lower)


def _make_disk(file: Path, size: str) -> None:
    """Make an empty disk; the file takes as much room as is written to it."""
    run(["truncate", f"--size={size}", str(file)])
    run(["mkfs.ext4", "-q", "-m", "0", str(file)])


def _copy(file: Path, target: Path) -> None:
    try:
        shutil.copyfile(file, target)
    except OSError as error:
        raise ClusterError(f"cannot read the images {file}: {error.strerror}") from error


def let_in(layout: Layout, settings: Settings) -> None:
    """Tell the nodes that the API server is there."""
    for place in places(settings.nodes):
        (layout.node(place.name) / node.API_READY).touch()


def _prepare(cluster: str, layout: Layout, place: Place, settings: Settings, lower: Path) -> None:
    """Write the folder of a node that has never run."""
    folder = layout.node(place.name)
    for name in FOLDERS:
        (folder / name).mkdir(parents=True)
    if settings.disk:
        _make_disk(folder / DISK, settings.disk)
    keys = folder / "keys"
    subject, names = f"/O=system:nodes/CN=system:node:{place.name}", (f"IP:{place.address}", f"DNS:{place.name}")
    certificates.sign(layout.certificates, place.name, subject, names)
    for suffix in ("crt", "key"):
        shutil.copyfile(layout.certificates / f"{place.name}.{suffix}", keys / f"kubelet.{suffix}")
    shutil.copyfile(layout.crt("ca"), keys / "ca.crt")
    certificates.write_kubeconfig(keys / "kubelet.kubeconfig", layout.certificates, place.name, API, cluster)
    certificates.write_kubeconfig(keys / "kube-proxy.kubeconfig", layout.certificates, "kube-proxy", API, cluster)
    shutil.copyfile(Path(__file__).with_name("supervisor.py"), folder / "supervisor.py")
    start = {
        "cluster": cluster,
        "index": place.index,
        "others": [index for index in range(settings.nodes) if index != place.index],
        "fabric": str(layout.fabric / fabric.READY),
        "lower": str(lower),
        "shown": {str(folder): node.INSIDE, str(layout.node_binaries): node.PROGRAMS, str(layout.images): node.IMAGES},
    }
    (folder / "start.json").write_text(json.dumps(start))
    (folder / "spec.json").write_text(json.dumps(node.spec(cluster, place, fast=settings.fast, disk=bool(settings.disk))))
