# SPDX-License-Identifier: Apache-2.0
"""The machines behind Node objects: a new Node becomes ready, and one with the annotation `drover.dev/simulate: down` is cut off.

So nodes come, go and fail by plain kubectl: create, delete, annotate.
"""

from drover_operator.testing.actors import Actor
from drover_operator.testing.cluster import PODS_PER_NODE, SimulatedCluster
from drover_operator.testing.conditions import with_condition
from drover_operator.testing.kinds import NODES
from drover_operator.testing.kubelet import BEHAVIOUR_ANNOTATION
from drover_operator.testing.objects import Json, mapping
from drover_operator.testing.storage import Change, Version

DOWN = "down"
KUBELET = "v1.35.0+drover-simulated"
ROOM = {"pods": str(PODS_PER_NODE), "cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi"}  # only pods are counted
_INFO = {
    "kubeletVersion": KUBELET,
    "osImage": "Simulation",
    "kernelVersion": "none",
    "containerRuntimeVersion": "simulated://0",
    "operatingSystem": "linux",
    "architecture": "none",
}


class Machines(Actor):
    """Gives each Node a status as a kubelet does, and switches machines off and on."""

    user = "system:nodes"
    kinds = (NODES,)

    def __init__(self, cluster: SimulatedCluster, delay: float = 0.02) -> None:
        super().__init__(cluster.server, delay)
        self._cluster = cluster

    def observe(self, change: Change) -> None:
        """Nodes that are new or changed."""
        if not change.deleted:
            self.mark(change.current.name)

    def sync(self, key: str) -> None:
        """Bring one machine in line with its Node."""
        node = self.storage.get(NODES, "", key)
        if node is None:
            return
        if "nodeInfo" not in mapping(node.data, "status"):
            self._report(node)
        wanted = mapping(node.meta, "annotations").get(BEHAVIOUR_ANNOTATION) == DOWN
        is_down = self._cluster.kubelet.down_since(key) is not None
        if wanted and not is_down:
            self._cluster.node_down(key)
        elif is_down and not wanted:
            self._cluster.node_up(key)

    def _report(self, node: Version) -> None:
        now = self.server.registry.now()
        addresses = [{"type": "InternalIP", "address": "192.0.2.1"}, {"type": "Hostname", "address": node.name}]
        ready: Json = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "simulated", "lastHeartbeatTime": now}
        status = with_condition(mapping(node.data, "status"), ready, now)
        status |= {"capacity": ROOM, "allocatable": ROOM, "nodeInfo": _INFO, "addresses": addresses}
        self.server.patch(node, lambda old: {**old, "status": status}, user=self.user, subresource="status")
