# SPDX-License-Identifier: Apache-2.0
"""What the documents and samples show is accepted by a real API server."""

import re
from pathlib import Path

import pytest
import yaml
from api.harness.operators import Operator
from api.harness.space import Space

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPETS = [(path.relative_to(ROOT).as_posix(), text) for path in DOCUMENTS for text in BLOCK.findall(path.read_text()) if "kind: ManagedService" in text]


@pytest.mark.parametrize(("where", "text"), SNIPPETS, ids=[str(i) for i in range(len(SNIPPETS))])
def test_document_is_accepted(space: Space, where: str, text: str):
    answer = space.plane.kubectl("apply", "-n", space.name, "--dry-run=server", "--validate=strict", "-f", "-", stdin=text)
    assert "(server dry run)" in answer, where


def test_samples_are_applied_and_run(space: Space, operator: Operator):
    space.plane.kubectl("apply", "-n", space.name, "-f", str(ROOT / "manifests/samples"))
    for name in ("minimal", "full"):
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


def test_environment_must_be_that_of_the_namespace(space: Space):
    body = "apiVersion: drover.dev/v1alpha1\nkind: ManagedService\nmetadata: {name: x}\nspec: {criticality: Normal, environment: Test, template: {spec: {containers: [{name: a, image: b}]}}}\n"
    answer = space.plane.kubectl("apply", "-n", space.name, "-f", "-", stdin=body, ok=False)
    assert "spec.environment is Test" in answer and "is not set" in answer
