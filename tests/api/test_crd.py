# SPDX-License-Identifier: Apache-2.0
"""What kubectl shows of the kind: names, columns, explanations; and the samples that people start from."""

import json

import pytest
import yaml
from api.harness.plane import ROOT, Plane
from api.harness.space import Space, service

pytestmark = pytest.mark.usefixtures("operator")
SAMPLES = ROOT / "manifests/samples"


def columns(line: str) -> list[str]:
    return line.split()


def test_columns_answer_the_inventory_questions(space: Space) -> None:
    """What runs, at which version, in which state: in `kubectl get`, by short name and by category."""
    space.create(service("shop", "registry.example/app:2.7", replicas=2))
    space.converged("shop")
    kubectl = space.plane.kubectl
    head, row = kubectl("get", "msvc", "-n", space.name).splitlines()
    assert columns(head) == ["NAME", "PHASE", "READY", "UP-TO-DATE", "VERSION", "STATUS", "AGE"]
    assert columns(row)[:6] == ["shop", "Run", "2/2", "2/2", "2.7", "Healthy"]
    head, row = kubectl("get", "msvc", "-n", space.name, "-o", "wide").splitlines()
    assert columns(head) == ["NAME", "PHASE", "READY", "UP-TO-DATE", "VERSION", "STATUS", "STEP", "WEIGHT", "CRITICALITY", "REVISION", "TARGET", "AGE"]
    weight, criticality, revision, target = columns(row)[6:10]  # no step: the cell is blank
    assert (weight, criticality) == ("100", "Normal")
    assert revision == target and revision.startswith("shop-")
    everything = kubectl("get", "drover", "-A")
    found = [columns(line)[1] for line in everything.splitlines() if columns(line)[:1] == [space.name] and columns(line)[2] == "Run"]
    assert [name.removeprefix("managedservice.drover.dev/") for name in found] == ["shop"], "kubectl names the kind where gates are listed as well"


def test_get_by_phase_and_criticality(space: Space) -> None:
    """Fields that people filter by are selectable on the server."""
    space.create(service("one", replicas=1))
    space.create(service("none", replicas=1, criticality="Vital", annotations={"drover.dev/simulate": "never-ready"}))
    space.converged("one")
    space.until("none", lambda item: item.get("status", {}).get("phase") == "Ready", "phase Ready")
    names = {"status.phase=Run": "one", "status.phase=Ready": "none", "spec.criticality=Vital": "none"}
    for selector, name in names.items():
        assert space.plane.kubectl("get", "msvc", "-n", space.name, "--field-selector", selector, "-o", "name").split() == [f"managedservice.drover.dev/{name}"]


def test_explain_tells_every_field(plane: Plane) -> None:
    """`kubectl explain` is the manual that everybody has at hand."""
    text = plane.kubectl("explain", "msvc.spec.rollout")
    assert "progressDeadline" in text and "rolling" in text and "DESCRIPTION" in text
    schema = json.loads(plane.kubectl("get", "crd", "managedservices.drover.dev", "-o", "json"))["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    dark = [name for name in _undescribed(schema) if not name.startswith((".metadata", ".apiVersion", ".kind"))]
    assert not dark, f"without a description: {dark}"


def _undescribed(node: dict[str, object], where: str = "") -> list[str]:
    found: list[str] = []
    children = node.get("properties") or {}
    assert isinstance(children, dict)
    for name, child in children.items():
        if not child.get("description"):
            found.append(f"{where}.{name}")
        found += _undescribed(child, f"{where}.{name}")
        if isinstance(items := child.get("items"), dict):
            found += _undescribed(items, f"{where}.{name}[]")
    return found


def test_samples_apply_and_run(space: Space) -> None:
    """`kubectl apply -f manifests/samples/` is the first thing that a newcomer types."""
    space.plane.kubectl("apply", "-n", space.name, "-f", str(SAMPLES))
    for file in sorted(SAMPLES.glob("*.yaml")):
        for body in yaml.safe_load_all(file.read_text()):
            if body["kind"] == "ManagedService":
                space.converged(body["metadata"]["name"])
    space.plane.kubectl("apply", "-n", space.name, "-f", str(SAMPLES))
    assert {each["metadata"]["generation"] for each in space.kube.list("managedservices", space.name)} == {1}, "a second apply changes nothing"


def test_apply_again_changes_nothing(space: Space) -> None:
    """A manifest applied by server-side apply stays its author's: the operator owns no field of spec, so there is never a conflict."""
    text = yaml.safe_dump(service("shop", replicas=1))
    space.plane.kubectl("apply", "--server-side", "-n", space.name, "-f", "-", stdin=text)
    before = space.converged("shop")
    space.plane.kubectl("apply", "--server-side", "-n", space.name, "-f", "-", stdin=text)
    after = space.get("shop")
    assert before["metadata"]["generation"] == after["metadata"]["generation"] == 1
    for entry in after["metadata"]["managedFields"]:
        assert "f:spec" not in entry["fieldsV1"] or entry["manager"] != "drover", "spec is never written by us"
