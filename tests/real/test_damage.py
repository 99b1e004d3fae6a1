# SPDX-License-Identifier: Apache-2.0
"""What breaks in a cluster, broken for real: processes, images, nodes, networks, disks."""

import pytest
from api.harness.kube import Recorder
from api.harness.operators import Operator
from api.harness.space import condition, is_true, live
from api.harness.waiting import until
from real.harness.load import Load
from real.harness.space import RealSpace, server, service
from real.harness.stages import Stages

from tools.images import SAMPLE

SOON = "import os, runpy, threading; threading.Timer(4, os._exit, [1]).start(); runpy.run_path('/srv/server.py', run_name='__main__')"
BAD = {
    "missing": {"image": f"{SAMPLE}:nowhere"},
    "never-ready": {"readinessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 1}},
    "flapping": {"command": ["python3", "-c", SOON]},
}


def test_a_process_that_ends_is_started_again_by_its_kubelet(space: RealSpace, operator: Operator) -> None:
    """The same pod, another run of the program: another identity, out of service meanwhile, and nothing is replaced."""
    space.create(service("shop", replicas=2))
    before = {each["name"]: each for each in space.converged("shop", seconds=60)["status"]["instances"]}
    victim = min(before)
    address = space.kube.get("pods", space.name, victim)["status"]["podIP"]
    space.plane.cluster.node("node-a").run("python3", "-c", _ask(address, "/exit"))
    space.until("shop", lambda item: _instance(item, victim).get("restarts") == 1, "the restart is told", seconds=30)
    after = {each["name"]: each for each in space.converged("shop", seconds=60)["status"]["instances"]}
    assert set(after) == set(before)
    assert after[victim]["identity"] != before[victim]["identity"], "a new run is a new identity"
    assert {name: each["identity"] for name, each in after.items() if name != victim} == {
        name: each["identity"] for name, each in before.items() if name != victim
    }


def test_a_version_that_does_not_start_is_rolled_back(space: RealSpace, operator: Operator, load: Load) -> None:
    """Its program ends at once, again and again: after the deadline the old version is whole again, and no request failed.

    Beside it the other ways to be bad: an image that is nowhere, a program that never gets ready, and one that does and ends soon after.
    """
    space.create(service("shop", replicas=3, rollout={"progressDeadline": "20s"}))
    for name in BAD:
        space.create(service(name, replicas=1, rollout={"progressDeadline": "20s", "rolling": {"minReady": "8s"}}))
    good = space.converged("shop", seconds=60)["status"]["currentRevision"]
    for name in BAD:
        space.converged(name, seconds=60)
    load.start("shop")
    space.version("shop", "broken")
    for name, container in BAD.items():
        space.patch(name, {"spec": {"template": {"spec": {"containers": [{**server("1.1")["spec"]["containers"][0], **container}]}}}})
    item = space.until("shop", lambda item: item["status"]["rollout"].get("blockedRevision"), "the bad revision is blocked", seconds=90)
    assert is_true(item, "Degraded") or condition(item, "Progressing").get("status") == "False"
    until(lambda: {each["metadata"]["labels"]["drover.dev/revision"] for each in space.pods("shop")} == {good}, "the old revision serves alone", seconds=60)
    for name in BAD:
        space.until(name, lambda item: item["status"]["rollout"].get("blockedRevision"), f"the bad revision of {name} is blocked", seconds=60)
        space.until(
            name, lambda item: (item["status"]["phase"], item["status"]["version"], item["status"]["ready"]) == ("Run", "1.0", "1/1"), "the old one serves"
        )
    seen = load.more(2)
    assert seen.versions() == {"1.0"}
    assert seen.failed == (), "\n".join(seen.failed)


def test_a_node_loses_power_and_comes_back(space: RealSpace, operator: Operator) -> None:
    """Its instances are replaced on the other node; when it is back nothing runs twice."""
    space.create(service("shop", replicas=4))
    space.spread("shop")
    lost = {each["metadata"]["uid"] for each in space.on("shop", "node-b")}
    stages = Stages(space, "shop", lost)
    stages.begin()
    space.plane.cluster.stop("node-b", kill=True)
    stages.detected()
    stages.replaced()
    stages.served(4)
    space.plane.cluster.start("node-b")
    space.nodes_ready(2)
    until(lambda: not lost & {each["metadata"]["uid"] for each in space.pods("shop")}, "the lost pods are gone", seconds=60)
    space.converged("shop", seconds=60)
    assert len([each for each in space.pods("shop") if live(each)]) == 4
    print(f"power cut: {stages}")


def test_a_node_is_cut_off_and_healed(space: RealSpace, operator: Operator) -> None:
    """Whoever cannot be reached is out of discovery; its successor serves; when the cable is back, each slot has one live instance at every moment."""
    space.create(service("shop", replicas=4))
    space.spread("shop")
    lost = {each["metadata"]["uid"] for each in space.on("shop", "node-b")}
    stages = Stages(space, "shop", lost)
    pods = Recorder(space.kube, "pods", space.name)
    try:
        stages.begin()
        space.plane.cluster.node("node-b").cut()
        stages.detected()
        stages.replaced()
        stages.served(4)
        space.plane.cluster.node("node-b").heal()
        space.nodes_ready(2)
        until(lambda: not lost & {each["metadata"]["uid"] for each in space.pods("shop")}, "the lost pods are gone", seconds=60)
        space.converged("shop", seconds=60)
        pods.settle()
    finally:
        pods.stop()
    made = [each for each in pods.changes if each.kind == "ADDED" and each.item["metadata"]["uid"] not in lost]
    slots = [each.item["metadata"]["labels"]["drover.dev/slot"] for each in made if each.version > pods.begin]
    assert sorted(slots) == sorted(set(slots)), f"a slot was filled twice: {slots}"
    print(f"partition: {stages}")


@pytest.mark.parametrize("program", ["kubelet", "containerd"])
def test_a_program_of_a_node_is_gone(space: RealSpace, operator: Operator, load: Load, program: str) -> None:
    """The containers run on and answer, as far as the cable reaches: what is unknown is not dead, and what is replaced is replaced once."""
    space.create(service("shop", replicas=4))
    space.spread("shop")
    load.start("shop", node="node-a")
    node = space.plane.cluster.node("node-b")
    node.stop(program)
    load.more(12)
    node.cont(program)
    space.nodes_ready(2)
    space.converged("shop", seconds=90)
    seen = load.more(2)
    assert seen.failed == (), "\n".join(seen.failed)


def test_the_disk_of_a_node_is_full(space: RealSpace, operator: Operator, load: Load) -> None:
    """Its kubelet ends what runs there, pod by pod: each is replaced elsewhere, nothing of the evicted is left behind, and with room it is used again."""
    space.create(service("shop", replicas=4))
    space.spread("shop")
    lost = {each["metadata"]["uid"] for each in space.on("shop", "node-b")}
    node, stages = space.plane.cluster.node("node-b"), Stages(space, "shop", lost)
    try:
        stages.begin()
        node.fill()
        stages.detected()
        stages.replaced()
        stages.served(4)
        space.converged("shop", seconds=60)
        assert not space.on("shop", "node-b"), "nobody is left there, dead or alive"
    finally:
        node.free()
    space.nodes_ready(2)
    space.patch("shop", {"spec": {"replicas": 6}})
    space.converged("shop", seconds=60)
    assert space.on("shop", "node-b"), "a node with room is as good as any"
    print(f"disk full: {stages}")


def _ask(address: str, path: str) -> str:
    """A program that asks once and does not mind the answer."""
    return f"import urllib.request as r, contextlib\nwith contextlib.suppress(OSError, r.http.client.HTTPException): r.urlopen('http://{address}:8080{path}', timeout=3)"


def _instance(item: dict, name: str) -> dict:
    return next((each for each in item["status"]["instances"] if each["name"] == name), {})
