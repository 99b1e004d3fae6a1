# SPDX-License-Identifier: Apache-2.0
"""A real control plane for both sides, and the sides: the built-in Deployment controller in a process of its own, and Drover's operator.

The controller manager is split in two: one process has all controllers but those of Deployments and ReplicaSets and serves both sides
alike; the other has these two, so that CPU and memory of each side are those of one process that does nothing else.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.audit import POLICY
from bench.rows import NotMeasured
from bench.workloads import NODE
from drover_operator.kube.auth import connect
from drover_operator.kube.client import Client
from drover_operator.kube.http import HttpTransport
from tools.cluster import Cluster, names
from tools.cluster.processes import Process, spawn, stop
from tools.cluster.record import load

ROOT = Path(__file__).resolve().parent.parent
SYSTEM = "drover-system"
NODES, PODS_PER_NODE = 10, 250
RIVAL = "deployment-controller,replicaset-controller"
NODELESS = ["node-lifecycle-controller", "pod-garbage-collector-controller"]  # they would end pods of a node that never reports
UNTHROTTLED, DEFAULT = (1000, 2000), (20, 30)  # requests a second, and burst
GRACE = 5.0
PREFIX = "bench-"


@dataclass(frozen=True)
class Plane:
    """A running control plane without any side on it; with nodes it has a scheduler and kwok, without it has neither."""

    cluster: Cluster
    nodes: bool

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """What kubectl says as the cluster's administrator."""
        command = [str(self.cluster.bin / "kubectl"), f"--kubeconfig={self.cluster.kubeconfig}", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, timeout=120).stdout

    @property
    def audit_log(self) -> Path:
        """The audit log of both sides, where there is one."""
        return self.cluster.audit_log

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[Client]:
        """A client with an administrator's rights."""
        transport = HttpTransport(connect(str(self.cluster.kubeconfig)), agent="bench")
        try:
            yield Client(transport)
        finally:
            await transport.close()

    @contextmanager
    def deployments(self, limits: tuple[int, int] = UNTHROTTLED) -> Generator[Process]:
        """The built-in controllers of Deployments and ReplicaSets, with these client limits."""
        with self._running(self.manager(RIVAL, limits), "rival") as process:
            yield process

    @contextmanager
    def operator(self) -> Generator[Process]:
        """Drover's operator as it is installed, with its own account's rights."""
        arguments = ("run", f"--kubeconfig={self.credentials()}", "--health-address=127.0.0.1:0", "--log-format=json", "--lease-seconds=15/10/2")
        with self._running([sys.executable, "-m", "drover_operator", *arguments], "operator") as process:
            yield process

    @contextmanager
    def stub(self) -> Generator[Process]:
        """What stands for the nodes where they are stubbed: one node, and a process that marks its pods ready at once."""
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(node))
        with self._running([sys.executable, "-m", "bench.nodes", str(self.cluster.kubeconfig)], "nodes") as process:
            yield process

    @contextmanager
    def _running(self, command: Sequence[str], name: str) -> Generator[Process]:
        process = spawn(list(command), self.cluster.folder / "logs" / f"{name}.log", self.cluster.folder)
        try:
            yield process
        finally:
            stop([process], GRACE)

    def manager(self, controllers: str, limits: tuple[int, int]) -> list[str]:
        """The command line of the cluster's own controller manager, with other controllers and limits."""
        record = load(self.cluster.folder / "cluster.json")
        if record is None:
            raise NotMeasured("the control plane has gone")
        plain = [word for word in record.processes["kube-controller-manager"].argv if not word.startswith("--kube-api-")]
        return [*plain, f"--controllers={controllers}", f"--kube-api-qps={limits[0]}", f"--kube-api-burst={limits[1]}"]

    def credentials(self) -> Path:
        """A kubeconfig of the operator's own account: what RBAC does not give, it has not."""
        token = self.kubectl("create", "token", "drover-operator", "-n", SYSTEM, "--duration=4h").strip()
        config = yaml.safe_load(self.cluster.kubeconfig.read_text())
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        file = self.cluster.folder / "operator.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(json.dumps(config))
        return file


@contextmanager
def plane(*, nodes: bool, audited: bool = False) -> Generator[Plane]:
    """Bring a control plane up with Drover's manifests in it, and take it down whatever happens."""
    for left in names():
        if left.startswith(PREFIX) and left.removeprefix(PREFIX).isdigit() and not Path(f"/proc/{left.removeprefix(PREFIX)}").exists():
            Cluster(left).down()  # of a run that was killed
    cluster = Cluster(f"{PREFIX}{os.getpid()}")
    try:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as policy:
            json.dump(POLICY, policy)
            policy.flush()
            audit = Path(policy.name) if audited else None
            cluster.up(kwok_nodes=NODES if nodes else 0, pods_per_node=PODS_PER_NODE, fsync=True, audit=audit, log=_told)
        built = Plane(cluster, nodes)
        _install(built)
        with _services(built):
            yield built
    finally:
        cluster.down()


def _install(built: Plane) -> None:
    """What a person would apply."""
    for words in (["-f", str(ROOT / "crds")], ["-k", str(ROOT / "manifests/base")], ["-f", str(ROOT / "manifests/policies")]):
        built.kubectl("apply", "--server-side", *words)
    built.kubectl("wait", "--for=condition=Established", "crd/managedservices.drover.dev", "--timeout=30s")
    built.kubectl("delete", "deployment", "--all", "-n", SYSTEM)  # its image cannot be pulled here; the operator runs as a process


@contextmanager
def _services(built: Plane) -> Generator[None]:
    """The controllers that serve both sides, and a scheduler without limits where there are nodes, in place of the cluster's own."""
    record = load(built.cluster.folder / "cluster.json")
    if record is None:
        raise NotMeasured("the control plane has gone")
    scheduler = [
        *(word for word in record.processes["kube-scheduler"].argv if not word.startswith("--kube-api-")),
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
    ]
    without = RIVAL.split(",") + ([] if built.nodes else NODELESS)
    commands = [(built.manager(",".join(["*", *(f"-{each}" for each in without)]), UNTHROTTLED), "services")]
    commands += [(scheduler, "scheduler")] if built.nodes else []
    for name in ("kube-controller-manager", "kube-scheduler"):
        built.cluster.stop(name)
    logs = built.cluster.folder / "logs"
    running = [spawn(command, logs / f"{name}.log", built.cluster.folder) for command, name in commands]
    try:
        time.sleep(2.0)  # their caches; neither says when they are filled without a port of its own
        yield
    finally:
        stop(running, GRACE)


def _told(line: str) -> None:
    print(f"  {line}", flush=True)
