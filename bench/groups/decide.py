# SPDX-License-Identifier: Apache-2.0
"""What a pass costs before anything is sent: gather, decide and report, by the number of instances and by what is going on."""

from functools import cache, partial

from bench import passes
from bench.measure import microseconds, percentile
from bench.passes import Pass
from bench.rows import Figure, at_most, row
from drover_controllers.service import CONTROLLER

BUDGET = 200.0  # us for a service of 20 instances


def _decisions(recorded: tuple[Pass, ...]) -> list[float]:
    return microseconds([partial(CONTROLLER.decide, each.facts) for each in recorded])


@cache
def _quiet(instances: int) -> list[float]:
    return _decisions(passes.quiet(instances))


@cache
def _rolling(instances: int) -> list[float]:
    return _decisions(passes.rolling(instances))


def _median(microseconds: list[float]) -> float:
    return percentile(microseconds, 0.5)


@row("decide.quiet.20.p50", unit="us")
def quiet_median() -> Figure:
    """decide() for a service of 20 instances that nothing happens to."""
    return Figure(_median(_quiet(20)))


@row("decide.quiet.20.p99", unit="us", goal=at_most(BUDGET))
def quiet_slowest() -> Figure:
    """The same, the slowest but one in a hundred."""
    return Figure(percentile(_quiet(20), 0.99))


@row("decide.rollout.20.p50", unit="us")
def rollout_median() -> Figure:
    """decide() in all passes of a rolling update of 20 instances, up to 40 pods with those that are leaving."""
    return Figure(_median(_rolling(20)))


@row("decide.rollout.20.p99", unit="us", goal=at_most(BUDGET))
def rollout_slowest() -> Figure:
    """The same, the slowest but one in a hundred: passes that create and retire."""
    return Figure(percentile(_rolling(20), 0.99))


@row("decide.quiet.100", unit="us", goal=at_most(1.3, "ratio"))
def quiet_hundred() -> Figure:
    """decide() for 100 quiet instances, against five times that for 20."""
    return Figure(_median(_quiet(100)), 5 * _median(_quiet(20)))


@row("decide.quiet.1000", unit="us", goal=at_most(1.5, "ratio"))
def quiet_thousand() -> Figure:
    """decide() for 1,000 quiet instances, against ten times that for 100."""
    return Figure(_median(_quiet(1000)), 10 * _median(_quiet(100)))


@row("decide.rollout.100", unit="us", goal=at_most(1.3, "ratio"))
def rollout_hundred() -> Figure:
    """decide() in a rolling update of 100 instances, against five times that of 20."""
    return Figure(_median(_rolling(100)), 5 * _median(_rolling(20)))


@row("decide.rollout.1000", unit="us", goal=at_most(1.5, "ratio"))
def rollout_thousand() -> Figure:
    """decide() in a rolling update of 1,000 instances, against ten times that of 100."""
    return Figure(_median(_rolling(1000)), 10 * _median(_rolling(100)))


@row("decide.gather.20", unit="us")
def gathering() -> Figure:
    """gather() for 20 quiet instances: what a pass reads from the caches."""
    return Figure(_median(microseconds([partial(CONTROLLER.gather, each.item, each.view) for each in passes.quiet(20)])))


@row("decide.report.20", unit="us")
def reporting() -> Figure:
    """report() in all passes of a rolling update of 20 instances."""
    return Figure(_median(microseconds([partial(CONTROLLER.report, each.facts, each.plan) for each in passes.rolling(20)])))
