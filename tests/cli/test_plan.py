# SPDX-License-Identifier: Apache-2.0
"""What `plan` and `diff` show: golden files at 80 and 120 columns, and the rules behind them. `UPDATE_GOLDEN=1` writes the files anew."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tables.world import NOW, accepted, given, refused

from drover_controllers.service.decide import decide
from drover_controllers.service.report import report
from drover_controllers.service.values import Facts
from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.differing import NOTHING, Difference, patched, wished
from drover_operator.cli.differing import document as difference_document
from drover_operator.cli.differing import told as difference_told
from drover_operator.cli.forecast import Forecast, document
from drover_operator.cli.foretelling import told
from drover_operator.cli.layout import Look
from drover_operator.cli.wishes import Unfit, Wish, completed, left_out, sorted_out
from drover_operator.core.plan import TryOut
from drover_operator.kube.errors import DroverError
from drover_operator.runtime.executor import Result
from drover_operator.runtime.foresight import Pass

GOLDEN = Path(__file__).parent / "golden"
SETTLED = {"target": "A", "stable": "A", "settledReplicas": 3}
ROLLING = {"target": "B", "stable": "A", "settledReplicas": 3}


def a_pass(facts: Facts) -> Pass:
    plan = decide(facts)
    verdicts = [each for each in plan.actions if isinstance(each, TryOut)] if plan.question else []
    answers = [Result(each, verdict=next(iter({**accepted("B"), **facts.verdicts}.values()))) for each in verdicts]
    return Pass(plan=plan, answers=tuple(answers), report=report(facts, plan))


def foretold(*steps: Facts, **more: Any) -> Forecast:
    return Forecast(service=steps[0].service, now=NOW, passes=tuple(a_pass(each) for each in steps), **more)


def from_the_start() -> Forecast:
    """A rollout from its first look: the question, the Memory, the acts."""
    world: dict[str, Any] = {"pods": "A-0 A-1 A-2", "wanted": "B", "status": {"phase": "Run", "summary": "Healthy"}}
    asked = given(**world, memory=SETTLED)
    answered = given(**world, memory=SETTLED, verdicts=accepted("B"))
    stored = given(**world, memory=ROLLING, verdicts=accepted("B"))
    return foretold(asked, answered, stored, notes=("the operator has not looked at the last change yet (generation 2, seen 1); is it running?",))


def refused_template() -> Forecast:
    world: dict[str, Any] = {"pods": "A-0 A-1 A-2", "wanted": "B", "memory": SETTLED}
    asked, told_no = given(**world), given(**world, verdicts=refused("B"))
    first = a_pass(asked)
    no = next(iter(refused("B").values()))
    return Forecast(service=asked.service, now=NOW, passes=(answering(first, no), a_pass(told_no)))


def answering(one: Pass, verdict: Any) -> Pass:
    return Pass(plan=one.plan, answers=tuple(Result(each.action, verdict=verdict) for each in one.answers), report=one.report)


def settled() -> Forecast:
    status = {"phase": "Run", "phaseSince": "2027-01-15T06:00:00Z", "summary": "Healthy", "ready": "3/3", "upToDate": "3/3", "version": "1.2.0"}
    return foretold(given("A-0 A-1 A-2", memory=SETTLED, status=status))


def many() -> Forecast:
    return foretold(given("", replicas=40, memory={"target": "A", "stable": "A", "settledReplicas": 40}), wished=True)


def draining() -> Forecast:
    return foretold(given("A-0 A-1 A-2:Draining@1 B-0 B-1", wanted="B", records="AB", memory=ROLLING | {"progressed": 1}))


def in_the_way() -> Forecast:
    found = foretold(given("A-0 A-1 A-2", memory=SETTLED, front=False, budget=False))
    taken = next(each.id for each in found.actions if "services/" in each.id)
    return Forecast(service=found.service, now=NOW, passes=found.passes, warnings={taken: "Service web is there already and nobody controls it"})


FRAMES = [
    ("plan-rollout", "what is asked, remembered, done in stages and why", from_the_start()),
    ("plan-refused", "the server's words, and that the template waits", refused_template()),
    ("plan-nothing", "nothing to do, and what holds", settled()),
    ("plan-many", "forty alike are counted", many()),
    ("plan-draining", "what waits, and when is looked again", draining()),
    ("plan-in-the-way", "a name that is taken is told beside the create", in_the_way()),
]


def compare(name: str, lines: list[str]) -> None:
    path, text = GOLDEN / f"{name}.txt", "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("name", "why", "shown"), FRAMES, ids=[row[0] for row in FRAMES])
def test_plan(name: str, why: str, shown: Forecast, width: int) -> None:
    lines = told(shown, Look(width=width))
    compare(f"{name}-{width}", lines)
    assert max(map(len, lines)) <= width, why
    assert all(line.isascii() and line == line.rstrip() for line in lines)


@pytest.mark.parametrize("width", [1, 20, 40])
def test_a_narrow_terminal_cuts_and_does_not_crash(width: int) -> None:
    for _, _, shown in FRAMES:
        assert told(shown, Look(width=width))


def test_into_a_pipe_go_whole_names() -> None:
    name = from_the_start().actions[-1].step
    assert any(name in line for line in told(from_the_start(), Look(width=30, cut=False)))


def test_json_has_every_action_with_its_body() -> None:
    shown = document(many())
    acts = [each for part in shown["stages"] if part["does"] == "Act" for each in part["actions"]]
    pods = [each for each in acts if each["resource"] == "pods"]
    assert len(pods) == 40
    assert all(each["kind"] == "Create" and each["body"]["kind"] == "Pod" and each["reason"] and each["step"] for each in pods)
    assert msgspec.json.decode(msgspec.json.encode(shown)) == shown


def test_a_version_that_is_not_known_is_left_out() -> None:
    patches = [each for part in document(draining())["stages"] for each in part["actions"] if each["kind"] == "Patch"]
    assert patches and all(each["uid"] and each["resourceVersion"] for each in patches)


# --- diff


def service(image: str = "app:1", **spec: Any) -> dict[str, Any]:
    env = [{"name": "DB_PASSWORD", "value": f"secret of {image}"}, {"name": "LEVEL", "value": image}]
    template = {"spec": {"containers": [{"name": "server", "image": image, "env": env}]}}
    return {"metadata": {"name": "web", "namespace": "shop", "resourceVersion": "7"}, "spec": {"replicas": 3, "template": template, **spec}}


def test_diff_of_a_service() -> None:
    for width in (80, 120):
        lines = difference_told(wished(service(), service("registry.example/a/long/path/app:2", replicas=5, paused=True)), Look(width=width))
        compare(f"diff-{width}", lines)
        assert max(map(len, lines)) <= width


DIFFERENT = [
    ("equal objects", {"a": 1}, {"a": 1}, []),
    ("a field comes", {}, {"a": 1}, [("spec.a", None, 1)]),
    ("a field goes", {"a": 1}, {}, [("spec.a", 1, None)]),
    (
        "entries of a list go by their names, whatever the order",
        {"l": [{"name": "a"}, {"name": "b", "v": 1}]},
        {"l": [{"name": "b", "v": 2}, {"name": "a"}]},
        [("spec.l[b].v", 1, 2)],
    ),
    ("entries without a name go by their place", {"l": [1, 2]}, {"l": [1, 3]}, [("spec.l[1]", 2, 3)]),
    (
        "two entries of one name go by their place",
        {"l": [{"name": "a", "v": 1}] * 2},
        {"l": [{"name": "a", "v": 1}, {"name": "a", "v": 2}]},
        [("spec.l[1].v", 1, 2)],
    ),
    ("an empty list is something", {"l": []}, {"l": ["x"]}, [("spec.l[0]", None, "x")]),
    ("a value of another type", {"a": {"b": 1}}, {"a": 1}, [("spec.a", {"b": 1}, 1)]),
    (
        "what is named like a secret",
        {"e": [{"name": "API_KEY", "value": "a"}]},
        {"e": [{"name": "API_KEY", "value": "b"}]},
        [("spec.e[API_KEY].value", "***", "***")],
    ),
    (
        "a header that is named like one, as the hook of the agent has",
        {"h": [{"name": "X-Drover-Token", "value": "a"}]},
        {"h": [{"name": "X-Drover-Token", "value": "b"}]},
        [("spec.h[X-Drover-Token].value", "***", "***")],
    ),
    (
        "where the secret comes from is none",
        {"e": [{"name": "TOKEN", "from": "a"}]},
        {"e": [{"name": "TOKEN", "from": "b"}]},
        [("spec.e[TOKEN].from", "a", "b")],
    ),
]


@pytest.mark.parametrize(("why", "old", "new", "expected"), DIFFERENT, ids=[row[0] for row in DIFFERENT])
def test_fields(why: str, old: Any, new: Any, expected: list[tuple[str, Any, Any]]) -> None:
    meta = {"metadata": {"name": "web"}}
    shown = difference_document(wished({**meta, "spec": old}, {**meta, "spec": new}))
    assert [(each["path"], each["old"], each["new"]) for each in shown["fields"]] == expected, why


PATCHES = [
    ("null removes", {"a": 1, "b": 2}, {"a": None}, False, {"b": 2}),
    ("what is below is merged", {"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, False, {"a": {"b": 3, "c": 2}}),
    ("a list is replaced", {"l": [1]}, {"l": [2]}, False, {"l": [2]}),
    (
        "conditions go by type",
        {"l": [{"type": "A", "s": 1}, {"type": "B"}]},
        {"l": [{"type": "A", "s": 2}]},
        True,
        {"l": [{"type": "A", "s": 2}, {"type": "B"}]},
    ),
    ("a list that says so is replaced", {"l": [{"name": "a"}]}, {"l": [{"$patch": "replace"}, {"name": "b"}]}, True, {"l": [{"name": "b"}]}),
    ("an object that says so is replaced", {"s": {"a": 1}}, {"s": {"$patch": "replace", "b": 2}}, True, {"s": {"b": 2}}),
]


@pytest.mark.parametrize(("why", "old", "patch", "strategic", "new"), PATCHES, ids=[row[0] for row in PATCHES])
def test_patched(why: str, old: Any, patch: Any, strategic: bool, new: Any) -> None:
    assert patched(old, patch, strategic=strategic) == new, why


def test_a_long_object_is_cut_and_json_has_all() -> None:
    long = wished({}, {"metadata": {"name": "web"}, "spec": {f"f{at}": at for at in range(40)}})
    assert any("more fields; -o json has all" in line for line in difference_told(long, Look()))
    assert len(difference_document(long)["fields"]) > 40
    assert NOTHING is not None and isinstance(long, Difference)


# --- files without a cluster

BODY: dict[str, Any] = {
    "apiVersion": "drover.dev/v1alpha1",
    "kind": "ManagedService",
    "metadata": {"name": "web"},
    "spec": {"criticality": "Normal", "template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}},
}


def with_spec(**spec: Any) -> dict[str, Any]:
    return {**BODY, "spec": {**BODY["spec"], **spec}}


MISFITS = [
    ("a required field", {**BODY, "spec": {"template": BODY["spec"]["template"]}}, "spec: object missing required field criticality"),
    ("a wrong type", with_spec(replicas="3"), "spec.replicas: expected int, got str"),
    ("below the least", with_spec(replicas=-1), "spec.replicas: expected int >= 0"),
    ("no such choice", with_spec(criticality="High"), "spec.criticality: invalid enum value 'High'"),
    ("a field with a slip", with_spec(replica=3), "spec.replica: unknown field; did you mean replicas?"),
    ("a field like none", with_spec(zzz=3), "spec.zzz: unknown field"),
    ("no duration", with_spec(restart={"settle": "soon"}), "spec.restart.settle: expected str matching regex"),
    ("a template without containers", with_spec(template={"spec": {"containers": []}}), "spec.template.spec.containers: expected array of length >= 1"),
    ("no spec", {key: value for key, value in BODY.items() if key != "spec"}, "object missing required field spec"),
]


@pytest.mark.parametrize(("why", "body", "message"), MISFITS, ids=[row[0] for row in MISFITS])
def test_what_does_not_fit_is_named_by_its_field(why: str, body: dict[str, Any], message: str) -> None:
    with pytest.raises(Unfit) as caught:
        completed(sorted_out([body], "shop")[0][0])
    assert len(caught.value.lines) == 1, why
    assert caught.value.lines[0].startswith(f"msvc/web in namespace shop: {message}"), why


def test_all_unknown_fields_are_told() -> None:
    with pytest.raises(Unfit) as caught:
        completed(Wish("shop", "web", with_spec(replica=1, pause=True)))
    assert len(caught.value.lines) == 2


def test_what_fits_has_the_defaults_of_the_crd() -> None:
    found = msgspec.json.decode(completed(sorted_out([BODY], "shop")[0][0]), type=ManagedService)
    assert (found.spec.replicas, found.spec.rollout.progress_deadline, found.metadata.namespace) == (1, "10m", "shop")


REFUSALS = [
    ("nothing", [], "no ManagedService in the files (they are empty)"),
    ("other kinds only", [{"kind": "Deployment", "metadata": {"name": "a"}}], "left out, no ManagedService: Deployment/a"),
    ("no name", [{**BODY, "metadata": {}}], "has no metadata.name"),
    ("no metadata", [{key: value for key, value in BODY.items() if key != "metadata"}], "has no metadata.name"),
    ("another version", [{**BODY, "apiVersion": "drover.dev/v9"}], "apiVersion is drover.dev/v9; this version of the command knows drover.dev/v1alpha1"),
    ("twice", [BODY, BODY], "the files have msvc/web in namespace shop twice"),
]


@pytest.mark.parametrize(("why", "bodies", "message"), REFUSALS, ids=[row[0] for row in REFUSALS])
def test_files_that_cannot_be_planned_for(why: str, bodies: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(DroverError) as caught:
        sorted_out(bodies, "shop")
    assert message in str(caught.value), why


def test_another_namespace_than_that_of_n_is_refused() -> None:
    elsewhere = {**BODY, "metadata": {"name": "web", "namespace": "attic"}}
    with pytest.raises(DroverError, match="its namespace is attic, not shop"):
        sorted_out([elsewhere], "shop", asked="shop")
    assert sorted_out([elsewhere], "shop")[0][0].key == ("attic", "web")


def test_what_is_left_out_is_counted() -> None:
    assert left_out([{"kind": "ConfigMap", "metadata": {"name": str(at)}} for at in range(9)]) == (
        "left out, no ManagedService: ConfigMap/0, ConfigMap/1, ConfigMap/2 and 6 more"
    )
