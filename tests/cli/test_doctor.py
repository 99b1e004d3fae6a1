# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover doctor`: each check by a table of what may be found, the page, and whole visits to the sandbox.

`UPDATE_GOLDEN=1` writes the golden pages anew; read the difference.
"""

import asyncio
import copy
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drover_operator.cli.doctor import program, reading
from drover_operator.cli.doctor.compare import differences, fields
from drover_operator.cli.doctor.facts import Facts, Many, Read, Right, Server
from drover_operator.cli.doctor.findings import Finding, Level, some
from drover_operator.cli.doctor.page import page, record, total
from drover_operator.cli.doctor.program import judge, remedy
from drover_operator.cli.doctor.reading import Reader
from drover_operator.cli.doctor.rights import groups, needed
from drover_operator.cli.doctor.wanted import Wanted, wanted
from drover_operator.cli.layout import Look
from drover_operator.cli.main import main
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.kube.client import Client
from drover_operator.kube.errors import Forbidden, Status
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.registry import discover

GOLDEN = Path(__file__).parent / "golden"
PROGRAM = [sys.executable, "-m", "drover_operator.cli.main"]
CONTROLLERS = discover()
SHOULD = wanted(CONTROLLERS)
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC).timestamp()
Json = dict[str, Any]
DENIED = "you may not read that"


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def established(body: Json) -> Json:
    return {**body, "status": {"conditions": [{"type": "Established", "status": "True"}]}}


def as_served(each: Wanted) -> Json:
    """The object as a server has it: with a few defaults, and CRDs established."""
    body = copy.deepcopy(each.body)
    body["metadata"]["uid"] = "u"
    if body["kind"] == "ValidatingAdmissionPolicy":
        body["spec"]["matchConstraints"]["matchPolicy"] = "Equivalent"
    return established(body) if body["kind"] == "CustomResourceDefinition" else body


def pod(name: str = "drover-operator-1", *, ready: bool = True, image: str = "drover-operator:0.1.0", namespace: str = "drover-system") -> Json:
    condition = {"type": "Ready", "status": str(ready)}
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"containers": [{"image": image}]}, "status": {"conditions": [condition]}}


def service(name: str = "web", *, seen: int = 1, made: float = -3600, leaving: float | None = None, phase: str = "Run", stalled: bool = False) -> Json:
    meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "creationTimestamp": at(made)}
    gone = {"deletionTimestamp": at(leaving)} if leaving is not None else {}
    conditions = [{"type": "Stalled", "status": str(stalled)}]
    return {"metadata": {**meta, **gone}, "status": {"phase": phase, "observedGeneration": seen, "conditions": conditions} if seen else {}}


def instance(name: str, of: str = "web", uid: str = "uid-web") -> Json:
    owners = {"ownerReferences": [{"uid": uid, "controller": True}]} if uid else {}
    return {"metadata": {"name": name, "namespace": "shop", "labels": {"drover.dev/service": of}, **owners}}


def healthy() -> Facts:
    """A cluster in which all is well."""
    spec = {"holderIdentity": "drover-operator-1_1_abc", "leaseDurationSeconds": 15, "leaseTransitions": 7, "renewTime": at(-1)}
    floor = {"metadata": {"name": "drover-operator-0", "annotations": {"drover.dev/epoch-floor": "7"}}}
    return Facts(
        server=Server(major=1, minor=35, text="v1.35.0", clock=NOW, here=NOW + 0.4),
        version="0.1.0",
        wanted=SHOULD,
        found={each.id: Read(body=as_served(each)) for each in SHOULD},
        rights=tuple(replace(each, allowed=True) for each in needed(CONTROLLERS, "")),
        mine=(Right(who="", verb="list", group="drover.dev", resource="managedservices", allowed=True),),
        lease=Read(body={"metadata": {}, "spec": spec}),
        floor=Read(body=floor),
        deployment=Read(body={"spec": {"replicas": 2}}),
        operators=Many(items=(pod(), pod("drover-operator-2"))),
        services=Many(items=(service(),)),
        instances=Many(items=(instance("web-0"),)),
    )


def lease(**changed: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, lease=Read(body={"metadata": {}, "spec": {**(facts.lease.body or {})["spec"], **changed}}))


def fence_told(standing: str) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, lease=Read(body={**(facts.lease.body or {}), "metadata": {"annotations": {"drover.dev/fence": standing}}}))


def found(name: str, body: Callable[[Json], Json] | None = None, *, unread: str = "") -> Callable[[Facts], Facts]:
    """The facts with one object gone, changed, or not readable."""

    def changed(facts: Facts) -> Facts:
        here = copy.deepcopy(facts.found[name].body)
        return replace(facts, found={**facts.found, name: Read(body=body(here) if body and here else None, unread=unread)})

    return changed


def part(name: str, **read: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, found={each.id: Read(**read) if each.part == name else facts.found[each.id] for each in facts.wanted})


def server(**changed: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, server=replace(facts.server, **changed))


def facts(**changed: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, **changed)


def right(number: int, **changed: Any) -> Callable[[Facts], Facts]:
    return lambda facts: replace(facts, rights=tuple(replace(each, **changed) if n == number else each for n, each in enumerate(facts.rights)))


def properties(body: Json) -> Json:
    return body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]


def without_pin(body: Json) -> Json:
    del properties(body)["pin"]
    return body


def of_tomorrow(body: Json) -> Json:
    properties(body)["tomorrow"] = {"type": "object"}
    return body


def other_bound(body: Json) -> Json:
    properties(body)["replicas"]["maximum"] = 3
    return body


def not_established(body: Json) -> Json:
    return {**body, "status": {}}


def with_rule(body: Json) -> Json:
    return {**body, "rules": body["rules"][:-1]}


def other_value(body: Json) -> Json:
    return {**body, "value": 5}


def weaker(body: Json) -> Json:
    body["spec"]["validations"][0]["expression"] = "true"
    return body


def only_warned(body: Json) -> Json:
    body["spec"]["validationActions"] = ["Warn"]
    return body


CRD = "customresourcedefinition/managedservices.drover.dev"
FENCE = "validatingadmissionpolicy/drover-fence-0"
BINDING = "validatingadmissionpolicybinding/drover-fence-0"
READER = "clusterrole/drover-operator-reader"
CASES: tuple[tuple[str, Callable[[Facts], Facts], str, Level, str, bool], ...] = (
    ("an old cluster", server(minor=32, text="v1.32.9"), "api server", Level.PROBLEM, "v1.32.9 is too old: Drover needs 1.33", False),
    ("a cluster of the next major version", server(major=2, minor=0, text="v2.0.0"), "api server", Level.OK, "v2.0.0", False),
    ("our clock runs ahead", server(here=NOW + 61), "clocks", Level.WARNING, "61s ahead of the API server's", False),
    ("our clock is late", server(here=NOW - 10), "clocks", Level.WARNING, "10s behind the API server's", False),
    ("a proxy takes the Date away", server(clock=0.0), "clocks", Level.SKIPPED, "does not tell its time", False),
    ("nothing is installed", found("namespace/drover-system"), "namespace", Level.PROBLEM, "drover-system is missing", True),
    ("the namespace may not be read", found("namespace/drover-system", unread=DENIED), "namespace", Level.SKIPPED, DENIED, False),
    ("no CRD", found(CRD), "definitions", Level.PROBLEM, "is not installed", True),
    ("an older CRD: what it lacks is named", found(CRD, without_pin), "definitions", Level.PROBLEM, "is older and lacks .spec.pin", True),
    ("a newer CRD is never taken back", found(CRD, of_tomorrow), "definitions", Level.WARNING, "does not know: .spec.tomorrow", False),
    ("the same fields, another bound", found(CRD, other_bound), "definitions", Level.PROBLEM, "differs at .properties.spec.properties.replicas.maximum", True),
    ("a CRD that is not served", found(CRD, not_established), "definitions", Level.PROBLEM, "is not served yet", False),
    ("CRDs may not be read", found(CRD, unread=DENIED), "definitions", Level.SKIPPED, DENIED, False),
    ("a priority class is gone", found("priorityclass/drover-vital"), "priorities", Level.PROBLEM, "missing: drover-vital", True),
    ("its value cannot be changed", found("priorityclass/drover-vital", other_value), "priorities", Level.WARNING, "differs: value", False),
    ("priority classes may not be read", part("priorities", unread=DENIED), "priorities", Level.SKIPPED, DENIED, False),
    ("a role is gone", found(READER), "rights", Level.PROBLEM, f"are missing: {READER}", True),
    ("a role lacks a rule", found(READER, with_rule), "rights", Level.PROBLEM, f"differ from what this command would make: {READER} at rules", True),
    (
        "roles are right, and another authorizer says no",
        right(0, allowed=False),
        "rights",
        Level.PROBLEM,
        "drover-system:drover-operator may not get pods",
        True,
    ),
    ("nobody may ask for others", right(0, allowed=None, unread=DENIED), "rights", Level.SKIPPED, DENIED, False),
    (
        "you may only look",
        facts(mine=(Right(who="", verb="patch", group="g", resource="x", allowed=False),)),
        "your rights",
        Level.WARNING,
        "you may not patch x.g",
        False,
    ),
    (
        "nobody says what you may",
        facts(mine=(Right(who="", verb="patch", group="g", resource="x", unread=DENIED),)),
        "your rights",
        Level.SKIPPED,
        DENIED,
        False,
    ),
    ("no FlowSchemas: slower, not unsafe", part("queues"), "queues", Level.WARNING, "FlowSchemas are missing", True),
    ("the fence is gone", part("fence"), "fence", Level.PROBLEM, "policies of the fence are missing", True),
    ("a fence that lets everything through", found(FENCE, weaker), "fence", Level.PROBLEM, f"{FENCE} at spec.validations[0].expression", True),
    ("a fence that only warns", found(BINDING, only_warned), "fence", Level.PROBLEM, f"{BINDING} at spec.validationActions[0]", True),
    ("the fence may not be read", part("fence", unread=DENIED), "fence", Level.SKIPPED, DENIED, False),
    ("never led", facts(lease=Read()), "lease", Level.PROBLEM, "no operator has ever led", False),
    ("given back", lease(holderIdentity=""), "lease", Level.PROBLEM, "the Lease was given back", False),
    ("not renewed", lease(renewTime=at(-300)), "lease", Level.PROBLEM, "last renewed 5m ago", False),
    ("renewed just in time", lease(renewTime=at(-14)), "lease", Level.OK, "epoch 7, renewed 14s ago", False),
    ("the probe of the fence was let through", fence_told("Absent"), "lease", Level.PROBLEM, "the fence did not refuse its probe", False),
    ("an API server that compares with a Lease of the past", fence_told("Stale"), "lease", Level.PROBLEM, "the fence refuses it", False),
    ("no fence is wanted", fence_told("Off"), "lease", Level.OK, "epoch 7", False),
    ("renewed in the future", lease(renewTime=at(60)), "lease", Level.WARNING, "is 60s ahead", False),
    (
        "the server has no Date: our own clock must do",
        lambda f: server(clock=0.0)(lease(renewTime=at(-300))(f)),
        "lease",
        Level.PROBLEM,
        "last renewed 5m ago",
        False,
    ),
    ("the Lease may not be read", facts(lease=Read(unread=DENIED)), "lease", Level.SKIPPED, DENIED, False),
    (
        "an epoch that is no number stops every take-over",
        facts(floor=Read(body={"metadata": {"name": "drover-operator-0", "annotations": {"drover.dev/epoch-floor": "x"}}})),
        "epochs",
        Level.PROBLEM,
        "is 'x', not a number",
        False,
    ),
    ("the record is gone", facts(floor=Read()), "epochs", Level.WARNING, "the record of epochs is missing", False),
    ("the record may not be read", facts(floor=Read(unread=DENIED)), "epochs", Level.SKIPPED, DENIED, False),
    ("one of two is not ready", facts(operators=Many(items=(pod(), pod("b", ready=False)))), "operators", Level.WARNING, "1 of 2 operators are ready", False),
    ("none is ready", facts(operators=Many(items=(pod(ready=False),))), "operators", Level.PROBLEM, "0 of 2 operators are ready", False),
    (
        "another version runs",
        facts(operators=Many(items=(pod(image="r:5/drover-operator:v0.2.0"), pod("b", image="r:5/drover-operator:v0.2.0")))),
        "operators",
        Level.WARNING,
        "the operator is 0.2.0, this command 0.1.0",
        False,
    ),
    (
        "an image without a version",
        facts(operators=Many(items=(pod(image="r:5000/drover@sha256:1"), pod("b", image="drover:main")))),
        "operators",
        Level.OK,
        "2 of 2 are ready",
        False,
    ),
    (
        "two versions at once",
        facts(operators=Many(items=(pod(image="d:0.3.0"), pod("b", image="d:0.2.0")))),
        "operators",
        Level.WARNING,
        "several versions run: 0.2.0, 0.3.0",
        False,
    ),
    (
        "a second installation",
        facts(operators=Many(items=(pod(), pod("b"), pod("c", namespace="other")))),
        "operators",
        Level.WARNING,
        "other namespaces too: other/c",
        False,
    ),
    ("somebody's laptop leads", lease(holderIdentity="laptop_1_x"), "operators", Level.WARNING, "held by laptop_1_x, which is none of the pods", False),
    (
        "it runs outside of the cluster",
        facts(deployment=Read(), operators=Many()),
        "operators",
        Level.OK,
        "runs outside of drover-system: drover-operator-1_1_abc",
        False,
    ),
    ("nothing runs", facts(deployment=Read(), operators=Many(), lease=Read()), "operators", Level.PROBLEM, "no operator runs", False),
    ("pods may not be listed", facts(operators=Many(unread=DENIED)), "operators", Level.SKIPPED, DENIED, False),
    ("nobody has looked", facts(services=Many(items=(service(seen=0),))), "services", Level.PROBLEM, "no operator has looked at shop/web", False),
    ("it was made just now", facts(services=Many(items=(service(seen=0, made=-5),))), "services", Level.OK, "1, all of them looked at", False),
    ("its status was cleared by hand", facts(services=Many(items=(service(seen=-1),))), "services", Level.PROBLEM, "no operator has looked at shop/web", False),
    ("deleted an hour ago", facts(services=Many(items=(service(leaving=-3600),))), "services", Level.PROBLEM, "still there: shop/web", False),
    ("draining", facts(services=Many(items=(service(leaving=-60),))), "services", Level.OK, "1, all of them", False),
    (
        "some need a person",
        facts(services=Many(items=(service(phase="Failed"), service("b", stalled=True), service("c")))),
        "services",
        Level.WARNING,
        "2 of 3 need a person: shop/web, shop/b",
        False,
    ),
    ("services may not be listed", facts(services=Many(unread=DENIED)), "services", Level.SKIPPED, DENIED, False),
    (
        "a pod of a service that is gone",
        facts(instances=Many(items=(instance("x-0", "x", "uid-x"),))),
        "orphans",
        Level.WARNING,
        "1 pods carry the label",
        False,
    ),
    (
        "a pod of a service that was made anew",
        facts(instances=Many(items=(instance("web-0", uid="uid-old"),))),
        "orphans",
        Level.WARNING,
        "belong to no service: shop/web-0",
        False,
    ),
    ("a pod that somebody labelled", facts(instances=Many(items=(instance("mine", uid=""),))), "orphans", Level.WARNING, "shop/mine", False),
    (
        "a pod without owner, of a service that is not there",
        facts(instances=Many(items=(instance("mine", "x", ""),))),
        "orphans",
        Level.WARNING,
        "shop/mine",
        False,
    ),
)


# Where nobody leads, no operator runs either.
SPREADING = ("never led", "given back", "not renewed", "nothing runs", "the server has no Date: our own clock must do")


@pytest.mark.parametrize("why, change, check, level, words, mends", CASES, ids=[row[0] for row in CASES])
def test_what_each_check_finds(why: str, change: Callable[[Facts], Facts], check: str, level: Level, words: str, mends: bool) -> None:
    mine = [each for each in judge(change(healthy())) if each.check == check]
    (told,) = [each for each in mine if each.level == level and words in each.message] or [None]
    assert told is not None, (why, mine)
    assert bool(told.mend) is mends, why
    assert bool(told.next_step) == (level in (Level.PROBLEM, Level.WARNING)), "who reads of trouble reads what to do"
    others = [each for each in judge(change(healthy())) if each.check != check and each.level is Level.PROBLEM]
    assert not others or why in SPREADING, others


def test_a_healthy_cluster_has_nothing_but_ok() -> None:
    assert {each.level for each in judge(healthy())} == {Level.OK}
    assert {each.check for each in judge(healthy())} >= {check for *_, check, _, _, _ in CASES}, "and every check says something"


def test_every_check_is_seen_ok_and_otherwise() -> None:
    for check in {each.check for each in judge(healthy())}:
        assert {level for _, _, name, level, _, _ in CASES if name == check} - {Level.OK}, check


def test_missing_roles_are_told_once() -> None:
    """44 rights that are missing because the roles are say nothing more."""
    gone = part("rights")(healthy())
    gone = replace(gone, rights=tuple(replace(each, allowed=False) for each in gone.rights))
    assert len([each for each in judge(gone) if each.check == "rights"]) == 1


def test_what_would_be_applied_comes_once_and_the_fence_last() -> None:
    gone = replace(healthy(), found={each.id: Read() for each in SHOULD})
    cure = remedy(judge(gone))
    assert [each.id for each in cure] == [each.id for each in SHOULD]
    assert (cure[0].part, cure[-1].part) == ("namespace", "fence")


DIFFERENT: tuple[tuple[Any, Any, list[str], str], ...] = (
    ({"a": 1}, {"a": 1, "b": 2}, [], "the server adds defaults"),
    ({"a": {}}, {}, [], "the server leaves out what is empty"),
    ({"a": 1}, {"a": 2}, [".a"], "another value"),
    ({"a": [1, 2]}, {"a": [1]}, [".a"], "a list of another length is another list"),
    ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1, "c": 3}]}, [".a[0].c"], "within a list"),
    ({"a": {"b": 1}}, {"a": None}, [".a"], "something else altogether"),
    ({"a": False}, {}, [".a"], "false is not empty: it may be no default"),
)


@pytest.mark.parametrize("one, other, paths, why", DIFFERENT, ids=[row[-1] for row in DIFFERENT])
def test_what_counts_as_a_difference(one: Any, other: Any, paths: list[str], why: str) -> None:
    assert list(differences(one, other)) == paths, why


def test_fields_of_a_schema() -> None:
    tree = {"properties": {"a": {"items": {"properties": {"b": {}}}}, "c": {"additionalProperties": {"properties": {"d": {}}}}}}
    assert list(fields(tree)) == [".a", ".a[].b", ".c", ".c{}.d"]


def test_the_rights_that_are_asked_for_are_those_that_are_granted() -> None:
    asked = needed(CONTROLLERS, "shop")
    assert len({(str(each), each.who, each.name) for each in asked}) == len(asked), "nothing is asked twice"
    by = {(each.who, each.verb, each.resource, each.subresource, each.name, each.namespace) for each in asked}
    account, user = "system:serviceaccount:drover-system:drover-operator", "drover:operator:0"
    assert (account, "watch", "pods", "", "", "shop") in by
    assert (account, "patch", "leases", "", "drover-operator-0", "drover-system") in by
    assert (account, "impersonate", "users", "", user, "") in by
    assert (account, "impersonate", "userextras", "drover.dev/epoch", "", "") in by
    assert (user, "patch", "managedservices", "status", "", "shop") in by
    assert not any(each.who == account and each.verb in ("delete",) for each in asked)


def test_who_is_in_which_groups() -> None:
    assert groups("system:serviceaccount:a:b") == ["system:serviceaccounts", "system:serviceaccounts:a", "system:authenticated"]
    assert groups("drover:operator:0") == ["system:authenticated"]


def test_a_few_names_and_how_many_more() -> None:
    assert (some(["a"]), some(["a", "b", "c", "d", "e"])) == ("a", "a, b, c and 2 more")


# --- the page


def sick() -> list[Finding]:
    changed = healthy()
    for change in (
        found(CRD, without_pin),
        part("queues"),
        found(FENCE, weaker),
        facts(mine=(Right(who="", verb="patch", group="g", resource="x", unread="you may not ask for your rights"),)),
        lease(renewTime=at(-300)),
        facts(services=Many(items=(service(seen=0), service("b", phase="Failed")))),
    ):
        changed = change(changed)
    return judge(changed)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name, findings", [("healthy", judge(healthy())), ("sick", sick())], ids=["healthy", "sick"])
def test_golden_pages(name: str, findings: list[Finding], width: int) -> None:
    file = GOLDEN / f"doctor-{name}-{width}.txt"
    lines = page(findings, Look(width=width))
    assert all(len(line) <= width for line in lines)
    text = "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()


LOOKS = (
    (Look(width=10), "a terminal too narrow for anything"),
    (Look(width=80, unicode=True, colour=True), "a modern terminal"),
    (Look(width=300), "a very wide one"),
)


@pytest.mark.parametrize("look, why", LOOKS, ids=[why for _, why in LOOKS])
def test_the_page_is_whole_on_every_terminal(look: Look, why: str) -> None:
    text = "\n".join(page(sick(), look))
    for word in ("problem", "is older and lacks", "5m ago" if look.width > 10 else "5m"):
        assert word.split()[0] in text, why
    assert ("\x1b[31mproblem\x1b[0m" in text) is look.colour
    assert text.isascii() is not look.unicode


def test_where_a_program_reads_a_finding_is_one_line() -> None:
    lines = page(sick(), Look(width=20, cut=False))
    assert len([line for line in lines if FENCE in line]) == 1, "and names are whole"


def test_the_total_counts_in_words() -> None:
    assert total(judge(healthy())) == f"{len(judge(healthy()))} ok"
    assert total([Finding(check="x", level=Level.PROBLEM, message="m"), Finding(check="x", level=Level.WARNING, message="m")]) == "1 problem, 1 warning"


def test_the_record_for_programs_is_complete() -> None:
    told = record(sick(), [{"object": "a/b", "applied": True, "error": ""}])
    assert set(told) == {"findings", "counts", "fixed"}
    assert all(set(each) == {"check", "level", "message", "nextStep", "fixable"} for each in told["findings"])
    assert sum(told["counts"].values()) == len(told["findings"])
    assert any(each["fixable"] == [CRD] for each in told["findings"])
    assert json.loads(msgspec.json.encode(told)) == told


# --- mending


class Applying:
    """A client that notes what is applied, and refuses one object."""

    def __init__(self, refused: str = "") -> None:
        self.applied: list[tuple[str, str, str, bool]] = []
        self._refused = refused

    async def apply(self, resource: Any, namespace: str, name: str, body: Json, *, manager: str, merge: bool) -> bytes:
        if name == self._refused:
            raise Forbidden(Status(status="Failure", code=403, message="no"))
        self.applied.append((resource.path(namespace, name), body["kind"], manager, merge))
        return b"{}"


def test_one_refusal_keeps_nothing_else_from_being_mended() -> None:
    client = Applying(refused="drover-vital")
    sick = found("priorityclass/drover-important")(healthy())
    told = asyncio.run(program._mend(client, [each for each in SHOULD if each.part == "priorities"], sick))  # type: ignore[arg-type]
    assert [each["applied"] for each in told] == [False, True, True, True]
    assert told[0]["error"] == "no right to do this: no"
    assert client.applied[0] == ("/apis/scheduling.k8s.io/v1/priorityclasses/drover-important", "PriorityClass", "kubectl-drover", False)
    assert [merge for *_, merge in client.applied] == [False, True, True], "what is there is patched: lists are to be ours alone"


def test_paths_of_everything_that_is_wanted() -> None:
    paths = {each.resource.path(each.namespace, each.name) for each in SHOULD}
    for expected in (
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/managedservices.drover.dev",
        "/api/v1/namespaces/drover-system",
        "/api/v1/namespaces/drover-system/serviceaccounts/drover-operator",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles/drover-operator-reader",
        "/apis/rbac.authorization.k8s.io/v1/namespaces/drover-system/rolebindings/drover-operator-lease",
        "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/drover-operator",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/drover-fence-0",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings/drover-fence-0",
    ):
        assert expected in paths


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ANSWERS = (("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False))


@pytest.mark.parametrize("answer, agreed", ANSWERS, ids=[repr(answer) for answer, _ in ANSWERS])
def test_it_asks_before_it_changes_anything(answer: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert program._agreed(SHOULD[:1]) is agreed
    assert "Apply 1 objects: " in capsys.readouterr().err, "not on stdout, which a program may read"


def test_without_a_terminal_it_wants_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(Failure, match="add --yes") as caught:
        program._agreed(SHOULD[:1])
    assert caught.value.code == Exit.USAGE


# --- reading

DETAILS = {"name": "drover-fence-0"}
ANSWERED: tuple[tuple[int, Json, str, str], ...] = (
    (200, {"kind": "Thing"}, "", "it is there"),
    (404, {"reason": "NotFound", "details": DETAILS}, "", "it is not there"),
    (404, {"reason": "NotFound", "message": "the server could not find the requested resource"}, "is not served by this cluster", "no such kind"),
    (403, {"reason": "Forbidden", "message": "cannot get"}, "you may not read ", "no right"),
    (403, {"reason": "Forbidden", "message": '"drover-fence-0" is forbidden'}, "you may not read ", "no right to read the fence is no refusal by the fence"),
    (500, {"reason": "InternalError", "message": "etcd is away"}, "etcd is away", "a server in trouble"),
)


@pytest.mark.parametrize("code, body, words, why", ANSWERED, ids=[row[-1] for row in ANSWERED])
def test_what_cannot_be_read_is_a_fact(code: int, body: Json, words: str, why: str) -> None:
    class Server:
        async def send(self, request: Request) -> Reply:
            return Reply(status=code, body=json.dumps({"kind": "Status", "status": "Failure", **body}).encode())

    (fence,) = [each for each in SHOULD if each.id == FENCE]

    async def main() -> Read:
        return await Reader(Client(Server()), "", lambda _: None)._wanted(fence)  # type: ignore[arg-type]

    read = asyncio.run(main())
    assert words in read.unread and bool(read.unread) is bool(words), why
    assert (read.body is not None) is (code == 200)


VERSIONS = (("33", 33), ("33+", 33), ("", 0), ("x", 0))


@pytest.mark.parametrize("text, number", VERSIONS)
def test_minor_versions_as_providers_write_them(text: str, number: int) -> None:
    assert reading._number(text) == number


# --- whole visits


def visit(*words: str) -> subprocess.CompletedProcess[str]:
    """The doctor in a sandbox of its own, in which a real operator leads."""
    return subprocess.run(
        [*PROGRAM, "sandbox", "--", *PROGRAM, "doctor", *words], capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False
    )


@pytest.fixture(scope="module")
def visited() -> dict[str, Any]:
    done = visit("-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_a_visit_to_the_sandbox_finds_it_well_and_says_what_is_not_there(visited: dict[str, Any]) -> None:
    by = {each["check"]: each for each in visited["findings"]}
    assert visited["counts"]["problem"] == visited["counts"]["warning"] == 0
    assert by["definitions"]["level"] == "ok"
    assert by["lease"]["message"].startswith("sandbox-1 leads, epoch 1")
    assert by["fence"]["level"] == "skipped" and "is not served by this cluster" in by["fence"]["message"]


WRONG = (
    (("--yes",), 4, "error: --yes answers what --fix asks: give both\n", "an answer to no question"),
    (("--kubeconfig", "/nowhere"), 1, "error: no kubeconfig file /nowhere\n", "a file that is not there"),
    (("-n", "Shop!"), 4, "error: 'Shop!' is not a name of a namespace: small letters, digits and - only\n", "no name"),
)


@pytest.mark.parametrize("words, code, message, why", WRONG, ids=[why for *_, why in WRONG])
def test_wrong_usage(words: tuple[str, ...], code: int, message: str, why: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *words]) == code, why
    assert capsys.readouterr().err == message


def test_no_cluster_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config"
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    file.write_text(json.dumps({"clusters": [cluster], "users": [{"name": "u", "user": {}}], "contexts": [context], "current-context": "c"}))
    assert main(["doctor", "--kubeconfig", str(file)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: cannot reach http://127.0.0.1:1") and err.count("\n") == 1
