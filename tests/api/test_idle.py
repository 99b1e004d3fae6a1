# SPDX-License-Identifier: Apache-2.0
"""Nothing to do is nothing done: services at rest cost the API server no write at all."""

import time

import pytest
from api.harness.operators import Operator
from api.harness.plane import ACCOUNT, LEASE
from api.harness.space import NEVER_READY, Space, condition, image, service
from api.harness.waiting import until

WINDOW = 60.0  # seconds


@pytest.mark.timeout(200, func_only=True)
def test_sixty_idle_seconds_write_nothing_but_the_lease(space: Space, operator: Operator) -> None:
    """Healthy, scaled to none, paused in mid-update, rolled back, failed for good, refused: none of them writes while nothing changes.

    Nor does it make passes without end, or log lines.
    """
    short = {"progressDeadline": "10s", "rolling": {"maxSurge": 1}}
    space.create(service("healthy", replicas=3))
    space.create(service("none", replicas=0))
    space.create(service("paused", replicas=2, rollout={"rolling": {"maxSurge": 1}}))
    space.create(service("back", replicas=1, rollout=short))
    space.create(service("hopeless", replicas=1, rollout=short, annotations={"drover.dev/simulate": "never-ready"}))
    space.create(service("refused", replicas=1))
    for name in ("healthy", "none", "paused", "back", "refused"):
        space.converged(name)
    space.patch("paused", {"spec": {"paused": True, **image("registry.example/app:2")["spec"]}})
    space.patch("back", image("registry.example/app:2", **NEVER_READY))
    space.patch("refused", {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "a:2", "resources": {"limits": {"memory": "lots"}}}]}}}})
    space.stalled("refused", "InvalidTemplate")
    space.until("paused", lambda item: condition(item, "Progressing").get("reason") == "Paused", "it is paused")
    space.stalled("back", "RolledBack")
    space.phase("hopeless", "Failed")

    def at_rest() -> bool:
        names = [each["metadata"]["name"] for each in space.kube.list("managedservices", space.name)]
        assert all(not [step for step in space.get(name)["status"]["plan"] if step["state"] == "Running"] for name in names)
        return time.time() - newest() > 5

    def newest() -> float:
        entries = [each for each in space.plane.audit.since(0, space.name) if each.writes]
        return max(each.at.timestamp() for each in entries)

    until(at_rest, "all of them come to rest", seconds=45, seen=lambda: [str(each) for each in space.plane.audit.since(0, space.name) if each.writes][-5:])

    mark, lines, passes = space.plane.audit.mark(), len(operator.log), _passes(operator)
    time.sleep(WINDOW)  # the one test whose subject is time
    wrote = [each for each in space.plane.audit.since(mark) if each.writes]
    leases = [each for each in wrote if each.resource == "leases"]
    assert [str(each) for each in wrote if each not in leases] == []
    assert {(each.name, each.user) for each in leases} == {(LEASE, ACCOUNT)} and len(leases) <= WINDOW / 0.5 + 1
    assert operator.log[lines:] == [], "no line for an idle pass"
    assert _passes(operator) - passes <= 12, "no pass without a cause: at most a few deadlines and looks at refusals"


def _passes(operator: Operator) -> float:
    return sum(value for name, value in operator.metrics().items() if name.startswith("controller_runtime_reconcile_total"))
