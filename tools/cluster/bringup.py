# SPDX-License-Identifier: Apache-2.0
"""Starts the processes of a cluster one after the other, and waits for what each of them must have done."""

import shutil
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tools.cluster import certificates
from tools.cluster.api import Api
from tools.cluster.arguments import API_SERVER, CONTOUR, DATASTORE, FABRIC, RELAY, Layout, Ports, api_servers, command_lines
from tools.cluster.binaries import kubernetes_version
from tools.cluster.cells import cluster_objects, fabric, yard
from tools.cluster.errors import ClusterError
from tools.cluster.nodes import kwok_node
from tools.cluster.paths import STAGES
from tools.cluster.processes import spawn
from tools.cluster.record import Record, Settings
from tools.cluster.router import lane

_DEADLINE = 180.0  # seconds; a few on a quiet machine, half a minute was seen on a very busy one
_POLL = 0.05
_TAIL = 5


def free_ports(api_servers: int = 1, *, router: bool = False) -> Ports:
    """Return different ports that the system says are free."""
    more = api_servers if api_servers > 1 else 0
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3 + more + router)]
        numbers = [int(one.getsockname()[1]) for one in sockets]
    api, etcd, peer, *others = numbers
    return Ports(api, etcd, peer, tuple(others[:more]), others[-1] if router else 0)


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def _log_end(file: Path) -> str:
    lines = file.read_text(errors="replace").splitlines() if file.exists() else []
    return "\n".join([f"the end of {file}:", *lines[-_TAIL:]])


@dataclass(frozen=True)
class Bringup:
    """One cluster while it is brought up or mended."""

    context: str
    layout: Layout
    record: Record
    absent: frozenset[str] = frozenset()  # processes that are known to be dead, and are not waited for

    @property
    def api(self) -> Api:
        """The API server."""
        return Api(self.record.port, self.layout.certificates)

    @property
    def servers(self) -> dict[str, Api]:
        """All API servers by the names of their processes, where there are several behind one address."""
        names = api_servers(self.record.settings)
        return {name: Api(_port(self.record.processes[name].argv), self.layout.certificates) for name in names}

    def spawn(self, name: str, argv: list[str]) -> None:
        """Start one process and write it down.

        Raises:
            ClusterError: it cannot be started.

        """
        log = self.layout.logs / f"{name}.log"
        self.record.processes[name] = spawn(argv, log, self.layout.folder)
        self.record.save(self.layout.record)

    def wait(self, what: str, done: Callable[[], object]) -> None:
        """Wait for something, as long as all processes live.

        Raises:
            ClusterError: a process ended, or it took too long; the text names the log to look at.

        """
        deadline = time.monotonic() + _DEADLINE
        while not done():
            for name in set(self.record.dead) - self.absent:
                message = f"{name} ended while waiting for {what}; {_log_end(self.layout.logs / f'{name}.log')}"
                raise ClusterError(message)
            if time.monotonic() > deadline:
                message = f"gave up after {_DEADLINE:.0f} s of waiting for {what}; the logs are in {self.layout.logs}"
                raise ClusterError(message)
            time.sleep(_POLL)

    def start(self, name: str, argv: list[str]) -> None:
        """Start one process, and wait for it where others need it at once.

        Raises:
            ClusterError: it did not come up.

        """
        if name == FABRIC:
            (self.layout.fabric / fabric.READY).unlink(missing_ok=True)  # of one that was killed
        self.spawn(name, argv)
        if name == DATASTORE:
            self.wait("the datastore", partial(_listens, self.record.etcd_port))
        if name == FABRIC:
            self.wait("the fabric", (self.layout.fabric / fabric.READY).exists)
        if name in api_servers(self.record.settings):
            self.wait("the API server", Api(_port(argv), self.layout.certificates).ready)

    def wait_usable(self) -> None:
        """Wait until pods can be created and will be scheduled.

        Raises:
            ClusterError: it took too long, or a process ended.

        """
        wanted = self.record.settings.kwok_nodes + self.record.settings.nodes
        if wanted:
            self.wait("all nodes to be ready", lambda: (self.api.ready_nodes() or (0, 0))[0] >= wanted)
        for name, api in self.servers.items():
            self.wait(name, api.ready)
        if self.record.settings.router:
            self.wait("the router", lambda: _listens(self.record.router_port) and lane.ready(self.layout, self.api))
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.wait("the default service account", lambda: self.api.has(account))
        self.record.ready = True
        self.record.save(self.layout.record)

    def mend(self) -> list[str]:
        """Start the processes that died again, with the arguments they had; return their names.

        Raises:
            ClusterError: one of them did not come up.

        """
        dead = self.record.dead
        for index, name in enumerate(dead, 1):
            others_later = replace(self, absent=frozenset(dead[index:]))
            others_later.start(name, list(self.record.processes[name].argv))
        self.wait("the API server", self.api.ready)
        self.wait_usable()
        return dead


def _port(argv: Sequence[str]) -> int:
    """The port of an API server, by its command line."""
    flag = "--secure-port="
    return next(int(word.removeprefix(flag)) for word in argv if word.startswith(flag))


def _write_kubeconfigs(context: str, layout: Layout, ports: Ports) -> None:
    server = f"https://127.0.0.1:{ports.api}"
    for user in certificates.USERS:
        file = layout.component_kubeconfig(user)
        certificates.write_kubeconfig(file, layout.certificates, user, server, context)
    certificates.write_kubeconfig(layout.kubeconfig, layout.certificates, "admin", server, context)


def _copy_stages(layout: Layout, settings: Settings) -> None:
    layout.stages.mkdir()
    for index, file in enumerate([STAGES, *map(Path, settings.stages)]):
        _copy(file, layout.stages / f"{index}.yaml", "stages")


def _copy(file: Path, target: Path, what: str) -> None:
    try:
        shutil.copyfile(file, target)
    except OSError as error:
        message = f"cannot read the {what} file {file}: {error.strerror}"
        raise ClusterError(message) from error


def _create_nodes(bringup: Bringup) -> None:
    settings = bringup.record.settings
    version = kubernetes_version()
    for index in range(settings.kwok_nodes):
        node = kwok_node(index, settings.pods_per_node, version, tainted=bool(settings.nodes))
        bringup.wait(f"node {index} to be created", partial(bringup.api.create, "/api/v1/nodes", node))


def start_fresh(context: str, layout: Layout, settings: Settings, lower: Path) -> Record:
    """Start a cluster in an empty folder and wait until it is usable; `lower` is the root of real nodes.

    Raises:
        ClusterError: it did not come up; what was started still runs, and is in the record.

    """
    ports = free_ports(settings.api_servers, router=settings.router)
    record = Record(settings, ports.api, ports.etcd, router_port=ports.router)
    bringup = Bringup(context, layout, record)
    layout.logs.mkdir()
    _copy_stages(layout, settings)
    certificates.make(layout.certificates, nodes=bool(settings.nodes))
    _write_kubeconfigs(context, layout, ports)
    if settings.nodes:
        yard.prepare(context, layout, settings, lower)
    if settings.router:
        lane.prepare(context, layout)
    servers = api_servers(settings)
    for name, argv in command_lines(layout, ports, settings).items():
        if name == CONTOUR:
            lane.fill(list(bringup.servers.values()), bringup.wait)
        bringup.spawn(name, argv) if name in servers else bringup.start(name, argv)
        if name == (RELAY if len(servers) > 1 else API_SERVER):
            bringup.wait("the API server", bringup.api.ready)
            _fill(bringup)
    bringup.wait_usable()
    return record


def _fill(bringup: Bringup) -> None:
    """Create what must be in the API before anything else is started."""
    _create_nodes(bringup)
    if bringup.record.settings.nodes:
        for path, body in cluster_objects.objects():
            bringup.wait(path, partial(bringup.api.create, path, body))
        yard.let_in(bringup.layout, bringup.record.settings)


def in_order_of_ending(record: Record) -> list[list[str]]:
    """Return the names of processes in the groups in which they are ended: the datastore last."""
    others = [name for name in record.processes if name != DATASTORE]
    return [others, [name for name in record.processes if name == DATASTORE]]
