# SPDX-License-Identifier: Apache-2.0
"""The benches: that their rows are there, well-formed and measure what they say. No figure is asserted: that would be a test of the machine."""

import json

import pytest

from bench import __main__ as program
from bench import passes, table
from bench.measure import microseconds, percentile
from bench.rows import Figure, Goal, NotMeasured, Row, at_least, at_most, groups, row, rows
from drover_operator.api.resource import PODS
from drover_operator.core.plan import Create, Delete

KEYS = ["name", "value", "unit", "baseline", "ratio", "goal", "met"]


def test_the_groups_are_the_files():
    assert {"decide", "simulation"} <= set(groups())


@pytest.mark.parametrize("group", groups())
def test_every_row_says_what_it_measures_and_in_what_unit(group):
    found = rows(group)
    assert found
    assert rows(group) == found, "asking twice is asking once"
    for each in found:
        assert each.name.startswith(f"{group}."), "the group is the first part of the name"
        assert each.about.endswith("."), f"{each.name}: its docstring is a sentence"
        assert each.unit, each.name
        assert list(each.result(Figure(1.0, 2.0))) == KEYS


PROMISED = (
    ("decide.quiet.20.p99", "<= 200", "the budget of a pass"),
    ("decide.rollout.20.p99", "<= 200", "in the middle of a rollout too"),
    ("simulation.day", "<= 20", "24 hours of 50 services"),
    ("simulation.scenarios", ">= 300", "scenarios a minute"),
)


@pytest.mark.parametrize("name, goal, why", PROMISED, ids=[name for name, *_ in PROMISED])
def test_what_is_promised_has_a_row_with_its_goal(name, goal, why):
    goals = {each.name: str(each.goal) for each in rows(name.partition(".")[0])}
    assert goals[name] == goal, why


JUDGED = (
    (at_most(200), Figure(200), True, "the bound itself is met"),
    (at_most(200), Figure(201), False, "more is too much"),
    (at_least(300), Figure(299), False, "less is too little"),
    (at_least(300), Figure(301), True, "more is better"),
    (at_most(1.5, "ratio"), Figure(30, 20), True, "the ratio is what counts, not the value"),
    (at_least(2, "ratio"), Figure(30, 20), False, "the same the other way"),
    (at_most(1.5, "ratio"), Figure(30), None, "without a baseline nothing is said"),
    (None, Figure(30, 20), None, "and without a goal neither"),
)


@pytest.mark.parametrize("goal, figure, met, why", JUDGED, ids=[why for *_, why in JUDGED])
def test_when_a_goal_is_met(goal: Goal | None, figure: Figure, met: bool | None, why: str):
    result = Row(name="a.b", about="", unit="us", goal=goal, measure=lambda: figure).result(figure)
    assert result["met"] is met, why
    assert result["ratio"] == (1.5 if figure.baseline else None), why


def test_two_rows_of_one_name_are_refused():
    taken = rows("decide")[0].name
    with pytest.raises(ValueError, match=f"two rows are named '{taken}'"):
        row(taken, unit="us")(lambda: Figure(1.0))


def test_an_unknown_group_is_told_with_those_that_there_are(capsys):
    assert program.main(["decied"]) == 2
    said = capsys.readouterr()
    assert said.err == f"error: there is no group 'decied'; choose from {', '.join(groups())}\n"
    assert said.out == "", "and nothing is measured"


def test_a_run_is_shown_as_a_table_and_written_as_json(monkeypatch, tmp_path, capsys):
    slow = Row(name="some.slow", about="", unit="us", goal=at_most(10), measure=lambda: Figure(12345.6, 1000.0))
    fast = Row(name="some.fast", about="", unit="1/s", goal=at_least(5), measure=lambda: Figure(7.125))
    monkeypatch.setattr(program, "groups", lambda: ("some",))
    monkeypatch.setattr(program, "rows", lambda group: [slow, fast])
    monkeypatch.setattr(program, "OUT", tmp_path / "out" / "latest.json")
    monkeypatch.setattr(program.logs, "configure", lambda *_: None)  # of the whole process
    assert program.main([]) == 0, "a goal that is missed fails nothing"
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["name", "value", "unit", "baseline", "ratio", "goal", "met"] in shown
    assert ["some.slow", "12,346", "us", "1,000", "12.3", "<=", "10", "NO"] in shown
    assert ["some.fast", "7.12", "1/s", ">=", "5", "yes"] in shown
    assert "1 of 2 goals met; missed: some.slow;" in " ".join(shown[-1])
    written = json.loads((tmp_path / "out" / "latest.json").read_text())
    assert [list(each) for each in written["rows"]] == [KEYS, KEYS]
    assert written["rows"][0]["value"] == 12345.6, "numbers are not rounded in the file"
    assert {"at", "python", "cores", "load_before", "load_after"} <= set(written), "what the figures depend on"


def test_what_cannot_be_measured_is_told_and_nothing_is_written(monkeypatch, tmp_path, capsys):
    def measure() -> Figure:
        raise NotMeasured("not converged at the end of the day: web-7")

    monkeypatch.setattr(program, "groups", lambda: ("some",))
    monkeypatch.setattr(program, "rows", lambda group: [Row(name="some.row", about="", unit="s", goal=None, measure=measure)])
    monkeypatch.setattr(program, "OUT", tmp_path / "latest.json")
    monkeypatch.setattr(program.logs, "configure", lambda *_: None)
    assert program.main([]) == 1
    assert capsys.readouterr().err == "error: not converged at the end of the day: web-7\n"
    assert list(tmp_path.iterdir()) == []


def test_columns_keep_their_places_where_cells_are_empty():
    results = [each.result(Figure(1.0)) for each in rows("decide")]
    ends = {table.header().index("unit"), *(table.line(each).index(" us") + 1 for each in results)}
    assert len(ends) == 1


def test_calls_are_timed_in_turn_after_a_warm_up():
    made: list[str] = []
    took = microseconds([lambda: made.append("a"), lambda: made.append("b")], seconds=0.0)
    assert "".join(made) == "ababab", "at least three rounds"
    assert took == sorted(took)
    assert len(took) == 6
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 3.0, 4.0, 4.0]


def test_quiet_passes_plan_nothing_and_those_of_a_rollout_all_that_it_takes():
    """What is measured: else a change of the simulator could make the figures those of an empty service."""
    (quiet,) = passes.quiet(3)
    assert (quiet.plan.actions, len(quiet.plan.roster)) == ((), 3)
    assert len(quiet.view.of(PODS, quiet.item.metadata.key)) == 3, "gather can be asked again"
    actions = [action for each in passes.rolling(3) for action in each.plan.actions]
    pods = [action for action in actions if action.resource.plural == "pods"]
    assert sum(isinstance(each, Create) for each in pods) >= 3
    assert sum(isinstance(each, Delete) for each in pods) >= 3
