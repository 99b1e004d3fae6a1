# SPDX-License-Identifier: Apache-2.0
"""A steady load from inside the cluster, through the Service as any client would, and what became of each request."""

import json
import math
from collections import Counter
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

    def between(self, begin: float, end: float = math.inf) -> Counter[str]:
        """Answers by version in the seconds that lie wholly between two moments of the wall clock; the first second told has no known begin."""
        found = Counter[str]()
        for before, line in zip(self.lines, self.lines[1:], strict=False):
            if before["at"] >= begin and line["at"] <= end:
                found.update(line["versions"])
        return found

    def failed_since(self, begin: float) -> list[str]:
        """Requests that were sent after that moment, and failed."""
        return [each for each in self.failed if float(each.split()[0]) >= begin]


class Load:
    """One pod that asks."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.running = False

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
        self.running = True
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
        if self.running:
            self.running = False
            if self._space.kube.find("pods", self._space.name, NAME):  # it goes with its node
                self._space.kube.delete("pods", self._space.name, NAME)
