# SPDX-License-Identifier: Apache-2.0
"""The fake nodes: objects in the API only, whose kubelets kwok plays."""

from typing import Any

FAKE = {"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}
_ZONES = ("zone-a", "zone-b", "zone-c")


def kwok_node(index: int, pods: int, version: str, *, tainted: bool = False) -> dict[str, Any]:
    """Return one fake node; with a taint where there are real ones, so that only pods that ask for it are pretended to run."""
    name, size = f"kwok-{index}", {"cpu": "32", "memory": "256Gi", "pods": str(pods)}
    labels = {
        "type": "kwok",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "topology.kubernetes.io/zone": _ZONES[index % len(_ZONES)],
    }
    addresses = [
        {"type": "InternalIP", "address": f"10.251.{index // 250}.{index % 250 + 1}"},
        {"type": "Hostname", "address": name},
    ]
    info = {"kubeletVersion": version, "operatingSystem": "linux", "architecture": "amd64", "osImage": "kwok"}
    status = {"capacity": size, "allocatable": size, "addresses": addresses, "nodeInfo": info}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [FAKE]} if tainted else {},
        "status": status,
    }
