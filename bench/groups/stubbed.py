# SPDX-License-Identifier: Apache-2.0
"""Against the built-in Deployment controller on a real API server, nodes stubbed: what the controllers and their writes cost, and nothing else.

100 services of 10 pods, each with a Service in front, created at once and then given another image at once. The built-in controllers
run with client limits of 1000/2000 (not their default 20/30).
"""

from functools import cache

from bench.contest import Results, contest
from bench.floor import Floor, floor
from bench.plane import DEFAULT, plane
from bench.rows import Figure, at_least, at_most, row
from bench.workloads import BUILT_IN, OURS, OURS_CAREFUL

SERVICES, REPLICAS, ROUNDS = 100, 10, 3
PODS = SERVICES * REPLICAS
FEW = 20  # services against the default limits, where 100 would take five minutes


@cache
def _floor() -> Floor:
    with plane(nodes=False) as built:
        return floor(built, services=SERVICES, replicas=REPLICAS)


@cache
def _results() -> dict[str, Results]:
    with plane(nodes=False) as built:
        found = contest(built, (BUILT_IN, OURS), services=SERVICES, replicas=REPLICAS, rounds=ROUNDS)
        found |= contest(built, (OURS_CAREFUL,), services=SERVICES, replicas=REPLICAS, rounds=1)
        limited = contest(built, (BUILT_IN,), services=FEW, replicas=REPLICAS, rounds=1, limits=DEFAULT)
        few = contest(built, (OURS,), services=FEW, replicas=REPLICAS, rounds=1)
    return found | {"limited": limited[BUILT_IN.name], "few": few[OURS.name]}


@row("stubbed.create", unit="pods/s", goal=at_least(1.3, of="ratio"))
def create() -> Figure:
    """Pods created and serving, a second."""
    return Figure(PODS / _results()[OURS.name].create_seconds(), PODS / _results()[BUILT_IN.name].create_seconds())


@row("stubbed.create.floor", unit="pods/s")
def create_floor() -> Figure:
    """The same by a loop that writes nothing but pods: no controller that makes them one by one is faster here."""
    return Figure(PODS / _floor().create, PODS / _results()[BUILT_IN.name].create_seconds())


@row("stubbed.roll", unit="pods/s", goal=at_least(2.0, of="ratio"))
def roll() -> Figure:
    """Pods replaced in rolling updates, a second; neither side drains."""
    return Figure(PODS / _results()[OURS.name].change_seconds(), PODS / _results()[BUILT_IN.name].change_seconds())


@row("stubbed.roll.floor", unit="pods/s")
def roll_floor() -> Figure:
    """The same by a loop that writes nothing but pods."""
    return Figure(PODS / _floor().change, PODS / _results()[BUILT_IN.name].change_seconds())


@row("stubbed.roll.drained", unit="pods/s")
def roll_drained() -> Figure:
    """The same with our defaults: each pod leaves discovery and settles for 2 s before it ends, and nobody is missing meanwhile."""
    return Figure(PODS / _results()[OURS_CAREFUL.name].change_seconds(), PODS / _results()[BUILT_IN.name].change_seconds())


@row("stubbed.cpu", unit="s", goal=at_most(0.5, of="ratio"))
def cpu() -> Figure:
    """CPU of the controller process for both."""
    return Figure(_results()[OURS.name].cpu(), _results()[BUILT_IN.name].cpu())


@row("stubbed.memory", unit="MB", goal=at_most(0.6, of="ratio"))
def memory() -> Figure:
    """Most memory of the controller process."""
    return Figure(_results()[OURS.name].peak(), _results()[BUILT_IN.name].peak())


@row("stubbed.limits.create", unit="s", goal=at_most(1 / 6, of="ratio"))
def default_limits_create() -> Figure:
    """20 services of 10 created, against the built-in controllers with their default client limits."""
    return Figure(_results()["few"].create_seconds(), _results()["limited"].create_seconds())


@row("stubbed.limits.roll", unit="s", goal=at_most(1 / 6, of="ratio"))
def default_limits_roll() -> Figure:
    """20 services of 10 updated, against the same."""
    return Figure(_results()["few"].change_seconds(), _results()["limited"].change_seconds())
