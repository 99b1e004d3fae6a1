# SPDX-License-Identifier: Apache-2.0
"""Services in typical states, and golden files: `UPDATE_GOLDEN=1` writes the files anew; read the difference."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.layout import Look

GOLDEN = Path(__file__).parent / "golden"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PLAIN = Look(width=80)


def ago(**span: float) -> str:
    return (NOW - timedelta(**span)).isoformat()


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": ago(minutes=2)}


def conditions(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    usual = {
        "Ready": condition("Ready", "True", "Healthy"),
        "Reconciling": condition("Reconciling", "False", "Settled"),
        "Stalled": condition("Stalled", "False", "Settled"),
        "Available": condition("Available", "True", "MinimumInService", "3 of at least 3 in service"),
        "Progressing": condition("Progressing", "True", "Settled"),
        "Degraded": condition("Degraded", "False", "Settled"),
        "NeedsHuman": condition("NeedsHuman", "False", "NotNeeded"),
    }
    return list((usual | changed).values())


WAIVED = {"mainFlowTest": {"waived": "a sample"}}  # as Production asks for


def instances(service: str, revision: str, version: str, *states: str, first: int = 0, reason: str = "", restarts: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "name": f"{service}-{revision}-{first + slot}-8k8z7",
            "state": state,
            "node": "" if state == "Starting" and reason == "" else f"node-{slot % 4}",
            "version": version,
            "revision": f"{service}-{revision}",
            "restarts": restarts if state != "InService" else 0,
            "reason": reason if state != "InService" else "",
        }
        for slot, state in enumerate(states)
    ]


def moved(minutes: float, source: str | None, to: str, trigger: str, revision: str, cause: str = "expected") -> dict[str, Any]:
    return {"time": ago(minutes=minutes), "from": source, "to": to, "cause": cause, "trigger": trigger, "revision": revision}


def service(name: str = "checkout", *, namespace: str = "shop", generation: int = 4, spec: dict[str, Any] | None = None, **status: Any) -> ManagedService:
    known = {"phase": "Run", "phaseSince": ago(minutes=2), "observedGeneration": 4, "ready": "3/3", "upToDate": "3/3", "conditions": conditions()}
    wire = {
        "metadata": {"name": name, "namespace": namespace, "generation": generation, "creationTimestamp": ago(days=3, hours=2)},
        "spec": {"criticality": "Vital", "environment": "Production", "template": {}, "replicas": 3, "rollout": WAIVED, **(spec or {})},
        "status": {**known, "summary": "Healthy", "version": "1.2.0", **status} if status.get("phase", "") is not None else {},
    }
    return msgspec.json.decode(msgspec.json.encode(wire), type=ManagedService)


def healthy_service() -> ManagedService:
    return service(
        currentRevision="checkout-m42ndlfs",
        targetRevision="checkout-m42ndlfs",
        rollout={"stable": "checkout-m42ndlfs", "target": "checkout-m42ndlfs"},
        versions=[{"revision": "checkout-m42ndlfs", "version": "1.2.0", "instances": 3, "weight": 100}],
        counts={"inService": 3},
        instances=instances("checkout", "m42ndlfs", "1.2.0", "InService", "InService", "InService"),
        history=[
            moved(80, None, "Provision", "specChange", "checkout-m42ndlfs"),
            moved(79, "Provision", "Ready", "started", "checkout-m42ndlfs"),
            moved(78, "Ready", "Run", "converged", "checkout-m42ndlfs"),
        ],
    )


def updating() -> ManagedService:
    return service(
        phase="Update",
        summary="RollingOut",
        upToDate="1/3",
        currentRevision="checkout-m42ndlfs",
        targetRevision="checkout-x2k9bcdf",
        rollout={"stable": "checkout-m42ndlfs", "target": "checkout-x2k9bcdf"},
        versions=[
            {"revision": "checkout-m42ndlfs", "version": "1.2.0", "instances": 2, "weight": 66},
            {"revision": "checkout-x2k9bcdf", "version": "1.3.0", "instances": 2, "weight": 33},
        ],
        counts={"inService": 3, "starting": 1, "draining": 1},
        instances=[
            *instances("checkout", "x2k9bcdf", "1.3.0", "Starting", first=1, reason="ContainerCreating"),
            *instances("checkout", "m42ndlfs", "1.2.0", "Draining"),
            *instances("checkout", "m42ndlfs", "1.2.0", "InService", "InService", first=1),
            *instances("checkout", "x2k9bcdf", "1.3.0", "InService"),
        ],
        plan=[
            {"step": "wait for checkout-x2k9bcdf-1-8k8z7", "state": "Running", "reason": "EntersService"},
            {"step": "drain checkout-m42ndlfs-1-8k8z7", "state": "Waiting", "reason": "WaitsForBudget"},
        ],
        conditions=conditions(
            Ready=condition("Ready", "False", "RollingOut", "A new revision replaces the one that serves."),
            Reconciling=condition("Reconciling", "True", "RollingOut", "A new revision replaces the one that serves."),
            Progressing=condition("Progressing", "True", "RollingOut"),
        ),
        history=[moved(78, "Ready", "Run", "converged", "checkout-m42ndlfs"), moved(2, "Run", "Update", "specChange", "checkout-x2k9bcdf")],
    )


def rolled_back() -> ManagedService:
    message = "revision 'checkout-x2k9bcdf' made no progress in 10m; 'checkout-m42ndlfs' serves again"
    changes = [
        ("Run", "Update", "specChange", "expected"),
        ("Update", "Rollback", "progressDeadline", "unexpected"),
        ("Rollback", "Run", "converged", "expected"),
    ]
    return service(
        summary="RolledBack",
        currentRevision="checkout-m42ndlfs",
        targetRevision="checkout-m42ndlfs",
        rollout={"stable": "checkout-m42ndlfs", "target": "checkout-m42ndlfs", "blockedRevision": "checkout-x2k9bcdf"},
        versions=[{"revision": "checkout-m42ndlfs", "version": "1.2.0", "instances": 3, "weight": 100}],
        counts={"inService": 3},
        instances=instances("checkout", "m42ndlfs", "1.2.0", "InService", "InService", "InService"),
        conditions=conditions(
            Stalled=condition("Stalled", "True", "RolledBack", message),
            Ready=condition("Ready", "False", "RolledBack", message),
            NeedsHuman=condition("NeedsHuman", "True", "RolledBack", message),
            Progressing=condition("Progressing", "False", "RolledBack"),
        ),
        history=[moved(60 - 10 * at, *change[:3], "checkout-x2k9bcdf", change[3]) for at, change in enumerate((*changes, *changes))],
    )


def failed() -> ManagedService:
    message = "revision 'checkout-m42ndlfs' made no progress in 10m, and there is none to go back to"
    return service(
        phase="Failed",
        summary="ProgressDeadlineExceeded",
        ready="0/3",
        targetRevision="checkout-m42ndlfs",
        rollout={"target": "checkout-m42ndlfs"},
        versions=[{"revision": "checkout-m42ndlfs", "version": "1.2.0", "instances": 3, "weight": 0}],
        counts={"starting": 2, "lost": 1},
        instances=[
            *instances("checkout", "m42ndlfs", "1.2.0", "Lost", reason="Evicted"),
            *instances("checkout", "m42ndlfs", "1.2.0", "Starting", first=1, reason="CrashLoopBackOff", restarts=12),
            *instances("checkout", "m42ndlfs", "1.2.0", "Starting", first=2),
        ],
        conditions=conditions(
            Stalled=condition("Stalled", "True", "ProgressDeadlineExceeded", message),
            Ready=condition("Ready", "False", "ProgressDeadlineExceeded", message),
            Available=condition("Available", "False", "BelowMinimum", "0 of at least 3 in service"),
        ),
        history=[
            moved(12, None, "Provision", "specChange", "checkout-m42ndlfs"),
            moved(2, "Provision", "Failed", "unrecoverable", "checkout-m42ndlfs", "unexpected"),
        ],
    )


def many() -> ManagedService:
    return service(
        spec={"replicas": 150},
        ready="148/150",
        upToDate="150/150",
        targetRevision="checkout-m42ndlfs",
        currentRevision="checkout-m42ndlfs",
        rollout={"stable": "checkout-m42ndlfs", "target": "checkout-m42ndlfs"},
        versions=[{"revision": "checkout-m42ndlfs", "version": "1.2.0", "instances": 150, "weight": 100}],
        counts={"inService": 148, "suspect": 2},
        instances=[
            *instances("checkout", "m42ndlfs", "1.2.0", "Suspect", "Suspect", reason="Unhealthy", restarts=3),
            *instances("checkout", "m42ndlfs", "1.2.0", *["InService"] * 98, first=2),
        ],
        instancesOmitted=50,
        summary="InstancesMissing",
        conditions=conditions(Degraded=condition("Degraded", "True", "InstancesMissing"), Ready=condition("Ready", "False", "InstancesMissing")),
    )


def long_names() -> ManagedService:
    name = "a-service-with-the-longest-possible-name"
    return service(
        name,
        spec={"paused": True, "pin": {"revision": f"{name}-m42ndlfs"}},
        generation=9,
        version="2026.03.01-nightly+build.20260301.abcdef0123456789abcdef0123456789",
        targetRevision=f"{name}-m42ndlfs",
        currentRevision=f"{name}-m42ndlfs",
        rollout={"stable": f"{name}-m42ndlfs"},
        versions=[{"revision": f"{name}-m42ndlfs", "version": "2026.03.01-nightly+build.20260301.abcdef0123456789", "instances": 2, "weight": 100}],
        instances=[
            {**each, "node": "ip-10-20-30-40.eu-central-1.compute.internal", "reason": "CreateContainerConfigError"}
            for each in instances(name, "m42ndlfs", "1", "InService", "Starting")
        ],
        plan=[{"step": f"create {name}-m42ndlfs-2-8k8z7 on any node that has room for it", "state": "Running", "reason": "Missing"}],
        history=[moved(2, "Run", "Update", "specChange", f"{name}-m42ndlfs", "unexpected")],
    )


def compare(name: str, lines: list[str]) -> None:
    path, text = GOLDEN / f"{name}.txt", "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
