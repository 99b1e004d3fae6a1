# SPDX-License-Identifier: Apache-2.0
"""Trouble that comes from manifests and from other people's objects: told in words that help, and nothing that serves is harmed."""

import time
from typing import Any

import pytest
from api.harness.kube import Body, Refused
from api.harness.space import SERVICE, Space, condition, history, image, is_true, live, service
from api.harness.waiting import never, until

from drover_controllers.service import naming

pytestmark = pytest.mark.usefixtures("operator")

BAD_TEMPLATES: list[tuple[str, Body, str]] = [
    ("quantity", {"containers": [{"name": "app", "image": "a:2", "resources": {"limits": {"memory": "lots"}}}]}, "quantities must match"),
    ("unknown field", {"containers": [{"name": "app", "image": "a:2", "imagePolicy": "Always"}]}, 'unknown field "spec.containers[0].imagePolicy"'),
    (
        "missing volume",
        {"containers": [{"name": "app", "image": "a:2", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]},
        'volumeMounts[0].name: Not found: "data"',
    ),
]


@pytest.mark.parametrize(("spec", "words"), [case[1:] for case in BAD_TEMPLATES], ids=[case[0] for case in BAD_TEMPLATES])
def test_an_invalid_template_touches_nothing(space: Space, spec: Body, words: str) -> None:
    """Stalled with the server's own words; the old pods go on untouched; the corrected template rolls out."""
    space.create(service("shop", replicas=2))
    space.converged("shop")
    uids = {pod["metadata"]["uid"] for pod in space.pods("shop")}
    with space.kube.watch("pods", space.name) as pods:
        space.patch("shop", {"spec": {"template": {"spec": spec}}})
        item = space.stalled("shop", "InvalidTemplate")
        pods.settle()
    assert words in condition(item, "Stalled")["message"]
    assert uids == {change.item["metadata"]["uid"] for change in pods.changes} == space.serving("shop"), "no pod was made or taken down"
    assert item["status"]["ready"] == "2/2" and item["status"]["version"] == "1" and item["status"]["summary"] == "InvalidTemplate"
    space.patch("shop", image("registry.example/app:3"))
    item = space.converged("shop")
    assert item["status"]["version"] == "3" and not is_true(item, "Stalled")


def test_an_invalid_template_from_the_start(space: Space) -> None:
    """A new service that cannot run: Failed, needs a person; corrected, it comes up along the table of phases."""
    body = service("shop", replicas=1)
    body["spec"]["template"]["spec"] = BAD_TEMPLATES[0][1]
    space.create(body)
    item = space.phase("shop", "Failed")
    assert is_true(item, "NeedsHuman") and "quantities must match" in condition(item, "Stalled")["message"]
    assert not space.pods("shop")
    space.patch("shop", image("registry.example/app:1"))
    item = space.converged("shop")
    assert ("Failed", "Provision") in history(item) and history(item)[-1] == ("Ready", "Run")


def test_a_stalled_service_stays_so_when_the_operator_changes(space: Space, crew: Any) -> None:
    """Another process does not know the refusal: it finds it again, and tells nobody meanwhile that all is well or under way."""
    space.create(service("shop", replicas=1))
    space.converged("shop")
    space.patch("shop", {"spec": {"template": {"spec": BAD_TEMPLATES[0][1]}}})
    before = space.stalled("shop", "InvalidTemplate")
    until(lambda: space.get("shop")["status"]["plan"] is not None, "the status is whole")
    with space.kube.watch("managedservices", space.name) as services:
        crew.stop()
        crew.one()
        until(lambda: any(each.dry and each.namespace == space.name for each in space.plane.audit.since()), "the template is tried")
        never(lambda: space.get("shop")["status"]["phase"] != "Run", "the phase changed", seconds=1.5)
        space.stalled("shop", "InvalidTemplate")
        services.settle()
    shown = [(state["status"]["phase"], condition(state, "Stalled")["status"]) for state in services.states()]
    assert set(shown) == {("Run", "True")}, shown
    assert history(space.get("shop")) == history(before)


def test_quota_is_waited_for(space: Space) -> None:
    """A quota is no fault of the template: not Stalled, the refusal is told, and it goes on as soon as there is room."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}}
    space.kube.create("resourcequotas", space.name, quota)
    until(lambda: space.kube.get("resourcequotas", space.name, "few").get("status", {}).get("hard"), "the quota counts")
    space.create(service("shop", replicas=3))
    item = space.until("shop", lambda each: condition(each, "Reconciling").get("reason") == "Refused", "the refusal is told")
    assert "exceeded quota: few" in condition(item, "Reconciling")["message"] and not is_true(item, "Stalled")
    space.kube.patch("resourcequotas", space.name, "few", {"spec": {"hard": {"pods": "5"}}})
    space.converged("shop", seconds=60)


def stray_service(name: str, owner: list[Body] | None = None) -> Body:
    meta = {"name": name, "labels": {"whose": "theirs"}, **({"ownerReferences": owner} if owner else {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 9999}]}}


def test_an_unowned_service_is_left_alone_until_adopted(space: Space) -> None:
    """A Service of that name is somebody's: NameConflict, not a byte changed; with adopt it is taken over, its address kept."""
    theirs = space.kube.create("services", space.name, stray_service("shop"))
    space.create(service("shop", replicas=1))
    item = space.stalled("shop", "NameConflict")
    assert "Service 'shop' exists" in condition(item, "Stalled")["message"] and item["status"]["summary"] == "NameConflict"
    assert space.kube.get("services", space.name, "shop")["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]
    space.patch("shop", {"spec": {"adopt": True}})
    space.converged("shop")
    ours = space.kube.get("services", space.name, "shop")
    assert ours["metadata"]["uid"] == theirs["metadata"]["uid"] and ours["spec"]["clusterIP"] == theirs["spec"]["clusterIP"]
    assert ours["spec"]["selector"] == {SERVICE: "shop"} and ours["metadata"]["labels"]["whose"] == "theirs"
    assert [each["port"] for each in ours["spec"]["ports"]] == [80]


def test_a_service_of_another_controller_is_never_adopted(space: Space) -> None:
    """adopt takes only what nobody controls."""
    owner = space.kube.create("configmaps", space.name, {"metadata": {"name": "owner"}})
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"], "controller": True}
    theirs = space.kube.create("services", space.name, stray_service("shop", [reference]))
    space.create(service("shop", replicas=1, adopt=True))
    item = space.stalled("shop", "NameConflict")
    assert "controlled by another owner" in condition(item, "Stalled")["message"]
    assert space.kube.get("services", space.name, "shop")["metadata"]["resourceVersion"] == theirs["metadata"]["resourceVersion"]


def test_a_pod_in_the_way(space: Space) -> None:
    """Somebody's pod has the name of one of ours: it is left alone, the others serve, and other services do not notice."""
    space.create(service("shop", replicas=0))
    revision = space.converged("shop")["status"]["targetRevision"]
    name = naming.pod_name(revision, 1, "")
    stray = space.kube.create("pods", space.name, {"metadata": {"name": name}, "spec": {"containers": [{"name": "x", "image": "theirs"}]}})
    space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=3")
    item = space.stalled("shop", "NameConflict")
    assert name in condition(item, "Stalled")["message"]
    space.create(service("other", replicas=1))
    space.converged("other")
    until(lambda: len(space.serving("shop")) == 2, "the others serve", seen=lambda: space.show("shop"))
    there = space.kube.get("pods", space.name, name)["metadata"]
    assert there["uid"] == stray["metadata"]["uid"] and not there.get("ownerReferences") and SERVICE not in there.get("labels", {})


def test_a_namespace_goes_away_with_services_in_it(space: Space) -> None:
    """`kubectl delete namespace`: services drain, finalizers go, and the namespace ends."""
    kube, name = space.kube, f"{space.name}-2"
    kube.call("post", "/api/v1/namespaces", {"metadata": {"name": name}})
    inside = Space(space.plane, name)
    inside.create(service("one", replicas=2))
    inside.create(service("two", replicas=1, annotations={"drover.dev/simulate": "never-ready"}))
    inside.converged("one")
    started = time.monotonic()
    kube.call("delete", f"/api/v1/namespaces/{name}")

    def gone() -> bool:
        try:
            return not kube.call("get", f"/api/v1/namespaces/{name}")
        except Refused as error:
            return error.code == 404

    until(gone, "the namespace is gone", seconds=60, seen=lambda: kube.call("get", f"/api/v1/namespaces/{name}"))
    assert time.monotonic() - started < 45


def test_pods_that_fail_at_once_are_not_made_without_end(space: Space) -> None:
    """A program that ends with an error at once: pods are made with growing pauses, not as fast as the server can."""
    with space.kube.watch("pods", space.name) as pods:
        space.create(service("shop", replicas=1, annotations={"drover.dev/simulate": "fail"}))
        space.until("shop", lambda item: item.get("status", {}).get("counts", {}).get("lost", 0) >= 1, "one was lost")
        never(lambda: len({change.item["metadata"]["uid"] for change in pods.changes}) > 2, "too many pods were made", seconds=5)
    assert not [pod for pod in space.pods("shop") if live(pod)] or len(space.pods("shop")) <= 3


def test_a_status_wiped_by_hand_is_written_again(space: Space) -> None:
    """Status lost (a restore without status, a careless tool): rebuilt from what runs, and no pod is touched."""
    space.create(service("shop", replicas=2))
    before = space.converged("shop")
    uids = {pod["metadata"]["uid"] for pod in space.pods("shop")}
    space.kube.patch("managedservices", space.name, "shop", [{"op": "remove", "path": "/status"}], sub="status", content="application/json-patch+json")
    space.until("shop", lambda item: item.get("status", {}).get("phase") == "Run", "the status is back")
    item = space.converged("shop")
    assert item["status"]["currentRevision"] == before["status"]["currentRevision"]
    assert uids == {pod["metadata"]["uid"] for pod in space.pods("shop")}
