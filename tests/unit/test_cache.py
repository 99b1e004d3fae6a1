# SPDX-License-Identifier: Apache-2.0
"""The cache of one resource, and the own-write guard that reads it."""

from typing import Any

import pytest

from drover_operator.api.meta import Object, ObjectMeta
from drover_operator.api.resource import CONFIG_MAPS
from drover_operator.kube.cache import Cache, Key
from drover_operator.runtime.guard import PATIENCE, WriteGuard

OWNER = ("shop", "web")
Told = list[tuple[Key | None, int, int]]


def item(name: str, version: int, owner: str = "web", uid: str = "") -> Object:
    meta = ObjectMeta(name=name, namespace="shop", uid=uid or f"uid-{name}", resource_version=str(version), labels={"owner": owner} if owner else {})
    return Object(metadata=meta)


def new_cache() -> tuple[Cache[Object], Told]:
    """A cache indexed by a label, and what its listener is told: owner, old version, new version (0: none)."""

    def belongs_to(each: Object) -> Key | None:
        owner = each.metadata.labels.get("owner")
        return (each.metadata.namespace, owner) if owner else None

    cache: Cache[Object] = Cache(CONFIG_MAPS, belongs_to)
    told: Told = []
    cache.listen(lambda owner, old, new: told.append((owner, old.metadata.version if old else 0, new.metadata.version if new else 0)))
    return cache, told


def held(cache: Cache[Object], owner: Key = OWNER) -> dict[str, int]:
    return {each.metadata.name: each.metadata.version for each in cache.of(owner)}


OLDER = (
    ("saw", 5, 5, "the same version again is no news"),
    ("saw", 4, 5, "an older version is dropped"),
    ("saw", 6, 6, "a newer version is taken"),
    ("lost", 4, 5, "an old deletion is dropped"),
    ("lost", 5, 0, "the deletion of the version held counts"),
    ("lost", 6, 0, "a newer deletion counts"),
)


@pytest.mark.parametrize("verb, version, left, why", OLDER, ids=[why for *_, why in OLDER])
def test_nobody_goes_back_in_time(verb: str, version: int, left: int, why: str) -> None:
    cache, told = new_cache()
    cache.saw(item("a", 5))
    told.clear()
    getattr(cache, verb)(item("a", version))
    found = cache.get(("shop", "a"))
    assert (found.metadata.version if found else 0) == left, why
    assert told == ([] if left == 5 else [(OWNER, 5, left)]), why
    assert cache.watermark == max(5, version), "seen is seen"


def test_the_deletion_of_something_unknown_is_only_a_version() -> None:
    cache, told = new_cache()
    cache.lost(item("a", 7))
    assert (told, len(cache), cache.watermark) == ([], 0, 7)


def test_a_list_replaces_what_missed_it_is_deleted() -> None:
    cache, told = new_cache()
    for each in (item("a", 1), item("b", 2), item("c", 9)):
        cache.saw(each)
    told.clear()
    cache.replace([item("a", 1), item("c", 8), item("d", 10)], 12)
    assert held(cache) == {"a": 1, "c": 9, "d": 10}, "an older listed version does not win"
    assert told == [(OWNER, 2, 0), (OWNER, 0, 10)], "only what changed is told"
    assert (cache.watermark, len(cache)) == (12, 3)
    assert set(cache.everything()) == {("shop", name) for name in "acd"}
    cache.replace([], 13)
    assert (len(cache), held(cache), list(cache.values())) == (0, {}, [])


def test_an_object_made_anew_under_its_name_replaces_the_old_one() -> None:
    cache, told = new_cache()
    cache.saw(item("a", 5, uid="one"))
    cache.replace([item("a", 9, uid="two")], 9)
    assert cache.of(OWNER)[0].metadata.uid == "two"
    assert told[-1] == (OWNER, 5, 9)


MOVES = (
    ("web", "api", {"web": {}, "api": {"a": 2}}, [("web", 1, 0), ("api", 1, 2)], "both owners are told when an object changes hands"),
    ("web", "", {"web": {}, "api": {}}, [("web", 1, 0), (None, 1, 2)], "an object that loses its owner leaves the index"),
    ("", "web", {"web": {"a": 2}, "api": {}}, [(None, 1, 2)], "an object that gets an owner enters the index"),
    ("web", "web", {"web": {"a": 2}, "api": {}}, [("web", 1, 2)], "one that stays is told once"),
)


@pytest.mark.parametrize("before, after, index, news, why", MOVES, ids=[why for *_, why in MOVES])
def test_the_index_follows_the_owner_label(before: str, after: str, index: dict[str, Any], news: list[tuple[str | None, int, int]], why: str) -> None:
    cache, told = new_cache()
    cache.saw(item("a", 1, before))
    told.clear()
    cache.saw(item("a", 2, after))
    assert {owner: held(cache, ("shop", owner)) for owner in index} == index, why
    expected: Told = [(("shop", owner) if owner else None, old, new) for owner, old, new in news]
    if before == "":
        assert told[-1:] == [(OWNER, 1, 2)], why
    else:
        assert told == expected, why
    cache.lost(item("a", 3, after))
    assert not any(cache.of(("shop", owner)) for owner in index), "nothing stays in the index"


def test_bookmarks_raise_the_watermark_and_never_lower_it() -> None:
    cache, told = new_cache()
    cache.bookmark(10)
    cache.bookmark(7)
    cache.replace([], 8)
    assert (cache.watermark, told) == (10, [])


# -- the guard


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def guarded(version: int, uid: str = "uid-a") -> tuple[Cache[Object], WriteGuard, Clock]:
    """A guard that expects one write of `a` at a version; 0: that it is gone."""
    cache, _ = new_cache()
    clock = Clock()
    guard = WriteGuard(clock)
    guard.expect(OWNER, cache, ("shop", "a"), uid, version)
    return cache, guard, clock


MET = (
    (5, [("saw", "a", 5, "uid-a")], True, "the very version"),
    (5, [("saw", "a", 6, "uid-a")], True, "a later version"),
    (5, [("saw", "a", 4, "uid-a")], False, "an older version"),
    (5, [("saw", "a", 7, "uid-other")], True, "another object has taken its name since"),
    (5, [], False, "nothing has come"),
    (5, [("saw", "b", 4, "uid-b")], False, "the cache as a whole is older"),
    (5, [("saw", "b", 5, "uid-b")], True, "the cache as a whole is as new: the object was there and is gone"),
    (5, [("bookmark", "", 9, "")], True, "a bookmark says that the cache is newer"),
    (0, [("saw", "a", 9, "uid-a")], False, "it should be gone and is there, however new"),
    (0, [], True, "it should be gone and is not there"),
    (0, [("saw", "a", 9, "uid-other")], True, "it should be gone, and another one has its name"),
    (0, [("saw", "a", 9, "uid-a"), ("lost", "a", 10, "uid-a")], True, "it was there and went"),
)


@pytest.mark.parametrize("version, news, met, why", MET, ids=[why for *_, why in MET])
def test_when_a_write_counts_as_seen(version: int, news: list[tuple[str, str, int, str]], met: bool, why: str) -> None:
    cache, guard, _ = guarded(version)
    for verb, name, at, uid in news:
        if verb == "bookmark":
            cache.bookmark(at)
        else:
            getattr(cache, verb)(item(name, at, uid=uid))
    assert (guard.waiting(OWNER) == []) is met, why


def test_what_was_seen_once_is_not_asked_for_again() -> None:
    cache, guard, _ = guarded(0)
    guard.expect(OWNER, cache, ("shop", "b"), "uid-b", 6)
    assert [each.key[1] for each in guard.waiting(OWNER)] == ["b"], "a is gone, b has not come"
    cache.saw(item("a", 5))
    assert [each.key[1] for each in guard.waiting(OWNER)] == ["b"], "a coming back is news, not a write of ours unseen"
    cache.saw(item("b", 6))
    assert guard.waiting(OWNER) == []
    assert guard.waiting(("shop", "api")) == [], "keys are kept apart"


def test_writes_unseen_for_long_are_overdue_and_can_be_forgotten() -> None:
    cache, guard, clock = guarded(5)
    clock.now += PATIENCE - 0.1
    guard.expect(OWNER, cache, ("shop", "b"), "uid-b", 6)
    assert guard.overdue(guard.waiting(OWNER)) == []
    clock.now += 0.1
    assert [each.key[1] for each in guard.overdue(guard.waiting(OWNER))] == ["a"], "each by its own age"
    assert len(guard.waiting(OWNER)) == 2, "overdue is not seen"
    guard.forget(OWNER)
    assert guard.waiting(OWNER) == []
