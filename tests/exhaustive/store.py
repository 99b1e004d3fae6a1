# SPDX-License-Identifier: Apache-2.0
"""Worlds, processes and what is left of faults, by number.

A lead (the leading process) is a row of numbers: its cache of each of the five kinds, flags, verdicts, and the rest of its pass. The
rest of a situation is the work of a deposed process, the writes that are held up, and the faults that may yet happen.
"""

from exhaustive import process, server
from exhaustive.numbers import Memo, Table, joined
from exhaustive.process import Work
from exhaustive.setting import LATE, Faults
from exhaustive.values import KINDS, LISTED, PODS, Action, Pod, Uid, Verdict, World

FLAGS, VERDICTS, WORK = 5, 6, 7  # in a lead, after the five cached kinds
PROVED = 1 << 5  # in the flags, after one bit for each kind that the guard waits for
NOTHING = (0, 0, 0)  # flags, verdicts and work of a process that has just begun
Lead = tuple[int, ...]
Late = tuple[int, int, bool]  # a held-up write: its action, the spec it was decided on, and whether its sender was deposed since
Rest = tuple[int, tuple[Late, ...], tuple[int, ...]]


class Store:
    """The tables, and what only changes numbers in them. Look-ups of memos are by key: `fresh[world]`, `seeing[lead, kind, part]`."""

    def __init__(self, faults: Faults) -> None:
        self.parts: tuple[Table, ...] = tuple(Table() for _ in KINDS)
        self.worlds: Table[tuple[int, ...]] = Table()
        self.leads: Table[Lead] = Table()
        self.rests: Table[Rest] = Table((0, (), tuple(faults)))
        self.verdicts: Table[tuple[Verdict, ...]] = Table(())
        self.works: Table[Work | None] = Table(None)
        self.actions: Table[Action] = Table()
        self.fresh = Memo(lambda world: self.leads.number((*self.worlds.values[world], *NOTHING)))
        self.seeing = Memo(self._seeing)
        self.behind = Memo(self._behind)
        self.spent = Memo(self._spent)
        self._uids = Memo(self._uids_of_part)
        self._held = Memo(self._uids_of_work)

    # -- worlds
    def world(self, number: int) -> World:
        return self.row(self.worlds.values[number])

    def row(self, numbers: tuple[int, ...]) -> World:
        """The kinds by their numbers: of a world, or in the caches of a lead."""
        return World(*(table.values[part] for table, part in zip(self.parts, numbers, strict=False)))

    def number(self, world: World) -> int:
        return self.worlds.number(self._numbers(world))

    def _numbers(self, world: World) -> tuple[int, ...]:
        return tuple(table.number(part) for table, part in zip(self.parts, world, strict=True))

    # -- leads
    def cached(self, lead: int) -> World:
        """What its caches show."""
        return self.row(self.leads.values[lead])

    def known(self, lead: int) -> tuple[Verdict, ...]:
        return self.verdicts.values[self.leads.values[lead][VERDICTS]]

    def work(self, lead: int) -> Work | None:
        return self.works.values[self.leads.values[lead][WORK]]

    def passes(self, lead: int, verdicts: tuple[Verdict, ...], work: Work | None) -> int:
        """The same process with other verdicts and another rest of a pass."""
        return self.leads.number((*self.leads.values[lead][:VERDICTS], self.verdicts.number(tuple(sorted(verdicts))), self.works.number(work)))

    def proved(self, world: int, lead: int) -> int:
        """The same process with all caches current, and the proof of it."""
        return self.leads.number((*self.worlds.values[world], PROVED, *self.leads.values[lead][VERDICTS:]))

    def _seeing(self, key: tuple[int, int, int]) -> int:
        lead, kind, part = key
        row = list(self.leads.values[lead])
        row[kind], row[FLAGS] = part, row[FLAGS] & ~(1 << kind)
        return self.leads.number(tuple(row))

    def _behind(self, key: tuple[int, int]) -> int:
        lead, kind = key
        row = list(self.leads.values[lead])
        row[FLAGS] |= 1 << kind
        return self.leads.number(tuple(row))

    # -- rests
    def _spent(self, key: tuple[int, int]) -> int:
        rest, cost = key
        deposed, limbo, budgets = self.rests.values[rest]
        return self.rests.number((deposed, limbo, (*budgets[:cost], budgets[cost] - 1, *budgets[cost + 1 :])))

    def holding(self, rest: int, action: int, index: int) -> int:
        """With one more write that is held up."""
        deposed, limbo, budgets = self.rests.values[self.spent[rest, LATE]]
        return self.rests.number((deposed, tuple(sorted((*limbo, (action, index, False)))), budgets))

    # -- uids
    def free(self, world: int, lead: int, rest: int, action: Action) -> int:
        """The smallest n that nobody remembers at that place."""
        stored, held = self.worlds.values[world], self.leads.values[lead]
        deposed, limbo, _ = self.rests.values[rest]
        used = self._uids[PODS, stored[PODS]] | self._uids[LISTED, stored[LISTED]] | self._uids[PODS, held[PODS]] | self._uids[LISTED, held[LISTED]]
        used |= self._held[held[WORK]] | self._held[deposed]
        used = used.union(*(_uids(self.actions.values[number]) for number, _, _ in limbo))
        taken = {n for letter, slot, n in used if letter == action.letter and slot == action.slot}
        return next(n for n in range(len(taken) + 1) if n not in taken)

    def _uids_of_part(self, key: tuple[int, int]) -> frozenset[Uid]:
        kind, part = key
        rows = self.parts[kind].values[part]
        return frozenset(rows) if kind == LISTED else frozenset(uid for pod in rows for uid in (pod.uid, pod.name))

    def _uids_of_work(self, number: int) -> frozenset[Uid]:
        work = self.works.values[number]
        return frozenset() if work is None else frozenset[Uid]().union(*(_uids(action) for stage in (work.stage, *work.later) for action in stage))

    # -- time
    def later(self, world: int, lead: int, rest: int) -> int:
        """The situation after so much time that every deadline is over, that of a proof of caches too."""
        held = self.leads.values[lead]
        deposed, limbo, budgets = self.rests.values[rest]
        caches = self._numbers(server.aged(self.cached(lead)))
        verdicts = self.verdicts.number(tuple(each._replace(age=1) for each in self.known(lead)))
        late = tuple(sorted((self.actions.number(server.aged_action(self.actions.values[number])), index, old) for number, index, old in limbo))
        after = self.leads.number((*caches, held[FLAGS] & ~PROVED, verdicts, self._aged(held[WORK])))
        return joined(self.number(server.aged(self.world(world))), after, self.rests.number((self._aged(deposed), late, budgets)))

    def _aged(self, number: int) -> int:
        work = self.works.values[number]
        return 0 if work is None else self.works.number(process.aged(work))


def _uids(action: Action) -> frozenset[Uid]:
    if isinstance(action.seen, Pod):
        return frozenset((action.seen.uid, action.seen.name))
    return frozenset([(action.letter, action.slot, action.former)]) if action.verb == "create" else frozenset()
