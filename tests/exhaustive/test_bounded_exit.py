# SPDX-License-Identifier: Apache-2.0
"""No rollout is ever stuck: from each situation that can be reached, whatever the world does, it ends within a bound, and says how.

All situations of `rollouts.py` are looked at, under each row. An end is: complete; taken back and complete; Failed, with a reason and a person asked
for; waiting for a person, in words that say so. What is none of these is a way between them: there must be no circle among such situations, and
nothing that counts as progress may be further away than the deadline, the longest hold and half a minute.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pytest
from exhaustive.rollouts import ACTS, DEADLINE, DOUBTFUL, FAILS, HOLD, NEVER, ROUND, WELL, Game, State, Turn, image
from scenarios.ledger import tally

from drover_operator.api.managedservice import ManagedServiceStatus

Json = dict[str, Any]
decide: Any = import_module("drover_controllers.service.decide")
course: Any = import_module("drover_controllers.service.rollout.course")
GRACE = 30.0  # seconds
FOR_PEOPLE = ("WaitsForPromotion", "Paused")
HOLDS, PAUSES = {"weight": 25, "hold": f"{HOLD:g}s"}, {"pause": {}}

# A new strategy is one more line.
STRATEGIES: dict[str, tuple[str, Json]] = {
    "Rolling": ("instances one by one", {"type": "Rolling"}),
    "Rolling bare": ("no surge: one goes before one comes", {"type": "Rolling", "rolling": {"maxSurge": 0, "maxUnavailable": 1}}),
    "Recreate": ("nobody serves in between", {"type": "Recreate"}),
    "Canary, weights": ("a hold, and a step without one", {"type": "Canary", "canary": {"steps": [HOLDS, {"weight": 50}]}}),
    "Canary, a pause": ("a person between two shares", {"type": "Canary", "canary": {"steps": [HOLDS, PAUSES, {"weight": 60}]}}),
    "BlueGreen": ("two sets, and one switch", {"type": "BlueGreen", "blueGreen": {"autoPromote": True, "keepFor": f"{HOLD:g}s"}}),
    "BlueGreen, by hand": ("the switch waits for a person", {"type": "BlueGreen", "blueGreen": {"keepFor": f"{HOLD:g}s"}}),
    "Canary, only a pause": ("the first step gives no share", {"type": "Canary", "canary": {"steps": [PAUSES]}}),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is promised of A, which has served, and of all that come after it; what people may do, each once and whenever they like.

    `ends` are the ends that there may be, in the words of `ended`.
    """

    why: str
    ends: tuple[str, ...]
    replicas: tuple[int, ...] = (1, 2)
    old: str = WELL
    new: str = DOUBTFUL
    acts: tuple[str, ...] = ()
    sick: int = 0
    first: bool = False


GOOD, BACK, HAND, PERSON, LOST = "complete", "RolledBack", "Aborted", FOR_PEOPLE, "Failed"
ROWS: dict[str, Row] = {
    "all goes well": Row(why="nothing is in the way", ends=(GOOD, *PERSON), replicas=(1, 2, 3), new=WELL),
    "health by chance": Row(why="each instance serves at some time, or never", ends=(GOOD, BACK, *PERSON), replicas=(1, 2, 3)),
    "health comes and goes": Row(why="what served may sicken", ends=(GOOD, BACK, *PERSON), sick=1),
    "all instances end": Row(why="failed ones are made again, later and later", ends=(BACK, *PERSON), new=FAILS),
    "the stable one is sick": Row(why="the fix must come through", ends=(GOOD, *PERSON), replicas=(1, 2, 3), old=NEVER, new=WELL),
    "the first rollout": Row(why="there is nothing to go back to", ends=(GOOD, LOST), first=True),
    "the first rollout ends": Row(why="and all of it fails", ends=(LOST,), new=FAILS, first=True),
    "people pause": Row(why="time stands still, and begins anew", ends=(GOOD, BACK, *PERSON), replicas=(1,), acts=("pause", "resume", "promote")),
    "people abort": Row(why="at any moment, and take it back", ends=(GOOD, BACK, HAND, *PERSON), replicas=(1,), acts=("abort", "retry", "promote")),
    "people promote": Row(why="past every pause", ends=(GOOD, BACK, *PERSON), replicas=(1, 2), acts=("promote",)),
    "another version": Row(why="in the middle, and back again", ends=(GOOD, BACK, LOST, *PERSON), replicas=(1,), acts=("another version", "the old version")),
    "a pin back": Row(why="to the first, and the pin is taken out", ends=(GOOD, BACK, *PERSON), replicas=(1,), acts=("pin to the first", "no pin")),
    "a pin to what is new": Row(why="a pin is no reason to wait for ever", ends=(GOOD, BACK, LOST, *PERSON), replicas=(1,), acts=("pin to the last",)),
    "both are sick": Row(why="there is nothing good to go back to", ends=(GOOD, LOST, *PERSON), replicas=(1,), old=NEVER),
    "more replicas": Row(why="another number in the middle", ends=(GOOD, BACK, *PERSON), replicas=(1,), acts=("one more",)),
}


def ended(state: State, told: ManagedServiceStatus) -> str:
    """How it has ended, "" while it has not."""
    needs = next(each for each in told.conditions if each.type == "NeedsHuman")
    if state.phase == "Failed" or needs.status == "True":
        assert needs.status == "True", needs
        assert needs.reason != "NotNeeded", needs
        return LOST
    if state.summary in FOR_PEOPLE:
        return state.summary
    if state.phase in ("Run", "Scale"):  # scaling is no rollout
        return state.summary if state.summary in (BACK, HAND) else GOOD
    return ""


@dataclass
class Search:
    """All situations, the rounds between them, and how far each is from an end."""

    game: Game
    told: dict[State, ManagedServiceStatus] = field(default_factory=dict[State, ManagedServiceStatus])
    after: dict[State, tuple[State, ...]] = field(default_factory=dict[State, tuple[State, ...]])
    stuck: list[State] = field(default_factory=list[State])
    far: dict[State, int] = field(default_factory=dict[State, int])  # rounds to an end
    still: dict[State, int] = field(default_factory=dict[State, int])  # rounds to what counts as progress, or to an end

    def run(self, start: State) -> "Search":
        todo = [self._rested(start)]
        known: dict[State, State] = {}
        while todo:
            here = todo.pop()
            if here in self.after:
                continue
            moves = [each for each in self.game.rounds(here) if each not in known]
            known.update((each, self._rested(each)) for each in moves)
            self.after[here] = tuple(known[each] for each in self.game.rounds(here))
            todo += self.after[here]
            todo += [self._rested(_done(here, act)) for act in here.acts]
        for here in self.after:
            if here not in self.far and not self.end(here):
                self._measure(here)
        return self

    def end(self, state: State) -> str:
        return ended(state, self.told[state])

    def _rested(self, state: State) -> State:
        turn: Turn = self.game.rest(state)
        self.told[turn.state] = turn.status
        return turn.state

    def _measure(self, root: State) -> None:
        """Depth first; whoever meets itself goes round in a circle."""
        way: dict[State, Iterator[State]] = {root: self._open(root)}
        while way:
            here = next(reversed(way))
            there = next(way[here], None)
            if there is None:
                del way[here]
                self._sum_up(here)
            elif there in way:
                self.stuck.append(there)
            elif there not in self.far:
                way[there] = self._open(there)

    def _open(self, state: State) -> Iterator[State]:
        return iter([each for each in self.after[state] if not self.end(each)])

    def _sum_up(self, here: State) -> None:
        ways = list(self._open(here))
        self.far[here] = 1 + max((self.far.get(each, 0) for each in ways), default=0)
        self.still[here] = 1 + max((self.still.get(each, 0) for each in ways if _marks(each) == _marks(here)), default=0)


def _marks(state: State) -> tuple[Any, ...]:
    """What counts as progress: another target, another step, more in service than ever, or the way back."""
    memory = dict(state.memory)
    return (*(memory.get(key) for key in ("target", "step", "progressed")), state.phase == "Rollback", "reachedAt" in memory)


def _done(state: State, act: str) -> State:
    return ACTS[act](state)._replace(acts=tuple(each for each in state.acts if each != act))


def searched(row: Row, rollout: Json, replicas: int) -> Search:
    spec = {
        "criticality": "Normal",
        "replicas": replicas,
        "ports": [{"name": "http", "port": 80}],
        "template": image("B"),
        "rollout": {"progressDeadline": f"{DEADLINE:g}s", "rolling": {"maxSurge": 1}, **rollout},
        "restart": {"settle": "0s"},
    }
    game = Game({"app:A": row.old, "app:B": row.new, "app:C": row.new})
    start = game.anew(spec, acts=row.acts) if row.first else game.begin(spec, healthy=row.old == WELL, acts=row.acts, sick=row.sick)
    return Search(game).run(start)


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_rollout_ends(strategy: str, name: str):
    row = ROWS[name]
    for replicas in row.replicas:
        found = searched(row, STRATEGIES[strategy][1], replicas)
        ends = Counter(filter(None, map(found.end, found.after)))
        far, still = ROUND * max(found.far.values(), default=0), ROUND * max(found.still.values(), default=0)
        print(f"{strategy}, {name}, {replicas} replicas: {len(found.after)} situations, ends {dict(ends)}, {far:g} s to an end, {still:g} s without progress")
        tally(rollout_states=len(found.after))
        assert found.stuck == []
        assert still <= DEADLINE + HOLD + GRACE
        assert set(ends) <= set(row.ends)


MUTANTS = {
    "no deadline: what never serves is waited for": (decide, "overdue", lambda *_: None),
    "no rollback: what failed is marked, and stays": (course, "given_up", lambda *_: False),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_what_has_no_end_is_found(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(*MUTANTS[name])
    assert searched(ROWS["health by chance"], {"type": "Rolling"}, 1).stuck
