# SPDX-License-Identifier: Apache-2.0
"""The demonstration of damage: a power cut and a partition, with the live view of what Drover makes of it."""

import json
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from tools.cluster.paths import ROOT
from tools.demo.stage import Demo, DemoError, say

DEADLINE = 120.0  # seconds


def run(demo: Demo, *, real: bool) -> None:
    """Apply the shop if it is not there, and do both damages.

    Raises:
        DemoError: there are no real nodes, or something did not come true in time.

    """
    if not real:
        raise DemoError("damage needs real nodes; what is missing is told above")
    say("Applying the sample shop: twelve services")
    demo.kubectl("apply", "-f", str(ROOT / "manifests/samples/shop"))
    demo.settled()
    say("A power cut: node-b and all that runs there is gone at once")
    _lose(demo, lambda: demo.cluster.stop("node-b", kill=True))
    say("Its power is back; what had been replaced is not there twice")
    demo.cluster.start("node-b")
    _ready(demo)
    demo.settled()
    say("A partition: the cable of node-a is out; what runs there runs on, and nothing can tell")
    _lose(demo, lambda: demo.cluster.node("node-a").cut())
    say("The cable is in again: the kubelet there ends what was replaced")
    demo.cluster.node("node-a").heal()
    _ready(demo)
    demo.settled()
    demo.show()


def _lose(demo: Demo, damage: Any) -> None:
    """Do the damage and look on until every service is whole without what was lost."""
    begun = time.monotonic()
    with _live(demo):
        damage()
        _until(lambda: not all(demo.healthy()), "the loss is noticed")
        noticed = time.monotonic() - begun
        _until(lambda: all(demo.healthy()), "every service is whole again")
    print(f"\n  noticed after {noticed:.1f} s, whole again after {time.monotonic() - begun:.1f} s", flush=True)


@contextmanager
def _live(demo: Demo) -> Generator[None, None, None]:
    """`kubectl drover status -w` on this terminal; one line per change where there is none."""
    command = [sys.executable, "-m", "drover_operator.cli.main", "status", "-w", "-n", demo.namespace, "--kubeconfig", str(demo.cluster.kubeconfig)]
    view = subprocess.Popen(command)
    try:
        yield
    finally:
        view.terminate()
        try:
            view.wait(5)
        except subprocess.TimeoutExpired:
            view.kill()
            view.wait()


def _ready(demo: Demo) -> None:
    def look() -> bool:
        nodes = json.loads(demo.kubectl("get", "nodes", "-o", "json"))["items"]
        return all(any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"]) for node in nodes)

    _until(look, "all nodes are ready")


def _until(done: Any, what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not done():
        if time.monotonic() > deadline:
            raise DemoError(f"{what}: not in {DEADLINE:.0f} s")
        time.sleep(0.3)
