# SPDX-License-Identifier: Apache-2.0
"""Recreate on a real API server: by the watch log of its pods, two versions never ran at the same time."""

from typing import Any

from api.harness.operators import Operator
from api.harness.space import REVISION, Space, image, replay, service


def test_two_versions_never_run_at_the_same_time(space: Space, operator: Operator) -> None:
    """Forth with a new version, and back from one that never becomes ready: at every moment the pods that run are of one revision."""
    space.create(service("shop", replicas=4, rollout={"type": "Recreate", "progressDeadline": "10s"}))
    good = space.converged("shop")["status"]["currentRevision"]
    with space.kube.watch("pods", space.name) as pods:
        space.patch("shop", image("registry.example/app:2"))
        assert space.converged("shop", seconds=40)["status"]["version"] == "2"
        space.patch("shop", image("registry.example/app:3", metadata={"annotations": {"drover.dev/simulate": "never-ready"}}))
        item = space.until("shop", lambda item: (item["status"]["summary"], item["status"]["phase"]) == ("RolledBack", "Run"), "it is back", seconds=60)
        pods.settle()
    assert (item["status"]["version"], item["status"]["ready"]) == ("2", "4/4")
    assert good != item["status"]["currentRevision"]
    both = [sorted(found) for _, (now,) in replay(pods) if len(found := revisions(now)) > 1]
    assert both == []


def revisions(pods: dict[str, Any]) -> set[str]:
    """Of the pods that run, those that are ending among them."""
    return {each["metadata"]["labels"][REVISION] for each in pods.values() if each["status"].get("phase") == "Running"}
