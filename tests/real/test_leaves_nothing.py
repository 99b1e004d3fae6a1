# SPDX-License-Identifier: Apache-2.0
"""A machine on which nodes have lived is as it was: nothing mounted, no link, rule, address, group, process, file or setting is left."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from api.harness.waiting import until

from tools.cluster import Cluster, router_lacks
from tools.cluster.cells import cgroups
from tools.cluster.paths import ROOT, clusters_folder

ROUNDS = 10
SYSCTLS = (
    *("net/ipv4/ip_forward", "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys"),
    *("net/netfilter/nf_conntrack_max", "net/netfilter/nf_conntrack_tcp_timeout_established"),
)


def machine() -> dict[str, object]:
    """What nodes could have changed, as it is now."""
    return {
        "mounts": Path("/proc/self/mounts").read_text(),
        "links": _said("ip", "-brief", "link"),
        "addresses": _said("ip", "-brief", "address"),
        "routes": _said("ip", "route"),
        "namespaces": sorted(each.name for each in Path("/run/netns").iterdir()) if Path("/run/netns").is_dir() else [],
        "sysctls": {name: Path("/proc/sys", name).read_text() for name in SYSCTLS if Path("/proc/sys", name).exists()},
        "groups": sorted(str(each) for tree in cgroups._trees(cgroups.ROOT) for each in tree.glob("**/drover*")),
        "disks": _disks(),
        "clusters": sorted(each.name for each in clusters_folder().iterdir() if each.name.endswith(f"-{os.getpid()}")),
        "processes": sorted(_programs()),
    }


def _disks() -> list[str]:
    """Files that are mounted as disks."""
    found: list[str] = []
    for device in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # it was let go of just now
            found.append(device.read_text())
    return sorted(found)


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=10).stdout


def _programs() -> list[str]:
    """Processes that only nodes have."""
    found: list[str] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            name = Path(words[0].decode(errors="replace")).name
            if name in ("kubelet", "containerd", "containerd-shim-runc-v2", "kube-proxy", "coredns", "unshare", "contour", "envoy"):
                found.append(f"{entry.name} {name}")
    return found


def same(before: dict[str, object]) -> None:
    """Compare, after the kernel has had a moment to take namespaces down."""

    def look() -> bool:
        now = machine()
        changed = {key: (before[key], now[key]) for key in before if before[key] != now[key]}
        assert not changed, "\n".join(f"{key}\n  before {was}\n  now    {found}" for key, (was, found) in changed.items())
        return True

    until(look, "the machine is as it was", seconds=10)


@pytest.mark.timeout(300, func_only=True)
def test_ten_rounds_of_up_damage_and_down() -> None:
    """Each damage once a round: disk, power, cable, a program; in the first round with a router, one of whose programs is killed."""
    before, with_router = machine(), not router_lacks()
    for number in range(ROUNDS):
        cluster = Cluster(f"test-rounds-{os.getpid()}")
        begun = time.monotonic()
        try:
            cluster.up(nodes=2, kwok_nodes=0, fast=True, disk="64M", router=with_router and not number)
            up = time.monotonic()
            if with_router and not number:
                assert {"contour", "envoy"} <= {each.split()[1] for each in _programs()}, "they would be found"
                cluster.stop("envoy", kill=True)
            cluster.node("node-b").fill()
            cluster.stop("node-b", kill=True)
            cluster.node("node-a").cut()
            cluster.node("node-a").stop("kubelet")
            cluster.start("node-b")
            damaged = time.monotonic()
        finally:
            cluster.down()
        print(f"round {number}: up {up - begun:.1f} s, damage {damaged - up:.1f} s, down {time.monotonic() - damaged:.1f} s")
        same(before)


@pytest.mark.parametrize("after", [0.3, 1.5, 3.0])
def test_the_tool_is_killed_while_it_brings_nodes_up(after: float) -> None:
    """Whatever it had started is found by `down` of another process."""
    before, name = machine(), f"test-killed-{os.getpid()}"
    command = [sys.executable, "-m", "tools.cluster", "up", "--name", name, "--nodes", "2", "--kwok-nodes", "0"]
    tool = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            tool.wait(after)
    finally:
        tool.send_signal(signal.SIGKILL)
        tool.wait(10)
        Cluster(name).down()
    same(before)


def test_two_clusters_live_side_by_side() -> None:
    """The same addresses in networks of their own: a pod of one reaches its own API server, and the end of one is nothing to the other."""
    before = machine()
    first, second = (Cluster(f"test-{each}-{os.getpid()}") for each in ("one", "two"))
    try:
        for each in (first, second):
            each.up(nodes=1, kwok_nodes=0)
        addresses = {each.node("node-a").run("ip", "-brief", "address", "show", "eth0").split("/")[0] for each in (first, second)}
        assert len(addresses) == 1
        first.down()
        assert second.status().nodes == (1, 1)
        second.node("node-a").run("sh", "-c", "ps ax | grep -q '[k]ubelet'")
    finally:
        for each in (first, second):
            each.down()
    same(before)


def test_a_refusal_names_what_is_missing_and_leaves_nothing() -> None:
    """As root without the right to make namespaces, as in an ordinary container: a line each, and what to do."""
    before = machine()
    tool = [sys.executable, "-m", "tools.cluster", "up", "--name", f"test-refused-{os.getpid()}", "--nodes", "1"]
    done = subprocess.run(["setpriv", "--bounding-set", "-sys_admin", *tool], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "error: real nodes cannot be had on this machine (fake ones can: --nodes 0):\n  - namespaces cannot be made: CAP_SYS_ADMIN" in done.stderr
    assert "Traceback" not in done.stderr
    same(before)
