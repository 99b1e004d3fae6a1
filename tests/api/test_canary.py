# SPDX-License-Identifier: Apache-2.0
"""A canary on a real API server: its share at every moment, by the watch logs of pods and discovery."""

from fractions import Fraction
from typing import Any

import pytest
from api.conftest import Crew
from api.harness.kube import Recorder
from api.harness.operators import Operator
from api.harness.space import REVISION, Space, image, replay, service, serving

ROLLOUT = {"type": "Canary", "canary": {"steps": [{"weight": 20}, {"weight": 40, "hold": "2s"}, {"pause": {}}, {"weight": 60}]}}
MOST = [Fraction(20, 100), Fraction(40, 100), Fraction(40, 100), Fraction(60, 100), Fraction(1)]  # after so many steps
PROMOTED, ABORTED = "drover.dev/promoted", "drover.dev/aborted"


def note(space: Space, key: str, value: str | None) -> None:
    space.patch("shop", {"metadata": {"annotations": {key: value}}})


def promote(space: Space, steps: int) -> None:
    """What `kubectl drover promote` writes."""
    rollout = space.get("shop")["status"]["rollout"]
    note(space, PROMOTED, f"{rollout['target']}/{steps}/{rollout['begunAt']}")


def at_the_pause(space: Space) -> dict[str, Any]:
    item = space.until("shop", lambda item: item["status"].get("summary") == "WaitsForPromotion", "the pause", seconds=40)
    return dict(item["status"])


def shares(pods: Recorder, slices: Recorder, services: Recorder, revision: str) -> list[tuple[Fraction, int]]:
    """The share of a revision in discovery at every moment, and how many steps were passed by then; the total is at least the replicas."""
    found: list[tuple[Fraction, int]] = []
    for change, (now, slices_now, services_now) in replay(pods, slices, services):
        status = next(iter(services_now.values()), {}).get("status", {})
        listed = [now[uid]["metadata"]["labels"][REVISION] for uid in serving(list(slices_now.values())) if uid in now]
        if not listed:
            continue
        assert len(listed) >= 10, f"version {change.version}: only {len(listed)} in discovery"
        row = (Fraction(listed.count(revision), len(listed)), status.get("rollout", {}).get("step", 0))
        if not found or found[-1] != row:
            found.append(row)
    return found


def test_step_by_step_to_the_end(space: Space, operator: Operator) -> None:
    """20 %, 40 %, a pause, 60 %, all: never more than the step says, never fewer than ten in discovery, and the pause lasts until the word comes."""
    space.create(service("shop", replicas=10, rollout=ROLLOUT))
    space.converged("shop")
    with (
        space.kube.watch("pods", space.name) as pods,
        space.kube.watch("endpointslices", space.name) as slices,
        space.kube.watch("managedservices", space.name) as services,
    ):
        space.patch("shop", image("registry.example/app:2"))
        status = at_the_pause(space)
        assert (status["rollout"]["step"], status["rollout"]["steps"]) == (2, 4)
        assert status["rollout"]["weight"] == {"wanted": 40, "actual": 40}
        target = status["rollout"]["target"]
        promote(space, 3)
        space.converged("shop", seconds=60)
        pods.settle(), slices.settle(), services.settle()
    found = shares(pods, slices, services, target)
    print([(f"{float(share):.0%}", step) for share, step in found])
    assert [(float(share), step) for share, step in found if share > MOST[step]] == []
    assert [share for share, _ in found] == sorted(share for share, _ in found)


def test_an_abort_by_hand_and_another_try(space: Space, operator: Operator) -> None:
    """From the pause back to all old, with ten in discovery at every moment; then the word is taken back."""
    space.create(service("shop", replicas=10, rollout=ROLLOUT))
    good = space.converged("shop")["status"]["currentRevision"]
    space.patch("shop", image("registry.example/app:2"))
    target = at_the_pause(space)["rollout"]["target"]
    with (
        space.kube.watch("pods", space.name) as pods,
        space.kube.watch("endpointslices", space.name) as slices,
        space.kube.watch("managedservices", space.name) as services,
    ):
        note(space, ABORTED, target)
        item = space.until("shop", lambda item: (item["status"]["summary"], item["status"]["phase"]) == ("Aborted", "Run"), "it is back", seconds=40)
        pods.settle(), slices.settle(), services.settle()
    assert (item["status"]["currentRevision"], item["status"]["ready"]) == (good, "10/10")
    down = [share for share, _ in shares(pods, slices, services, target)]
    assert down == sorted(down, reverse=True)
    note(space, ABORTED, None)
    assert at_the_pause(space)["rollout"]["target"] == target


@pytest.mark.parametrize("after", [3, 9])
def test_an_operator_killed_between_two_steps(space: Space, alone: Crew, after: int) -> None:
    """Another one goes on at the step where the first one was."""
    first = alone.one()
    space.create(service("shop", replicas=5, rollout=ROLLOUT))
    space.converged("shop")
    with space.kube.watch("pods", space.name) as pods:
        begin = len(pods.changes)
        space.patch("shop", image("registry.example/app:2"))
        space.until("shop", lambda _: len(pods.changes) - begin >= after, "the rollout is under way")
        first.kill()
        alone.start()
        status = at_the_pause(space)
    assert status["rollout"]["weight"]["actual"] == 40
    promote(space, 4)
    space.converged("shop", seconds=40)
