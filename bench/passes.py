# SPDX-License-Identifier: Apache-2.0
"""What real passes decided by: recorded while the operator runs on the simulated cluster, to be decided again under the clock.

Rejected: facts made by hand. They would have the pods that we think of, and not those that are draining in the middle of a rollout.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from bench.simulated import converged, operated, service
from drover_controllers.service import CONTROLLER
from drover_operator.core.plan import Plan
from drover_operator.runtime.registry import View
from drover_operator.testing import SimulatedCluster, virtualtime

PODS_PER_NODE = 50  # a third more than there are instances fits, while they are replaced
LONGEST = 3600.0  # simulated seconds


@dataclass(frozen=True)
class Pass:
    """One pass, from what it read to what it planned. The view shows the caches as they were at the end of the run."""

    item: Any
    view: View
    facts: Any
    plan: Any


@cache
def quiet(instances: int) -> tuple[Pass, ...]:
    """The last pass of a service that has all it wants."""
    return _recorded(instances, _provisioned)[-1:]


@cache
def rolling(instances: int) -> tuple[Pass, ...]:
    """All passes of a rolling update, from the change of the image to its end."""
    return _recorded(instances, _updated)


Story = Callable[[SimulatedCluster, int, list[Pass]], Awaitable[None]]


def _recorded(instances: int, story: Story) -> tuple[Pass, ...]:
    passes: list[Pass] = []
    seen: list[tuple[Any, View]] = []

    def gather(item: Any, view: View) -> Any:
        seen.append((item, view))
        return CONTROLLER.gather(item, view)

    def decide(facts: Any) -> Plan:
        plan = CONTROLLER.decide(facts)
        passes.append(Pass(*seen[-1], facts, plan))
        return plan

    async def run() -> None:
        nodes = -(-instances // PODS_PER_NODE)
        async with operated(nodes=nodes, controller=replace(CONTROLLER, gather=gather, decide=decide)) as cluster:
            await story(cluster, instances, passes)

    virtualtime.run(run)
    return tuple(passes)


async def _provisioned(cluster: SimulatedCluster, instances: int, _passes: list[Pass]) -> None:
    cluster.apply(service(replicas=instances))
    await cluster.until(lambda: converged(cluster), LONGEST)


async def _updated(cluster: SimulatedCluster, instances: int, passes: list[Pass]) -> None:
    await _provisioned(cluster, instances, passes)
    passes.clear()
    cluster.apply(service(replicas=instances, image="app:2.0"))
    await cluster.until(lambda: converged(cluster), LONGEST)
