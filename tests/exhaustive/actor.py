# SPDX-License-Identifier: Apache-2.0
"""The leading process: what it decides on its caches, what it sends, and what it knows after the answer, or without one."""

from exhaustive import process, rules, server
from exhaustive.judge import Judge
from exhaustive.numbers import Memo, joined
from exhaustive.process import Work
from exhaustive.rules import Measure
from exhaustive.setting import FAIL, LATE, LOST, SICK, Faults, Rig, Scene
from exhaustive.store import FLAGS, PROVED, WORK, Store
from exhaustive.values import Action, Decision, Verdict

Label = str | tuple[object, ...]
Move = tuple[Label, int, str]  # in words, the situation after it, and what is wrong with it
Sent = tuple[str, bool, bool, int, str]  # the answer, whether it is success, whether anything changed, the world after it, what is wrong


class Actor:
    """Moves of the process that leads."""

    def __init__(self, store: Store, scene: Scene, faults: Faults, rig: Rig) -> None:
        self._store, self._scene, self._faults, self._rig = store, scene, faults, rig
        self.judge = Judge(scene.specs, descending=scene.descending, settle=scene.settle)
        self._server = server.Server(versions=rig.versions, names=rig.names)
        self.decided = Memo(self._decided)
        self.todo = Memo(self._todo)
        self._begun = Memo(self._beginning)
        self._asked = Memo(self._unanswered)
        self._after = Memo(self._advanced)
        self._written = Memo(self._write)

    # -- deciding
    def moves(self, world: int, lead: int, rest: int) -> list[Move]:
        """What the process may do next."""
        held, store = self._store.leads.values[lead], self._store
        if held[WORK]:
            return self.working(world, lead, rest)
        if held[FLAGS] & ~PROVED:
            return []  # the guard: not everything that it wrote is in its caches
        found: list[Move] = [(label, joined(world, after, rest), "") for label, after in self.deciding(world, lead)]
        if store.rests.values[rest][2][LOST] and (after := self._asked[lead]) is not None:
            found.append(("asks, and gets no answer", joined(world, after, store.spent[rest, LOST]), ""))
        return found

    def _decided(self, lead: int) -> Decision | None:
        """What is decided on these caches; None without a service."""
        cached = self._store.cached(lead)
        return None if cached.service is None else self.judge(cached, self._store.known(lead))

    def deciding(self, world: int, lead: int) -> list[tuple[Label, int]]:
        """The process after its decision; nothing when there is nothing to do."""
        decision: Decision | None = self.decided[lead]
        if decision is None:
            return []
        if decision.doubt and not self._store.leads.values[lead][FLAGS] & PROVED:
            return [("proves its caches", self._store.proved(world, lead))]
        begun: list[tuple[Label, int]] = self._begun[lead]
        return begun

    def _beginning(self, lead: int) -> list[tuple[Label, int]]:
        decision, store, label = self.decided[lead], self._store, tuple[object, ...]()
        if decision.question:
            letter = decision.stages[0][0].letter
            after, label = store.passes(lead, self._answered(decision.held, letter), None), ("asks about", letter)
        else:
            work = process.begin(store.cached(lead).service, decision)
            after, label = store.passes(lead, decision.held, work), ("decides:", work)
        return [] if after == lead else [(label, after)]

    def _answered(self, verdicts: tuple[Verdict, ...], letter: str) -> tuple[Verdict, ...]:
        return (*(each for each in verdicts if each.letter != letter), Verdict(letter, letter in self._scene.refused))

    def _unanswered(self, lead: int) -> int | None:
        decision = self.decided[lead]
        if decision is None or not decision.question:
            return None
        return self._store.passes(lead, decision.held, process.unanswered(self._store.cached(lead).service, decision))

    # -- a pass under way
    def _todo(self, number: int) -> list[tuple[int, Action, int]]:
        """What a pass may send next, and the spec that it was decided on."""
        work = self._store.works.values[number]
        rows = () if work is None else work.stage or ((work.tell,) if work.tell is not None else ())
        return [(self._store.actions.number(each), each, work.base.index) for each in rows if work is not None]

    def working(self, world: int, lead: int, rest: int) -> list[Move]:
        """The writes that may be next, each with what may become of its answer."""
        store, found, budgets = self._store, list[Move](), self._store.rests.values[rest][2]
        for number, action, index in self.todo[store.leads.values[lead][WORK]]:
            outcome, ok, changed, after, wrong = self.sent(world, lead, rest, number, index)
            learned = self._after[lead, number, ok]
            if ok and self._rig.guard and (changed or process.unseen(action, outcome, store.world(world), store.cached(lead))):
                learned = store.behind[learned, action.kind]
            found.append(((action, outcome), joined(after, learned, rest), wrong))
            if action.verb == "try":
                continue
            if budgets[LOST]:
                found.append(((action, outcome, "the answer is lost"), joined(after, self._unsure(lead, number), store.spent[rest, LOST]), wrong))
            if budgets[LATE]:
                found.append(((action, "no answer"), joined(world, self._after[lead, number, False], store.holding(rest, number, index)), ""))
        work = store.work(lead)
        if work is not None and not work.stage and not work.forced:
            found.append(("tells it later", joined(world, store.passes(lead, store.known(lead), None), rest), ""))
        return found

    def sent(self, world: int, lead: int, rest: int, number: int, index: int) -> Sent:
        """The server takes a write of this process, or of one that was before it."""
        left, had = self._store.rests.values[rest][2], self._faults
        broken = had[FAIL] + had[SICK] - left[FAIL] - left[SICK]
        unknown = had[LATE] - left[LATE] + (0 if self._rig.proves else had[LOST] - left[LOST]) if self._rig.lenient else 0
        action = self._store.actions.values[number]
        n = self._store.free(world, lead, rest, action) if action.verb == "create" else 0
        answer: Sent = self._written[world, number, index, n, broken, unknown]
        return answer

    def _write(self, key: tuple[int, ...]) -> Sent:
        world, number, index, n, broken, unknown = key
        before, action = self._store.world(world), self._store.actions.values[number]
        outcome, after = self._server.take(before, action, n)
        wrong = rules.of_world(after)
        if outcome == server.DONE:
            last = before.service.index if before.service else len(self._scene.specs) - 1
            measure = Measure(self._scene.specs[index : last + 1], broken, unknown, self.judge.digests, self._rig.prompt)
            wrong = rules.of_write(before, after, action, measure) or wrong
        changed = outcome == server.DONE and action.verb != "try"
        return outcome, process.succeeded(action, outcome), changed, self._store.number(after), wrong

    def _unsure(self, lead: int, number: int) -> int:
        """The process after a write whose answer is lost. It notes nothing, but waits until its cache is proved."""
        after: int = self._after[lead, number, False]
        return self._store.behind[after, self._store.actions.values[number].kind] if self._rig.proves else after

    def _advanced(self, key: tuple[int, int, bool]) -> int:
        lead, number, ok = key
        action, work, verdicts = self._store.actions.values[number], self._store.work(lead), self._store.known(lead)
        if action.verb == "try":
            verdicts, ok = self._answered(verdicts, action.letter), action.letter not in self._scene.refused
        return self._store.passes(lead, verdicts, left(work, action, ok=ok, stops=self._rig.stops))


def left(work: Work | None, action: Action, *, ok: bool, stops: bool = True) -> Work | None:
    """What is left of a pass after that write; after the telling nothing is."""
    return process.advanced(work, action, ok=ok, stops=stops) if work is not None and work.stage else None
