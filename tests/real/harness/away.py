# SPDX-License-Identifier: Apache-2.0
"""The control plane away: long waits, played on a cluster of their own beside the other tests of the session, which takes four minutes off it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from api.conftest import Crew
from api.harness.plane import Plane
from api.harness.plane import plane as brought_up
from api.harness.waiting import until
from real.harness.load import Load
from real.harness.space import RealSpace, service

OFF = 60.0  # seconds that the API server is away
DEPOSED = 3  # exit code
RECONNECT = 120.0  # seconds; client-go waits up to twice 30 s between two attempts, and discovery's controllers are made with it


def uids(space: RealSpace) -> set[str]:
    """Of the pods of the one service."""
    return {each["metadata"]["uid"] for each in space.pods("shop")}


def failed_before(load: Load, moment: float) -> list[str]:
    """Requests that failed while it was away.

    Those after it are not ours: a control plane that was away for longer than its grace period (50 s) takes nodes for lost until it has heard of
    them again, and their pods out of discovery.
    """
    seen = load.more(2)
    after = [each for each in seen.failed if float(each.split()[0]) >= moment]
    print(f"{seen.ok} requests answered, {len(after)} failed after the control plane was back")
    return [each for each in seen.failed if float(each.split()[0]) < moment]


def api_server(space: RealSpace, crew: Crew, load: Load, wait: Callable[[float], None]) -> None:
    """Killed for a minute."""
    operator = crew.one()
    space.create(service("shop", replicas=3))
    before = uids(space) if space.converged("shop", seconds=60) else set()
    load.start("shop")
    space.plane.cluster.stop("kube-apiserver", kill=True)
    wait(OFF)
    assert operator.process.wait(5) == DEPOSED, "who cannot renew must not go on"
    back = time.time()
    space.plane.cluster.start("kube-apiserver")
    crew.one()
    space.converged("shop", seconds=60)
    assert uids(space) == before, "nobody was replaced for it"
    space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=4")
    space.converged("shop", seconds=RECONNECT)
    assert failed_before(load, back) == []


def datastore(space: RealSpace, crew: Crew, load: Load, wait: Callable[[float], None]) -> None:
    """etcd killed for a third of a minute."""
    operator = crew.one()
    space.create(service("shop", replicas=3))
    space.converged("shop", seconds=60)
    before = uids(space)
    load.start("shop")
    space.plane.cluster.stop("etcd", kill=True)
    wait(OFF / 3)
    assert operator.process.wait(5) == DEPOSED
    back = time.time()
    space.plane.cluster.start("etcd")
    crew.one()
    space.converged("shop", seconds=60)
    assert uids(space) == before
    space.version("shop", "1.1")
    item = space.converged("shop", seconds=RECONNECT)
    assert item["status"]["version"] == "1.1"
    assert failed_before(load, back) == []


def node_removed(space: RealSpace, crew: Crew, load: Load, wait: Callable[[float], None]) -> None:
    """A node is cut off, and somebody deletes it for good; the garbage collector of pods waits 40 s before it believes that."""
    crew.one()
    space.create(service("shop", replicas=4))
    space.spread("shop")
    lost = {each["metadata"]["uid"] for each in space.on("shop", "node-b")}
    load.start("shop", node="node-a")
    node = space.plane.cluster.node("node-b")
    node.cut()
    space.kube.call("delete", "/api/v1/nodes/node-b")
    until(lambda: space.get("shop")["status"]["ready"] == "4/4" and not lost & space.serving("shop"), "it is whole without the node", seconds=90)
    until(lambda: not lost & uids(space), "nothing of them is left", seconds=120)
    node.heal()
    node.stop("kubelet")  # one that is started anew makes its node known again
    node.cont("kubelet")
    space.nodes_ready(2)
    space.converged("shop", seconds=60)
    assert load.seen().ok


SCENARIOS = {"datastore": datastore, "node": node_removed, "api-server": api_server}


class Away:
    """Plays the scenarios one after the other in a thread, on a cluster with two real nodes; `outcomes` are told as they end.

    It notices lost nodes as late as any cluster, after 50 s: one that does after 5 s takes all nodes for lost when it is back, and evicts.
    """

    def __init__(self, folder: Path, images: list[Path], ready: Callable[[Plane], None]) -> None:
        self.outcomes: dict[str, Future[None]] = {name: Future() for name in SCENARIOS}
        self._folder, self._images, self._ready = folder, images, ready
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="away")

    def begin(self) -> None:
        """Start to play."""
        self._thread.start()

    def end(self) -> None:
        """Wait until the cluster is down; a scenario that sleeps is broken off."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with brought_up(self._folder, prefix="test-away-", kwok_nodes=0, nodes=2, images=self._images) as plane:
                self._ready(plane)
                self._play(plane)
        except Exception as error:  # noqa: BLE001  told by the tests
            for each in self.outcomes.values():
                if not each.done():
                    each.set_exception(error)

    def _play(self, plane: Plane) -> None:
        crew = Crew(plane)
        try:
            for name, scenario in SCENARIOS.items():
                self._one(name, scenario, plane, crew)
        finally:
            for each in crew.running:
                each.kill()

    def _one(self, name: str, scenario: Any, plane: Plane, crew: Crew) -> None:
        plane.kube.call("post", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        space = RealSpace(plane, name)
        load = Load(space)
        try:
            scenario(space, crew, load, self._wait)
        except Exception as error:  # noqa: BLE001  told by the test
            self.outcomes[name].set_exception(error)
        else:
            self.outcomes[name].set_result(None)
        finally:
            load.stop()

    def _wait(self, seconds: float) -> None:
        if self._ended.wait(seconds):
            raise AssertionError("broken off")
