# SPDX-License-Identifier: Apache-2.0
"""The storage of the simulated API server: what it looks up by name and by label is what a search of everything would find."""

from random import Random
from typing import Any

import pytest

from drover_operator.testing.kinds import CONFIG_MAPS, PODS
from drover_operator.testing.storage import Storage, Version

SELECTORS: tuple[dict[str, str], ...] = ({}, {"app": "a"}, {"app": "b"}, {"tier": "x"}, {"app": "a", "tier": "x"}, {"app": "nobody"}, {"unknown": "a"})


def item(namespace: str, name: str, labels: dict[str, str] | None) -> dict[str, Any]:
    meta = {"namespace": namespace, "name": name, "uid": f"{namespace}/{name}"}
    return {"metadata": meta if labels is None else {**meta, "labels": labels}}


def searched(there: list[Version], namespace: str, labels: dict[str, str]) -> list[Version]:
    found = [each for each in there if each.namespace == namespace and labels.items() <= each.labels.items()]
    return sorted(found, key=lambda each: each.name)


@pytest.mark.parametrize("seed", range(10))
def test_look_ups_find_what_a_search_would_find(seed: int) -> None:
    """Objects come, change their labels or keep them, lose all of them, go, and come again under the same name."""
    random, storage = Random(seed), Storage()
    there: dict[tuple[str, str], Version] = {}
    for step in range(400):
        key = (random.choice("pq"), f"pod-{random.randrange(12)}")
        if key in there and random.random() < 0.3:
            storage.remove(there.pop(key))
        else:
            labels = random.choice((None, {}, {"app": "a"}, {"app": "b"}, {"app": "a", "tier": "x"}, {"tier": "x"}))
            there[key] = storage.put(PODS, item(*key, labels))
        everything = list(there.values())
        for namespace in ("p", "q", "nowhere"):
            assert storage.items(PODS, namespace) == searched(everything, namespace, {}), f"seed {seed}, step {step}"
            for selector in SELECTORS:
                assert storage.labelled(PODS, namespace, selector) == searched(everything, namespace, selector), f"seed {seed}, step {step}: {selector}"
        assert storage.items(PODS) == sorted(everything, key=lambda each: (each.namespace, each.name)), f"seed {seed}, step {step}"
        assert storage.get(PODS, *key) is there.get(key)
    assert storage.items(CONFIG_MAPS) == [], "kinds are apart"


def test_a_list_that_was_handed_out_does_not_change() -> None:
    """Actors write while they go through what they have listed."""
    storage = Storage()
    first = storage.put(PODS, item("p", "one", {"app": "a"}))
    listed, labelled = storage.items(PODS, "p"), storage.labelled(PODS, "p", {"app": "a"})
    storage.put(PODS, item("p", "two", {"app": "a"}))
    storage.remove(first)
    assert listed == labelled == [first]
