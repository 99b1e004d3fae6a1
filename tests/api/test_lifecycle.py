# SPDX-License-Identifier: Apache-2.0
"""A service from its creation to Run, as a person, a program and an auditor see it."""

from itertools import pairwise

import pytest
from api.harness.kstatus import kstatus
from api.harness.space import REVISION, SERVICE, Space, condition, history, is_true, service
from api.harness.waiting import until

from drover_controllers.service.lifecycle import EDGES

pytestmark = pytest.mark.usefixtures("operator")


def is_path(steps: list[tuple[str | None, str]]) -> bool:
    """Whether the changes of phase follow each other, and each is an edge of the table."""
    joined = all(before[1] == after[0] for before, after in pairwise(steps))
    return joined and all(to in EDGES[source] for source, to in steps)  # type: ignore[index]


def test_from_creation_to_run(space: Space) -> None:
    """Phases along the table; Service, budget, revision and discovery are there; the status says what is so."""
    with space.kube.watch("managedservices", space.name) as seen:
        space.create(service("shop", replicas=3))
        item = space.converged("shop")
        seen.settle()
    status = item["status"]
    assert is_path(history(item)) and history(item)[0] == (None, "Provision") and history(item)[-1][1] == "Run", history(item)
    shown = [each["status"]["phase"] for each in seen.states() if each.get("status", {}).get("phase")]
    told = [to for _, to in history(item)]
    assert [phase for phase in told if phase in shown] == list(dict.fromkeys(shown)), f"shown {shown}, told {told}"
    assert (status["ready"], status["upToDate"], status["replicas"], status["version"], status["summary"]) == ("3/3", "3/3", 3, "1", "Healthy")
    assert status["selector"] == f"{SERVICE}=shop"
    assert status["counts"]["inService"] == 3 and len(status["instances"]) == 3
    assert {each["identity"].split(":")[0] for each in status["instances"]} == {pod["status"]["podIP"] for pod in space.pods("shop")}
    assert status["observedGeneration"] == item["metadata"]["generation"] == 1
    assert {each["observedGeneration"] for each in status["conditions"]} == {1}
    assert is_true(item, "Ready") and is_true(item, "Available") and not is_true(item, "Stalled")

    uid = item["metadata"]["uid"]
    for plural, name in (("services", "shop"), ("poddisruptionbudgets", "shop"), ("controllerrevisions", status["currentRevision"])):
        owner = space.kube.get(plural, space.name, name)["metadata"]["ownerReferences"]
        assert [(each["uid"], each["controller"], each["blockOwnerDeletion"]) for each in owner] == [(uid, True, False)], plural
    assert space.serving("shop") == {pod["metadata"]["uid"] for pod in space.pods("shop")}


def test_every_change_of_phase_is_an_event(space: Space) -> None:
    """Provision, Ready and Run each leave an Event about the service, and so does a scaling."""
    space.create(service("shop", replicas=1))
    item = space.converged("shop")
    uid = item["metadata"]["uid"]

    def reasons() -> set[str]:
        events = space.kube.list("events", space.name)
        return {each["reason"] for each in events if each["regarding"].get("uid") == uid and each["reportingController"].startswith("drover")}

    until(lambda: {to for _, to in history(item)} <= reasons(), "an Event for each phase", seen=reasons)
    shown = space.plane.kubectl("describe", "-n", space.name, "msvc/shop")
    assert "Provision -> Ready" in shown, "kubectl describe shows the Events"


def test_kstatus_never_calls_it_current_too_early(space: Space) -> None:
    """kubectl wait, Flux and Argo CD judge by kstatus: through creation, update and scaling, Current means converged, at every moment."""
    with space.kube.watch("managedservices", space.name) as services, space.kube.watch("pods", space.name) as pods:
        space.create(service("shop", replicas=2))
        space.converged("shop")
        space.patch("shop", {"spec": service("shop", "registry.example/app:2", replicas=2)["spec"]})
        space.converged("shop")
        space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=4")
        space.converged("shop")
        services.settle(), pods.settle()
    early: list[str] = []
    for state in services.states():
        if kstatus(state) != "Current":
            continue
        status, spec = state.get("status", {}), state["spec"]
        wanted = spec["template"]["spec"]["containers"][0]["image"].rpartition(":")[2]
        whole = status.get("ready") == status.get("upToDate") == f"{spec['replicas']}/{spec['replicas']}"
        if status.get("phase") != "Run" or not whole or status.get("version") != wanted:
            early.append(f"version {state['metadata']['resourceVersion']}: {status.get('phase')} {status.get('ready')} {status.get('version')} of {wanted}")
    assert not early, early


def test_conditions_of_a_service_that_cannot_start_are_not_current(space: Space) -> None:
    """Pods that never become ready: reconciling, not ready, and the instance says why."""
    space.create(service("shop", replicas=1, annotations={"drover.dev/simulate": "never-ready"}))
    item = space.until("shop", lambda each: each.get("status", {}).get("phase") == "Ready", "phase Ready: started, not healthy")
    assert kstatus(item) == "InProgress" and condition(item, "Available")["status"] == "False"
    item = space.until("shop", lambda each: each["status"]["instances"] and each["status"]["instances"][0]["reason"], "the instance has a reason")
    assert item["status"]["instances"][0]["reason"] == "CrashLoopBackOff"


def test_labels_of_pods_tell_service_revision_and_slot(space: Space) -> None:
    """What a person selects by; and the user's own labels and annotations are there too."""
    body = service("shop", replicas=2)
    body["spec"]["template"]["metadata"] = {"labels": {"team": "web"}, "annotations": {"note": "mine"}}
    space.create(body)
    item = space.converged("shop")
    for pod in space.pods("shop"):
        labels = pod["metadata"]["labels"]
        assert labels[SERVICE] == "shop" and labels["team"] == "web" and pod["metadata"]["annotations"]["note"] == "mine"
        assert labels[REVISION] == item["status"]["currentRevision"]
        assert pod["spec"]["priorityClassName"] == "drover-normal" and pod["spec"]["priority"] == 10000
