# SPDX-License-Identifier: Apache-2.0
"""The operator's hand, decided: for each verb and state of a service the patch, the words, or why not."""

from typing import Any

import pytest
from cli.samples import NOW

from drover_operator.cli.orders import COMMAND, RULES, Change, Order, change
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.revisions import Recorded, named

MOMENT = "2026-03-01T12:00:00Z"
Json = dict[str, Any]


def revision(number: int, *marks: str) -> Recorded:
    return Recorded(number=number, name=f"cart-r{number}", version="", marks=marks, builder="2", created=None)


KNOWN = [revision(1), revision(2, "failed"), revision(3, "stable"), revision(4, "target")]


def service(*, notes: Json | None = None, status: Json | None = None, deleted: bool = False, **spec: Any) -> Json:
    meta: Json = {"name": "cart", "namespace": "shop", "uid": "u-1", "resourceVersion": "7", "generation": 4, "annotations": notes or {}}
    spec = {"template": {"spec": {"containers": [{"name": "c", "image": "i:1"}]}}, **spec}
    return {"metadata": {**meta, **({"deletionTimestamp": MOMENT} if deleted else {})}, "spec": spec, "status": status or {}}


BEGUN = "2026-03-01T11:00:00Z"


def rolling(step: int = 0, steps: int = 0, *, target: str = "cart-r4", stable: str = "cart-r3", **more: Any) -> Json:
    return {"observedGeneration": 4, "rollout": {"target": target, "stable": stable, "step": step, "steps": steps, "begunAt": BEGUN, **more}}


AT_REST = rolling(target="cart-r3")
PINNED = {"pin": {"revision": "cart-r1"}}


def ask(body: Json, verb: str, known: list[Recorded] = KNOWN, **asked: Any) -> Change:
    return change(body, Order(verb=verb, **asked), now=NOW, user="eve", known=known)


# --- what is changed: verb, options, service, record, spec, annotations

DONE: list[tuple[str, str, Json, Json, str, Json, Json]] = [
    ("pause", "pause", {}, service(), "pause", {"paused": True}, {}),
    ("resume", "resume", {}, service(paused=True), "resume", {"paused": False}, {}),
    (
        "restart touches one annotation of the template and nothing else",
        "restart",
        {},
        service(),
        "restart",
        {"template": {"metadata": {"annotations": {"drover.dev/restartedAt": MOMENT}}}},
        {},
    ),
    (
        "restart once more, at a later moment",
        "restart",
        {},
        service(template={"metadata": {"annotations": {"drover.dev/restartedAt": "2026-01-01T00:00:00Z"}}}),
        "restart",
        {"template": {"metadata": {"annotations": {"drover.dev/restartedAt": MOMENT}}}},
        {},
    ),
    (
        "rollback at rest passes over a revision that failed",
        "rollback",
        {},
        service(status=AT_REST),
        "rollback to cart-r1",
        {"pin": {"revision": "cart-r1"}},
        {},
    ),
    (
        "rollback amid a rollout is to what served before it, not to one older still",
        "rollback",
        {},
        service(status=rolling()),
        "rollback to cart-r3",
        {"pin": {"revision": "cart-r3"}},
        {},
    ),
    (
        "rollback to a name",
        "rollback",
        {"revision": "cart-r2"},
        service(status=AT_REST),
        "rollback to cart-r2",
        {"pin": {"revision": "cart-r2"}},
        {},
    ),
    (
        "rollback to a number, and from another pin",
        "rollback",
        {"revision": "4"},
        service(status=AT_REST, **PINNED),
        "rollback to cart-r4",
        {"pin": {"revision": "cart-r4"}},
        {},
    ),
    ("unpin", "unpin", {}, service(**PINNED), "unpin", {"pin": None}, {}),
    (
        "promote from the first step: one is passed",
        "promote",
        {},
        service(status=rolling(0, 3)),
        "promote to step 2",
        {},
        {"drover.dev/promoted": f"cart-r4/1/{BEGUN}"},
    ),
    ("promote from the last step", "promote", {}, service(status=rolling(2, 3)), "promote to full", {}, {"drover.dev/promoted": f"cart-r4/3/{BEGUN}"}),
    (
        "promote --to-step",
        "promote",
        {"step": 3},
        service(status=rolling(0, 3)),
        "promote to step 3",
        {},
        {"drover.dev/promoted": f"cart-r4/2/{BEGUN}"},
    ),
    ("promote --full", "promote", {"full": True}, service(status=rolling(0, 3)), "promote to full", {}, {"drover.dev/promoted": f"cart-r4/3/{BEGUN}"}),
    (
        "what was promoted on the way to another revision counts for nothing",
        "promote",
        {},
        service(status=rolling(0, 3), notes={"drover.dev/promoted": f"cart-r3/3/{BEGUN}"}),
        "promote to step 2",
        {},
        {"drover.dev/promoted": f"cart-r4/1/{BEGUN}"},
    ),
    (
        "what somebody else wrote there counts for nothing",
        "promote",
        {},
        service(status=rolling(0, 3), notes={"drover.dev/promoted": f"cart-r4/many/{BEGUN}"}),
        "promote to step 2",
        {},
        {"drover.dev/promoted": f"cart-r4/1/{BEGUN}"},
    ),
    ("abort", "abort", {}, service(status=rolling()), "abort of cart-r4", {}, {"drover.dev/aborted": "cart-r4"}),
    (
        "abort after another one was aborted",
        "abort",
        {},
        service(status=rolling(), notes={"drover.dev/aborted": "cart-r2"}),
        "abort of cart-r4",
        {},
        {"drover.dev/aborted": "cart-r4"},
    ),
    (
        "retry of what was aborted; steps passed by hand are not passed again",
        "retry",
        {},
        service(status=AT_REST, notes={"drover.dev/aborted": "cart-r4", "drover.dev/promoted": f"cart-r4/2/{BEGUN}"}),
        "retry of cart-r4",
        {},
        {"drover.dev/aborted": None, "drover.dev/retried": MOMENT},
    ),
    (
        "retry of what failed",
        "retry",
        {},
        service(status=rolling(target="cart-r3", blockedRevision="cart-r4")),
        "retry of cart-r4",
        {},
        {"drover.dev/aborted": None, "drover.dev/retried": MOMENT},
    ),
    (
        "freeze until a time: what was lifted is frozen again",
        "freeze",
        {"seconds": 86_400.0},
        service(notes={"drover.dev/thawed": "2026-03-01T13:00:00Z"}),
        "freeze until 2026-03-02T12:00:00Z",
        {},
        {"drover.dev/frozen": "2026-03-02T12:00:00Z", "drover.dev/thawed": None},
    ),
    (
        "freeze for longer than before: the later word counts",
        "freeze",
        {"seconds": 5400.0},
        service(notes={"drover.dev/frozen": "2026-03-01T12:30:00Z"}),
        "freeze until 2026-03-01T13:30:00Z",
        {},
        {"drover.dev/frozen": "2026-03-01T13:30:00Z", "drover.dev/thawed": None},
    ),
    (
        "unfreeze lifts what was frozen by hand, and nothing of the calendar",
        "unfreeze",
        {},
        service(notes={"drover.dev/frozen": "2026-03-02T12:00:00Z"}),
        "unfreeze",
        {},
        {"drover.dev/frozen": None},
    ),
    (
        "unfreeze for a time lifts every freeze, also where none is by hand",
        "unfreeze",
        {"seconds": 7200.0},
        service(),
        "unfreeze until 2026-03-01T14:00:00Z",
        {},
        {"drover.dev/frozen": None, "drover.dev/thawed": "2026-03-01T14:00:00Z"},
    ),
    ("a pinned service may be frozen as well", "freeze", {"seconds": 60.0}, service(**PINNED), "freeze until 2026-03-01T12:01:00Z", {}, {"drover.dev/frozen": "2026-03-01T12:01:00Z", "drover.dev/thawed": None}),
]  # fmt: skip


@pytest.mark.parametrize(("why", "verb", "asked", "body", "record", "spec", "notes"), DONE, ids=[row[0] for row in DONE])
def test_what_is_changed(why: str, verb: str, asked: Json, body: Json, record: str, spec: Json, notes: Json) -> None:
    found = ask(body, verb, **asked)
    meta = {"uid": "u-1", "resourceVersion": "7", "annotations": {**notes, COMMAND: f"{record} by eve at {MOMENT}"}}
    assert found.patch == {"metadata": meta, **({"spec": spec} if spec else {})}, why
    assert not found.already


def test_every_verb_is_in_the_table_of_changes() -> None:
    assert {row[1] for row in DONE} == set(RULES)


SAID = [
    ("pause", {}, service(), "paused"),
    ("resume", {}, service(paused=True), "resumed"),
    ("restart", {}, service(), "restarted: a new revision replaces every instance"),
    ("rollback", {}, service(status=AT_REST), "goes to cart-r1 and stays there until kubectl drover unpin cart -n shop"),
    ("unpin", {}, service(**PINNED), "unpinned: it follows its template again"),
    ("promote", {}, service(status=rolling(0, 3)), "promoted to step 2 of 3 on the way to cart-r4"),
    ("promote", {"full": True}, service(status=rolling(0, 3)), "promoted past all 3 steps on the way to cart-r4"),
    ("abort", {}, service(status=rolling()), "aborted the rollout to cart-r4: cart-r3 serves again"),
    ("retry", {}, service(notes={"drover.dev/aborted": "cart-r4"}), "lets cart-r4 be tried again"),
    (
        "freeze",
        {"seconds": 3600.0},
        service(),
        "is frozen until 2026-03-01T13:00:00Z: no update of it begins or goes on; repair, scaling and going back do",
    ),
    (
        "freeze",
        {"seconds": 60.0},
        service(paused=True),
        "is frozen until 2026-03-01T12:01:00Z: no update of it begins or goes on; repair, scaling and going back do",
    ),
    ("unfreeze", {}, service(notes={"drover.dev/frozen": MOMENT}), "is not frozen by hand any more"),
    ("unfreeze", {"seconds": 3600.0}, service(), "heeds no freeze until 2026-03-01T13:00:00Z"),
    (
        "abort",
        {},
        service(status=rolling(), paused=True),
        "aborted the rollout to cart-r4: cart-r3 serves again",
    ),  # a pause does not keep a bad version in place
    (
        "restart",
        {},
        service(paused=True),
        "restarted: a new revision replaces every instance; spec.paused is true, so nothing moves before kubectl drover resume cart -n shop",
    ),
]


@pytest.mark.parametrize(("verb", "asked", "body", "words"), SAID)
def test_what_is_said_of_it(verb: str, asked: Json, body: Json, words: str) -> None:
    assert ask(body, verb, **asked).sentence == f"managedservice.drover.dev/cart {words}"


# --- what is so already

ABORTED = {"observedGeneration": 4, "rollout": AT_REST["rollout"], "conditions": [{"type": "Stalled", "reason": "Aborted"}]}
ALREADY: list[tuple[str, str, Json, Json, str]] = [
    ("paused", "pause", {}, service(paused=True), "is already paused"),
    ("not paused", "resume", {}, service(paused=False), "is not paused"),
    ("paused was never set", "resume", {}, service(), "is not paused"),
    (
        "restarted in this very second",
        "restart",
        {},
        service(template={"metadata": {"annotations": {"drover.dev/restartedAt": MOMENT}}}),
        f"was already restarted at {MOMENT}",
    ),
    ("pinned to it by name", "rollback", {"revision": "cart-r1"}, service(status=AT_REST, **PINNED), "is already pinned to cart-r1"),
    ("on the way to the pin: twice is not one further back", "rollback", {}, service(status=rolling(target="cart-r1"), **PINNED), "is already pinned to cart-r1"),
    ("not pinned", "unpin", {}, service(), "is not pinned"),
    (
        "promoted, and not seen by the operator yet: twice is not two steps",
        "promote",
        {},
        service(status=rolling(0, 3), notes={"drover.dev/promoted": f"cart-r4/1/{BEGUN}"}),
        "is already promoted to step 2 of 3 on the way to cart-r4",
    ),
    (
        "promoted further than that: a later word does not take steps back",
        "promote",
        {"step": 2},
        service(status=rolling(0, 3), notes={"drover.dev/promoted": f"cart-r4/3/{BEGUN}"}),
        "is already promoted past all 3 steps on the way to cart-r4",
    ),
    ("at that step already", "promote", {"step": 2}, service(status=rolling(1, 3)), "is already promoted to step 2 of 3 on the way to cart-r4"),
    ("all steps are passed", "promote", {}, service(status=rolling(3, 3)), "is already promoted past all 3 steps on the way to cart-r4"),
    ("all steps are passed, and that was asked for", "promote", {"full": True}, service(status=rolling(3, 3)), "is already promoted past all 3 steps"),
    ("aborted, and not seen yet", "abort", {}, service(status=rolling(), notes={"drover.dev/aborted": "cart-r4"}), "has already aborted the rollout to cart-r4"),
    ("aborted, and gone back", "abort", {}, service(status=ABORTED, notes={"drover.dev/aborted": "cart-r4"}), "has already aborted the rollout to cart-r4"),
    ("no freeze by hand: that of the calendar is another thing", "unfreeze", {}, service(), "is not frozen by hand; --for lifts the freezes of MaintenanceWindows for a while"),
    ("nothing failed", "retry", {}, service(status=AT_REST), "has nothing to try again: no revision of it is blocked or aborted"),
]  # fmt: skip


@pytest.mark.parametrize(("why", "verb", "asked", "body", "words"), ALREADY, ids=[row[0] for row in ALREADY])
def test_what_is_so_already_is_not_written(why: str, verb: str, asked: Json, body: Json, words: str) -> None:
    found = ask(body, verb, **asked)
    assert (found.already, found.patch) == (True, {}), why
    assert found.sentence.startswith(f"managedservice.drover.dev/cart {words}"), why


# --- what cannot be

NONE_UNDER_WAY = "status.rollout.target and stable are both 'cart-r3', no rollout is under way; kubectl drover status cart -n shop shows what runs"
HELD = "spec.pin.revision is 'cart-r1', and a pinned service follows no change of its template; first kubectl drover unpin cart -n shop"
FIRST = "status.rollout.stable is empty, nothing has served before 'cart-r4' that it could go back to; kubectl drover why cart -n shop says what it waits for"
UNSEEN = "status.rollout.target is empty, no operator has looked at it yet; is it running?"
REFUSED: list[tuple[str, str, Json, Json, str]] = [
    ("it is being deleted", "pause", {}, service(deleted=True), "it is being deleted"),
    ("what is being deleted is not frozen either", "freeze", {"seconds": 60.0}, service(deleted=True), "it is being deleted"),
    ("a restart under a pin would do nothing", "restart", {}, service(**PINNED), HELD),
    ("so would a promotion", "promote", {}, service(status=rolling(0, 3), **PINNED), HELD),
    ("so would an abort", "abort", {}, service(status=rolling(), **PINNED), HELD),
    ("promote at rest", "promote", {}, service(status=AT_REST), NONE_UNDER_WAY),
    ("abort at rest", "abort", {}, service(status=AT_REST), NONE_UNDER_WAY),
    (
        "abort at rest, after another revision was aborted long ago",
        "abort",
        {},
        service(status=AT_REST, notes={"drover.dev/aborted": "cart-r2"}),
        NONE_UNDER_WAY,
    ),
    (
        "the change that is meant is not seen yet",
        "abort",
        {},
        service(status={**AT_REST, "observedGeneration": 3}),
        NONE_UNDER_WAY.replace("way;", "way (the operator has not looked at the last change yet: generation 4, seen 3);"),
    ),
    ("promote of the first revision", "promote", {}, service(status=rolling(0, 3, stable="")), FIRST),
    ("abort of the first revision", "abort", {}, service(status=rolling(stable="")), FIRST),
    ("promote without a status", "promote", {}, service(), UNSEEN),
    ("abort without a status", "abort", {}, service(), UNSEEN),
    (
        "a strategy without steps",
        "promote",
        {},
        service(status=rolling()),
        "status.rollout.steps is 0, its strategy has no steps: the rollout to 'cart-r4' goes on by itself",
    ),
    (
        "a status of an operator that knows no steps",
        "promote",
        {},
        service(status={"rollout": {"target": "cart-r4", "stable": "cart-r3"}}),
        "status.rollout.steps is 0, its strategy has no steps: the rollout to 'cart-r4' goes on by itself",
    ),
    (
        "promote of what is aborted",
        "promote",
        {},
        service(status=rolling(0, 3), notes={"drover.dev/aborted": "cart-r4"}),
        "the rollout to 'cart-r4' is aborted; kubectl drover retry cart -n shop begins it anew",
    ),
    (
        "no step 0",
        "promote",
        {"step": 0},
        service(status=rolling(0, 4)),
        "--to-step 0 names no step ahead on the way to 'cart-r4', which is at step 1 of 4; give --to-step from 2 to 4, or --full",
    ),
    (
        "more steps than there are",
        "promote",
        {"step": 5},
        service(status=rolling(1, 4)),
        "--to-step 5 names no step ahead on the way to 'cart-r4', which is at step 2 of 4; give --to-step from 3 to 4, or --full",
    ),
    (
        "a step that is passed",
        "promote",
        {"step": 2},
        service(status=rolling(2, 4)),
        "--to-step 2 names no step ahead on the way to 'cart-r4', which is at step 3 of 4; give --to-step 4 or --full",
    ),
    (
        "no step is left",
        "promote",
        {"step": 1},
        service(status=rolling(3, 4)),
        "--to-step 1 names no step ahead on the way to 'cart-r4', which is at step 4 of 4; give --full",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("why", "verb", "asked", "body", "words"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_is_one_sentence(why: str, verb: str, asked: Json, body: Json, words: str) -> None:
    with pytest.raises(Failure) as raised:
        ask(body, verb, **asked)
    assert (str(raised.value), raised.value.code) == (f"cannot {verb} 'cart': {words}", Exit.USAGE), why


GOING_BACK: list[tuple[str, Json, Json, list[Recorded], str]] = [
    ("nothing is recorded", {}, service(), [], "cannot rollback 'cart': no revision of it is recorded yet"),
    (
        "nothing has served",
        {},
        service(status=rolling(stable="")),
        [revision(4, "target")],
        "cannot rollback 'cart': no revision has served yet; recorded are 4 (cart-r4): name one with --to",
    ),
    (
        "nothing older is good",
        {},
        service(status=AT_REST),
        KNOWN[1:3],
        "cannot rollback 'cart': no recorded revision is older than 'cart-r3', which serves, and has not failed; recorded are 2 (cart-r2), 3 (cart-r3): name one with --to",
    ),
    (
        "a revision that is not recorded",
        {"revision": "cart-r9"},
        service(status=AT_REST),
        KNOWN[:2],
        "no revision 'cart-r9' of service 'cart'; recorded are 1 (cart-r1), 2 (cart-r2)",
    ),
    ("a revision, where none is recorded", {"revision": "1"}, service(), [], "no revision '1' of service 'cart'; none is recorded yet"),
]


@pytest.mark.parametrize(("why", "asked", "body", "known", "words"), GOING_BACK, ids=[row[0] for row in GOING_BACK])
def test_where_there_is_nothing_to_go_back_to(why: str, asked: Json, body: Json, known: list[Recorded], words: str) -> None:
    with pytest.raises(Failure) as raised:
        ask(body, "rollback", known, **asked)
    assert (str(raised.value), raised.value.code) == (words, Exit.USAGE), why


# --- the record

RECORDS = [
    ("with a reason", {"reason": "error rate is up"}, "eve", f"pause by eve at {MOMENT}: error rate is up"),
    ("a user that would break the line", {}, "eve\nroot\x1b[31m", f"pause by eve root?[31m at {MOMENT}"),
]


@pytest.mark.parametrize(("why", "asked", "user", "record"), RECORDS, ids=[row[0] for row in RECORDS])
def test_the_record(why: str, asked: Json, user: str, record: str) -> None:
    found = change(service(), Order(verb="pause", **asked), now=NOW, user=user)
    assert found.patch["metadata"]["annotations"][COMMAND] == record, why


def test_revisions_go_by_name_and_number() -> None:
    assert [named(KNOWN, word, "cart").number for word in ("cart-r2", "2")] == [2, 2]
