# SPDX-License-Identifier: Apache-2.0
"""The scheduler and the node controller: where pods run, and what becomes of them when their node is lost."""

from collections.abc import Callable

from drover_operator.testing.actors import Actor
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.conditions import with_condition
from drover_operator.testing.kinds import NODES, PODS
from drover_operator.testing.objects import Json, entries, mapping
from drover_operator.testing.storage import Change, Version

UNREACHABLE_AFTER = 40.0
EVICTED_AFTER = 300.0


class Scheduler(Actor):
    """Binds pending pods in turn to the nodes that are ready, not cordoned and have room; no affinity, no requests."""

    user = "system:kube-scheduler"
    kinds = (PODS, NODES)

    def __init__(self, server: ApiServer, is_down: Callable[[str], bool], delay: float = 0.01) -> None:
        super().__init__(server, delay)
        self.sees_dead_nodes = True
        self._is_down = is_down
        self._turn = 0
        self._unschedulable: dict[str, None] = {}

    def observe(self, change: Change) -> None:
        """Pods without a node, and everything that waits when room may have come."""
        version = change.current
        if version.kind is PODS and not change.deleted and not version.data["spec"].get("nodeName"):
            self.mark(version.uid)
        elif self._unschedulable and (version.kind is NODES or change.deleted):
            for uid in self._unschedulable:
                self.mark(uid)

    def sync_all(self, keys: list[str]) -> None:
        """Bind the pods that have gathered, counting the load of the nodes once."""
        load: dict[str, int] = {}
        for placed in self.storage.items(PODS):
            node = placed.data["spec"].get("nodeName", "")
            load[node] = load.get(node, 0) + (placed.data["status"].get("phase") not in ("Succeeded", "Failed"))
        nodes = [each for each in self.storage.items(NODES) if self._takes_pods(each)]
        for uid in keys:
            pod = self.storage.by_uid(uid)
            if pod is None or pod.deleting or not _is_ours(pod.data["spec"]):
                self._unschedulable.pop(uid, None)
            else:
                self._place(pod, nodes, load)

    def _takes_pods(self, node: Version) -> bool:
        if node.data.get("spec", {}).get("unschedulable") or (self.sees_dead_nodes and self._is_down(node.name)):
            return False
        conditions: list[Json] = entries(mapping(node.data, "status"), "conditions")  # a Node that nobody runs yet has none
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    def _place(self, pod: Version, nodes: list[Version], load: dict[str, int]) -> None:
        wanted: Json = pod.data["spec"].get("nodeSelector") or {}
        fits = [n for n in nodes if load.get(n.name, 0) < _room(n) and wanted.items() <= n.labels.items()]
        if not fits:
            self._unschedulable[pod.uid] = None
            self._report(pod, len(nodes))
            return
        node = fits[self._turn % len(fits)]
        self._turn += 1
        load[node.name] = load.get(node.name, 0) + 1
        self._unschedulable.pop(pod.uid, None)
        scheduled = {"type": "PodScheduled", "status": "True"}
        status = with_condition(pod.data["status"], scheduled, self.server.registry.now())
        bound = {**pod.data, "spec": {**pod.data["spec"], "nodeName": node.name}, "status": status}
        self.server.patch(pod, lambda _: bound, user=self.user, subresource="binding")

    def _report(self, pod: Version, nodes: int) -> None:
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": f"0/{nodes} nodes are available: {nodes} Too many pods.",
        }
        status = with_condition(pod.data["status"], condition, self.server.registry.now())
        self.server.patch(pod, lambda old: {**old, "status": status}, user=self.user, subresource="status")


def _room(node: Version) -> int:
    """How many pods a node takes."""
    return int(mapping(node.data["status"], "allocatable").get("pods", 0))


def _is_ours(spec: Json) -> bool:
    """Whether a pod waits for this scheduler."""
    return not spec.get("nodeName") and not spec.get("schedulingGates") and spec["schedulerName"] == "default-scheduler"


class NodeController(Actor):
    """Notices lost nodes: not Ready after 40 s, their pods deleted after 300 s more, and pods of removed nodes ended by force."""

    user = "system:serviceaccount:kube-system:node-controller"
    kinds = (NODES,)

    def __init__(self, server: ApiServer, down_since: Callable[[str], float | None], delay: float = 0.01) -> None:
        super().__init__(server, delay)
        self._down_since = down_since

    def observe(self, change: Change) -> None:
        """Nodes that were removed; lost ones are told by `lost`."""
        if change.deleted:
            self.later(UNREACHABLE_AFTER, change.current.name)

    def lost(self, node: str) -> None:
        """From now on that node says nothing any more."""
        self.later(UNREACHABLE_AFTER, node)
        self.later(UNREACHABLE_AFTER + EVICTED_AFTER, node)

    def sync(self, key: str) -> None:
        """Do what is due for a node that is lost or gone."""
        node = self.storage.get(NODES, "", key)
        since = self._down_since(key)
        pods = [pod for pod in self.storage.items(PODS) if pod.data["spec"].get("nodeName") == key]
        if node is None:
            for pod in pods:
                self.server.delete(pod, user=self.user, grace=0)
        elif since is not None and self.now() - since >= UNREACHABLE_AFTER:
            self._mark_unreachable(node, pods)
            if self.now() - since >= UNREACHABLE_AFTER + EVICTED_AFTER:
                self._evict(pods)

    def _mark_unreachable(self, node: Version, pods: list[Version]) -> None:
        now = self.server.registry.now()
        gone: Json = {
            "type": "Ready",
            "status": "Unknown",
            "reason": "NodeStatusUnknown",
            "message": "Kubelet stopped posting node status.",
        }
        self.server.patch(node, lambda old: {**old, "status": with_condition(old["status"], gone, now)}, user=self.user, subresource="status")
        unready: Json = {"type": "Ready", "status": "False"}
        for pod in pods:
            conditions: list[Json] = pod.data["status"].get("conditions", [])
            if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions):
                self.server.patch(pod, lambda old: {**old, "status": with_condition(old["status"], unready, now)}, user=self.user, subresource="status")

    def _evict(self, pods: list[Version]) -> None:
        for pod in pods:
            if not pod.deleting:
                self.server.delete(pod, user=self.user)
