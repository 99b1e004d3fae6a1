# SPDX-License-Identifier: Apache-2.0
"""What others damage is mended: lost pods at the version of their slot, and our fields where somebody edited them."""

import pytest
from api.harness.kube import path
from api.harness.space import REVISION, SERVICE, SLOT, Space, service
from api.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")


def place(pod: dict[str, object]) -> tuple[str, str]:
    labels = pod["metadata"]["labels"]  # type: ignore[index]
    return labels[REVISION], labels[SLOT]


def test_a_deleted_pod_comes_back_in_its_slot(space: Space) -> None:
    """`kubectl delete pod`: the same slot, the same revision, another pod; phase Run all the while."""
    space.create(service("shop", replicas=3))
    space.converged("shop")
    victim = space.pods("shop")[1]
    with space.kube.watch("managedservices", space.name) as services:
        space.plane.kubectl("delete", "pod", "-n", space.name, victim["metadata"]["name"])
        until(lambda: victim["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in space.pods("shop")}, "it is gone")
        space.converged("shop")
        services.settle()
    assert sorted(place(pod)[1] for pod in space.pods("shop")) == ["0", "1", "2"]
    assert place(victim) in [place(pod) for pod in space.pods("shop")]
    assert {state["status"]["phase"] for state in services.states()} == {"Run"}, "repair is not a change of phase"


def test_a_failed_pod_is_replaced(space: Space) -> None:
    """A pod that ran and failed is replaced; its remains are cleared away when the slot serves again."""
    space.create(service("shop", replicas=2))
    space.converged("shop")
    victim = space.pods("shop")[0]
    space.kube.patch("pods", space.name, victim["metadata"]["name"], {"status": {"phase": "Failed", "reason": "Evicted"}}, sub="status")

    def replaced() -> bool:
        return victim["metadata"]["uid"] not in space.serving("shop") and len(space.serving("shop")) == 2

    until(replaced, "another pod serves in its place", seconds=40, seen=lambda: space.show("shop"))
    until(lambda: len(space.pods("shop")) == 2, "the failed one is cleared away")
    assert place(victim) in [place(pod) for pod in space.pods("shop")]


def test_an_evicted_pod_is_replaced_and_the_budget_holds(space: Space) -> None:
    """The eviction API (a node drain): one at a time as the budget says, and each is replaced."""
    space.create(service("shop", replicas=3, criticality="Vital"))
    space.converged("shop")

    def allowed() -> bool:
        budget = space.kube.get("poddisruptionbudgets", space.name, "shop")
        return bool(budget.get("status", {}).get("disruptionsAllowed") == 1)

    until(allowed, "the budget allows one", seen=lambda: space.kube.get("poddisruptionbudgets", space.name, "shop"))
    victim = space.pods("shop")[0]["metadata"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": victim["name"], "namespace": space.name}}
    space.kube.call("post", path("pods", space.name, victim["name"], "eviction"), eviction)
    until(lambda: victim["uid"] not in {pod["metadata"]["uid"] for pod in space.pods("shop")}, "the evicted pod is gone")
    space.converged("shop")


@pytest.mark.parametrize("label", [SERVICE, REVISION, SLOT])
def test_an_edited_label_is_restored(space: Space, label: str) -> None:
    """A label of ours changed or removed by hand: restored on the same pod, and no second pod takes its place."""
    space.create(service("shop", replicas=2))
    space.converged("shop")
    victim = space.pods("shop")[0]["metadata"]
    uids = {pod["metadata"]["uid"] for pod in space.pods("shop")}
    for value in ("edited", None) if label != SERVICE else (None,):
        space.kube.patch("pods", space.name, victim["name"], {"metadata": {"labels": {label: value}}})
        until(lambda: space.kube.get("pods", space.name, victim["name"])["metadata"]["labels"].get(label) == victim["labels"][label], f"{label} is restored")
    space.converged("shop")
    assert uids == {pod["metadata"]["uid"] for pod in space.kube.list("pods", space.name)}


def test_a_removed_owner_is_restored(space: Space) -> None:
    """Without its owner a pod would be left behind at the end."""
    item = space.create(service("shop", replicas=1))
    space.converged("shop")
    pod = space.pods("shop")[0]["metadata"]
    space.kube.patch("pods", space.name, pod["name"], {"metadata": {"ownerReferences": None}})

    def owner() -> list[str]:
        return [each["uid"] for each in space.kube.get("pods", space.name, pod["name"])["metadata"].get("ownerReferences", ())]

    until(lambda: owner() == [item["metadata"]["uid"]], "the owner is restored", seen=owner)
    assert [each["metadata"]["uid"] for each in space.pods("shop")] == [pod["uid"]]


def test_an_edited_service_is_restored(space: Space) -> None:
    """Selector, ports and labels of the Service are ours; what others add beside them stays."""
    space.create(service("shop", replicas=1))
    space.converged("shop")
    edit = {"metadata": {"annotations": {"other": "kept"}}, "spec": {"selector": {"app": "other"}, "ports": [{"name": "x", "port": 81, "targetPort": 9}]}}
    space.kube.patch("services", space.name, "shop", edit)

    def restored() -> bool:
        spec = space.kube.get("services", space.name, "shop")["spec"]
        return spec["selector"] == {SERVICE: "shop"} and [(p["name"], p["port"], p["targetPort"]) for p in spec["ports"]] == [("http", 80, 8080)]

    until(restored, "selector and ports are restored", seen=lambda: space.kube.get("services", space.name, "shop")["spec"])
    assert space.kube.get("services", space.name, "shop")["metadata"]["annotations"]["other"] == "kept"
    space.converged("shop")


def test_an_edited_budget_is_restored(space: Space) -> None:
    """The disruption budget follows from criticality, whoever edits it; a change of criticality changes it."""
    space.create(service("shop", replicas=1))
    space.converged("shop")

    def most() -> object:
        return space.kube.get("poddisruptionbudgets", space.name, "shop")["spec"]["maxUnavailable"]

    space.kube.patch("poddisruptionbudgets", space.name, "shop", {"spec": {"maxUnavailable": 0}})
    until(lambda: most() == "25%", "the budget is restored", seen=most)
    space.patch("shop", {"spec": {"criticality": "Vital"}})
    until(lambda: most() == 1, "the budget of a vital service", seen=most)


def test_a_service_without_our_label_is_restored(space: Space) -> None:
    """The Service loses the label by which we find it: found again by its name, and taken back."""
    space.create(service("shop", replicas=1))
    space.converged("shop")
    space.kube.patch("services", space.name, "shop", {"metadata": {"labels": {SERVICE: None}}})
    until(
        lambda: space.kube.get("services", space.name, "shop")["metadata"]["labels"].get(SERVICE) == "shop",
        "the label is restored",
        seen=lambda: space.show("shop"),
    )
    space.converged("shop")


@pytest.mark.parametrize("kind", ["services", "poddisruptionbudgets"])
def test_a_deleted_companion_comes_back(space: Space, kind: str) -> None:
    """The Service or the budget deleted by hand is made again."""
    space.create(service("shop", replicas=1))
    space.converged("shop")
    uid = space.kube.get(kind, space.name, "shop")["metadata"]["uid"]
    space.kube.delete(kind, space.name, "shop")
    until(lambda: (found := space.kube.find(kind, space.name, "shop")) and found["metadata"]["uid"] != uid, f"{kind} come back")
    space.converged("shop")


def test_a_removed_finalizer_is_restored(space: Space) -> None:
    """Without it a deletion would not drain."""
    space.create(service("shop", replicas=1))
    space.converged("shop")
    space.patch("shop", {"metadata": {"finalizers": None}})
    space.until("shop", lambda item: item["metadata"].get("finalizers") == ["drover.dev/drain"], "the finalizer is back")


def test_new_ports_reach_the_service(space: Space) -> None:
    """A port added to the spec appears in the Service, and no pod is touched for it."""
    space.create(service("shop", replicas=1))
    space.converged("shop")
    uids = [pod["metadata"]["uid"] for pod in space.pods("shop")]
    space.patch("shop", {"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81, "targetPort": 8080}]}})
    until(lambda: [port["name"] for port in space.kube.get("services", space.name, "shop")["spec"]["ports"]] == ["http", "admin"], "the port is there")
    space.converged("shop")
    assert uids == [pod["metadata"]["uid"] for pod in space.pods("shop")]


def test_the_service_of_a_service_without_ports_goes(space: Space) -> None:
    """What is declared no more is not left behind, and its pods are not touched."""
    space.create(service("shop", replicas=2))
    space.converged("shop")
    pods = {pod["metadata"]["uid"] for pod in space.pods("shop")}
    space.patch("shop", {"spec": {"ports": []}})
    until(lambda: not space.kube.list("services", space.name), "the Service is gone")
    space.converged("shop")
    assert {pod["metadata"]["uid"] for pod in space.pods("shop")} == pods
