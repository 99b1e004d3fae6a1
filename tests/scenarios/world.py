# SPDX-License-Identifier: Apache-2.0
"""A world for scenarios: the simulated cluster, the real operator in it, and a watcher that checks invariants at every write."""

import asyncio
import copy
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from drover_controllers.service import CONTROLLER
from drover_controllers.service.lifecycle import EDGES
from drover_operator.kube.errors import DroverError
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.election import Timing
from drover_operator.runtime.process import Process, Settings
from drover_operator.testing import SimulatedCluster, virtualtime

NAMESPACE = "shop"
GATE = "drover.dev/in-service"
OPERATOR = "drover:operator:0"
TIMING = Timing(duration=3.0, renew_deadline=2.0, retry=0.5)


def service(name: str = "web", *, replicas: int = 3, image: str = "app:1.0", **spec: Any) -> dict[str, Any]:
    """A small ManagedService with one port."""
    template = {"spec": {"containers": [{"name": "server", "image": image}]}}
    return {
        "apiVersion": "drover.dev/v1alpha1",
        "kind": "ManagedService",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"criticality": "Normal", "replicas": replicas, "ports": [{"name": "http", "port": 80}], "template": template, **spec},
    }


class Crash(BaseException):
    """The operator's process ends here and now; not an Exception, so that no handler of ours can outlive it."""


class World:
    """One cluster and any number of operator processes, one after the other or side by side."""

    def __init__(self, seed: int) -> None:
        self.cluster = SimulatedCluster(seed=seed, nodes=3)
        self.cluster.create_namespace(NAMESPACE)
        self._random = Random(seed)
        self._tasks: list[asyncio.Task[None]] = []
        self.processes: list[Process] = []
        self.born = 0
        self.phases: list[str] = []
        self.problems: list[str] = []
        self.floor: Callable[[], int] = lambda: 0
        self.ceiling: Callable[[], int] = lambda: 10_000
        self.write_points = 0
        self._proved: set[int] = set()  # generations that were once reached: a loss after that is seen a moment later
        self._crash_at: tuple[int, str] | None = None
        self.crashed = False

    # -- processes
    def operator(self, identity: str = "") -> asyncio.Task[None]:
        """Start an operator; it is started anew when it crashes or loses its lease, as a kubelet would."""
        self.born += 1
        task = asyncio.create_task(self._keep(identity or f"op-{self.born}"))
        self._tasks.append(task)
        return task

    async def _keep(self, identity: str) -> None:
        life = 0
        while True:
            life += 1
            transport = self.cluster.transport(user="operator")
            transport.faults.before, transport.faults.after = self._before, self._after
            settings = Settings(identity=f"{identity}-{life}", timing=TIMING, workers=4, shell=False)
            process = Process(transport, (CONTROLLER,), settings, clock=self.cluster.now, random=Random(self._random.random()))
            self.processes.append(process)
            try:
                await process.run()
                return
            except (Crash, DroverError, BaseExceptionGroup):
                await asyncio.sleep(0.5)

    def crash_at(self, point: int, when: str) -> None:
        """End the process at its n-th write of objects, `before` it is sent or `after` it was applied and before the reply."""
        self._crash_at = (point, when)

    def _counts(self, request: Request) -> bool:
        return request.mutating and "leases" not in request.path and "configmaps" not in request.path and "events" not in request.path

    def _before(self, request: Request) -> Reply | BaseException | None:
        if not self._counts(request):
            return None
        self.write_points += 1
        return self._crash("before")

    def _after(self, request: Request, reply: Reply) -> Reply | BaseException:
        if self._counts(request) and (crash := self._crash("after")):
            return crash
        self.check()
        return reply

    def _crash(self, when: str) -> BaseException | None:
        if self._crash_at == (self.write_points, when):
            self._crash_at = None
            self.crashed = True
            return Crash()  # the new process waits for the lease of the dead one, as in life
        return None

    # -- what is seen
    def pods(self, name: str = "web") -> list[dict[str, Any]]:
        return [p for p in self.cluster.objects("pods", NAMESPACE) if p["metadata"]["labels"].get("drover.dev/service") == name]

    def status(self, name: str = "web") -> dict[str, Any]:
        found = self.cluster.find("managedservices", NAMESPACE, name)
        return (found or {}).get("status", {})

    def ready_endpoints(self, name: str = "web") -> list[str]:
        slices = [s for s in self.cluster.objects("endpointslices", NAMESPACE) if s["metadata"]["labels"].get("kubernetes.io/service-name") == name]
        return [e["targetRef"]["uid"] for s in slices for e in s.get("endpoints") or () if e.get("conditions", {}).get("ready") is not False]

    def condition(self, kind: str, name: str = "web") -> dict[str, Any]:
        return next((c for c in self.status(name).get("conditions", ()) if c["type"] == kind), {})

    def images(self, name: str = "web") -> dict[str, int]:
        tally: dict[str, int] = {}
        for pod in self.live(name):
            image = pod["spec"]["containers"][0]["image"]
            tally[image] = tally.get(image, 0) + 1
        return tally

    def live(self, name: str = "web") -> list[dict[str, Any]]:
        return [p for p in self.pods(name) if not leaving(p)]

    def converged(self, name: str = "web") -> bool:
        found = self.cluster.find("managedservices", NAMESPACE, name)
        if found is None:
            return False
        status = found.get("status", {})
        current = status.get("observedGeneration") == found["metadata"]["generation"]
        settled = len(self.pods(name)) == found["spec"]["replicas"] and not status.get("plan")
        return current and settled and status.get("phase") == "Run" and self.condition("Reconciling", name).get("status") == "False"

    async def until(self, holds: Callable[[], bool], within: float = 120.0) -> float:
        """Wait in virtual time; on a time-out show what is there."""
        try:
            took = await self.cluster.until(holds, within)
        except TimeoutError:
            pods = [(p["metadata"]["name"], p.get("status", {}).get("phase"), leaving(p)) for p in self.pods()]
            raise AssertionError(f"not within {within} s; status: {self.status()}; pods: {pods}") from None
        assert not self.problems, self.problems[:3]
        return took

    def writes(self, *verbs: str) -> list[Any]:
        """The operator's own writes of objects, without leases and events."""
        mine = [w for w in self.cluster.writes if w.user.startswith("drover:operator") and w.resource not in ("leases", "events", "events.events.k8s.io")]
        return [w for w in mine if not verbs or w.verb in verbs]

    # -- invariants, at every write
    def check(self) -> None:
        """Called after each write of the operator; collects what is wrong."""
        live, ready = self.live(), self.ready_endpoints()
        if len(live) > self.ceiling():
            self.problems.append(f"{len(live)} instances, at most {self.ceiling()}")
        if len(ready) < self.floor():
            self.problems.append(f"{len(ready)} in discovery, at least {self.floor()}")
        places = [(p["metadata"]["labels"]["drover.dev/revision"], p["metadata"]["labels"]["drover.dev/slot"]) for p in live]
        if len(places) != len(set(places)):
            self.problems.append(f"a slot is filled twice: {sorted(places)}")
        self._check_status()

    def _check_status(self) -> None:
        found = self.cluster.find("managedservices", NAMESPACE, "web")
        if not found or not found.get("status"):
            return
        history = found["status"].get("history", [])
        for change in history:
            if change["to"] not in EDGES[change.get("from")]:
                self.problems.append(f"no edge from {change.get('from')} to {change['to']}")
        generation = found["metadata"]["generation"]
        if "pin" in found["spec"] or generation in self._proved or kstatus(found) != "Current":
            return
        if self._reached(found):
            self._proved.add(generation)
        else:
            self.problems.append(f"Current too early: {found['status'].get('ready')} of {found['spec']['replicas']}")

    def _reached(self, found: dict[str, Any]) -> bool:
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        return self.images().get(image, 0) >= found["spec"]["replicas"]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.cluster.stop()


def leaving(pod: dict[str, Any]) -> bool:
    """Whether the pod is being ended, was taken out of service, or has failed."""
    gate = next((c for c in pod.get("status", {}).get("conditions", ()) if c["type"] == GATE), {})
    return "deletionTimestamp" in pod["metadata"] or gate.get("status") == "False" or pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def kstatus(item: dict[str, Any]) -> str:
    """The verdict of kstatus on a custom resource, by its published algorithm."""
    status, meta = item.get("status", {}), item["metadata"]
    if "deletionTimestamp" in meta:
        return "Terminating"
    if status.get("observedGeneration", meta["generation"]) != meta["generation"]:
        return "InProgress"
    conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
    if conditions.get("Reconciling") == "True":
        return "InProgress"
    if conditions.get("Stalled") == "True":
        return "Failed"
    return "InProgress" if conditions.get("Ready") == "False" else "Current"


def play(scenario: Callable[[World], Coroutine[Any, Any, None]], seed: int = 1, prepare: Callable[[World], None] = lambda _: None) -> World:
    """Run one scenario in virtual time from its seed; returns the world for more questions."""
    worlds: list[World] = []

    async def main() -> None:
        world = World(seed)
        worlds.append(world)
        prepare(world)
        await world.cluster.start()
        try:
            await scenario(world)
        finally:
            await world.end()

    virtualtime.run(main)
    assert not worlds[0].problems, (f"seed {seed}", worlds[0].problems[:3])
    return worlds[0]


def state(world: World, name: str = "web") -> Any:
    """What must be equal at the end of two runs: who runs what and what is owned, without times, uids and versions."""
    found = copy.deepcopy(world.cluster.find("managedservices", NAMESPACE, name) or {})
    status = found.get("status", {})
    return {
        "pods": sorted((p["metadata"]["labels"]["drover.dev/revision"], p["metadata"]["labels"]["drover.dev/slot"]) for p in world.pods(name)),
        "services": [s["spec"]["ports"] for s in world.cluster.objects("services", NAMESPACE)],
        "budgets": [b["spec"] for b in world.cluster.objects("poddisruptionbudgets", NAMESPACE)],
        "revisions": sorted(r["metadata"]["name"] for r in world.cluster.objects("controllerrevisions", NAMESPACE)),
        "finalizers": found.get("metadata", {}).get("finalizers"),
        "status": {k: status.get(k) for k in ("phase", "ready", "upToDate", "summary", "currentRevision", "targetRevision", "counts")},
    }
