# SPDX-License-Identifier: Apache-2.0
"""Ids of changes: the same in every process, another for everything that is another change."""

from drover_operator.api.meta import ObjectMeta
from drover_operator.runtime.changes import Changes, change_id

WEB = ObjectMeta(name="web", namespace="shop", uid="11", generation=4)


def test_an_id_is_the_same_in_every_process_and_version():
    """Two versions lead one after the other during an upgrade: what an id is made of must not change."""
    assert change_id("11", "rollout a to b") == "d0407218dc"
    assert Changes().of(WEB, "rollout a to b") == Changes().of(WEB, "rollout a to b") == "d0407218dc"


def test_another_object_another_rollout_another_generation_are_other_changes():
    changes = Changes()
    ids = [
        changes.of(WEB, "rollout a to b"),
        changes.of(WEB, "rollout b to a"),
        changes.of(WEB, ""),
        changes.of(ObjectMeta(name="web", namespace="shop", uid="11", generation=5), ""),
        changes.of(ObjectMeta(name="web", namespace="shop", uid="12", generation=5), ""),
    ]
    assert len(set(ids)) == 5


def test_the_last_one_is_known_until_it_is_forgotten():
    changes = Changes()
    assert changes.last(WEB.key) == ""
    last = changes.of(WEB, "deletion")
    assert changes.last(WEB.key) == last
    changes.forget(WEB.key)
    assert changes.last(WEB.key) == ""
