# SPDX-License-Identifier: Apache-2.0
"""The demonstration of damage: a power cut and a partition, with the live view of what Drover makes of it."""

import json
import time
from typing import Any

from tools.cluster.paths import ROOT
from tools.demo.live import live, until
from tools.demo.stage import Demo, DemoError, say


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
    with live(demo):
        damage()
        until(lambda: not all(demo.healthy()), "the loss is noticed")
        noticed = time.monotonic() - begun
        until(lambda: all(demo.healthy()), "every service is whole again")
    print(f"\n  noticed after {noticed:.1f} s, whole again after {time.monotonic() - begun:.1f} s", flush=True)


def _ready(demo: Demo) -> None:
    def look() -> bool:
        nodes = json.loads(demo.kubectl("get", "nodes", "-o", "json"))["items"]
        return all(any(each["type"] == "Ready" and each["status"] == "True" for each in node["status"]["conditions"]) for node in nodes)

    until(look, "all nodes are ready")
