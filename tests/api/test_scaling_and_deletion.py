# SPDX-License-Identifier: Apache-2.0
"""More, fewer, none: by kubectl, as a person does it."""

import pytest
from api.harness.kube import MERGE, path
from api.harness.space import GATE, SERVICE, Space, condition, history, replay, service, serving
from api.harness.waiting import until

pytestmark = pytest.mark.usefixtures("operator")


def test_scale_out_and_in(space: Space) -> None:
    """`kubectl scale` both ways; what leaves is out of discovery before it ends; what stays is never touched."""
    space.create(service("shop", replicas=2))
    space.converged("shop")
    first = {pod["metadata"]["uid"] for pod in space.pods("shop")}
    space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=5")
    item = space.converged("shop")
    assert history(item)[-2:] == [("Run", "Scale"), ("Scale", "Run")]
    scale = space.kube.call("get", path("managedservices", space.name, "shop", "scale"))
    assert (scale["spec"]["replicas"], scale["status"]["replicas"], scale["status"]["selector"]) == (5, 5, f"{SERVICE}=shop")
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=2")
        space.converged("shop")
        until(lambda: len(space.pods("shop")) == 2, "the others have ended")
        pods.settle(), slices.settle()
    assert first == {pod["metadata"]["uid"] for pod in space.pods("shop")}, "the highest slots leave first"
    for change, (_, now) in replay(pods, slices):
        item = change.item
        if item["kind"] == "Pod" and item["metadata"].get("deletionTimestamp"):
            assert item["metadata"]["uid"] not in serving(list(now.values())), "ended while still in discovery"
            assert condition(item, GATE)["status"] == "False"


def test_scale_to_none_and_back(space: Space) -> None:
    """0 is a number like any other: nothing runs, nothing is wrong, and 1 brings it back."""
    space.create(service("shop", replicas=1))
    space.converged("shop")
    space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=0")
    item = space.converged("shop")
    until(lambda: not space.pods("shop"), "no pod is left")
    assert (item["status"]["ready"], condition(item, "Ready")["reason"]) == ("0/0", "ScaledToZero")
    space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=1")
    assert space.converged("shop")["status"]["ready"] == "1/1"


def test_created_at_none(space: Space) -> None:
    """A service declared with 0 replicas is at its goal, through the same phases as any other."""
    space.create(service("shop", replicas=0))
    item = space.converged("shop")
    assert history(item)[-1] == ("Ready", "Run") and not space.pods("shop")
    space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=2")
    space.converged("shop")


def test_an_autoscaler_writes_the_scale(space: Space) -> None:
    """What a HorizontalPodAutoscaler does: a patch of the scale subresource, here outside of a person's manifest."""
    space.create(service("shop", replicas=1, scaling={"min": 1, "max": 3}))
    space.converged("shop")
    space.kube.call("patch", path("managedservices", space.name, "shop", "scale"), {"spec": {"replicas": 3}}, content=MERGE)
    assert space.converged("shop")["status"]["ready"] == "3/3"


def test_delete_drains_and_leaves_nothing(space: Space) -> None:
    """`kubectl delete`: phase Destroy, out of discovery, ended, our finalizer last, and nothing with our label left."""
    space.create(service("shop", replicas=3))
    space.converged("shop")
    with space.kube.watch("managedservices", space.name) as services, space.kube.watch("pods", space.name) as pods:
        said = space.plane.kubectl("delete", "-n", space.name, "msvc/shop", "--timeout=30s")
        assert "deleted" in said
        services.settle(), pods.settle()
    assert "Destroy" in [state["status"]["phase"] for state in services.states()]
    removed = next(change.version for change in services.changes if change.kind == "DELETED")
    last_pod = max(change.version for change in pods.changes if change.kind == "DELETED")
    assert last_pod < removed, "the service goes when its last pod is gone"
    for pod in pods.states():
        if pod["metadata"].get("deletionTimestamp"):
            assert condition(pod, GATE)["status"] == "False", "ended without leaving service first"
    kinds = ("pods", "services", "poddisruptionbudgets", "controllerrevisions", "endpointslices")

    def left() -> list[str]:
        return [f"{kind}/{each['metadata']['name']}" for kind in kinds for each in space.kube.list(kind, space.name, SERVICE)]

    until(lambda: not left(), "nothing with our label is left", seen=left)


def test_delete_in_mid_update(space: Space) -> None:
    """Deleted while it rolls, with pods that never come up: it goes all the same."""
    space.create(service("shop", replicas=2))
    space.converged("shop")
    space.patch("shop", {"spec": {"template": {"metadata": {"annotations": {"drover.dev/simulate": "never-ready"}}}}})
    space.phase("shop", "Update")
    space.kube.delete("managedservices", space.name, "shop")
    space.gone("shop")
    assert not space.pods("shop")


def test_delete_in_the_foreground(space: Space) -> None:
    """--cascade=foreground, as Argo CD deletes: it ends, and leaves nothing.

    The garbage collector may be faster than our drain here: it asks for the deletion of dependents as soon as the owner has its
    finalizer, and blockOwnerDeletion=false only keeps the owner from waiting for them. The preStop sleep drains these pods.
    """
    space.create(service("shop", replicas=2, restart={"settle": "1s", "drainTimeout": "10s"}))
    space.converged("shop")
    for pod in space.pods("shop"):
        assert pod["spec"]["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 1}}
    space.plane.kubectl("delete", "-n", space.name, "msvc/shop", "--cascade=foreground", "--timeout=30s")
    until(lambda: not space.pods("shop"), "no pod is left")


def test_delete_and_create_again(space: Space) -> None:
    """The same name, another service: nothing of the first is taken for the second's."""
    space.create(service("shop", replicas=2))
    before = space.converged("shop")
    space.kube.delete("managedservices", space.name, "shop")
    space.gone("shop")
    space.create(service("shop", replicas=2))
    after = space.converged("shop")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert {owner["uid"] for pod in space.pods("shop") for owner in pod["metadata"]["ownerReferences"]} == {after["metadata"]["uid"]}
