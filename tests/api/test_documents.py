# SPDX-License-Identifier: Apache-2.0
"""What the documents and samples show is accepted by a real API server."""

import re
from pathlib import Path

import pytest
import yaml
from api.harness.operators import Operator
from api.harness.space import Space
from api.harness.waiting import until

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPETS = [(path.relative_to(ROOT).as_posix(), text) for path in DOCUMENTS for text in BLOCK.findall(path.read_text()) if "apiVersion: drover.dev/" in text]


@pytest.mark.parametrize(("where", "text"), SNIPPETS, ids=[str(i) for i in range(len(SNIPPETS))])
def test_document_is_accepted(space: Space, where: str, text: str):
    answer = space.plane.kubectl("apply", "-n", space.name, "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert "(server dry run)" in answer, where


def test_samples_are_applied_and_run(space: Space, operator: Operator):
    space.plane.kubectl("apply", "-n", space.name, "-f", str(ROOT / "manifests/samples"))
    for name in ("minimal", "full", "sample-bluegreen", "sample-gates", "sample-router"):
        space.converged(name)
    listed = space.plane.kubectl("get", "drover", "-n", space.name)
    assert "minimal" in listed and "full" in listed


def test_the_shop_is_accepted(space: Space):
    shop = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "manifests/samples/shop").glob("*.yaml"))]
    services = [each for each in shop if each["kind"] == "ManagedService"]
    assert len(services) == 12
    space.plane.kubectl("label", "namespace", space.name, "drover.dev/environment=Production")
    text = yaml.safe_dump_all([{**each, "metadata": {"name": each["metadata"]["name"]}} for each in services])
    answer = space.plane.kubectl("apply", "-n", space.name, "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert answer.count("(server dry run)") == 12


def test_production_asks_for_a_test_of_the_main_flow(space: Space):
    """Whether or not the service says so itself; one that is older than the label can still be paused, scaled and labelled, and not rolled out."""
    body = "apiVersion: drover.dev/v1alpha1\nkind: ManagedService\nmetadata: {{name: {name}}}\nspec: {{criticality: Normal, replicas: 0, rollout: {rollout}, template: {{spec: {{containers: [{{name: a, image: {image}}}]}}}}}}\n"
    waived = "{mainFlowTest: {waived: a table}}"

    def applied(name: str, rollout: str, *options: str, image: str = "b", ok: bool = True) -> str:
        return space.plane.kubectl("apply", "-n", space.name, *options, "-f", "-", stdin=body.format(name=name, rollout=rollout, image=image), ok=ok)

    applied("older", "{type: Recreate}")
    space.plane.kubectl("label", "namespace", space.name, "drover.dev/environment=Production")
    until(lambda: "spec.rollout.mainFlowTest.waived" in applied("new", "{}", "--dry-run=server", ok=False), "the label is known")
    assert "drover.dev/environment=Production" in applied("new", "{}", "--dry-run=server", ok=False)
    assert "spec.rollout.recreate.acknowledge" in applied("new", "{type: Recreate, mainFlowTest: {waived: a table}}", "--dry-run=server", ok=False)
    assert "created" in applied("new", waived)
    assert "configured" in applied("new", waived, image="c")
    space.plane.kubectl("label", "msvc/older", "-n", space.name, "a=b")
    for change in ('{"spec": {"paused": true}}', '{"spec": {"replicas": 1}}'):
        space.plane.kubectl("patch", "msvc/older", "-n", space.name, "--type=merge", "-p", change)
    assert "spec.rollout.mainFlowTest.waived" in applied("older", "{type: Recreate}", image="c", ok=False)


def test_environment_must_be_that_of_the_namespace(space: Space):
    body = "apiVersion: drover.dev/v1alpha1\nkind: ManagedService\nmetadata: {name: x}\nspec: {criticality: Normal, environment: Test, template: {spec: {containers: [{name: a, image: b}]}}}\n"
    answer = space.plane.kubectl("apply", "-n", space.name, "-f", "-", stdin=body, ok=False)
    assert "spec.environment is Test" in answer and "is not set" in answer
