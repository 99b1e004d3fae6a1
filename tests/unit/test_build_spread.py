# SPDX-License-Identifier: Apache-2.0
"""Whose pods say themselves how they are spread: the important ones, and those that no Service selects for the scheduler's defaults."""

import msgspec
import pytest

from drover_controllers.service import build
from drover_controllers.service.gather import wanted_revision
from drover_operator.api.managedservice import ManagedService

PORTS = [{"name": "http", "port": 80}]
OWN = [{"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}]
BOTH = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
ROWS = [
    ("an important one", "Vital", PORTS, {}, BOTH),
    ("another", "Important", PORTS, {}, BOTH),
    ("the scheduler's defaults will do: each constraint is paid for with every write of the pod", "Normal", PORTS, {}, []),
    ("the same", "Expendable", PORTS, {}, []),
    ("without a Service the scheduler has no defaults for it", "Normal", [], {}, BOTH),
    ("what the user says stands", "Vital", PORTS, {"topologySpreadConstraints": OWN}, ["rack"]),
]


@pytest.mark.parametrize(("why", "criticality", "ports", "more", "keys"), ROWS)
def test_spread(why: str, criticality: str, ports: list[object], more: dict[str, object], keys: list[str]) -> None:
    spec = {"criticality": criticality, "ports": ports, "template": {"spec": {"containers": [{"name": "server", "image": "app:1"}], **more}}}
    wire = {"metadata": {"name": "web", "namespace": "shop", "uid": "u"}, "spec": spec}
    service = msgspec.json.decode(msgspec.json.encode(wire), type=ManagedService)
    pod = build.pod(service, wanted_revision(service.spec, "web"), 0, "")
    assert [each["topologyKey"] for each in pod["spec"].get("topologySpreadConstraints", [])] == keys, why
