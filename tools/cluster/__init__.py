# SPDX-License-Identifier: Apache-2.0
"""The local cluster: a real Kubernetes control plane as plain processes on loopback, with fake nodes, and as root with real ones.

from tools.cluster import Cluster

cluster = Cluster("mine")
cluster.up(kwok_nodes=5, log=print)
...  # cluster.kubeconfig, cluster.bin / "kubectl"
cluster.down()
"""

from tools.cluster.cells.requirements import lacks as real_nodes_lack
from tools.cluster.cluster import Cluster, Status, names
from tools.cluster.errors import ClusterError
from tools.cluster.router.programs import lacks as router_lacks

__all__ = ["Cluster", "ClusterError", "Status", "names", "real_nodes_lack", "router_lacks"]
