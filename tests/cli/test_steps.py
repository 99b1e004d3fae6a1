# SPDX-License-Identifier: Apache-2.0
"""How a rollout with steps is told: all its steps with the present one marked, the share, and what it waits for."""

from datetime import timedelta
from typing import Any

import pytest
from cli.samples import NOW, PLAIN, service

from drover_operator.cli.steps import steps
from drover_operator.cli.tree import tree

STEPS = [{"weight": 20}, {"weight": 40, "hold": "5m"}, {"pause": {}}]


def at(step: int, *, wanted: int, actual: int, reached: float | None = None, target: str = "web-new") -> Any:
    """A canary after so many steps; `reached` is how many seconds ago the present one was."""
    since = None if reached is None else (NOW - timedelta(seconds=reached)).isoformat().replace("+00:00", "Z")
    memory = {"target": target, "stable": "web-old", "step": step, "steps": 3, "reachedAt": since, "weight": {"wanted": wanted, "actual": actual}}
    return service("web", phase="Update", spec={"rollout": {"type": "Canary", "canary": {"steps": STEPS}}}, rollout=memory)


ROWS = [
    ("on the way", at(0, wanted=20, actual=0), "[20%], 40% for 5m, pause, all", "20% wanted, 0% in service; on the way"),
    ("held", at(1, wanted=40, actual=36, reached=60), "20%, [40% for 5m], pause, all", "40% wanted, 36% in service; held for 4m more"),
    (
        "a hold that is over, not seen yet",
        at(1, wanted=40, actual=40, reached=900),
        "20%, [40% for 5m], pause, all",
        "40% wanted, 40% in service; held for 0s more",
    ),
    ("paused", at(2, wanted=40, actual=40, reached=60), "20%, 40% for 5m, [pause], all", "40% wanted, 40% in service; waits for kubectl drover promote web"),
    ("all passed", at(3, wanted=100, actual=70), "20%, 40% for 5m, pause, [all]", "100% wanted, 70% in service; the rest is rolled"),
]


@pytest.mark.parametrize(("why", "shown", "timeline", "weight"), ROWS, ids=[row[0] for row in ROWS])
def test_where_it_is(why: str, shown: Any, timeline: str, weight: str) -> None:
    assert steps(shown, NOW) == {"Steps": timeline, "Weight": weight}, why
    text = "\n".join(tree(shown, PLAIN, NOW))
    assert f"Steps:     {timeline}" in text


@pytest.mark.parametrize("shown", [service("web"), at(3, wanted=100, actual=100, target="web-old")], ids=["another strategy", "at rest"])
def test_nothing_is_told_where_no_steps_are_taken(shown: Any) -> None:
    assert steps(shown, NOW) == {}
