# SPDX-License-Identifier: Apache-2.0
"""A steady load from inside the cluster, through the Service as any client would, and what became of each request."""

import json
from dataclasses import dataclass
from typing import Any

from api.harness.space import Space
from api.harness.waiting import until

from tools.images import SAMPLE

NAME = "load"


@dataclass(frozen=True)
class Seen:
    """All requests so far."""

    ok: int
    failed: tuple[str, ...]
    lines: tuple[dict[str, Any], ...]

    def versions(self) -> set[str]:
        """The versions that answered in the last second."""
        return set(self.lines[-1]["versions"]) if self.lines else set()


class Load:
    """One pod that asks."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._running = False

    def start(self, service: str, *, workers: int = 8, rate: int = 200, wait: float = 0.05, node: str = "") -> "Load":
        """Begin, and wait until answers come."""
        address = self._space.kube.get("services", self._space.name, service)["spec"]["clusterIP"]
        command = ["python3", "/srv/load.py", f"http://{address}/?wait={wait}", str(workers), str(rate)]
        container = {"name": NAME, "image": f"{SAMPLE}:1.0", "command": command}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NAME},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0, "restartPolicy": "Never", **({"nodeName": node} if node else {})},
        }
        self._space.kube.create("pods", self._space.name, body)
        self._running = True
        until(lambda: len(self.seen().lines) >= 2 and self.seen().ok, "the load gets answers", seconds=30)
        return self

    def seen(self) -> Seen:
        """What it has told so far."""
        text = self._space.plane.kubectl("logs", "-n", self._space.name, NAME)
        lines = tuple(json.loads(line) for line in text.splitlines() if line.startswith("{"))
        return Seen(sum(line["ok"] for line in lines), tuple(why for line in lines for why in line["failed"]), lines)

    def more(self, seconds: int) -> Seen:
        """Wait until it has told of so many seconds more."""
        begin = len(self.seen().lines)
        until(lambda: len(self.seen().lines) >= begin + seconds, f"{seconds} s more of load", seconds=seconds + 20.0)
        return self.seen()

    def stop(self) -> None:
        """End it."""
        if self._running:
            self._running = False
            if self._space.kube.find("pods", self._space.name, NAME):  # it goes with its node
                self._space.kube.delete("pods", self._space.name, NAME)
