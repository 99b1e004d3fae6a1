# SPDX-License-Identifier: Apache-2.0
"""Operator and API server killed in mid-update: nothing doubled, nothing lost, and it converges."""

from collections import Counter

import pytest
from api.conftest import Crew
from api.harness.kube import Recorder
from api.harness.space import REVISION, SLOT, Space, image, is_true, live, replay, service, serving
from api.harness.waiting import until


def check_nothing_doubled_or_lost(pods: Recorder, slices: Recorder, replicas: int, most: int) -> None:
    """Over all moments: no two live pods in one slot of one revision, never more than `most`, never fewer in discovery than wanted."""
    for change, (now, slices_now) in replay(pods, slices):
        places = Counter((pod["metadata"]["labels"][REVISION], pod["metadata"]["labels"][SLOT]) for pod in now.values() if live(pod))
        doubled = [place for place, count in places.items() if count > 1]
        assert not doubled, f"version {change.version}: doubled {doubled}"
        assert sum(places.values()) <= most, f"version {change.version}: {sum(places.values())} live pods"
        ready = {uid for uid in serving(list(slices_now.values())) if uid in now and is_true(now[uid], "Ready")}
        assert len(ready) >= replicas, f"version {change.version}: only {len(ready)} in discovery"
    names = [change.item["metadata"]["name"] for change in pods.changes if change.kind == "ADDED"]
    assert max(Counter(names).values()) == 1, "no name was used twice"


@pytest.mark.parametrize("after", [1, 9])
def test_operator_killed_in_mid_update(space: Space, alone: Crew, after: int) -> None:
    """SIGKILL when so many new pods have been made; another process goes on from what it finds."""
    first = alone.one()
    space.create(service("shop", replicas=6, rollout={"rolling": {"maxSurge": 2}}))
    space.converged("shop")
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        begin = len(pods.changes)
        space.patch("shop", image("registry.example/app:2", metadata={"annotations": {"drover.dev/simulate-ready-after": "200ms"}}))
        until(lambda: len(pods.changes) - begin >= after, "the update is under way")
        first.kill()
        second = alone.start()
        item = space.converged("shop", seconds=40)
        pods.settle(), slices.settle()
    assert item["status"]["version"] == "2" and second.running
    check_nothing_doubled_or_lost(pods, slices, 6, 8)


def test_operator_killed_while_it_creates(space: Space, alone: Crew) -> None:
    """SIGKILL between the first pods of a new service: the successor makes the others, and only these."""
    first = alone.one()
    with space.kube.watch("pods", space.name) as pods:
        space.create(service("shop", replicas=8))
        until(lambda: pods.changes, "a pod was made")
        first.kill()
        alone.start()
        space.converged("shop", seconds=40)
        pods.settle()
    places = [change.item["metadata"]["labels"][SLOT] for change in pods.changes if change.kind == "ADDED"]
    assert sorted(places) == [str(slot) for slot in range(8)]


def test_operator_killed_while_it_destroys(space: Space, alone: Crew) -> None:
    """SIGKILL in the middle of a deletion: the successor ends it."""
    first = alone.one()
    space.create(service("shop", replicas=3, restart={"settle": "2s", "drainTimeout": "10s"}))
    space.converged("shop")
    space.kube.delete("managedservices", space.name, "shop")
    space.until("shop", lambda item: item["status"]["phase"] == "Destroy", "phase Destroy")
    first.kill()
    alone.start()
    space.gone("shop", seconds=40)
    assert not space.pods("shop")


def test_api_server_killed_in_mid_update(space: Space, alone: Crew) -> None:
    """The API server dies with SIGKILL while a service rolls, and comes back: the operator goes on, or another one does.

    No namespace may be on its way out meanwhile: an API server that has just started does not know our kind for a moment, and the
    namespace controller then takes a namespace away under the services in it.
    """
    operator = alone.one()
    until(
        lambda: all(each["status"]["phase"] == "Active" for each in space.kube.call("get", "/api/v1/namespaces")["items"]),
        "earlier namespaces are gone",
        seconds=60,
    )
    space.create(service("shop", replicas=6, rollout={"rolling": {"maxSurge": 2}}))
    space.converged("shop")
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        begin = len(pods.changes)
        space.patch("shop", image("registry.example/app:2", metadata={"annotations": {"drover.dev/simulate-ready-after": "300ms"}}))
        until(lambda: len(pods.changes) - begin >= 4, "the update is under way")
        space.plane.kill_api_server()

        def led() -> bool:
            if not operator.running:
                assert operator.process.returncode == 3, "it gives up with the exit code that says: start me again"
                alone.one()
            return bool(alone.running)

        until(led, "an operator is there")
        until(lambda: led() and space.get("shop")["status"]["version"] == "2", "the update ends", seconds=60, seen=lambda: space.show("shop"))
        space.converged("shop", seconds=40)
        pods.settle(), slices.settle()
    check_nothing_doubled_or_lost(pods, slices, 6, 8)


def test_sigterm_gives_the_lease_back(space: Space, alone: Crew) -> None:
    """An orderly end: exit code 0, the lease is free at once, and the next one need not wait for it to run out."""
    first = alone.one()
    assert first.stop() == 0
    assert first.said("released") and not alone.running
    alone.start().leads(seconds=4)
    space.create(service("shop", replicas=1))
    space.converged("shop")
