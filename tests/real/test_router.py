# SPDX-License-Identifier: Apache-2.0
"""The router by itself, without Drover: real requests through Contour and Envoy to real pods are split as an HTTPRoute says.

What the tests of canaries rest on: were this not so, they would measure the router.
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import pytest
from api.harness.kube import Body
from api.harness.plane import Plane
from api.harness.waiting import until
from real.harness.router import Answer, Router, accepted, likely, put_route
from real.harness.space import PROBE, RealSpace

from tools.cluster import router_lacks
from tools.cluster.router.laggard import laggard
from tools.images import SAMPLE

NAME, HOST = "router", "split.test"
VERSIONS = {"stable": "1.0", "candidate": "1.1"}
MANY = 1000  # requests
MARK = "x-configuration"
FLIPS = [(50, 50), (10, 90), (0, 100), (100, 0), (90, 10)] * 4


@dataclass
class Split:
    """Two versions behind one route. Each write of it has a number that answers carry, so that it is known by which one a request went."""

    space: RealSpace
    router: Router
    _number: Iterator[int] = field(default_factory=count)

    def weights(self, stable: int, candidate: int, *, canary: str = "") -> str:
        """Write the route; a request with the header `x-canary` of that value goes to the candidate. Return its mark."""
        mark = f"{next(self._number)}"
        filters = [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": MARK, "value": mark}]}}]
        rules: list[Body] = [{"backendRefs": [_to("stable", stable), _to("candidate", candidate)], "filters": filters}]
        if canary:
            match = {"headers": [{"name": "x-canary", "value": canary}]}
            rules.append({"matches": [match], "backendRefs": [_to("candidate", 1)], "filters": filters})
        put_route(self.space.kube, NAME, "split", HOST, rules)
        return mark

    def settle(self, stable: int, candidate: int, *, canary: str = "") -> None:
        """Write the route, and wait until requests go by it."""
        mark = self.weights(stable, candidate, canary=canary)
        accepted(self.space.kube, NAME, "split")
        self.meet(mark)

    def meet(self, mark: str) -> Answer:
        """Wait until requests go by what was written with this mark."""
        return self.router.until(lambda answer: answer.headers.get(MARK) == mark, f"requests go by configuration {mark}", seconds=20)


def _to(name: str, weight: int) -> Body:
    return {"name": name, "port": 80, "weight": weight}


def _deployment(name: str, version: str) -> Body:
    labels = {"app": name}
    container = {"name": "server", "image": f"{SAMPLE}:{version}", "ports": [{"containerPort": 8080}], "readinessProbe": PROBE}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def _service(name: str) -> Body:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def split(plane: Plane) -> Iterator[Split]:
    """Two instances of each version, in a namespace of this file's own."""
    if lacks := router_lacks():
        pytest.skip(lacks[0])
    plane.kube.call("post", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}})
    space = RealSpace(plane, NAME)
    for name, version in VERSIONS.items():
        plane.kube.call("post", f"/apis/apps/v1/namespaces/{NAME}/deployments", _deployment(name, version))
        plane.kube.create("services", NAME, _service(name))
    for name in VERSIONS:
        until(lambda name=name: len(space.serving(name)) == 2, f"{name} serves", seconds=60)
    yield Split(space, Router(plane.cluster, HOST))
    plane.kube.call("delete", f"/api/v1/namespaces/{NAME}")


@pytest.mark.parametrize(("stable", "candidate"), [(90, 10), (50, 50)])
def test_weights_are_shares_of_the_requests(split: Split, stable: int, candidate: int) -> None:
    """Envoy draws lots, so that a share is met within what chance allows."""
    split.settle(stable, candidate)
    found = split.router.tally(MANY)
    assert set(found) == set(VERSIONS.values()), found
    assert likely(found["1.1"], MANY, candidate / (stable + candidate)), found
    print(f"{stable}/{candidate}: {dict(found)}")


@pytest.mark.parametrize(("stable", "candidate", "version"), [(100, 0, "1.0"), (0, 100, "1.1")])
def test_a_weight_of_nothing_is_no_request_at_all(split: Split, stable: int, candidate: int, version: str) -> None:
    split.settle(stable, candidate)
    assert split.router.tally(MANY // 2) == {version: MANY // 2}


def test_a_header_chooses_the_candidate(split: Split) -> None:
    """Whoever sends it gets the candidate, all others what the weights say; another value is not that value."""
    split.settle(100, 0, canary="yes")
    assert split.router.tally(100, headers={"x-canary": "yes"}) == {"1.1": 100}
    assert split.router.tally(100, headers={"x-canary": "no"}) == {"1.0": 100}
    assert split.router.tally(100) == {"1.0": 100}


def test_both_instances_of_a_version_are_asked(split: Split) -> None:
    """The router goes to pods, and to each of them."""
    split.settle(100, 0)
    pods = {split.router.get().pod for _ in range(40)}
    assert len(pods) == 2
    assert all(each.startswith("stable-") for each in pods)


def test_what_no_route_names_is_answered_by_the_router(split: Split) -> None:
    """A test that forgets its host name must not pass by chance."""
    split.settle(100, 0)
    answer = split.router.get(host="other.test")
    assert (answer.status, answer.version) == (404, "")


def test_accepted_is_not_every_proxy(split: Split) -> None:
    """While one of two proxies hears no news, half of the new connections go the old way, and every condition is True: whoever waits for
    conditions alone is deceived."""
    with laggard(split.space.plane.cluster) as second:
        split.settle(100, 0)
        until(lambda: answers(split) == {"1.0": 40}, "both have heard of it", seconds=20)
        second.hold()
        split.settle(0, 100)
        late = answers(split)
        second.release()
        until(lambda: answers(split) == {"1.1": 40}, "both have heard of that too", seconds=20)
    assert set(late) == {"1.0", "1.1"}, late


def answers(split: Split) -> Counter[str]:
    """Who answers on new connections, each of which may go by another proxy."""
    return Counter(split.router.get().label for _ in range(40))


def test_twenty_changes_of_weight_and_no_request_fails(split: Split) -> None:
    """Under a steady load, some of it slow, weights change as often as a canary's might in hours."""
    split.settle(90, 10)
    took: list[float] = []
    with split.router.steady() as load:
        for stable, candidate in FLIPS:
            begun = time.monotonic()
            split.meet(split.weights(stable, candidate))
            took.append(time.monotonic() - begun)
            load.seconds(0.3)
    assert load.failed == [], f"{len(load.failed)} of {load.answers.total() + len(load.failed)}: {load.failed[:5]}"
    assert set(load.answers) == set(VERSIONS.values()), load.answers
    print(f"{len(FLIPS)} changes, {load.answers.total()} requests, none failed; until requests go by it: {1000 * sorted(took)[10]:.0f} ms")
