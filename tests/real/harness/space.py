# SPDX-License-Identifier: Apache-2.0
"""A namespace on real nodes: services of the sample server."""

import subprocess
import sys
from typing import Any

from api.harness.kube import Body
from api.harness.space import Space, condition
from api.harness.waiting import until

from tools.images import SAMPLE

NODES = 2
PROBE = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}


def server(version: str) -> Body:
    """A template with one container of the sample server."""
    container = {"name": "server", "image": f"{SAMPLE}:{version}", "ports": [{"containerPort": 8080}], "readinessProbe": PROBE}
    return {"spec": {"containers": [container]}}


def service(name: str, version: str = "1.0", *, replicas: int = 3, **spec: Any) -> Body:
    """A ManagedService of it, with Drover's own defaults for the drain."""
    return {
        "apiVersion": "drover.dev/v1alpha1",
        "kind": "ManagedService",
        "metadata": {"name": name},
        "spec": {
            "criticality": "Normal",
            "replicas": replicas,
            "ports": [{"name": "http", "port": 80, "targetPort": 8080}],
            "template": server(version),
            **spec,
        },
    }


class RealSpace(Space):
    """One namespace."""

    def version(self, name: str, version: str) -> None:
        """Declare another version."""
        self.patch(name, {"spec": {"template": server(version)}})

    def drover(self, *words: str) -> None:
        """A verb of kubectl drover, as a person would give it."""
        command = [sys.executable, "-m", "drover_operator.cli.main", *words, "-n", self.name, f"--kubeconfig={self.plane.cluster.kubeconfig}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def nodes(self) -> dict[str, str]:
        """Whether each node is ready: True, False or Unknown."""
        items = self.kube.call("get", "/api/v1/nodes")["items"]
        return {each["metadata"]["name"]: condition(each, "Ready").get("status", "?") for each in items}

    def nodes_ready(self, count: int, *, seconds: float = 60.0) -> None:
        """Wait until so many nodes are ready, and no taint is left."""

        def look() -> bool:
            items = self.kube.call("get", "/api/v1/nodes")["items"]
            well = [each for each in items if condition(each, "Ready").get("status") == "True" and not each["spec"].get("taints")]
            return len(well) == count

        until(look, f"{count} nodes are ready", seconds=seconds, seen=self.nodes)

    def spread(self, name: str) -> None:
        """Wait until it converges with an instance on each node; what came up while a node was late is moved, for spreading is only a wish."""
        for _ in range(5):
            self.nodes_ready(NODES)
            self.converged(name, seconds=60)
            pods = self.pods(name)
            if len({each["spec"]["nodeName"] for each in pods}) == NODES:
                return
            self.kube.delete("pods", self.name, pods[0]["metadata"]["name"])
            gone = pods[0]["metadata"]["uid"]
            until(lambda gone=gone: gone not in {each["metadata"]["uid"] for each in self.pods(name)}, "one of them is gone", seconds=60)
        raise AssertionError(f"all instances of {name} are on one node, again and again")

    def on(self, name: str, node: str) -> list[Body]:
        """The pods of a service on a node."""
        return [each for each in self.pods(name) if each["spec"].get("nodeName") == node]
