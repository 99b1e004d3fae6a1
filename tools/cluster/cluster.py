# SPDX-License-Identifier: Apache-2.0
"""One local cluster: up, down, restart of a process, status. The interface for tests and the demo."""

import re
import shutil
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.cluster import binaries, usage
from tools.cluster.api import Api
from tools.cluster.arguments import FABRIC, Layout, on_fabric
from tools.cluster.bringup import Bringup, in_order_of_ending, start_fresh
from tools.cluster.cells import cgroups, requirements, yard
from tools.cluster.cells.addresses import MOST, places
from tools.cluster.cells.nodes import Node
from tools.cluster.errors import ClusterError
from tools.cluster.locks import locked_folder
from tools.cluster.paths import clusters_folder
from tools.cluster.processes import Process, boot_id, marked, stop
from tools.cluster.record import Record, Settings, load
from tools.cluster.router import objects, programs

Log = Callable[[str], object]
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
_SIZE = re.compile(r"(1[6-9]|[2-9][0-9]|[1-9][0-9]{2,3})M|[1-9][0-9]{0,2}G")
_GRACE = 3.0  # seconds; an API server with open watches would take a minute


def _silent(_line: str) -> None:
    pass


@dataclass(frozen=True)
class Status:
    """A cluster as it is now; `nodes` is ready and all, or None if the API server does not answer; `real` are the names of real ones.

    Memory is in bytes, `cpu` in percent of one core while it was looked at, if it was. `router` is its address, if there is one.
    """

    name: str
    port: int
    nodes: tuple[int, int] | None
    processes: dict[str, Process]
    real: tuple[str, ...]
    memory: dict[str, int]
    cpu: dict[str, float]
    router: str = ""


class Cluster:
    """A local control plane with fake nodes, known by its name; several run side by side."""

    def __init__(self, name: str = "default") -> None:
        """Name a cluster, running or not.

        Raises:
            ClusterError: the name is not a short lower-case DNS label.

        """
        if not _NAME.fullmatch(name):
            message = f"{name!r} cannot name a cluster: use up to 40 lower-case letters, digits and dashes"
            raise ClusterError(message)
        self.name = name
        node_binaries = binaries.bin_folder(binaries=binaries.NODE_BINARIES)
        self._layout = Layout(clusters_folder() / name, binaries.bin_folder(), node_binaries, programs.contour(), programs.envoy())

    @property
    def folder(self) -> Path:
        """The state folder, with the logs in `logs`; it is there only while the cluster is."""
        return self._layout.folder

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, there only if it was asked for."""
        return self._layout.audit_log

    @property
    def bin(self) -> Path:
        """The folder with the binaries, kubectl among them, built now if need be."""
        return binaries.ensure(_silent)

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of its administrator.

        Raises:
            ClusterError: there is no such cluster, or it never came up.

        """
        if not self._record().ready:
            message = f"cluster {self.name} is not up; the logs are in {self._layout.logs}"
            raise ClusterError(message)
        return self._layout.kubeconfig

    @property
    def etcd_port(self) -> int:
        """The port of its datastore on loopback; keys for it are in the folder `certificates`.

        Raises:
            ClusterError: there is no such cluster.

        """
        return self._record().etcd_port

    @property
    def router(self) -> str:
        """The address of its router on loopback, such as 127.0.0.1:40000; Gateway `drover` in the namespace `gateway` stands behind it.

        Raises:
            ClusterError: there is no such cluster, or it has no router.

        """
        if not (address := _router(self._record())):
            raise ClusterError(f"cluster {self.name} has no router: `down`, and then `up --router --nodes 2`")
        return address

    def up(
        self,
        *,
        kwok_nodes: int = 5,
        pods_per_node: int = 110,
        fast: bool = False,
        fsync: bool = False,
        stages: Sequence[Path | str] = (),
        audit: Path | None = None,
        nodes: int = 0,
        images: Sequence[Path | str] = (),
        api_servers: int = 1,
        disk: str = "",
        router: bool = False,
        log: Log = _silent,
    ) -> None:
        """Bring the cluster up and wait until it is usable; mend it if a part of it died; no change if it runs.

        `audit` is the file of a policy by which the API server keeps `audit_log`. `nodes` real nodes, each with a kubelet, containers and a
        network of its own, have the `images` of these archives; fake nodes beside them are tainted. Several `api_servers` are behind one address.
        `disk`, such as "64M", is the size of a disk of its own for each kubelet, which can be filled. A `router` serves a Gateway before real nodes.

        Raises:
            ClusterError: it did not come up, or this machine cannot have real nodes; nothing of it runs then, and its logs are kept until `down`.

        """
        settings = Settings(
            kwok_nodes=kwok_nodes,
            pods_per_node=pods_per_node,
            fast=fast,
            fsync=fsync,
            stages=_absolute(stages),
            audit=str(audit.absolute()) if audit else "",
            nodes=nodes,
            images=_absolute(images),
            api_servers=api_servers,
            disk=disk,
            router=router,
        )
        if router and not nodes:
            raise ClusterError("a router needs real nodes, since pods of fake ones have no addresses: add --nodes 2 (as root), or leave out --router")
        binaries.ensure(log)
        if nodes:
            _check(nodes, disk)
            binaries.ensure(log, binaries.NODE_BINARIES)
        if router:
            programs.ensure(log)
        with self._locked(log):
            record = load(self._layout.record)
            if record and record.ready and self._keep(record, log):
                for line in record.settings.differences(settings):
                    log(f"cluster {self.name}: {line}; `down` and then `up` changes it")
                return
            self._start(settings, yard.system(log) if nodes else Path(), log)

    def node(self, name: str) -> Node:
        """Return a real node, on or off.

        Raises:
            ClusterError: there is no such cluster or node.

        """
        record = self._record()
        found = {place.name: place for place in places(record.settings.nodes)}
        if name not in found:
            known = ", ".join(found) or "none; `up --nodes N` makes them"
            raise ClusterError(f"cluster {self.name} has no real node {name}: it has {known}")
        return Node(self._context, self._layout, found[name], record.processes[name], record.processes[FABRIC], record.settings.disk)

    def down(self, log: Log = _silent) -> bool:
        """End every process of the cluster and remove its state; return whether there was anything.

        Raises:
            ClusterError: a process cannot be ended; the state is kept then.

        """
        if not self.folder.is_dir():
            return False
        with self._locked(log):
            self._end_all(grace=0)  # what an orderly end would save is removed next
            shutil.rmtree(self.folder)
        return True

    def _forget_groups(self, *names: str) -> None:
        """Remove the control groups of real nodes that have ended, as a power cut would.

        Raises:
            ClusterError: a process of theirs is still there.

        """
        record = load(self._layout.record)
        for place in places(record.settings.nodes) if record else []:
            if not names or place.name in names:
                try:
                    cgroups.remove(self._context, place.name)
                except OSError as error:
                    raise ClusterError(f"control groups of {place.name} cannot be removed: {error}") from error

    def stop(self, process: str, *, kill: bool = False, log: Log = _silent) -> None:
        """End one process, with SIGKILL at once if `kill`; `start` or `up` brings it back.

        Raises:
            ClusterError: there is no such cluster or process, or it cannot be ended.

        """
        self._process(process)
        with self._locked(log):
            stop([self._process(process)], 0 if kill else _GRACE)
            self._forget_groups(process)

    def start(self, process: str, log: Log = _silent) -> None:
        """Start one ended process again, with the same arguments and port; wait for it if it is the API server.

        Raises:
            ClusterError: there is no such cluster or process, or it did not come up.

        """
        self._process(process)
        with self._locked(log):
            record = self._record()
            if process in record.dead:
                others = frozenset(record.dead) - {process}
                bringup = Bringup(self._context, self._layout, record, others)
                bringup.start(process, list(record.processes[process].argv))

    def restart(self, process: str, *, kill: bool = False, log: Log = _silent) -> None:
        """End one process and start it again with the same arguments and port.

        Raises:
            ClusterError: there is no such cluster or process, or it did not come up.

        """
        self.stop(process, kill=kill, log=log)
        self.start(process, log=log)

    def process_pid(self, process: str) -> int:
        """Return the pid of a process.

        Raises:
            ClusterError: there is no such cluster or process, or it is dead.

        """
        one = self._process(process)
        if not one.alive:
            message = f"{process} of cluster {self.name} is dead"
            raise ClusterError(message)
        return one.pid

    def status(self, seconds: float = 0.0) -> Status:
        """Return what runs, and what it uses; for the processor's share it is watched so many seconds.

        Raises:
            ClusterError: there is no such cluster.

        """
        record = self._record()
        nodes = Api(record.port, self._layout.certificates).ready_nodes()
        real = tuple(place.name for place in places(record.settings.nodes))
        used, cpu = usage.watch(self._context, record.processes, real, seconds)
        memory = {name: each.memory for name, each in used.items()}
        return Status(self.name, record.port, nodes, record.processes, real, memory, cpu if seconds else {}, _router(record))

    def _record(self) -> Record:
        record = load(self._layout.record)
        if record is None:
            message = f"there is no cluster named {self.name}; `up --name {self.name}` makes one"
            raise ClusterError(message)
        return record

    def _process(self, process: str) -> Process:
        processes = self._record().processes
        if process not in processes:
            message = f"cluster {self.name} has no process {process}: it has {', '.join(processes)}"
            raise ClusterError(message)
        return processes[process]

    @property
    def _context(self) -> str:
        return f"drover-{self.name}"

    @contextmanager
    def _locked(self, log: Log) -> Generator[None, None, None]:
        busy = partial(log, f"cluster {self.name}: waiting for another command to finish")
        with locked_folder(self.folder, busy):
            yield

    def _keep(self, record: Record, log: Log) -> bool:
        """Leave a whole cluster alone or mend it; return False if it must be made anew."""
        if not record.dead and Api(record.port, self._layout.certificates).ready():
            log(f"cluster {self.name} is up already: https://127.0.0.1:{record.port}")
            return True
        if any(process.boot != boot_id() for process in record.processes.values()):
            log(f"cluster {self.name}: the machine was started again since; making the cluster anew")
            return False
        log(f"cluster {self.name}: dead: {', '.join(record.dead) or 'nothing, but no answer'}; mending")
        return self._mend(record, log)

    def _mend(self, record: Record, log: Log) -> bool:
        if FABRIC in record.dead:  # all that hung on it has lost its network for good
            stop([record.processes[name] for name in on_fabric(record.settings)], 0)
            self._forget_groups()
        dead = record.dead
        try:
            Bringup(self._context, self._layout, record).mend()
        except ClusterError as error:
            log(f"cluster {self.name}: cannot be mended, making it anew ({str(error).splitlines()[0]})")
            return False
        except BaseException:
            stop([record.processes[name] for name in dead], _GRACE)
            raise
        log(f"cluster {self.name}: mended, nothing in it was lost")
        return True

    def _start(self, settings: Settings, lower: Path, log: Log) -> None:
        begin = time.monotonic()
        self._end_all()
        self._clear()
        try:
            record = start_fresh(self._context, self._layout, settings, lower)
        except ClusterError:
            self._end_all()
            raise
        except BaseException:
            self._end_all()
            shutil.rmtree(self.folder)
            raise
        took = time.monotonic() - begin
        log(f"cluster {self.name} is up: https://127.0.0.1:{record.port}, {_nodes(settings)}, {took:.1f} s")
        if settings.router:
            log(f"cluster {self.name} routes: http://{_router(record)}, Gateway {objects.NAMESPACE}/{objects.GATEWAY}")

    def _clear(self) -> None:
        for entry in self.folder.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _end_all(self, grace: float = _GRACE) -> None:
        record = load(self._layout.record)
        for group in in_order_of_ending(record) if record else []:
            stop([record.processes[name] for name in group] if record else [], grace)
        stop(marked(self.folder), grace)
        self._forget_groups()


def _absolute(files: Sequence[Path | str]) -> tuple[str, ...]:
    return tuple(str(Path(file).absolute()) for file in files)


def _router(record: Record) -> str:
    return f"127.0.0.1:{record.router_port}" if record.settings.router else ""


def _nodes(settings: Settings) -> str:
    real = f"{settings.nodes} real nodes, " if settings.nodes else ""
    return f"{real}{settings.kwok_nodes} fake nodes"


def _check(nodes: int, disk: str = "") -> None:
    if disk and not _SIZE.fullmatch(disk):
        raise ClusterError(f"a disk of {disk!r} cannot be made: give a size from 16M, such as 64M or 1G")
    if nodes > MOST:
        raise ClusterError(f"{nodes} real nodes are too many: {MOST} at most")
    if lacks := requirements.lacks(disk=bool(disk)):
        raise ClusterError("real nodes cannot be had on this machine (fake ones can: --nodes 0):\n" + "\n".join(f"  - {each}" for each in lacks))


def names() -> list[str]:
    """Return the names of all clusters that have a state folder."""
    folder = clusters_folder()
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
