# SPDX-License-Identifier: Apache-2.0
"""The whole way on a real API server: scheduler without client limits, kwok for ten nodes, both sides with a Service in front.

Pods are ready and gone at once there, so that these are the costs of the control plane, not what people see with real images.
"""

from functools import cache

from bench.contest import Results, contest
from bench.floor import Floor, floor
from bench.plane import plane
from bench.rows import Figure, at_least, at_most, row
from bench.workloads import BUILT_IN, OURS

SERVICES, REPLICAS, ROUNDS = 100, 10, 3
PODS = SERVICES * REPLICAS


@cache
def _many() -> dict[str, Results]:
    with plane(nodes=True) as built:
        return contest(built, (BUILT_IN, OURS), services=SERVICES, replicas=REPLICAS, rounds=ROUNDS)


@cache
def _floor() -> Floor:
    with plane(nodes=True) as built:
        return floor(built, services=SERVICES, replicas=REPLICAS)


@row("pipeline.create", unit="pods/s", goal=at_least(1.2, of="ratio"))
def create() -> Figure:
    """Pods created, scheduled and serving, a second: 100 services of 10."""
    many = _many()
    return Figure(PODS / many[OURS.name].create_seconds(), PODS / many[BUILT_IN.name].create_seconds())


@row("pipeline.create.floor", unit="pods/s")
def create_floor() -> Figure:
    """The same by a loop that writes nothing but pods: no controller that makes them one by one is faster here."""
    return Figure(PODS / _floor().create, PODS / _many()[BUILT_IN.name].create_seconds())


@row("pipeline.roll", unit="pods/s", goal=at_least(1.5, of="ratio"))
def roll() -> Figure:
    """Pods replaced in rolling updates of all of them, a second; neither side drains."""
    many = _many()
    return Figure(PODS / many[OURS.name].change_seconds(), PODS / many[BUILT_IN.name].change_seconds())


@row("pipeline.roll.floor", unit="pods/s")
def roll_floor() -> Figure:
    """The same by a loop that writes nothing but pods."""
    return Figure(PODS / _floor().change, PODS / _many()[BUILT_IN.name].change_seconds())


@row("pipeline.cpu", unit="s", goal=at_most(0.5, of="ratio"))
def cpu() -> Figure:
    """CPU of the controller process for both."""
    many = _many()
    return Figure(many[OURS.name].cpu(), many[BUILT_IN.name].cpu())


@row("pipeline.memory", unit="MB", goal=at_most(0.6, of="ratio"))
def memory() -> Figure:
    """Most memory of the controller process."""
    many = _many()
    return Figure(many[OURS.name].peak(), many[BUILT_IN.name].peak())
