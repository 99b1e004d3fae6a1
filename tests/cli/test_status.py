# SPDX-License-Identifier: Apache-2.0
"""What `status` shows: golden files of trees and tables, and the rules behind them. `UPDATE_GOLDEN=1` writes the files anew; read the difference."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.layout import WHOLE, Cell, Look, age, clean, columns, cut, fold, width
from drover_operator.cli.tree import healthy, table, tree
from drover_operator.core.reasons import MEANING, Reason

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
        "spec": {"criticality": "Vital", "environment": "Production", "template": {}, "replicas": 3, **(spec or {})},
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


FLEET = [
    healthy_service(),
    updating(),
    rolled_back(),
    failed(),
    long_names(),
    service("cart", phase=None),
    service("payments", namespace="a-namespace-with-a-long-name", phase="Scale", summary="ScalingOut", ready="3/5000", upToDate="5000/5000"),
]
COLOUR = Look(width=80, unicode=True, colour=True)
FRAMES = [
    ("healthy", "nothing but the tree and the history when all is well", healthy_service(), PLAIN),
    ("mid-update", "target above stable, what runs and what waits", updating(), PLAIN),
    ("rolled-back", "the blocked revision, why, the next step, last 5 of 6 transitions", rolled_back(), PLAIN),
    ("failed-provisioning", "restarts and reasons of instances, two troubles", failed(), PLAIN),
    ("many-instances", "100 listed, the states of the other 50 follow from the counts", many(), PLAIN),
    ("long-names", "names lose their middle, prose is folded, paused, pinned and behind are told", long_names(), PLAIN),
    ("colour", "lines and colours on a terminal that can", updating(), COLOUR),
    ("no-status", "no operator has been there", service(phase=None), PLAIN),
]


def compare(name: str, lines: list[str]) -> None:
    path, text = GOLDEN / f"{name}.txt", "\n".join(lines) + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "why", "shown", "look"), FRAMES, ids=[row[0] for row in FRAMES])
def test_tree(name: str, why: str, shown: ManagedService, look: Look) -> None:
    lines = tree(shown, look, NOW)
    compare(name, lines)
    if not look.colour:
        assert all(line.isascii() for line in lines), why
        assert max(map(len, lines)) <= look.width, why
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("namespaces", [False, True])
def test_table(namespaces: bool) -> None:
    lines = table(FLEET, PLAIN, NOW, namespaces=namespaces)
    compare("table-all-namespaces" if namespaces else "table", lines)
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize("width_", [72, 80, 100, 200])
def test_trees_never_wrap(width_: int) -> None:
    for shown in (healthy_service(), updating(), failed(), rolled_back()):
        assert [line for line in tree(shown, Look(width=width_), NOW) if len(line) > width_] == []


def test_names_are_whole_where_a_program_reads() -> None:
    name = long_names().metadata.name
    lines = table(FLEET, Look(width=80, cut=False), NOW, namespaces=False)
    assert name in {line.split()[0] for line in lines if line}
    assert any(f"{name}-m42ndlfs-0-8k8z7" in line for line in tree(long_names(), Look(width=80, cut=False), NOW))


def test_foreign_text_cannot_steer_the_terminal() -> None:
    evil = service(conditions=conditions(Stalled=condition("Stalled", "True", "Refused", "one\n\x1b[2Jtwo\u202e three")), version="\x1b]0;x\x07")
    text = "\n".join(tree(evil, COLOUR, NOW) + table([evil], PLAIN, NOW, namespaces=True))
    assert "one ?[2Jtwo? three" in text
    assert not {"\x07", "\u202e"} & set(text)
    assert "\x1b[2J" not in text


def test_an_unknown_reason_is_shown_as_it_is() -> None:
    newer = service(conditions=conditions(Stalled=condition("Stalled", "True", "OfANewerOperator", "words")))
    assert "  OfANewerOperator for 2m: Stalled=True" in tree(newer, PLAIN, NOW)


def test_instances_of_no_known_revision_are_shown() -> None:
    lost = service(versions=[], instances=[{"name": "stray", "state": "Lost"}])
    assert any("unknown revision" in line for line in tree(lost, PLAIN, NOW))
    assert any("stray" in line for line in tree(lost, PLAIN, NOW))


@pytest.mark.parametrize("reason", [each for each in Reason if MEANING[each].next_step])
def test_every_next_step_is_told_with_the_name(reason: Reason) -> None:
    shown = service("till", conditions=conditions(Ready=condition("Ready", "False", reason)))
    text = " ".join(" ".join(tree(shown, PLAIN, NOW)).split())
    assert f"Next: {MEANING[reason].next_step.replace('NAME', 'till')}" in text


HEALTH = [
    ("all is well", healthy_service(), True),
    ("an update is wanted", updating(), True),
    ("no operator has been there: nothing is known to be wrong", service(phase=None), True),
    ("Stalled", rolled_back(), False),
    ("Failed", failed(), False),
    ("Degraded", many(), False),
    ("Failed without a condition, as from an older operator", service(phase="Failed", conditions=[]), False),
    ("Stalled=Unknown is not yet wrong", service(conditions=conditions(Stalled=condition("Stalled", "Unknown", "Settled"))), True),
]


@pytest.mark.parametrize(("why", "shown", "expected"), HEALTH, ids=[row[0] for row in HEALTH])
def test_healthy(why: str, shown: ManagedService, expected: bool) -> None:
    assert healthy(shown) is expected, why


AGES = [
    ("not negative when clocks differ", -5, "0s"),
    ("seconds up to two minutes", 119, "119s"),
    ("minutes and seconds", 150, "2m30s"),
    ("no zero part", 180, "3m"),
    ("minutes", 11 * 60 + 5, "11m"),
    ("hours and minutes", 3 * 3600 + 60, "3h1m"),
    ("hours", 9 * 3600 + 60, "9h"),
    ("days and hours", 50 * 3600, "2d2h"),
    ("days", 9 * 86400, "9d"),
    ("years and days", 3 * 365 * 86400 + 86400, "3y1d"),
    ("years", 9 * 365 * 86400, "9y"),
]


@pytest.mark.parametrize(("why", "seconds", "expected"), AGES, ids=[row[0] for row in AGES])
def test_age_is_that_of_kubectl(why: str, seconds: float, expected: str) -> None:
    assert age(seconds) == expected, why


CUTS = [
    ("fits", "abcdef", 6, "abcdef"),
    ("both ends stay", "abcdefghij", 7, "ab...ij"),
    ("an odd place goes to the start", "abcdefghij", 8, "abc...ij"),
    ("never less than one letter at each end", "abcdefghij", 1, "a...j"),
    ("wide letters count twice", "日本語日本語", 7, "日...語"),
]


@pytest.mark.parametrize(("why", "text", "room", "expected"), CUTS, ids=[row[0] for row in CUTS])
def test_cut(why: str, text: str, room: int, expected: str) -> None:
    assert cut(text, room) == expected, why
    assert width(cut(text, room)) <= max(room, 5), why


def test_columns_leave_out_what_is_empty_and_keep_what_is_fixed() -> None:
    rows = [(Cell("name"), Cell(""), Cell("x" * 30)), (Cell("n" * 40), Cell(""), Cell("y"))]
    assert columns(rows, Look(width=50), least={2: WHOLE})[0] == "name" + " " * 16 + "x" * 30
    assert columns([], PLAIN) == []


def test_fold_and_clean() -> None:
    assert fold("a " * 60, Look(width=40), first="- ", indent="  ")[1].startswith("  a")
    assert fold("", PLAIN, first="- ") == ["-"]
    assert clean("e\u0301 \t\x00") == "e\u0301 ?"
    assert width("e\u0301") == 1
