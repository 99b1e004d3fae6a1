# SPDX-License-Identifier: Apache-2.0
"""A new release of the operator rolls nothing: pods are rebuilt as their revision was built."""

from api.conftest import Crew
from api.harness.plane import ROOT
from api.harness.space import Space, image, service
from api.harness.waiting import until

from drover_controllers.service.build import CURRENT_BUILDER

NEWER = str(ROOT / "tests/api/harness/newer_operator.py")
MARK = "drover.dev/built-by"


def test_an_upgrade_of_the_builder_writes_no_pod(space: Space, alone: Crew) -> None:
    """A newer builder comes into office: 0 writes to what is there, lost pods come back as the older one made them, a new revision is of the newer one."""
    alone.one()
    space.create(service("shop", replicas=3))
    space.create(service("other", replicas=2))
    space.converged("shop"), space.converged("other")
    space.until("shop", lambda item: not item["status"]["plan"], "all is told")
    alone.stop()
    mark = space.plane.audit.mark()
    newer = alone.start(NEWER).leads()
    until(lambda: newer.metrics().get('controller_runtime_reconcile_total{controller="service",result="success"}', 0) >= 2, "it has looked at both")
    own = [str(each) for each in space.plane.audit.since(mark, space.name) if each.writes]
    assert own == [], "an upgrade writes nothing"

    space.kube.delete("pods", space.name, space.pods("shop")[0]["metadata"]["name"])
    until(lambda: len(space.serving("shop")) == 3 and len(space.pods("shop")) == 3, "the lost pod is replaced")
    assert not any(MARK in pod["metadata"]["annotations"] for pod in space.pods("shop")), "the replacement is as its revision was built"

    space.patch("shop", image("registry.example/app:2"))
    space.converged("shop")
    until(lambda: len(space.pods("shop")) == 3, "the old ones have ended")
    assert all(pod["metadata"]["annotations"].get(MARK) == str(CURRENT_BUILDER + 1) for pod in space.pods("shop"))
    assert [each["metadata"]["annotations"]["drover.dev/builder"] for each in space.revisions("shop")] == [str(CURRENT_BUILDER), str(CURRENT_BUILDER + 1)]
    alone.stop()
