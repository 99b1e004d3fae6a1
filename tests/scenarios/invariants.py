# SPDX-License-Identifier: Apache-2.0
"""What must hold at every instant, whatever goes wrong; asked after every change of a pod, an endpoint slice or the service."""

from collections.abc import Callable
from typing import Any

from drover_controllers.service.lifecycle import EDGES
from drover_operator.testing import SimulatedCluster

Json = dict[str, Any]
NAMESPACE = "shop"
GATE = "drover.dev/in-service"
SERVICE_LABEL = "drover.dev/service"


def leaving(pod: Json) -> bool:
    """Whether the pod is being ended, was taken out of service, or has failed."""
    gate = next((c for c in pod.get("status", {}).get("conditions", ()) if c["type"] == GATE), {})
    return "deletionTimestamp" in pod["metadata"] or gate.get("status") == "False" or pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


def kstatus(item: Json) -> str:
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


class Invariants:
    """Watches one service of one cluster; `problems` is what was seen."""

    def __init__(self, cluster: SimulatedCluster, name: str = "web") -> None:
        self.problems: list[str] = []
        self.instants = 0
        self.floor: Callable[[], int] = lambda: 0
        self.ceiling: Callable[[], int] = lambda: 10_000
        self._cluster = cluster
        self._name = name
        self._specs: dict[tuple[str, int], Json] = {}
        self._observed: dict[str, int] = {}
        self._born: set[str] = set()
        self._remembered = False  # once; what is empty after that was cleared by hand
        self._proved: set[int] = set()  # generations that were once reached: a loss after that is seen a moment later
        for resource in ("pods", "endpointslices", "managedservices"):
            cluster.on_change(resource, self.check)
        cluster.kubelet.on_end = lambda pod: self._check_traffic(pod.name, pod.uid)

    # -- what is seen
    def pods(self) -> list[Json]:
        return [p for p in self._cluster.objects("pods", NAMESPACE) if p["metadata"].get("labels", {}).get(SERVICE_LABEL) == self._name]

    def live(self) -> list[Json]:
        return [p for p in self.pods() if not leaving(p)]

    def ready_endpoints(self) -> list[str]:
        slices = self._cluster.objects("endpointslices", NAMESPACE)
        mine = [s for s in slices if s["metadata"]["labels"].get("kubernetes.io/service-name") == self._name]
        return [e["targetRef"]["uid"] for s in mine for e in s.get("endpoints") or () if e.get("conditions", {}).get("ready") is not False]

    # -- what must hold
    def check(self) -> None:
        self.instants += 1
        self._check_numbers()
        self._check_memory()
        self._check_status()

    def problem(self, text: str) -> None:
        if text not in self.problems[-20:]:
            self.problems.append(f"{self._cluster.now() % 86400:.3f} s: {text}")

    def _check_numbers(self) -> None:
        live = self.live()
        if len(live) > self.ceiling():
            self.problem(f"{len(live)} instances, at most {self.ceiling()}")
        if (floor := self.floor()) and len(ready := self.ready_endpoints()) < floor:
            self.problem(f"{len(ready)} in discovery, at least {floor}")
        places = [tuple(p["metadata"]["labels"].get(f"drover.dev/{key}") for key in ("revision", "slot")) for p in live]
        if len(places) != len(set(places)):
            self.problem(f"a slot is filled twice: {sorted(places)}")

    def _check_memory(self) -> None:
        """Memory is written ahead: no instance is made of a revision that is not yet remembered as the one to reach or to hold."""
        found = self._cluster.find("managedservices", NAMESPACE, self._name) or {}
        memory = found.get("status", {}).get("rollout", {})
        self._remembered = self._remembered or bool(memory.get("target"))
        born = [p for p in self.pods() if p["metadata"]["uid"] not in self._born]
        if not born or (self._remembered and not memory.get("target")):
            self._born.update(p["metadata"]["uid"] for p in born)
            return
        for pod in born:
            self._born.add(pod["metadata"]["uid"])
            revision = pod["metadata"]["labels"].get("drover.dev/revision")
            if revision and "observedGeneration" in found.get("status", {}) and revision not in (memory.get("target"), memory.get("stable")):
                self.problem(f"{pod['metadata']['name']} was made of a revision that is not remembered: {memory}")

    def _check_traffic(self, name: str, uid: str) -> None:
        """A container may only end when no proxy sends requests to it any more."""
        if uid in self._cluster.proxies.backends(NAMESPACE, self._name):
            self.problem(f"{name} ended while a proxy still sent requests to it")

    def _check_status(self) -> None:
        found = self._cluster.find("managedservices", NAMESPACE, self._name)
        if found is None:
            return
        meta, status = found["metadata"], found.get("status", {})
        self._specs.setdefault((meta["uid"], meta["generation"]), found["spec"])
        if status.get("observedGeneration", -1) > 0:
            self._check_told(found)
        if "pin" in found["spec"] or meta["generation"] in self._proved:
            return
        if self._reached(found):
            self._proved.add(meta["generation"])
        elif kstatus(found) == "Current":
            self.problem(f"Current too early: {status.get('ready')} of {found['spec']['replicas']}")

    def _check_told(self, found: Json) -> None:
        """The history is a path in the table of phases; the generation that is told of is the one that the rest is about."""
        uid, status = found["metadata"]["uid"], found["status"]
        for change in status.get("history", []):
            if change["to"] not in EDGES[change.get("from")]:
                self.problem(f"no edge from {change.get('from')} to {change['to']}")
        observed = status["observedGeneration"]
        if observed > found["metadata"]["generation"]:
            self.problem(f"observedGeneration {observed} is ahead of {found['metadata']['generation']}")
        if observed < self._observed.get(uid, 0):
            self.problem(f"observedGeneration went back from {self._observed[uid]} to {observed}")
        self._observed[uid] = observed
        spec = self._specs.get((uid, observed))
        if spec is not None and "scaling" not in spec and status.get("ready", "").rpartition("/")[2] != str(spec["replicas"]):
            self.problem(f"ready {status.get('ready')} is told of generation {observed}, which wants {spec['replicas']}")

    def _reached(self, found: Json) -> bool:
        image = found["spec"]["template"]["spec"]["containers"][0]["image"]
        mine = [p for p in self.live() if p["spec"]["containers"][0]["image"] == image]
        return len(mine) >= found["spec"]["replicas"]
