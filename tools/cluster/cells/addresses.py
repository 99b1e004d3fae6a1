# SPDX-License-Identifier: Apache-2.0
"""Names and addresses of the nodes and their fabric. Each cluster has a network namespace of its own, so that all clusters use the same ones."""

from dataclasses import dataclass

FABRIC = "10.199.0.1"  # the bridge: the nodes' way to the API server and to DNS
NODE_RANGE = "10.199.0.0/24"
POD_RANGE = "10.244.0.0/16"
API_PORT = 6443
DNS_SERVICE = "10.96.0.10"
API_SERVICE = "10.96.0.1"
DOMAIN = "cluster.local"
MOST = 26  # one letter each
BRIDGE = "br0"
BRIDGE_MAC = "02:00:00:00:00:01"  # fixed: a bridge takes over the address of a port, and neighbours would look for the one that has gone
_FIRST = 10


@dataclass(frozen=True)
class Place:
    """What a node is called, and where it is."""

    index: int

    @property
    def name(self) -> str:
        """The name of the node."""
        return f"node-{chr(ord('a') + self.index)}"

    @property
    def zone(self) -> str:
        """Its zone: three of them, in turn."""
        return f"zone-{chr(ord('a') + self.index % 3)}"

    @property
    def address(self) -> str:
        """Its address on the fabric."""
        return f"10.199.0.{_FIRST + self.index}"

    @property
    def pods(self) -> str:
        """The range of its pods' addresses."""
        return f"10.244.{_FIRST + self.index}.0/24"

    @property
    def port(self) -> str:
        """Its port of the bridge."""
        return f"v-{self.name}"


def places(count: int) -> list[Place]:
    """All nodes of a cluster, in order."""
    return [Place(index) for index in range(count)]
