# SPDX-License-Identifier: Apache-2.0
"""The kstatus algorithm (sigs.k8s.io/cli-utils/pkg/kstatus): what kubectl wait, Flux and Argo CD make of an object's status."""

from typing import Any, Literal

Verdict = Literal["Current", "InProgress", "Failed", "Terminating"]


def kstatus(item: dict[str, Any]) -> Verdict:
    """The generic rules for custom resources, in the order of the original."""
    if item["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = item.get("status") or {}
    observed = status.get("observedGeneration")
    if observed is not None and observed != item["metadata"]["generation"]:
        return "InProgress"
    conditions = {each["type"]: each for each in status.get("conditions", ())}
    if conditions.get("Reconciling", {}).get("status") == "True":
        return "InProgress"
    if conditions.get("Stalled", {}).get("status") == "True":
        return "Failed"
    if "Ready" not in conditions:
        return "Current"  # an object that says nothing is taken for done: only an old observedGeneration keeps a fresh one from that
    return "Current" if conditions["Ready"]["status"] == "True" else "InProgress"
