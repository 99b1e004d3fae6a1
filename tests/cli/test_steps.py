# SPDX-License-Identifier: Apache-2.0
"""How a rollout with steps is told: all its steps with the present one marked, the share, and what it waits for."""

from datetime import timedelta
from typing import Any

import pytest
from cli.samples import NOW, PLAIN, service

from drover_operator.cli.steps import steps
from drover_operator.cli.tree import tree

STEPS = [{"weight": 20}, {"weight": 40, "hold": "5m"}, {"pause": {}}]


def at(step: int, *, wanted: int, actual: int, reached: float | None = None, target: str = "web-new", checks: Any = ()) -> Any:
    """A canary after so many steps; `reached` is how many seconds ago the present one was."""
    since = None if reached is None else (NOW - timedelta(seconds=reached)).isoformat().replace("+00:00", "Z")
    memory = {
        "target": target,
        "stable": "web-old",
        "step": step,
        "steps": 3,
        "reachedAt": since,
        "weight": {"wanted": wanted, "actual": actual},
        "checks": [*checks],
    }
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


def colours(step: int, *, actual: int, reached: float | None = None, **settings: Any) -> Any:
    """Blue/green after so many steps."""
    since = None if reached is None else (NOW - timedelta(seconds=reached)).isoformat().replace("+00:00", "Z")
    memory = {"target": "web-new", "stable": "web-old", "step": step, "reachedAt": since, "weight": {"wanted": 100 if step else 0, "actual": actual}}
    return service("web", phase="Update", spec={"rollout": {"type": "BlueGreen", **({"blueGreen": settings} if settings else {})}}, rollout=memory)


COLOURS = [
    ("the new set is made", colours(0, actual=0), "[preview], switched, old set kept for 10m, all", "0% wanted, 0% in service; on the way"),
    (
        "the new set is there, and a person looks at it",
        colours(0, actual=0, reached=60),
        "[preview], switched, old set kept for 10m, all",
        "0% wanted, 0% in service; waits for kubectl drover promote web",
    ),
    (
        "nobody need look at it",
        colours(0, actual=0, reached=60, autoPromote=True, keepFor="1h"),
        "[preview], switched, old set kept for 1h, all",
        "0% wanted, 0% in service; held for 0s more",
    ),
    (
        "switched, and the old set is there to go back to",
        colours(1, actual=100, reached=60),
        "preview, [switched, old set kept for 10m], all",
        "100% wanted, 100% in service; held for 9m more",
    ),
    ("the old set leaves", colours(2, actual=100), "preview, switched, old set kept for 10m, [all]", "100% wanted, 100% in service; the rest is rolled"),
]


@pytest.mark.parametrize(("why", "shown", "timeline", "weight"), COLOURS, ids=[row[0] for row in COLOURS])
def test_where_blue_and_green_are(why: str, shown: Any, timeline: str, weight: str) -> None:
    assert steps(shown, NOW) == {"Steps": timeline, "Weight": weight}, why


def checked(target: str, *checks: dict[str, Any], blocked: str = "") -> Any:
    """A canary at its first step, with what came of its gates so far."""
    memory = {"target": target, "stable": "web-old", "steps": 3, "checks": list(checks), "blockedRevision": blocked}
    return service("web", phase="Update", spec={"rollout": {"type": "Canary", "canary": {"steps": STEPS}}}, rollout=memory)


def sample(quality: str, **seen: str) -> dict[str, Any]:
    return {"at": "2026-03-01T11:59:00Z", "quality": quality, **seen}


SILENCE = sample("NoData", message="empty result")
# Why, the target, the checks, the line; None where there is no line.
GATES: list[tuple[str, str, list[dict[str, Any]], str | None]] = [
    ("no gate, no line", "web-new", [], None),
    ("one that has just begun", "web-new", [{"gate": "errors", "state": "Measuring"}], "errors Measuring (nothing measured yet)"),
    (
        "one of a step, with the last number and that of the old revision",
        "web-new",
        [{"gate": "errors", "step": 1, "state": "Measuring", "samples": [sample("Good", value="0.1"), sample("Bad", value="0.5", against="0.01")]}],
        "errors at step 1 Measuring (last 0.5 against 0.01)",
    ),
    ("no data is no number", "web-new", [{"gate": "errors", "state": "Measuring", "samples": [SILENCE]}], "errors Measuring (no data: empty result)"),
    (
        "several, each with its verdict in words",
        "web-new",
        [{"gate": "mainFlowTest", "step": 1, "state": "Passed", "message": "1 good"}, {"gate": "errors", "state": "Failed", "message": "2 bad, 1 tolerated"}],
        "mainFlowTest at step 1 Passed (1 good); errors Failed (2 bad, 1 tolerated)",
    ),
    (
        "gone back: what it was taken back for stays",
        "web-old",
        [{"gate": "errors", "state": "Failed", "message": "2 bad"}],
        "errors Failed (2 bad)",
    ),
    ("at rest after all was well: nobody asks any more", "web-old", [{"gate": "errors", "state": "Passed", "message": "1 good"}], None),
]


@pytest.mark.parametrize(("why", "target", "checks", "line"), GATES, ids=[row[0] for row in GATES])
def test_what_gates_have_said(why: str, target: str, checks: list[dict[str, Any]], line: str | None) -> None:
    assert steps(checked(target, *checks), NOW).get("Gates") == line, why
    assert ("\nGates:     " in "\n".join(tree(checked(target, *checks), PLAIN, NOW))) is (line is not None)


def test_a_revision_that_had_no_verdict_in_time_shows_its_gates_too() -> None:
    """It is blocked, and no gate has failed: the silent one is the reason."""
    silent = {"gate": "errors", "state": "Measuring", "samples": [SILENCE]}
    assert steps(checked("web-old", silent, blocked="web-new"), NOW) == {"Gates": "errors Measuring (no data: empty result)"}


# Why, seconds since the step was reached, the checks, what the line says.
WAITING: list[tuple[str, float, list[dict[str, Any]], str]] = [
    ("the hold is over, a gate of the step is not", 900, [{"gate": "errors", "step": 2, "state": "Measuring"}], "waits for its gates"),
    ("one of the whole rollout is not", 900, [{"gate": "errors", "step": 0, "state": "Measuring"}], "waits for its gates"),
    ("the hold comes first", 60, [{"gate": "errors", "step": 2, "state": "Measuring"}], "held for 4m more"),
    ("a gate of another step", 900, [{"gate": "errors", "step": 1, "state": "Measuring"}], "held for 0s more"),
    ("the gate is passed", 900, [{"gate": "errors", "step": 2, "state": "Passed"}], "held for 0s more"),
]


@pytest.mark.parametrize(("why", "reached", "checks", "words"), WAITING, ids=[row[0] for row in WAITING])
def test_what_a_step_waits_for(why: str, reached: float, checks: list[dict[str, Any]], words: str) -> None:
    """Seconds that are over say nothing where a gate is what is missing."""
    assert steps(at(1, wanted=40, actual=40, reached=reached, checks=checks), NOW)["Weight"].endswith(f"; {words}"), why


@pytest.mark.parametrize("shown", [service("web"), at(3, wanted=100, actual=100, target="web-old")], ids=["another strategy", "at rest"])
def test_nothing_is_told_where_no_steps_are_taken(shown: Any) -> None:
    assert steps(shown, NOW) == {}
