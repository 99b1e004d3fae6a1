# SPDX-License-Identifier: Apache-2.0
"""A new version replaces the one that serves: at no moment too few or too many, in discovery before the next leaves, and cheaply."""

from collections import Counter

import pytest
from api.harness.kube import Recorder
from api.harness.plane import WRITER
from api.harness.space import GATE, NEVER_READY, NO_ANNOTATIONS, REVISION, SLOT, Space, condition, history, image, is_true, live, replay, service, serving
from api.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")
MOST_WRITES = 48  # for 10 replicas, Events and leases not counted: the promise of bench and README


SLOW = {"metadata": {"annotations": {"drover.dev/simulate-ready-after": "400ms"}}}


def versions(space: Space, name: str) -> tuple[int, int]:
    """Live pods of image :1 and in discovery of image :2."""
    pods, named = space.pods(name), space.serving(name)
    images = [(pod["spec"]["containers"][0]["image"][-1], live(pod), pod["metadata"]["uid"] in named) for pod in pods]
    return sum(version == "1" and alive for version, alive, _ in images), sum(version == "2" and serves for version, _, serves in images)


def under_way(space: Space, name: str) -> None:
    """Wait until a part of version 2 serves, and some of 1 is still there."""
    until(lambda: all(versions(space, name)), "the update is under way", seen=lambda: versions(space, name))


def fewest_serving(pods: Recorder, slices: Recorder, name: str) -> int:
    """The smallest number of pods that discovery named and that were ready, from the first moment at which it was reached to the end."""
    lows: list[int] = []
    for _, (pods_now, slices_now) in replay(pods, slices):
        mine = [each for each in slices_now.values() if each["metadata"]["labels"].get("kubernetes.io/service-name") == name]
        named = serving(mine)
        lows.append(sum(1 for uid in named if uid in pods_now and is_true(pods_now[uid], "Ready")))
    return min(lows)


def most_live(pods: Recorder) -> int:
    """The largest number of pods that were not leaving at one time."""
    return max(sum(1 for pod in now.values() if live(pod)) for _, (now,) in replay(pods))


def test_rolling_update_of_ten(space: Space, capsys: pytest.CaptureFixture[str]) -> None:
    """10 replicas, surge 25% (3), unavailable 0: never fewer than 10 in discovery, never more than 13 live, and at most 48 writes."""
    space.create(service("shop", replicas=10, restart={"settle": "2s", "drainTimeout": "30s"}))
    old = space.converged("shop")["status"]["currentRevision"]
    mark = space.plane.audit.mark()
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        space.patch("shop", image("registry.example/app:2"))
        item = space.converged("shop", seconds=60)
        item = space.until("shop", lambda each: each["status"]["counts"]["draining"] == 0 and not each["status"]["plan"], "all is told")
        assert len(space.pods("shop")) == 10
        pods.settle(), slices.settle()

    assert fewest_serving(pods, slices, "shop") == 10
    assert most_live(pods) <= 13
    _in_discovery_before_the_next_leaves(pods, slices, old)
    assert history(item)[-2:] == [("Run", "Update"), ("Update", "Run")]
    assert item["status"]["version"] == "2" and {each["metadata"]["labels"][REVISION] for each in space.pods("shop")} == {item["status"]["currentRevision"]}

    own = [each for each in space.plane.audit.since(mark, space.name) if each.counted]
    by_kind = Counter(f"{each.verb} {each.resource}{' (dry run)' if each.dry else ''}" for each in own)
    with capsys.disabled():
        print(f"\nown writes of a rolling update of 10: {len(own)} {dict(by_kind)}")
    assert {each.user for each in own} == {WRITER}, "every write is made as the fenced user"
    assert len(own) <= MOST_WRITES, by_kind
    assert not [str(each) for each in own if each.code >= 400], "no write is refused: each one is made on what is there"


def _in_discovery_before_the_next_leaves(pods: Recorder, slices: Recorder, old: str) -> None:
    """Whenever an old one is taken out, as many new ones serve as old ones have left."""
    left: set[str] = set()
    for _, (now, slices_now) in replay(pods, slices):
        left |= {uid for uid, pod in now.items() if pod["metadata"]["labels"][REVISION] == old and condition(pod, GATE).get("status") == "False"}
        new = {uid for uid in serving(list(slices_now.values())) if uid in now and now[uid]["metadata"]["labels"][REVISION] != old}
        assert len(new) >= len(left), f"{len(left)} old ones have left when {len(new)} new ones were in discovery"


def test_an_old_pod_settles_before_it_ends(space: Space) -> None:
    """Out of discovery first, then at least `settle` for slow proxies, then deleted."""
    space.create(service("shop", replicas=1, restart={"settle": "2s", "drainTimeout": "30s"}))
    space.converged("shop")
    old = space.pods("shop")[0]["metadata"]["uid"]
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        space.patch("shop", image("registry.example/app:2"))
        until(lambda: old not in {each["metadata"]["uid"] for each in space.pods("shop")}, "the old pod has ended")
        pods.settle(), slices.settle()
    unlisted = next(
        change.at for change, (_, now) in replay(pods, slices) if old in _seen(pods, change.version) and now and old not in serving(list(now.values()))
    )
    ended = next(change.at for change in pods.changes if change.item["metadata"]["uid"] == old and change.item["metadata"].get("deletionTimestamp"))
    assert ended - unlisted >= 1.9, f"{ended - unlisted:.2f} s between leaving discovery and the end"


def _seen(pods: Recorder, version: int) -> set[str]:
    return {change.item["metadata"]["uid"] for change in pods.changes if change.version <= version}


def test_unavailable_instead_of_surge(space: Space) -> None:
    """maxSurge 0, maxUnavailable 1: never more than the replicas, never fewer than one less."""
    space.create(service("shop", replicas=3, rollout={"rolling": {"maxSurge": 0, "maxUnavailable": 1}}))
    space.converged("shop")
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        space.patch("shop", image("registry.example/app:2"))
        space.converged("shop")
        pods.settle(), slices.settle()
    assert most_live(pods) == 3
    assert fewest_serving(pods, slices, "shop") >= 2


def test_change_of_mind_in_mid_update(space: Space) -> None:
    """Version 3 while 2 rolls: straight to 3, no further pod of 2, and the service stays whole."""
    space.create(service("shop", replicas=4, rollout={"rolling": {"maxSurge": 1}}))
    space.converged("shop")
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        space.patch("shop", image("registry.example/app:2", **SLOW))
        under_way(space, "shop")
        changed = int(space.patch("shop", image("registry.example/app:3", **SLOW))["metadata"]["resourceVersion"])
        item = space.converged("shop")
        pods.settle(), slices.settle()
    assert item["status"]["version"] == "3"
    assert fewest_serving(pods, slices, "shop") >= 4
    assert most_live(pods) <= 5
    images = [change.item["spec"]["containers"][0]["image"][-1] for change in pods.changes if change.kind == "ADDED" and change.version > changed + 20]
    assert images.count("2") <= 1, "at most one pod of 2 was on its way when the mind changed"
    assert item["status"]["phase"] == "Run" and history(item)[-1] == ("Update", "Run")


def test_going_back_takes_up_the_old_revision(space: Space) -> None:
    """Version 1 again is revision 1 again: its record is used anew, not written twice."""
    space.create(service("shop", replicas=2))
    first = space.converged("shop")["status"]["currentRevision"]
    recorded = space.kube.get("controllerrevisions", space.name, first)["metadata"]["uid"]
    space.patch("shop", image("registry.example/app:2"))
    assert space.converged("shop")["status"]["currentRevision"] != first
    space.patch("shop", image("registry.example/app:1"))
    item = space.converged("shop")
    assert item["status"]["currentRevision"] == first and item["status"]["version"] == "1"
    assert len(space.revisions("shop")) == 2
    assert space.kube.get("controllerrevisions", space.name, first)["metadata"]["uid"] == recorded


def test_old_revisions_are_forgotten(space: Space) -> None:
    """revisionHistoryLimit: the oldest records go, those in use never."""
    space.create(service("shop", replicas=1, revisionHistoryLimit=1))
    for version in ("2", "3", "4"):
        space.converged("shop")
        space.patch("shop", image(f"registry.example/app:{version}"))
    current = space.converged("shop")["status"]["currentRevision"]
    until(
        lambda: len(space.revisions("shop")) == 2,
        "the present and one old revision are kept",
        seen=lambda: [each["metadata"]["name"] for each in space.revisions("shop")],
    )
    assert space.revisions("shop")[-1]["metadata"]["name"] == current
    assert [each["metadata"]["annotations"]["drover.dev/version"] for each in space.revisions("shop")] == ["3", "4"]


def test_a_pin_goes_back_and_holds(space: Space) -> None:
    """spec.pin: back to a recorded revision through phase Rollback, and new templates wait until it is removed."""
    space.create(service("shop", replicas=2))
    first = space.converged("shop")["status"]["currentRevision"]
    space.patch("shop", image("registry.example/app:2"))
    space.converged("shop")
    space.patch("shop", {"spec": {"pin": {"revision": first}}})
    item = space.converged("shop")
    assert item["status"]["currentRevision"] == first and history(item)[-2:] == [("Run", "Rollback"), ("Rollback", "Run")]
    space.patch("shop", image("registry.example/app:3"))
    space.until("shop", lambda each: each["status"]["observedGeneration"] == each["metadata"]["generation"], "the new template is seen")
    assert space.get("shop")["status"]["targetRevision"] == first
    space.patch("shop", {"spec": {"pin": None}})
    assert space.converged("shop")["status"]["version"] == "3"
    space.patch("shop", {"spec": {"pin": {"revision": "shop-nosuch"}}})
    item = space.stalled("shop", "PinNotFound")
    assert "shop-nosuch" in condition(item, "Stalled")["message"] and item["status"]["ready"] == "2/2"


def test_pause_freezes_the_rollout_and_nothing_else(space: Space) -> None:
    """Paused in mid-update: the mix stays, lost pods come back, scaling goes on; resumed, it ends at the new version."""
    space.create(service("shop", replicas=3, rollout={"rolling": {"maxSurge": 1}}, annotations={"drover.dev/simulate-ready-after": "500ms"}))
    space.converged("shop")
    space.patch("shop", image("registry.example/app:2"))
    under_way(space, "shop")
    space.patch("shop", {"spec": {"paused": True}})

    def mix() -> tuple[int, int]:
        images = [pod["spec"]["containers"][0]["image"][-1] for pod in space.pods("shop") if live(pod)]
        return images.count("1"), images.count("2")

    space.until("shop", lambda item: item["status"]["rollout"].get("paused") and len(space.serving("shop")) == 3 and sum(mix()) == 3, "the mix is at rest")
    held = mix()
    assert held[0] >= 1 and held[1] >= 1
    space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=4")
    until(lambda: mix() == (held[0] + 1, held[1]), "scaling goes to the version that serves", seen=mix)
    victim = next(pod["metadata"]["name"] for pod in space.pods("shop") if pod["spec"]["containers"][0]["image"][-1] == "1")
    space.kube.delete("pods", space.name, victim)
    until(lambda: mix() == (held[0] + 1, held[1]) and len(space.serving("shop")) == 4, "the lost pod is replaced at its version", seen=mix)
    item = space.get("shop")
    assert item["status"]["phase"] == "Update" and condition(item, "Progressing")["reason"] == "Paused"
    space.patch("shop", {"spec": {"paused": False}})
    assert space.converged("shop")["status"]["version"] == "2"


def test_a_revision_that_never_becomes_ready_is_rolled_back(space: Space) -> None:
    """Progress deadline: back to the last good revision; never below budget; blocked until the spec changes; then a good one works."""
    space.create(service("shop", replicas=3, rollout={"progressDeadline": "10s", "rolling": {"maxSurge": 1}}))
    good = space.converged("shop")["status"]["currentRevision"]
    first = {pod["metadata"]["uid"] for pod in space.pods("shop")}
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        space.patch("shop", image("registry.example/app:2", **NEVER_READY))
        item = space.until("shop", lambda each: history(each)[-2:] == [("Update", "Rollback"), ("Rollback", "Run")], "rolled back", seconds=30)
        item = space.stalled("shop", "RolledBack")
        bad = item["status"]["rollout"]["blockedRevision"]
        pods.settle(), slices.settle()
    assert fewest_serving(pods, slices, "shop") == 3 and most_live(pods) <= 4
    assert first == {pod["metadata"]["uid"] for pod in space.pods("shop") if live(pod)}, "what served was never touched"
    assert bad and bad != good and item["status"]["currentRevision"] == good
    assert item["status"]["history"][-2]["cause"] == "unexpected"
    assert f"'{bad}' made no progress in 10s" in condition(item, "Stalled")["message"]

    mark = len(pods.changes)
    space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=2")
    space.until("shop", lambda each: each["status"]["replicas"] == 2 and each["status"]["ready"] == "2/2", "scaling goes on")
    pods_now = space.pods("shop")
    assert {pod["metadata"]["labels"][REVISION] for pod in pods_now} == {good}, "scaling does not try the blocked revision again"
    assert mark and is_true(space.get("shop"), "Stalled")

    space.patch("shop", image("registry.example/app:3", **NO_ANNOTATIONS))
    item = space.converged("shop")
    assert item["status"]["version"] == "3" and not is_true(item, "Stalled")


def test_slots_are_named_once(space: Space) -> None:
    """Live pods of one revision fill different slots, and slots stay small numbers."""
    space.create(service("shop", replicas=5))
    space.converged("shop")
    assert sorted(int(pod["metadata"]["labels"][SLOT]) for pod in space.pods("shop")) == [0, 1, 2, 3, 4]
