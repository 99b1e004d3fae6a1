# SPDX-License-Identifier: Apache-2.0
"""The fence under attack, with one API server and with three: what a deposed leader can still do (nothing), and who suffers from it (nobody).

The judge is the audit log of each API server, and the store; the attackers' own books must agree with it.
"""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from api.conftest import Crew
from api.harness import judge
from api.harness.kube import Body, Kube, Recorder, Refused, path
from api.harness.operators import Operator
from api.harness.plane import LEASE, SYSTEM, WRITER, Plane
from api.harness.plane import plane as brought_up
from api.harness.program import START, Program
from api.harness.space import Space, image, service
from api.harness.waiting import until
from api.harness.zombie import SPEC, proof

MOST_LAG = 1.0  # seconds that an API server may go on believing in the leader before
LATE = 5000  # writes of the deposed leader after it is thawed, on each control plane
LEASE_SECONDS = (3.0, 2.0, 0.5)
FLEETS = pytest.mark.parametrize("fleet", ["one", "three"], indirect=True)


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    """A control plane with three API servers behind one address, and its operators."""
    with brought_up(tmp_path_factory.mktemp("wide"), prefix="test-fence-", api_servers=3) as found:
        crew = Crew(found)
        try:
            yield crew
        finally:
            for each in crew.running:
                each.kill()


@pytest.fixture
def fleet(request: pytest.FixtureRequest) -> Iterator[Crew]:
    """The operators of a control plane with one API server or with three; none runs at first."""
    crew = request.getfixturevalue("alone" if request.param == "one" else "wide")
    crew.stop()
    yield crew
    crew.stop()


@pytest.fixture
def room(fleet: Crew, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace of the test's own on that control plane."""
    name = f"fence-{request.node.originalname.removeprefix('test_').replace('_', '-')}"[:50].strip("-")
    kube = fleet.plane.kube
    kube.call("post", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    until(lambda: kube.find("serviceaccounts", name, "default"), "the namespace has its account")
    yield Space(fleet.plane, name)
    kube.call("delete", f"/api/v1/namespaces/{name}")


@pytest.fixture
def programs(fleet: Crew) -> Iterator[list[Program]]:
    """Programs that a test starts; none is left behind."""
    started: list[Program] = []
    yield started
    for each in started:
        each.kill()


def lease(plane: Plane) -> Body:
    return dict(plane.kube.get("leases", SYSTEM, LEASE)["spec"])


def to_server(kubeconfig: Path, number: str, url: str) -> Kube:
    """Those credentials, past the common address to one server."""
    known = yaml.safe_load(kubeconfig.read_text())
    file = kubeconfig.with_name(f"{kubeconfig.stem}-{number}.kubeconfig")
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump({**known, "clusters": [{**each, "cluster": {**each["cluster"], "server": url}} for each in known["clusters"]]}))
    return Kube(file)


def fenced(room: Space) -> None:
    """Wait until every server refuses a write that proves nothing: what comes then is judged."""
    for number, url in judge.routes(room.plane).items():
        kube = to_server(room.plane.operator_kubeconfig, number, url)

        def refused(kube: Kube = kube) -> bool:
            try:
                kube.call("post", path("pods", room.name), _pod("probe"), query={"dryRun": "All"}, headers=proof("none", "nobody"))
            except Refused as error:
                return "drover-fence-" in str(error)
            return False

        until(refused, f"server {number} refuses a write without an epoch", seconds=20)
        kube.close()


def _pod(name: str) -> Body:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"drover.dev/service": "nobody"}}, "spec": SPEC}


def prey(room: Space, name: str, count: int) -> list[Body]:
    """Pods that carry the label of a service that is not there, so that the fence looks at them and nobody else does."""
    return [target(room.kube.create("pods", room.name, _pod(f"{name}-{number}"))) for number in range(count)]


def target(item: Body) -> Body:
    meta = item["metadata"]
    return {"name": meta["name"], "uid": meta["uid"], "version": meta["resourceVersion"]}


def ready(*operators: Operator) -> None:
    """Wait until they compete for the Lease: the first look at it comes before the caches are filled."""
    for each in operators:
        until(lambda each=each: each.said("started") and each.metrics(), "the operator has started", seen=each.tail)


def taken(leases: Recorder, after: int, *, seconds: float = 20.0) -> Any:
    """The change with which a later epoch began."""

    def look() -> Any:
        return next((each for each in leases.changes if each.item["metadata"]["name"] == LEASE and each.item["spec"]["leaseTransitions"] > after), None)

    return until(look, f"an epoch after {after} begins", seconds=seconds, seen=lambda: [each.item["spec"] for each in leases.changes][-3:])


@FLEETS
def test_a_thawed_leader_leaves_nothing_behind(fleet: Crew, room: Space, programs: list[Program]) -> None:
    """A leader is frozen past its lease in the middle of writing, and when it is thawed it makes 5,000 late writes: 0 have an effect.

    Another operator leads by then and rolls a service out under it. What each server goes on accepting after the take-over is measured with
    a third process, which has the same proof and is never frozen: less than 1 s, and nothing once a server has refused.
    """
    plane = room.plane
    fleet.one()
    room.create(service("shop", replicas=4))
    room.create(service("quiet", replicas=0))
    room.converged("shop")
    room.phase("quiet", "Run")
    fenced(room)
    fleet.stop()
    began = judge.mark(plane)
    routes = judge.routes(plane)
    ours = {name: prey(room, name, 16) for name in ("own", "doomed", "bare")}
    held = {route: prey(room, f"held-{route}", 9) for route in routes}
    beside = {number: prey(room, f"beside-{number}", 1) for number in routes if number != "relay"}
    with plane.kube.watch("leases", SYSTEM) as leases, plane.kube.watch("pods", room.name) as pods, plane.kube.watch("managedservices", room.name) as services:
        zombie = Program(
            plane,
            "api.harness.zombie",
            {
                "role": "leader",
                "agent": "zombie",
                "holder": "zombie",
                "lease": LEASE_SECONDS,
                "warm": 500,
                "attempts": LATE,
                "kubeconfig": str(plane.operator_kubeconfig),
                "namespace": room.name,
                "routes": routes,
                **ours,
                "held": held,
                "bare": ours["bare"] + [target(each) for each in room.pods("shop")],
                "services": [target(room.get("quiet"))],
                "served": [target(room.get("shop"))],
            },
        )
        programs.append(zombie)
        old = zombie.until("leading")["epoch"]
        successor = fleet.start()
        ready(successor)
        double = Program(
            plane,
            "api.harness.zombie",
            {
                "role": "double",
                "agent": "double",
                "holder": "zombie",
                "epoch": old,
                "sorts": ["status bare"],
                "pause": 0.01,
                "refusals": 100,
                "kubeconfig": str(plane.operator_kubeconfig),
                "namespace": room.name,
                "bare": [each for some in beside.values() for each in some],
                "routes": {number: url for number, url in routes.items() if number != "relay"},
            },
        )
        programs.append(double)
        double.until("writing")
        zombie.signal(START)
        zombie.until("writing")
        zombie.freeze()
        over = taken(leases, old)
        zombie.thaw()
        begun = time.monotonic()
        version = 1
        while zombie.running:
            version += 1
            room.patch("shop", image(f"registry.example/app:{version}"))
            room.until("shop", lambda item, wanted=str(version): item["status"].get("version") == wanted, f"version {version} is everywhere")
        wrote, doubled = zombie.done(), double.done()
        print(f"\n{version - 1} rollouts and {LATE} late writes in {time.monotonic() - begun:.1f} s")
        room.converged("shop")
        left = pods.settle().changes + services.settle().changes

    seen = [each for each in judge.since(plane, began) if each.namespace in (room.name, SYSTEM)]
    end = judge.take_over(seen, old + 1)
    by_zombie = [each for each in seen if each.user == WRITER and each.agent == "zombie"]
    late = [each for each in by_zombie if each.received > end.answered]
    assert zombie.said("lost"), "an operator would have ended itself"
    print("late writes of the deposed leader, by kind:", judge.tally((each.kind, each.outcome) for each in late), sep="\n")
    print("the same by server:", judge.tally((f"server {each.server}", each.outcome) for each in late), sep="\n")
    assert len(late) >= LATE
    assert Counter((each["kind"], each["outcome"]) for each in wrote) == Counter((each.kind, each.outcome) for each in by_zombie), "its own books"
    old_ones = [each for each in seen if (each.user, each.epoch, each.holder) == (WRITER, str(old), "zombie")]
    lags = [judge.lag(number, old_ones, end.answered) for number in judge.logs(plane)]
    for each in lags:
        print(each)
    assert [str(some) for each in lags for some in each.relapses] == [], "accepted by a server that had refused before"
    assert max(each.done for each in lags) < MOST_LAG
    assert [str(each) for each in late if each.accepted] == []
    assert [str(each) for each in judge.effects(left, over.version, ["zombie"])] == []
    behind = judge.effects(left, over.version, ["double"])
    print(f"effects of the old epoch within the lag: {len(behind)}, all of the one that was never frozen")
    assert len(behind) <= sum(each.agent == "double" and each.accepted and each.answered > end.received for each in old_ones)
    there = {each["metadata"]["uid"]: each["metadata"] for each in room.kube.list("pods", room.name)}
    assert [
        one["name"] for some in (*ours.values(), *held.values()) for one in some if "deletionTimestamp" in there.get(one["uid"], {"deletionTimestamp": ""})
    ] == []
    assert len(doubled) > 200 * len(lags) / 2
