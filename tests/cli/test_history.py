# SPDX-License-Identifier: Apache-2.0
"""`history`: golden frames, the marks of revisions, and what counts as a revision of this service."""

import json
from typing import Any

import msgspec
import pytest
from cli.samples import NOW, ago, compare, long_names, rolled_back, service

from drover_operator.api.builtin import ControllerRevision
from drover_operator.api.managedservice import ManagedService
from drover_operator.cli.layout import Look
from drover_operator.cli.revisions import document, lines, recorded


def record(number: int, name: str, version: str = "", *, owner: str = "", minutes: float = 60, **notes: str) -> ControllerRevision:
    annotations = {f"drover.dev/{key}": value for key, value in {"version": version, "builder": "1", **notes}.items() if value}
    owners = [{"uid": owner, "controller": True}] if owner else []
    meta: dict[str, Any] = {"name": name, "annotations": annotations, "creationTimestamp": ago(minutes=minutes), "ownerReferences": owners}
    return msgspec.json.decode(msgspec.json.encode({"metadata": meta, "revision": number, "data": {}}), type=ControllerRevision)


RECORDS = [
    record(3, "checkout-x2k9bcdf", "1.3.0", minutes=30, builder="2", blocked="abc"),
    record(2, "checkout-m42ndlfs", "1.2.0", minutes=3000),
    record(1, "checkout-bbbbbbbb", minutes=90000, blocked="old"),
]
SHOWN = [
    ("rolled-back", rolled_back(), RECORDS),
    ("nothing-yet", service(phase=None), []),
    ("long-names", long_names(), [record(10, f"{long_names().metadata.name}-m42ndlfs", "2026.03.01-nightly+build.20260301.abcdef0123456789abcdef0123456789")]),
]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(("name", "shown", "found"), SHOWN, ids=[row[0] for row in SHOWN])
def test_golden(name: str, shown: ManagedService, found: list[ControllerRevision], width: int) -> None:
    text = lines(shown, recorded(shown, found), Look(width=width), NOW)
    compare(f"history-{name}-{width}", text)
    assert max(map(len, text)) <= width


def test_marks() -> None:
    """Blocked now, the good one, and one that failed under a spec that is no more."""
    found = recorded(rolled_back(), RECORDS)
    assert [(each.number, each.marks) for each in found] == [(1, ("failed",)), (2, ("target", "stable")), (3, ("blocked",))]


def test_revisions_of_an_earlier_service_of_the_name_are_left_out() -> None:
    mine = msgspec.structs.replace(service(), metadata=msgspec.structs.replace(service().metadata, uid="mine"))
    found = recorded(mine, [record(1, "a", owner="theirs"), record(2, "b", owner="mine"), record(3, "c")])
    assert [each.name for each in found] == ["b", "c"]


def test_json_has_everything() -> None:
    told = json.loads(msgspec.json.encode(document(rolled_back(), recorded(rolled_back(), RECORDS))))
    assert told["revisions"][1] == {
        "number": 2,
        "name": "checkout-m42ndlfs",
        "version": "1.2.0",
        "marks": ["target", "stable"],
        "builder": "1",
        "created": "2026-02-27T10:00:00Z",
    }
    assert [each["to"] for each in told["changes"]] == ["Update", "Rollback", "Run"] * 2
    assert told["changes"][0]["from"] == "Run"
