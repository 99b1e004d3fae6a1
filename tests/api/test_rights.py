# SPDX-License-Identifier: Apache-2.0
"""What the operator was allowed in the whole session: RBAC as generated is enough, and no more than is used."""

from pathlib import Path

import pytest
import yaml
from api.harness.plane import ROOT, WRITER, Plane


def test_nothing_was_forbidden(plane: Plane) -> None:
    """With the rights that are generated, the authorizer never said no to the operator's own processes."""
    # What tests/api/test_leadership.py sends with the operator's credentials is meant to be refused.
    blind = [each for each in plane.audit.since() if each.forbidden and "credentials-alone" not in each.namespace]
    refused = [each for each in blind if not any(begin <= each.at <= end for begin, end in plane.blind)]
    assert not refused, sorted({str(each) for each in refused})


def test_every_write_was_fenced(plane: Plane) -> None:
    """Only the Lease and its floor are written under the account's own name."""
    own = {(each.resource, each.namespace) for each in plane.audit.since() if each.writes and each.user != WRITER and each.code < 400}
    assert own <= {("leases", "drover-system"), ("configmaps", "drover-system")}, own


ELSEWHERE = {
    ("httproutes", "patch"): "needs Gateway API and a router: tests/real/test_delivery.py",
    ("jobs", "delete"): "a test that still runs when its rollout is over; fake nodes end every Job at once: tests/scenarios/test_gates.py",
}


def test_no_right_is_left_unused(plane: Plane, request: pytest.FixtureRequest) -> None:
    """Every verb of the writer's role was used somewhere in this tier: least privilege, seen from the other side."""
    here = Path(__file__).parent
    if {item.path for item in request.session.items if item.path.parent == here} != set(here.glob("test_*.py")) or request.config.option.keyword:
        pytest.skip("judges the whole tier, and a part of it was chosen")
    used = {(each.resource, each.verb) for each in plane.audit.since() if each.user == WRITER and not each.forbidden}
    granted = {
        (resource, verb)
        for body in yaml.safe_load_all((ROOT / "manifests/base/rbac.yaml").read_text())
        if body["kind"] == "ClusterRole" and body["metadata"]["name"] == "drover-operator-writer"
        for rule in body["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if not resource.endswith("/finalizers")  # asked by the garbage collector's admission, not by a request
    }
    unused = granted - used - set(ELSEWHERE)
    assert not unused, f"granted and never used: {sorted(unused)}"
