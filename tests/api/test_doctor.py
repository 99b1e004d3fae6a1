# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover doctor` on a real API server, which adds defaults of its own to everything, and takes what --fix applies."""

import json
import subprocess
import sys
from typing import Any

from api.harness.operators import Operator
from api.harness.plane import ROOT, Plane

BINDING = "validatingadmissionpolicybinding/drover-keep-leases"
FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/drover-leases"


def visit(plane: Plane, *words: str) -> dict[str, Any]:
    """What the doctor finds; `code` is its exit code."""
    command = [sys.executable, "-m", "drover_operator.cli.main", "doctor", f"--kubeconfig={plane.cluster.kubeconfig}", "-o", "json", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode in (0, 2), done.stderr
    return {**json.loads(done.stdout), "code": done.returncode}


def levels(found: dict[str, Any]) -> dict[str, set[str]]:
    """What each check came to."""
    told: dict[str, set[str]] = {}
    for each in found["findings"]:
        told.setdefault(each["check"], set()).add(each["level"])
    return told


def test_what_kubectl_has_applied_is_found_whole(plane: Plane, operator: Operator) -> None:
    """Every default that a server adds, and every right that the controllers use, by the server's own word."""
    found = levels(visit(plane))
    whole = ("api server", "clocks", "namespace", "definitions", "priorities", "rights", "your rights", "queues", "fence", "lease", "epochs")
    assert {check: found[check] for check in whole} == {check: {"ok"} for check in whole}


def test_what_is_missing_or_weakened_is_found_and_put_right(plane: Plane, operator: Operator) -> None:
    """Neither touches the operator that runs."""
    plane.kube.call("delete", FLOWS)
    plane.kubectl("patch", BINDING, "--type=merge", "-p", '{"spec":{"validationActions":["Warn"]}}')
    sick = visit(plane)
    assert (levels(sick)["queues"], levels(sick)["fence"], sick["code"]) == ({"warning"}, {"problem"}, 2)
    fixable = {name for each in sick["findings"] for name in each["fixable"]}
    assert fixable == {"flowschema/drover-leases", BINDING}, "nothing that is right is touched"
    mended = visit(plane, "--fix", "--yes")
    assert not [each for each in mended["fixed"] if each["error"]]
    assert {each["object"] for each in mended["fixed"] if each["applied"]} == fixable
    assert (levels(mended)["queues"], levels(mended)["fence"]) == ({"ok"}, {"ok"})
    assert "Deny" in plane.kubectl("get", BINDING, "-o", "jsonpath={.spec.validationActions}")
