# SPDX-License-Identifier: Apache-2.0
"""Which process is the instance: by folders that look like /proc of a pod, and by the real /proc for this very process."""

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drover_agent.core import Run
from drover_agent.process import Found, ProcFolder, Watch, ancestor, mains, parse_stat, tree

BOOT = 1_700_000_000  # seconds since the epoch
HERTZ = 100
PORT = 8080
AGENT = 50


class Pod:
    """A folder that looks like /proc of a pod whose containers share their processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.joinpath("net").mkdir(parents=True)
        self.root.joinpath("stat").write_text(f"cpu  1 2 3\nbtime {BOOT}\nprocesses 9\n")
        self.root.joinpath("version").write_text("a file that is no process")
        self.sockets: dict[str, list[tuple[int, int, str]]] = {"tcp": [], "tcp6": []}
        self.start(1, "pause", ticks=1)
        self.start(AGENT, "drover-agent", ticks=90)

    def start(self, pid: int, name: str, *, parent: int = 0, ticks: int = 100, state: str = "S") -> None:
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        numbers = " ".join(["1"] * 17)
        folder.joinpath("stat").write_bytes(f"{pid} ({name}) {state} {parent} {numbers} {ticks} 4096 1\n".encode())

    def end(self, pid: int) -> None:
        shutil.rmtree(self.root / str(pid))

    def opens(self, pid: int, *inodes: int) -> None:
        """The process has files open that the agent may list; without this it may not."""
        folder = self.root / str(pid) / "fd"
        folder.mkdir(exist_ok=True)
        for number, inode in enumerate(inodes, start=3):
            folder.joinpath(str(number)).symlink_to(f"socket:[{inode}]")
        if not folder.joinpath("0").is_symlink():
            folder.joinpath("0").symlink_to("/dev/null")

    def socket(self, inode: int, port: int = PORT, *, state: str = "0A", table: str = "tcp") -> None:
        self.sockets[table].append((inode, port, state))
        host = "00000000" if table == "tcp" else "0" * 32
        rows = [f"   {n}: {host}:{port:04X} {host}:0000 {state} 00000000:00000000 00:00000000 00000000  1000        0 {inode} 1 0000000000000000 100 0 0 10 0" for n, (inode, port, state) in enumerate(self.sockets[table])]  # fmt: skip
        self.root.joinpath("net", table).write_text(
            "\n".join(["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode", *rows, ""])
        )

    @property
    def folder(self) -> ProcFolder:
        return ProcFolder(self.root, hertz=HERTZ)

    def watch(self, name: str = "") -> Watch:
        return Watch(self.folder, own=AGENT, port=PORT, name=name)


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    return Pod(tmp_path / "proc")


def run(pid: int, ticks: int) -> Run:
    return Run(pid=pid, ticks=ticks, start_time=BOOT * 1000 + ticks * 10)


# -- one line


STATS = (
    (b"7 (web) S 0 " + b"1 " * 17 + b"123 0\n", (7, "web", 0, 123, False), "an ordinary one"),
    (b"7 (a) b (c) S 0 " + b"1 " * 17 + b"123 0\n", (7, "a) b (c", 0, 123, False), "a name may hold brackets and spaces"),
    (b"7 (\xff) S 3 " + b"1 " * 17 + b"123 0\n", (7, "\ufffd", 3, 123, False), "or no text at all"),
    (b"7 (web) Z 0 " + b"1 " * 17 + b"123 0\n", (7, "web", 0, 123, True), "it has ended and only waits to be reaped"),
    (b"7 (web) X 0 " + b"1 " * 17 + b"123 0\n", (7, "web", 0, 123, True), "dead"),
    (b"", None, "an empty file"),
    (b"7 (web) S 0 1", None, "too short"),
    (b"x (web) S 0 " + b"1 " * 17 + b"123 0\n", None, "no pid"),
    (b"7 (web) S 0 " + b"1 " * 17 + b"? 0\n", None, "no start"),
)


@pytest.mark.parametrize("line, expected, why", STATS, ids=[row[-1] for row in STATS])
def test_lines_of_the_process_table(line: bytes, expected: tuple[int, str, int, int, bool] | None, why: str) -> None:
    found = parse_stat(line)
    assert (found and (found.pid, found.name, found.parent, found.ticks, found.ended)) == expected, why


# -- which one; each row sets a pod up


def alone(pod: Pod) -> None:
    pod.start(7, "web")


def with_children(pod: Pod) -> None:
    pod.start(7, "web")
    pod.start(8, "worker", parent=7, ticks=99)


def only_pause_and_agent(_: Pod) -> None:
    pass


def agent_under_a_shell(pod: Pod) -> None:
    pod.start(40, "sh", ticks=80)
    pod.start(AGENT, "drover-agent", parent=40, ticks=90)
    pod.start(7, "web")


def zombie(pod: Pod) -> None:
    pod.start(7, "web", state="Z")


def two(pod: Pod) -> None:
    pod.start(7, "web", ticks=200)
    pod.start(9, "proxy", ticks=150)


def same_tick(pod: Pod) -> None:
    pod.start(9, "proxy")
    pod.start(7, "web")


def exec_beside(pod: Pod) -> None:
    pod.start(7, "web")
    pod.start(99, "sh", ticks=5000)


def socket_of_the_younger(pod: Pod) -> None:
    two(pod)
    pod.socket(1234)
    pod.opens(9, 77)
    pod.opens(7, 55, 1234)


def socket_in_ipv6(pod: Pod) -> None:
    two(pod)
    pod.socket(1234, table="tcp6")
    pod.opens(7, 1234)


def socket_of_a_child(pod: Pod) -> None:
    two(pod)
    pod.start(8, "worker", parent=7)
    pod.start(10, "grandchild", parent=8)
    pod.socket(1234)
    pod.opens(10, 1234)


def socket_that_may_not_be_read(pod: Pod) -> None:
    two(pod)
    pod.socket(1234)


def socket_of_another_port(pod: Pod) -> None:
    two(pod)
    pod.socket(1234, port=9999)
    pod.opens(7, 1234)


def socket_that_does_not_listen(pod: Pod) -> None:
    two(pod)
    pod.socket(1234, state="01")
    pod.opens(7, 1234)


def socket_of_both(pod: Pod) -> None:
    two(pod)
    pod.start(11, "third", ticks=10)
    pod.socket(1234)
    pod.socket(5678)
    pod.opens(7, 1234)
    pod.opens(9, 5678)


def socket_of_the_agent(pod: Pod) -> None:
    two(pod)
    pod.socket(1234)
    pod.opens(AGENT, 1234)


def long_name(pod: Pod) -> None:
    pod.start(7, "a-very-long-nam")
    pod.start(9, "proxy", ticks=1)


def name_of_a_child(pod: Pod) -> None:
    pod.start(7, "sh")
    pod.start(8, "web", parent=7)


def no_boot_time(pod: Pod) -> None:
    pod.start(7, "web")
    pod.root.joinpath("stat").write_text("cpu 1\n")


CHOICES = (
    # set up, name, expected pid, ambiguous, settled, why
    (alone, "", 7, False, False, "the only main process; a neighbour may still come, so it is no more than a guess"),
    (with_children, "", 7, False, False, "children are no main processes, though older"),
    (only_pause_and_agent, "", None, None, None, "neither the pause process nor the agent itself"),
    (agent_under_a_shell, "", 7, False, False, "nor the agent's first ancestor"),
    (zombie, "", None, None, None, "one that has ended"),
    (two, "", 9, True, False, "the oldest, and said to be a guess"),
    (same_tick, "", 7, True, False, "of the same tick: always the same one"),
    (exec_beside, "", 7, True, False, "what kubectl exec starts is younger"),
    (socket_of_the_younger, "", 7, False, True, "the owner of the probed socket, for good"),
    (socket_in_ipv6, "", 7, False, True, "the same in IPv6"),
    (socket_of_a_child, "", 7, False, True, "the tree counts: masters listen by their workers"),
    (socket_that_may_not_be_read, "", 9, True, False, "of another user: the oldest, and said to be a guess"),
    (socket_of_another_port, "", 9, True, False, "of another port"),
    (socket_that_does_not_listen, "", 9, True, False, "a connection of a client is no proof"),
    (socket_of_both, "", 9, True, False, "two listen, on two addresses: the oldest of them, not the oldest of all"),
    (socket_of_the_agent, "", 9, True, False, "the agent is never the instance"),
    (two, "web", 7, False, True, "by its name, for good"),
    (two, "none", None, None, None, "nobody is called so"),
    (long_name, "a-very-long-name-of-a-program", 7, False, True, "the kernel keeps 15 bytes of a name"),
    (name_of_a_child, "web", None, None, None, "names of main processes count, not those of children"),
    (no_boot_time, "", None, None, None, "without a start there is no identity"),
)


@pytest.mark.parametrize("set_up, name, pid, ambiguous, settled, why", CHOICES, ids=[row[-1] for row in CHOICES])
def test_choices(pod: Pod, set_up: Callable[[Pod], None], name: str, pid: int | None, ambiguous: bool | None, settled: bool | None, why: str) -> None:
    set_up(pod)
    found = pod.watch(name).look(None)
    assert (found and (found.run.pid, found.ambiguous, found.settled)) == (pid and (pid, ambiguous, settled)), why


def test_two_of_the_name_are_told_apart_by_the_socket(pod: Pod) -> None:
    pod.start(7, "python", ticks=200)
    pod.start(9, "python", ticks=150)
    watch = pod.watch("python")
    guess = watch.look(None)
    assert guess == Found(run=run(9, 150), ambiguous=True)
    pod.socket(1234)
    pod.opens(7, 1234)
    assert watch.look(guess) == Found(run=run(7, 200), settled=True)


def test_start_time_is_in_milliseconds_since_the_epoch(pod: Pod) -> None:
    pod.start(7, "web", ticks=12_345)
    found = pod.watch().look(None)
    assert found is not None
    assert found.run.start_time == 1_700_000_123_450


# -- time goes on


def test_a_guess_is_corrected_when_the_socket_shows_up(pod: Pod) -> None:
    """Containers start one after the other: a neighbour is there before the application, and the application before its socket."""
    watch = pod.watch()
    pod.start(9, "proxy", ticks=150)
    first = watch.look(None)
    assert first == Found(run=run(9, 150))
    pod.start(7, "web", ticks=200)
    second = watch.look(first)
    assert second == Found(run=run(9, 150), ambiguous=True)
    pod.socket(1234)
    pod.opens(7, 1234)
    third = watch.look(second)
    assert third == Found(run=run(7, 200), settled=True)
    pod.root.joinpath("net", "tcp").unlink()
    assert watch.look(third) == third, "an application that drains closes its port, and is the same for all that"


def test_a_guess_is_kept_while_nothing_is_proved(pod: Pod) -> None:
    """kubectl exec must not change who is watched, even if its process is older by a clock of ticks that has come round."""
    watch = pod.watch()
    pod.start(7, "web", ticks=200)
    first = watch.look(None)
    pod.start(9, "sh", ticks=100)
    assert watch.look(first) == Found(run=run(7, 200), ambiguous=True)
    pod.end(9)
    assert watch.look(first) == first


def test_a_run_goes_on_ends_and_is_never_mistaken(pod: Pod) -> None:
    watch = pod.watch()
    pod.start(7, "web", ticks=200)
    assert watch.alive(run(7, 200))
    pod.start(7, "myapp", ticks=200)
    assert watch.alive(run(7, 200)), "a shell that becomes the program by exec is the same process"
    pod.start(7, "web", ticks=201)
    assert not watch.alive(run(7, 200)), "its pid was given out again"
    pod.start(7, "web", ticks=200, state="Z")
    assert not watch.alive(run(7, 200)), "it has ended"
    pod.end(7)
    assert not watch.alive(run(7, 200)), "it has gone"


def test_what_cannot_be_read_is_no_proof_of_an_end(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.start(7, "web", ticks=200)
    watch = pod.watch()
    known = watch.look(None)
    assert known is not None

    def too_many_open_files(*_: object) -> bytes:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", too_many_open_files)
    assert watch.alive(known.run)
    assert watch.look(known) == known
    assert watch.look(None) is None


def test_the_clock_of_the_machine_is_set(pod: Pod) -> None:
    """The time of boot moves then; the identity of a run that is known does not."""
    pod.start(7, "web", ticks=200)
    watch = pod.watch()
    known = watch.look(None)
    pod.root.joinpath("stat").write_text(f"btime {BOOT + 3600}\n")
    again = watch.look(known)
    assert known is not None
    assert again is not None
    assert again.run.start_time == known.run.start_time


def test_a_settled_one_costs_no_look_at_the_table(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    pod.start(7, "web")
    watch = pod.watch("web")
    known = watch.look(None)
    monkeypatch.setattr(ProcFolder, "table", lambda _: pytest.fail("everything was read again"))
    assert watch.look(known) == known


def test_the_list_of_sockets_is_not_read_where_it_cannot_help(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    two(pod)
    monkeypatch.setattr(ProcFolder, "listeners", lambda *_: pytest.fail("it was read"))
    assert pod.watch().look(None) is not None


def test_no_folder_at_all(tmp_path: Path) -> None:
    assert Watch(ProcFolder(tmp_path / "none", hertz=HERTZ), own=1, port=PORT).look(None) is None


def test_parents_in_a_ring_end_nowhere(pod: Pod) -> None:
    """A table that is read while processes come and go can be anything."""
    pod.start(20, "a", parent=21)
    pod.start(21, "b", parent=20)
    table = pod.folder.table()
    assert ancestor(table, 20) in (20, 21)
    assert tree(table, 7) == frozenset()
    assert mains(table, own=20) == (table[AGENT],)
    assert ancestor(table, 4711) == 4711


# -- the real one


def test_the_real_proc_knows_when_this_process_began() -> None:
    folder = ProcFolder()
    process = folder.process(os.getpid())
    assert process is not None
    found = folder.run_of(process)
    assert found.start_time / 1000 == pytest.approx(time.time() - _age(), abs=2.0)
    assert folder.table()[os.getpid()].parent == os.getppid()
    assert Watch(folder, own=os.getpid(), port=PORT).alive(found)


def _age() -> float:
    """Seconds that this process has lived, by the boot clock."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def test_the_real_proc_knows_who_listens() -> None:
    folder = ProcFolder()
    with socket.create_server(("127.0.0.1", 0)) as server:
        sockets = folder.listeners(server.getsockname()[1])
        assert len(sockets) == 1
        assert folder.readable(os.getpid())
        assert folder.holds(os.getpid(), sockets)
    assert not folder.holds(os.getpid(), sockets)
