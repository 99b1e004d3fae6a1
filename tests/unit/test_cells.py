# SPDX-License-Identifier: Apache-2.0
"""Real nodes, as far as it can be known without one: addresses, settings, control groups, images, and the doors through the wall."""

import asyncio
import hashlib
import json
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tools.cluster import ClusterError, arguments, relay
from tools.cluster.arguments import Layout, Ports, command_lines
from tools.cluster.cells import cgroups, cluster_objects, debian, fabric, images, node, requirements, supervisor
from tools.cluster.cells.addresses import FABRIC, MOST, places
from tools.cluster.cluster import _check
from tools.cluster.record import Record, Settings, load

PORTS = Ports(api=6443, etcd=2379, peer=2380)
SEVERAL = Ports(api=6443, etcd=2379, peer=2380, servers=(1001, 1002, 1003))


def lines(settings: Settings, ports: Ports = PORTS) -> dict[str, list[str]]:
    return command_lines(Layout(Path("/state"), Path("/bin"), Path("/node-bin")), ports, settings)


# --- places and settings


def test_all_nodes_differ_and_stay_in_their_ranges() -> None:
    """Two nodes of one address, or pods of two nodes in one range, would look like any other network fault."""
    found = places(MOST)
    assert len({each.name for each in found}) == len({each.address for each in found}) == len({each.pods for each in found}) == MOST
    assert all(each.address.startswith("10.199.0.") and each.address != FABRIC for each in found)
    assert all(len(each.port) <= 15 for each in found), "a network device has a name of 15 characters at most"


def test_nodes_start_before_the_api_server_and_the_datastore_before_all() -> None:
    """A node takes longest to come up, and waits for the API server by itself."""
    assert list(lines(Settings(nodes=2, kwok_nodes=1))) == [
        *("etcd", "fabric", "node-a", "node-b", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
    ]


def test_without_real_nodes_nothing_of_them_is_started() -> None:
    """The kwok mode needs no root: no namespace, no fabric, no way to kubelets."""
    words = [word for argv in lines(Settings()).values() for word in argv]
    assert not [word for word in words if "unshare" in word or "egress" in word or "kubelet" in word]


def test_several_api_servers_have_ports_of_their_own_behind_one_address() -> None:
    """All clients know the relay's port; the fabric knows the servers, so that nodes do not need the relay."""
    found = lines(Settings(api_servers=3, nodes=1), SEVERAL)
    assert [name for name in found if "apiserver" in name] == ["kube-apiserver", "kube-apiserver-2", "kube-apiserver-3"]
    assert [next(word for word in found[name] if "secure-port" in word) for name in arguments.api_servers(Settings(api_servers=3))] == [
        *("--secure-port=1001", "--secure-port=1002", "--secure-port=1003")
    ]
    assert found["relay"][-4:] == ["6443", "1001", "1002", "1003"]
    assert found["fabric"][-3:] == ["1001", "1002", "1003"]
    assert lines(Settings())["kube-apiserver"][2] == "--secure-port=6443", "one server has the address itself"


@pytest.mark.parametrize("fast", [False, True])
def test_a_node_is_told_all_it_needs(*, fast: bool) -> None:
    """Every file that a program is pointed to is among those written, or in a folder that is shown inside."""
    place = places(3)[2]
    spec = node.spec("drover-x", place, fast=fast)
    assert json.loads(json.dumps(spec)) == spec
    given = [word.split("=", 1)[1] for program in spec["programs"] for word in program["argv"] if word.startswith("--") and "=/" in word]
    assert given and all(path in spec["files"] or path.startswith((f"{node.INSIDE}/keys/", f"{node.INSIDE}/")) for path in given)
    kubelet = json.loads(spec["files"]["/run/drover/kubelet.json"])
    assert kubelet["cgroupRoot"] == "/drover/drover-x/node-c"
    assert (kubelet.get("nodeLeaseDurationSeconds") == 4) is fast, "a lease longer than the grace period of --fast would lose healthy nodes"
    assert tomllib.loads(spec["files"]["/etc/containerd/config.toml"])["grpc"]["address"] == node.SOCKET
    assert json.loads(spec["files"]["/etc/cni/net.d/10-drover.conflist"])["plugins"][0]["ipam"]["ranges"] == [[{"subnet": place.pods}]]
    assert node.spec("drover-y", place, fast=fast)["files"]["/etc/machine-id"] != spec["files"]["/etc/machine-id"], "two clusters, two machines"


def test_the_cluster_knows_its_dns_and_its_own_api() -> None:
    """Pods reach the API server and DNS by Services that lead to the fabric."""
    found = {body["metadata"]["name"]: body for path, body in cluster_objects.objects() if path.endswith("slices")}
    assert {name: (body["endpoints"][0]["addresses"], body["ports"][0]["port"]) for name, body in found.items()} == {
        "kube-dns": ([FABRIC], 53),
        "kubernetes": ([FABRIC], 6443),
    }
    assert "forward" not in cluster_objects.corefile("/k"), "there is no network outside"


def test_a_record_keeps_what_was_asked_for(tmp_path: Path) -> None:
    """`up` again compares with it, and `start` needs to know the nodes."""
    record = Record(Settings(nodes=2, images=("/a.tar",), api_servers=3), 6443, 2379, ready=True)
    record.save(tmp_path / "cluster.json")
    assert load(tmp_path / "cluster.json") == record


# --- control groups


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The trees of version 1, with cpuset, whose new groups take no process until they are filled in."""
    for name in ("cpu", "cpuset", "memory", "unified"):
        (tmp_path / name).mkdir()
    (tmp_path / "unified/cgroup.controllers").touch()
    (tmp_path / "cpuset/cpuset.cpus").write_text("0-1\n")
    (tmp_path / "cpuset/cpuset.mems").write_text("0\n")
    return tmp_path


def test_groups_of_version_1_exist_in_every_tree_but_the_empty_second_one(first: Path) -> None:
    """A kubelet looks for its group in each of them."""
    assert [each.name for each in cgroups.hierarchies(first)] == ["cpu", "cpuset", "memory"]
    cgroups.make("drover-x", "node-a", first)
    assert all((first / tree / "drover/drover-x/node-a/system").is_dir() for tree in ("cpu", "cpuset", "memory"))


def test_groups_go_with_the_node_and_leave_those_of_others(first: Path) -> None:
    """What is left behind costs the next life 3 s a group; what belongs to another cluster is not ours."""
    for cluster, name in (("drover-x", "node-a"), ("drover-x", "node-b"), ("drover-y", "node-a")):
        cgroups.make(cluster, name, first)
    (first / "cpu/drover/drover-x/node-a/kubepods/pod-1").mkdir(parents=True)
    (first / "unified/drover/drover-x/node-a/kubepods").mkdir(parents=True)  # a container runtime's doing
    cgroups.remove("drover-x", "node-a", first)
    assert sorted(each.relative_to(first / "cpu").as_posix() for each in (first / "cpu/drover").glob("*/*")) == [
        "drover/drover-x/node-b",
        "drover/drover-y/node-a",
    ]
    cgroups.remove("drover-x", "node-a", first)
    for cluster, name in (("drover-x", "node-b"), ("drover-y", "node-a")):
        cgroups.remove(cluster, name, first)
    assert not list(first.glob("*/drover"))


def test_groups_of_version_2_hand_their_controllers_down(tmp_path: Path) -> None:
    """Without that a kubelet finds no controller at all in its group."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    for folder in ("drover", "drover/drover-x"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cgroup.controllers").write_text("cpu memory pids\n")
        (tmp_path / folder / "cgroup.subtree_control").write_text("\n")
    cgroups.make("drover-x", "node-a", tmp_path)
    assert (tmp_path / "drover/cgroup.subtree_control").read_text() == "+pids", "each of them, one after the other"
    assert (tmp_path / "drover/drover-x/node-a/system").is_dir()


# --- images


def test_an_archive_holds_each_layer_once_and_every_digest_is_true(tmp_path: Path) -> None:
    """A runtime checks what it imports."""
    below = images.layer(tmp_path / "below", {"bin/sh": b"#!", "etc/x": b"y"}, links={"bin/ls": "sh"}, programs=["bin/sh"])
    above = images.layer(tmp_path / "above", {"app/main.py": b"print()"})
    made = [images.Image("localhost/a:1", (below,)), images.Image("localhost/b:1", (below, above), ("python3",), ("-x",), {"A": "B"}, "65532:65532")]
    with tarfile.open(images.archive(tmp_path / "images.tar", made)) as tar:
        names = tar.getnames()
        assert len(names) == len(set(names))
        content = {name: tar.extractfile(name).read() for name in names}  # type: ignore[union-attr]
    blobs = {name.rsplit("/", 1)[1]: data for name, data in content.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(data).hexdigest() == digest for digest, data in blobs.items())
    index = json.loads(content["index.json"])["manifests"]
    assert [each["annotations"]["io.containerd.image.name"] for each in index] == ["localhost/a:1", "localhost/b:1"]
    manifest = json.loads(blobs[index[1]["digest"].removeprefix("sha256:")])
    config = json.loads(blobs[manifest["config"]["digest"].removeprefix("sha256:")])
    assert config["rootfs"]["diff_ids"] == [each["digest"] for each in manifest["layers"]]
    wanted = {"Cmd": ["python3"], "Entrypoint": ["-x"], "User": "65532:65532"}
    assert {key: config["config"][key] for key in wanted} == wanted
    assert config["config"]["Env"][-1] == "A=B"


def test_a_layer_has_folders_programs_and_links(tmp_path: Path) -> None:
    """What is no program must not be one, and a shell must be."""
    made = images.layer(tmp_path / "layer", {"bin/sh": b"#!", "etc/deep/x": b"y", "tmp/.keep": b""}, links={"bin/ls": "sh"}, programs=["bin/sh"])
    with tarfile.open(made) as tar:
        found = {entry.name: (entry.type, oct(entry.mode), entry.linkname) for entry in tar}
    assert found["bin/sh"] == (tarfile.REGTYPE, "0o755", "")
    assert found["etc/deep"] == (tarfile.DIRTYPE, "0o755", "")
    assert found["tmp"] == (tarfile.DIRTYPE, "0o1777", "")
    assert found["bin/ls"][0::2] == (tarfile.SYMTYPE, "sh")


# --- the doors


def test_only_connect_is_let_through() -> None:
    """The API server sends it; whatever else comes to the socket is a mistake."""
    assert fabric.target(b"CONNECT 10.199.0.10:10250 HTTP/1.1\r\nHost: x\r\n\r\n") == ("10.199.0.10", 10250)
    assert fabric.target(b"CONNECT [::1]:80 HTTP/1.1\r\n\r\n") == ("::1", 80)
    for head in (b"GET / HTTP/1.1\r\n\r\n", b"\r\n\r\n", b"CONNECT here HTTP/1.1\r\n\r\n"):
        with pytest.raises(ValueError):
            fabric.target(head)


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()
    await writer.wait_closed()


def _through_relay(backends: int, dead: int, story: Callable[[int], Awaitable[Any]]) -> Any:
    """Run a story with the port of a relay before so many servers, of which some do not answer."""

    async def main() -> Any:
        servers = [await asyncio.start_server(_echo, "127.0.0.1", 0) for _ in range(backends)]
        ports = [each.sockets[0].getsockname()[1] for each in servers]
        for each in servers[:dead]:
            each.close()
            await each.wait_closed()
        front = await asyncio.start_server(relay.door(relay.in_turn(ports, relay._connect)), "127.0.0.1", 0)
        async with front:
            try:
                return await story(front.sockets[0].getsockname()[1])
            finally:
                for each in servers[dead:]:
                    each.close()
                while carried := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(carried, timeout=5)

    return asyncio.run(main())


async def _said(port: int, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("dead", [0, 1, 2])
def test_the_relay_finds_a_server_that_answers(dead: int) -> None:
    """An API server that is killed costs its connections, and no new one."""

    async def story(port: int) -> list[bytes]:
        return [await _said(port, f"hello {number}".encode()) for number in range(6)]

    assert _through_relay(3, dead, story) == [f"hello {number}".encode() for number in range(6)]


def test_without_any_server_a_connection_ends() -> None:
    """A client must not hang where nobody answers."""

    async def story(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        found = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return found

    assert _through_relay(2, 2, story) == b""


def test_much_goes_through_unchanged() -> None:
    """Lists are megabytes."""
    much = bytes(range(256)) * 8192

    async def story(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def send() -> None:
            writer.write(much)
            await writer.drain()
            writer.write_eof()

        sending = asyncio.create_task(send())
        found = await reader.read(-1)
        await sending
        writer.close()
        return found

    assert _through_relay(1, 0, story) == much


# --- what a machine must have


def test_each_lack_is_told_with_what_to_do() -> None:
    """One line, and the next step in it."""
    assert requirements._tools(lambda tool: None if tool in ("ip", "nsenter", "unshare") else "/bin/x") == [
        "the command unshare, nsenter, ip is missing: apt-get install iproute2 util-linux"
    ]
    assert requirements._tools(lambda _: "/bin/x") == []
    assert requirements._kernel("nodev\ttmpfs\n\text4\n") == ["the kernel has no overlay file system: modprobe overlay"]
    assert requirements._kernel("nodev\toverlay\n") == []


def test_a_folder_of_groups_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """In an ordinary container it is read-only."""
    assert requirements._groups(tmp_path / "none") == ["there are no control groups at /sys/fs/cgroup: mount them"]
    (tmp_path / "cgroup.controllers").touch()
    assert requirements._groups(tmp_path) == []
    assert [each.name for each in tmp_path.iterdir()] == ["cgroup.controllers"], "the trial leaves nothing"


def test_an_ordinary_user_is_told_to_be_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is worth trying then."""
    monkeypatch.setattr(requirements.os, "geteuid", lambda: 1000)
    assert requirements.lacks() == ["real nodes need root: namespaces, mounts and control groups are made for them (sudo make cluster ...)"]


@pytest.mark.parametrize("size", ["1x", "0M", "15M", "64", "64MB", "-1G"])
def test_a_size_that_is_none_is_refused_before_anything_is_done(size: str) -> None:
    with pytest.raises(ClusterError, match="give a size from 16M, such as 64M or 1G"):
        _check(1, size)


def test_too_many_nodes_are_refused_before_anything_is_done() -> None:
    """A letter each: there are no more."""
    with pytest.raises(ClusterError, match="27 real nodes are too many: 26 at most"):
        _check(27)


def test_a_root_filesystem_is_made_anew_when_what_it_is_made_of_changes() -> None:
    """The name says what is inside."""
    one = debian.folder_of("node", ("a", "b"), {"/etc/x": "1"}, {})
    assert one == debian.folder_of("node", ("b", "a"), {"/etc/x": "1"}, {})
    assert len({one, debian.folder_of("node", ("a",), {"/etc/x": "1"}, {}), debian.folder_of("node", ("a", "b"), {"/etc/x": "2"}, {})}) == 3


# --- the first process of a node


def test_the_supervisor_runs_with_nothing_but_the_standard_library() -> None:
    """Inside a node there is no repository: it is copied there alone."""
    code = f"import runpy; runpy.run_path({supervisor.__file__!r})"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=20)


def test_the_supervisor_starts_what_may_start_and_starts_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order of what is needed; held ones wait; what ended comes again after a pause; what was needed once only does not."""
    monkeypatch.setattr(supervisor, "AGAIN", 0.0)
    for name in ("hold", "logs"):
        (tmp_path / name).mkdir()
    there = tmp_path / "there"
    programs = [
        {"name": "first", "argv": ["sh", "-c", f"echo ran; touch {there}"], "needs": [], "once": True},
        {"name": "second", "argv": ["true"], "needs": [str(there)], "once": False},
        {"name": "held", "argv": ["true"], "needs": [], "once": False},
    ]
    (tmp_path / "hold/held").touch()
    found = supervisor.Supervisor(programs, tmp_path / "hold", tmp_path / "logs")
    seconds = 0
    for _ in range(2000):
        before = set(found._running)
        found._start()
        seconds += "second" in set(found._running) - before
        found._reap()
        if seconds >= 3:
            break
    assert seconds >= 3
    assert (tmp_path / "logs/first.log").read_text() == "ran\n"
    assert not (tmp_path / "logs/held.log").exists()
