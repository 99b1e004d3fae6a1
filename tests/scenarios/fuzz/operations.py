# SPDX-License-Identifier: Apache-2.0
"""All operations by name, and the sequences that are dealt of them: the same seed, the same sequence, as long as the schema is the same."""

from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from random import Random
from typing import Any

from scenarios.fuzz.acts import ACTS, MSVC
from scenarios.fuzz.arena import Arena, Moot
from scenarios.fuzz.cases import ABSENT, Case, Expect, cases, example, rivals
from scenarios.fuzz.specs import CHANGES, FIRST, RULED, Change, changed
from scenarios.fuzz.walk import Json, Key, Property, properties

from drover_operator.api.crd import MANAGED_SERVICE
from drover_operator.api.fields import MAX_REPLICAS

HAND, REFUSED_AT_MOST = 8, 4  # operations of one sequence that may be accepted, and those that are refused beside them
HEAVY, HEAVY_EVERY = 60, 1000  # instances from which an operation is dealt only now and then: thousands of pods cost a minute
BEFORE = ", stored before the rule"  # what the rule refuses today
PAUSES = (0.0, 0.0, 0.01, 0.05, 0.2, 0.6, 1.5, 4.0, 12.0, 40.0)  # seconds before an operation


@dataclass(frozen=True)
class Operation:
    """One thing that is done to a service. `touches` is the property it is made from, or the name of an act."""

    name: str
    touches: str
    do: Callable[[Arena], Any]
    expect: Expect | None = None
    trouble: bool = False
    heavy: bool = False


@dataclass(frozen=True)
class Step:
    """An operation, so many seconds after the one before."""

    name: str
    pause: float = 0.0


@cache
def operations() -> dict[str, Operation]:
    """Every operation by its name."""
    every = [*_declared("spec"), *_declared("metadata"), *_edited(), *_changes()]
    every += [Operation(each.name, each.name, each.do, trouble=each.trouble) for each in ACTS.values()]
    twice = [name for name, count in Counter(each.name for each in every).items() if count > 1]
    if twice:
        raise ValueError(f"two operations of one name: {twice}")
    return {each.name: each for each in every}


def _declared(root: str) -> list[Operation]:
    """Operations that declare the service with one property changed."""

    def declare(found: Property, case: Case, *, ruled: bool = True) -> Callable[[Arena], Any]:
        return lambda arena: arena.declare(placed(arena.wish(), found, case.value), tried=case.expect in ("open", "broken"), ruled=ruled)

    rows = [(found, case) for found in properties(MANAGED_SERVICE, root) for case in cases(found)]
    every = [
        Operation(f"{found.name}: {case.name}", found.name, declare(found, case), case.expect, heavy=_heavy(found.name, case.value)) for found, case in rows
    ]
    stored = [(found, case) for found, case in rows if case.expect == "rule"]
    return every + [Operation(f"{found.name}: {case.name}{BEFORE}", found.name, declare(found, case, ruled=False)) for found, case in stored]


def _heavy(name: str, value: Any) -> bool:
    return name in ("spec.replicas", "spec.scaling.min") and isinstance(value, int) and HEAVY < value <= MAX_REPLICAS


def _edited() -> list[Operation]:
    """Operations that edit the status by hand; it is the operator's, so all of it must be made good."""

    def edit(found: Property, case: Case) -> Callable[[Arena], Any]:
        def change(arena: Arena) -> None:
            if arena.object is None:
                raise Moot("no service")
            status = placed({"status": arena.status()}, found, case.value)["status"]
            arena.rules.edited = arena.rules.edited or found.name.startswith(("status.history", "status.phase"))
            arena.cluster.patch(*MSVC, [{"op": "add", "path": "/status", "value": status}], "status")

        return change

    return [
        Operation(f"{found.name}: {case.name}", found.name, edit(found, case), case.expect, trouble=found.name.startswith("status.rollout"))
        for found in properties(MANAGED_SERVICE, "status")
        for case in cases(found)
    ]


def _changes() -> list[Operation]:
    def declare(change: Change, *, ruled: bool = True) -> Callable[[Arena], Any]:
        return lambda arena: arena.declare(changed(arena.wish(), change, arena), ruled=ruled)

    every = [Operation(name, name.partition(": ")[0], declare(change)) for name, change in CHANGES.items()]
    return every + [Operation(name + BEFORE, name.partition(": ")[0], declare(CHANGES[name], ruled=False)) for name in RULED]


def placed(manifest: Json, found: Property, value: Any) -> Json:
    """The manifest with that value at that property; what is missing on the way is made from examples."""
    whole = deepcopy(manifest)
    holder: Any = whole
    for (key, node), (inner, _) in pairwise(found.trail):
        holder = _entered(holder, key, node)
        for other in rivals(node, str(inner)):
            holder.pop(other, None)
    _assign(holder, found.trail[-1][0], value)
    return whole


def _entered(holder: Any, key: Key, node: Json) -> Any:
    kinds: dict[str, type] = {"object": dict, "array": list}
    there = holder.get(key) if isinstance(holder, dict) else holder[0] if holder else None
    if not isinstance(there, kinds[node["type"]]):
        _assign(holder, key, example(node, key))
    return holder[key]


def _assign(holder: Any, key: Key, value: Any) -> None:
    if isinstance(holder, list):
        holder[:1] = [] if value is ABSENT else [deepcopy(value)]
    elif value is ABSENT:
        holder.pop(key, None)
    else:
        holder[key] = deepcopy(value)


def sequence(seed: int) -> tuple[str, list[Step]]:
    """The first spec and the steps of a seed: its hand of a deck that was shuffled for its round."""
    hands = deck(seed // rounds())
    random = Random(seed)
    names = [*hands[seed % rounds()], *random.sample(_refused(), random.randint(0, REFUSED_AT_MOST))]
    if seed % HEAVY_EVERY == HEAVY_EVERY - 1:
        names.append(random.choice([each.name for each in operations().values() if each.heavy]))
    random.shuffle(names)
    return random.choice([*FIRST]), [Step(name, random.choice(PAUSES)) for name in names]


def rounds() -> int:
    """Sequences in which every operation that may be accepted is dealt once."""
    return -(-len(_active()) // HAND)


@cache
def deck(number: int) -> list[list[str]]:
    """The hands of one round. One operation of every property comes before the second of any: a part of a round tries them all."""
    random = Random(f"deck {number}")
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, float, str]] = []
    for each in random.sample(_active(), len(_active())):
        ranked.append((seen[each.touches], random.random(), each.name))
        seen[each.touches] += 1
    names = [name for _, _, name in sorted(ranked)]
    return [names[start : start + HAND] for start in range(0, len(names), HAND)]


@cache
def _active() -> list[Operation]:
    return [each for each in operations().values() if each.expect != "refused" and not each.heavy]


@cache
def _refused() -> list[str]:
    return [each.name for each in operations().values() if each.expect == "refused"]
