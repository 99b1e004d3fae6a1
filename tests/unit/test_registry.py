# SPDX-License-Identifier: Apache-2.0
"""Controllers found by entry point, and the rights and the fence generated from what they declare."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from drover_operator.api.resource import CONFIG_MAPS, EVENTS, MANAGED_SERVICES, PODS
from drover_operator.core.plan import Plan
from drover_operator.kube.errors import ConfigurationError
from drover_operator.runtime import rbac
from drover_operator.runtime.registry import Access, Controller, Report, Watch, discover

TEAM = """
from drover_operator.api.resource import CONFIG_MAPS
from drover_operator.core.plan import Plan
from drover_operator.runtime.registry import Controller, Report

def named(name):
    return Controller(
        name=name, resource=CONFIG_MAPS, watches=(), access=(),
        gather=lambda item, view: None, decide=lambda facts: Plan(), report=lambda facts, plan: Report(before=None, status=None),
    )

CONTROLLER, SECOND, SAME = named("queue"), named("cache"), named("service")
NO_CONTROLLER = object()
"""


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a distribution of a platform team with the given entry points."""

    def install(*points: str) -> None:
        (tmp_path / "team_of_this_test.py").write_text(TEAM)
        (tmp_path / "broken_of_this_test.py").write_text("import a_module_that_nobody_has\n")
        info = tmp_path / "team-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: team\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[drover.controllers]\n" + "\n".join(points) + "\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    yield install
    for name in ("team_of_this_test", "broken_of_this_test"):
        sys.modules.pop(name, None)


def test_our_controller_is_found() -> None:
    assert "service" in [controller.name for controller in discover()]


def test_a_teams_controllers_are_found_beside_ours_in_the_order_of_their_names(distribution: Any) -> None:
    ours = [controller.name for controller in discover()]
    distribution("zzz = team_of_this_test:CONTROLLER", "other = team_of_this_test:SECOND")
    assert [controller.name for controller in discover()] == sorted([*ours, "queue", "cache"])


BROKEN = (
    ("x = no_such_module_at_all:C", r"the controller 'x' \(no_such_module_at_all:C\) cannot be loaded: ModuleNotFoundError: No module named", "no such module"),
    (
        "x = broken_of_this_test:C",
        "the controller 'x' .* cannot be loaded: ModuleNotFoundError: No module named 'a_module_that_nobody_has'",
        "it imports what is not there",
    ),
    ("x = team_of_this_test:GONE", "the controller 'x' .* cannot be loaded: .*GONE", "no such name in it"),
    ("x = team_of_this_test:NO_CONTROLLER", r"the entry point 'x' \(team_of_this_test:NO_CONTROLLER\) is not a Controller", "something else"),
    ("x = team_of_this_test:SAME", "two controllers are named 'service'", "a name that is taken: one of them would silently not run"),
)


@pytest.mark.parametrize("point, message, why", BROKEN, ids=[why for *_, why in BROKEN])
def test_what_cannot_be_loaded_is_named(distribution: Any, point: str, message: str, why: str) -> None:
    distribution(point)
    with pytest.raises(ConfigurationError, match=message):
        discover()


# -- rights


def controller(name: str, watches: tuple[Watch, ...], access: tuple[Access, ...]) -> Controller:
    return Controller(
        name=name,
        resource=MANAGED_SERVICES,
        watches=watches,
        access=access,
        gather=lambda item, view: None,
        decide=lambda facts: Plan(),
        report=lambda facts, plan: Report(before=None, status=None),
    )


def rights(rules: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """(group, resource, verb) for each single right."""
    return {(group, name, verb) for rule in rules for group in rule["apiGroups"] for name in rule["resources"] for verb in rule["verbs"]}


TWO = (
    controller(
        "one",
        (Watch(resource=PODS, key_of=lambda _: None),),
        (Access(resource=PODS, verbs=("create",)), Access(resource=PODS, verbs=("patch",), subresource="status"), Access(resource=EVENTS, verbs=("create",))),
    ),
    controller("two", (), (Access(resource=PODS, verbs=("delete", "create")),)),
)


def test_reading_is_granted_for_what_is_watched_and_nothing_else() -> None:
    expected = {(r, n, v) for r, n in (("drover.dev", "managedservices"), ("", "pods")) for v in ("get", "list", "watch")}
    assert rights(rbac.reader_rules(TWO)) == expected


def test_writing_is_granted_for_what_is_declared_and_nothing_else() -> None:
    expected = {("", "pods", "create"), ("", "pods", "delete"), ("", "pods/status", "patch"), ("events.k8s.io", "events", "create")}
    assert rights(rbac.writer_rules(TWO)) == expected
    assert [rule["verbs"] for rule in rbac.writer_rules(TWO) if rule["resources"] == ["pods"]] == [["create", "delete"]], "one rule for each resource"


# The exact rights of the service controller: a change here is a change of what an attacker gets.
READS = {
    ("drover.dev", "managedservices"),
    ("", "pods"),
    ("", "services"),
    ("discovery.k8s.io", "endpointslices"),
    ("policy", "poddisruptionbudgets"),
    ("apps", "controllerrevisions"),
    ("batch", "jobs"),
    ("drover.dev", "releasegates"),
    ("drover.dev", "maintenancewindows"),
    ("gateway.networking.k8s.io", "httproutes"),
}
WRITES = {
    ("drover.dev", "managedservices", "patch"),
    ("drover.dev", "managedservices/status", "patch"),
    ("drover.dev", "managedservices/finalizers", "update"),
    ("", "pods", "create"),
    ("", "pods", "delete"),
    ("", "pods", "patch"),
    ("", "pods/status", "patch"),
    ("", "services", "create"),
    ("", "services", "delete"),
    ("", "services", "patch"),
    ("policy", "poddisruptionbudgets", "create"),
    ("policy", "poddisruptionbudgets", "patch"),
    ("apps", "controllerrevisions", "create"),
    ("apps", "controllerrevisions", "delete"),
    ("apps", "controllerrevisions", "patch"),
    ("batch", "jobs", "create"),
    ("batch", "jobs", "delete"),
    ("gateway.networking.k8s.io", "httproutes", "patch"),
    ("events.k8s.io", "events", "create"),
    ("events.k8s.io", "events", "patch"),
}


def service() -> tuple[Controller, ...]:
    return tuple(each for each in discover() if each.name == "service")


def test_the_service_controller_has_exactly_these_rights() -> None:
    assert rights(rbac.reader_rules(service())) == {(group, name, verb) for group, name in READS for verb in ("get", "list", "watch")}
    assert rights(rbac.writer_rules(service())) == WRITES


def test_the_lease_is_the_only_thing_of_its_kind_that_can_be_changed() -> None:
    rules = rbac.lease_rules("7")
    for rule in rules:
        if rule["verbs"] != ["create"]:
            assert rule["resourceNames"] == ["drover-operator-7"], "a create cannot be held to a name, all else is"
    leases, floors = ("coordination.k8s.io", "leases"), ("", "configmaps")
    changed = {(*each, verb) for each in (leases, floors) for verb in ("create", "get", "patch")}
    assert rights(rules) == changed | {(*leases, verb) for verb in ("list", "watch")}, "a standby watches for its end"


def test_only_the_shards_own_user_can_be_impersonated() -> None:
    users, extras = rbac.impersonation_rules("7")
    assert (users["resources"], users["verbs"], users["resourceNames"]) == (["users"], ["impersonate"], ["drover:operator:7"])
    assert (extras["resources"], extras["verbs"]) == (["userextras/drover.dev/epoch", "userextras/drover.dev/holder"], ["impersonate"])


def subjects(bodies: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    """Who holds each role."""
    return {b["roleRef"]["name"]: (b["subjects"][0]["kind"], b["subjects"][0]["name"]) for b in bodies if "roleRef" in b}


@pytest.mark.parametrize("namespace", ["", "shop"], ids=["everywhere", "in one namespace"])
def test_who_holds_which_role_where(namespace: str) -> None:
    bodies = rbac.manifests(service(), "7", namespace)
    account = ("ServiceAccount", "drover-operator")
    assert subjects(bodies) == {
        "drover-operator-reader": account,
        "drover-operator-writer": ("User", "drover:operator:7"),
        "drover-operator-lease": account,
        "drover-operator-impersonator": account,
    }
    where = {(b["kind"], b["metadata"]["name"]): b["metadata"].get("namespace", "") for b in bodies}
    kind = "Role" if namespace else "ClusterRole"
    for name in ("reader", "writer"):
        assert where[kind, f"drover-operator-{name}"] == where[f"{kind}Binding", f"drover-operator-{name}"] == namespace
    assert where["Role", "drover-operator-lease"] == "drover-system"
    wide = [name for each, name in where if each == "ClusterRole"]
    assert wide == (["drover-operator-impersonator"] if namespace else ["drover-operator-reader", "drover-operator-writer", "drover-operator-impersonator"])
    for body in bodies:
        if "roleRef" in body:
            assert (body["roleRef"]["kind"], body["metadata"]["name"]) == (body["kind"].removesuffix("Binding"), body["roleRef"]["name"])


def test_no_right_is_a_wildcard() -> None:
    for body in rbac.manifests(service()):
        for group, name, verb in rights(body.get("rules", [])):
            assert "*" not in (group, name, verb), body["metadata"]["name"]
        assert not any(name == "secrets" for _, name, _ in rights(body.get("rules", [])))


# -- the fence


def policies(shard: str = "7") -> dict[str, dict[str, Any]]:
    return {b["metadata"]["name"]: b["spec"] for b in rbac.fence(service(), shard) if b["kind"] == "ValidatingAdmissionPolicy"}


FENCES = {"drover-fence-7": "", "drover-fence-7-event": "drover.dev/event", "drover-fence-7-service": "drover.dev/service"}


def test_the_fence_holds_for_exactly_what_the_writer_may_write() -> None:
    rules = [rule for name in FENCES for rule in policies()[name]["matchConstraints"]["resourceRules"]]
    fenced = [(group, resource) for rule in rules for group in rule["apiGroups"] for resource in rule["resources"]]
    assert sorted(fenced) == sorted({(group, resource) for group, resource, _ in WRITES if not resource.endswith("/finalizers")}), "each in one policy"
    assert all(rule["operations"] == ["CREATE", "UPDATE", "DELETE"] for rule in rules)


def test_objects_of_others_are_not_looked_at() -> None:
    """A policy costs the API server 0.3 ms for a pod before its first condition is read: it selects by the label that ours carry."""
    for name, label in FENCES.items():
        selector = policies()[name]["matchConstraints"].get("objectSelector")
        assert selector == ({"matchExpressions": [{"key": label, "operator": "Exists"}]} if label else None), name
    unselected = {resource for rule in policies()["drover-fence-7"]["matchConstraints"]["resourceRules"] for resource in rule["resources"]}
    assert unselected == {"managedservices", "managedservices/status", "httproutes"}, "ours, and routes, which people write and carry no label of ours"


def test_no_policy_can_hold_up_the_cluster() -> None:
    """With Fail and wildcards a missing Lease would refuse everybody's writes."""
    for name, spec in policies().items():
        assert spec["failurePolicy"] == "Ignore", name
        assert all("*" not in rule["resources"] + rule["apiGroups"] for rule in spec["matchConstraints"]["resourceRules"]), name
        assert spec["matchConditions"], "each is for some users or names only"


def test_each_policy_is_bound_and_the_fence_to_its_own_lease() -> None:
    bindings = {b["metadata"]["name"]: b["spec"] for b in rbac.fence(service(), "7") if b["kind"] == "ValidatingAdmissionPolicyBinding"}
    assert {spec["policyName"] for spec in bindings.values()} == set(policies())
    assert all(spec["validationActions"] == ["Deny"] for spec in bindings.values())
    ref = {"name": "drover-operator-7", "namespace": "drover-system", "parameterNotFoundAction": "Deny"}
    assert {name for name, spec in bindings.items() if spec.get("paramRef") == ref} == set(FENCES), "without a Lease nobody is in office"
    assert {name for name, spec in policies().items() if spec.get("paramKind") == {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}} == set(FENCES)


def test_the_fence_is_for_the_shards_user_out_of_office() -> None:
    """A policy that matches is evaluated three times more, so that a write in office must not match."""
    for name in FENCES:
        (condition,) = (each["expression"] for each in policies()[name]["matchConditions"])
        assert condition.startswith("request.userInfo.username == 'drover:operator:7' && !("), name
        for part in ("params.spec.leaseTransitions", "params.spec.holderIdentity", "'drover.dev/epoch'", "'drover.dev/holder'"):
            assert part in condition, part
        assert [each["expression"] for each in policies()[name]["validations"]] == ["false"]


def test_manifests_are_plain_json() -> None:
    bodies = [*rbac.manifests(service()), *rbac.fence(service())]
    assert json.loads(json.dumps(bodies)) == bodies
    names = [(body["kind"], body["metadata"]["name"]) for body in bodies]
    assert len(set(names)) == len(names)
    assert not any(CONFIG_MAPS.plural in rule["resources"] for rule in rbac.writer_rules(service()))
