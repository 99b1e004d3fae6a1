# SPDX-License-Identifier: Apache-2.0
"""What breaks in a cluster, broken for real: processes, images, nodes, networks, the API server, the datastore."""

import time

import pytest
from api.conftest import Crew
from api.harness.kube import Recorder
from api.harness.operators import Operator
from api.harness.space import condition, is_true, live
from api.harness.waiting import until
from real.harness.load import Load
from real.harness.space import RealSpace, service
from real.harness.stages import Stages

OFF = 60.0  # seconds that the API server is away
DEPOSED = 3  # exit code
RECONNECT = 120.0  # seconds; client-go waits up to twice 30 s between two attempts, and discovery's controllers are made with it


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
    """Its program ends at once, again and again: after the deadline the old version is whole again, and no request failed."""
    space.create(service("shop", replicas=3, rollout={"progressDeadline": "20s"}))
    good = space.converged("shop", seconds=60)["status"]["currentRevision"]
    load.start("shop")
    space.version("shop", "broken")
    item = space.until("shop", lambda item: item["status"]["rollout"].get("blockedRevision"), "the bad revision is blocked", seconds=90)
    assert is_true(item, "Degraded") or condition(item, "Progressing").get("status") == "False"
    until(lambda: {each["metadata"]["labels"]["drover.dev/revision"] for each in space.pods("shop")} == {good}, "the old revision serves alone", seconds=60)
    seen = load.more(2)
    assert seen.versions() == {"1.0"}
    assert seen.failed == (), seen.failed[:5]


def test_a_node_loses_power_and_comes_back(space: RealSpace, operator: Operator) -> None:
    """Its instances are replaced on the other node; when it is back nothing runs twice."""
    space.create(service("shop", replicas=4))
    space.converged("shop", seconds=60)
    lost = {each["metadata"]["uid"] for each in space.on("shop", "node-b")}
    assert lost, "the test needs an instance there"
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
    space.converged("shop", seconds=60)
    lost = {each["metadata"]["uid"] for each in space.on("shop", "node-b")}
    assert lost, "the test needs an instance there"
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


def test_the_api_server_is_away_for_a_minute(space: RealSpace, crew: Crew, load: Load) -> None:
    """Services serve on; the operator ends when its lease runs out, and the next one does nothing on what it remembers: it looks first."""
    operator = crew.one()
    space.create(service("shop", replicas=3))
    before = {each["metadata"]["uid"] for each in space.pods("shop")} if space.converged("shop", seconds=60) else set()
    load.start("shop")
    space.plane.cluster.stop("kube-apiserver", kill=True)
    time.sleep(OFF)
    assert operator.process.wait(5) == DEPOSED, "who cannot renew must not go on"
    space.plane.cluster.start("kube-apiserver")
    crew.one()
    space.converged("shop", seconds=60)
    assert {each["metadata"]["uid"] for each in space.pods("shop")} == before, "nobody was replaced for it"
    space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=4")
    space.converged("shop", seconds=RECONNECT)
    assert load.more(2).failed == ()


def test_the_datastore_is_away_for_a_while(space: RealSpace, crew: Crew, load: Load) -> None:
    """The API server answers, and can store nothing: the same, by another way to fail."""
    operator = crew.one()
    space.create(service("shop", replicas=3))
    space.converged("shop", seconds=60)
    before = {each["metadata"]["uid"] for each in space.pods("shop")}
    load.start("shop")
    space.plane.cluster.stop("etcd", kill=True)
    time.sleep(OFF / 3)
    assert operator.process.wait(5) == DEPOSED
    space.plane.cluster.start("etcd")
    crew.one()
    space.converged("shop", seconds=60)
    assert {each["metadata"]["uid"] for each in space.pods("shop")} == before
    space.version("shop", "1.1")
    assert space.converged("shop", seconds=120)["status"]["version"] == "1.1"
    assert load.more(2).failed == ()


@pytest.mark.parametrize("program", ["kubelet", "containerd"])
def test_a_program_of_a_node_is_gone(space: RealSpace, operator: Operator, load: Load, program: str) -> None:
    """The containers run on and answer, as far as the cable reaches: what is unknown is not dead, and what is replaced is replaced once."""
    space.create(service("shop", replicas=4))
    space.converged("shop", seconds=60)
    load.start("shop", node="node-a")
    node = space.plane.cluster.node("node-b")
    node.stop(program)
    load.more(12)
    node.cont(program)
    space.nodes_ready(2)
    space.converged("shop", seconds=90)
    seen = load.more(2)
    assert seen.failed == (), seen.failed[:5]


def _ask(address: str, path: str) -> str:
    """A program that asks once and does not mind the answer."""
    return f"import urllib.request as r, contextlib\nwith contextlib.suppress(OSError, r.http.client.HTTPException): r.urlopen('http://{address}:8080{path}', timeout=3)"


def _instance(item: dict, name: str) -> dict:
    return next((each for each in item["status"]["instances"] if each["name"] == name), {})
