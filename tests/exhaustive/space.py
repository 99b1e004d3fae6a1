# SPDX-License-Identifier: Apache-2.0
"""All situations, and the moves between them.

A situation is one integer: the numbers of the world, of the leading process, and of the rest (what a deposed process and the network
still hold, and how many faults may yet happen). Whatever depends on one or two of these is worked out once, so that a move costs
microseconds: real decisions are asked for some thousand times, moves are made millions of times.

A process that dies, or is deposed, is followed at once by one with caches fresh from a consistent list (the take-over barrier): what
the world does in between, it could have done before. A cache moves by one kind, to what is stored at that moment; any point of any
stream of events is such a moment. One that is deposed still sends what it was about to send; what it would decide after that would be
refused by the fence all the same.
"""

from collections.abc import Iterator

from exhaustive import process, rules, server
from exhaustive.actor import Actor, Label, Move, left
from exhaustive.numbers import Memo, joined, split
from exhaustive.process import Work
from exhaustive.setting import CALM, CRASH, DEPOSE, FAIL, REAL, SICK, TICK, Faults, Rig, Scene
from exhaustive.store import FLAGS, NOTHING, WORK, Store
from exhaustive.values import KINDS, LISTED, PODS, Action, World


class Space:
    """The situations of one scene under some faults."""

    def __init__(self, scene: Scene, faults: Faults = CALM, rig: Rig = REAL) -> None:
        self.scene, self.faults, self.rig = scene, faults, rig
        self.store = Store(faults)
        self._actor = Actor(self.store, scene, faults, rig)
        self._bad = frozenset(scene.bad)
        self._wrong = Memo(lambda world: rules.of_world(self.store.world(world)))
        self._around = Memo(self._environment)
        self._helped = Memo(self._help)

    def start(self, world: World) -> int:
        """The situation in which a process with fresh caches begins to lead."""
        number = self.store.number(world)
        return joined(number, self.store.fresh[number], 0)

    def world(self, situation: int) -> World:
        return self.store.world(split(situation)[0])

    @property
    def sizes(self) -> dict[str, int]:
        """How much was really worked out."""
        return {"worlds": len(self.store.worlds.values), "processes": len(self.store.leads.values), "decisions": self._actor.judge.asked}

    # -- moves
    def moves(self, situation: int) -> list[Move]:
        """Everything that may happen next."""
        world, lead, rest = split(situation)
        store, wrong = self.store, self._wrong
        deposed, limbo, budgets = store.rests.values[rest]
        found: list[Move] = [
            (label, joined(after, lead, rest if cost is None else store.spent[rest, cost]), wrong[after])
            for label, after, cost in self._around[world]
            if cost is None or budgets[cost]
        ]
        found += self._catching_up(world, lead, rest)
        found += self._actor.moves(world, lead, rest)
        if budgets[CRASH] or budgets[DEPOSE] or budgets[TICK]:
            found += self._upheavals(world, lead, rest)
        if deposed or limbo:
            found += self._stragglers(world, lead, rest)
        return found

    def _environment(self, world: int) -> list[tuple[str, int, int | None]]:
        """What the environment and the user do in a world, and which budget it costs."""
        value = self.store.world(world)
        rows = [(None, server.helpful(value, self._bad)), (None, server.edited(value, self.scene.specs))]
        rows += [(FAIL, server.failing(value))] if self.faults.fail else []
        rows += [(SICK, server.sickening(value))] if self.faults.sick else []
        return [(label, self.store.number(after), cost) for cost, moved in rows for label, after in moved]

    def _catching_up(self, world: int, lead: int, rest: int) -> list[Move]:
        store, found = self.store, list[Move]()
        stored, held = store.worlds.values[world], store.leads.values[lead]
        behind = held[FLAGS]
        for kind in range(5):
            if held[kind] != stored[kind] or behind >> kind & 1:
                after = store.seeing[lead, kind, stored[kind]]
                if kind == PODS and self.rig.prompt:
                    after = store.seeing[after, LISTED, stored[LISTED]]
                found.append((("its cache sees", KINDS[kind]), joined(world, after, rest), ""))
        return found

    def _upheavals(self, world: int, lead: int, rest: int) -> Iterator[Move]:
        store = self.store
        deposed, limbo, budgets = store.rests.values[rest]
        held = store.leads.values[lead]
        fresh = store.fresh[world] if self.rig.barrier else store.leads.number((*held[:FLAGS], *NOTHING))
        outdated = tuple(sorted({(number, index, True) for number, index, _ in limbo}))
        if budgets[CRASH] and fresh != lead:
            after = store.rests.number((deposed, outdated, store.rests.values[store.spent[rest, CRASH]][2]))
            yield "the process dies, another one leads", joined(world, fresh, after), ""
        if budgets[DEPOSE] and held[WORK]:
            after = store.rests.number((held[WORK], outdated, store.rests.values[store.spent[rest, DEPOSE]][2]))
            yield "the process is deposed, another one leads", joined(world, fresh, after), ""
        if budgets[TICK] and (self.rig.prompt or not self._discovery_moves(world)):
            yield "every deadline passes", store.later(world, lead, store.spent[rest, TICK]), ""

    def _discovery_moves(self, world: int) -> bool:
        value = self.store.world(world)
        return server.listing(value) != value.listed

    def _stragglers(self, world: int, lead: int, rest: int) -> Iterator[Move]:
        """Writes of the deposed, and writes that were held up."""
        store = self.store
        deposed, limbo, budgets = store.rests.values[rest]
        for number, action, index in self._actor.todo[deposed]:
            work = left(store.works.values[deposed], action, ok=not self.rig.fence)
            after = store.rests.number((store.works.number(work), limbo, budgets))
            yield self._straggles((number, index, True), (world, lead, rest), after)
        for each in limbo:
            after = store.rests.number((deposed, tuple(one for one in limbo if one != each), budgets))
            yield self._straggles(each, (world, lead, rest), after)

    def _straggles(self, late: tuple[int, int, bool], now: tuple[int, int, int], rest: int) -> Move:
        (number, index, outdated), (world, lead, before) = late, now
        action = self.store.actions.values[number]
        if outdated and self.rig.fence:
            return ("from one deposed:", action, "fenced"), joined(world, lead, rest), ""
        outcome, _, changed, after, wrong = self._actor.sent(world, lead, before, number, index)
        wrong = wrong or ("a write of a deposed process was taken" if outdated and changed else "")
        return ("from one deposed:" if outdated else "late:", action, outcome), joined(after, lead, rest), wrong

    # -- the quiet continuation
    def quiet(self, situation: int) -> tuple[Label, int] | None:
        """The next move when nothing goes wrong any more, and no user comes; None when all is at rest."""
        world, lead, rest = split(situation)
        deposed, limbo, _ = self.store.rests.values[rest]
        if deposed or limbo:
            return next(self._stragglers(world, lead, rest))[:2]
        if self.store.leads.values[lead][WORK]:
            return self._actor.working(world, lead, rest)[0][:2]
        if helped := self._helped[world]:
            return helped[0], joined(helped[1], lead, rest)
        if moves := self._catching_up(world, lead, rest):
            return moves[0][:2]
        return self._idle(situation)

    def _help(self, world: int) -> tuple[str, int] | None:
        """The first thing that a healthy environment does."""
        return next(((label, self.store.number(after)) for label, after in server.helpful(self.store.world(world), self._bad)), None)

    def _idle(self, situation: int) -> tuple[Label, int] | None:
        """What a process with fresh caches does in a world in which nothing moves; at last, time passes."""
        world, lead, rest = split(situation)
        if begun := self._actor.deciding(world, lead):
            return begun[0][0], joined(world, begun[0][1], rest)
        decision = self._actor.decided[lead]
        waits = decision is not None and decision.wakes and self.missing(situation)
        return ("every deadline passes", self.store.later(world, lead, rest)) if waits else None

    def missing(self, situation: int) -> str:
        """What is missing of the goal, "" at the goal."""
        return rules.reached(self.world(situation), self.scene.specs, self._actor.judge.digests, self._bad | frozenset(self.scene.refused))


def told(label: object) -> str:
    """A move in words."""
    match label:
        case Work() | None:
            return process.told(label)
        case Action():
            return str(label)
        case tuple():
            return " ".join(map(told, label))
    return str(label)
