# SPDX-License-Identifier: Apache-2.0
"""The small world as plain values: equal situations are equal values, so that a situation is looked at once.

There are no version numbers: an object's version is its value. Where a value could come back (a pod that leaves and enters again), a
turn is counted up in it. There is no clock either: an age is 0 for "just now" and 1 for "longer ago than any deadline".
A pod's uid is (letter, slot, n); n is the smallest number that nobody remembers, so that uids are the same up to renaming.
"""

from typing import Any, NamedTuple

SERVICE, PODS, LISTED, REVISIONS, OWNED = range(5)  # the kinds, each with a cache of its own
KINDS = ("the service", "pods", "endpoints", "revisions", "Service and budget")
NONE, IN, OUT = range(3)  # the readiness gate: never set, in service, out of service
Uid = tuple[str, int, int]
FRESH = -1  # the "former" of a pod that took over from nobody


class Spec(NamedTuple):
    """What the user declares; letter X is the template with image app:X. `deleted`: the user deletes the service."""

    letter: str = "A"
    replicas: int = 1
    surge: int = 1
    unavailable: int = 0
    paused: bool = False
    deleted: bool = False

    @property
    def most(self) -> int:
        return self.replicas + self.surge

    @property
    def fewest(self) -> int:
        """Fewest instances that a wanted change may leave; a deletion may take all."""
        return 0 if self.deleted else max(0, self.replicas - (self.unavailable if self.surge or self.unavailable else 1))


class Pod(NamedTuple):
    """One pod. `former` is the n of the predecessor in its name; `age` is that of its leaving, or of its deletion."""

    letter: str
    slot: int
    n: int = 0
    former: int = FRESH
    phase: str = "Pending"
    healthy: bool = False
    gate: int = NONE
    ready: bool = False
    dying: bool = False
    age: int = 0
    turn: int = 0

    @property
    def uid(self) -> Uid:
        return (self.letter, self.slot, self.n)

    @property
    def name(self) -> tuple[str, int, int]:
        return (self.letter, self.slot, self.former)

    @property
    def live(self) -> bool:
        """Whether it fills its slot: neither leaving nor lost."""
        return not self.dying and self.gate != OUT and self.phase != "Failed"

    @property
    def serves(self) -> bool:
        """Whether it would be sent traffic once it is listed."""
        return self.ready and not self.dying and self.phase == "Running"

    def __str__(self) -> str:
        return f"{self.letter}-{self.slot}#{self.n}" + (f"(after #{self.former})" if self.former != FRESH else "")


class Memory(NamedTuple):
    """status.rollout: letters for revisions, ages for times (None: never)."""

    target: str = ""
    stable: str = ""
    started: int | None = None
    progressed_at: int | None = None
    progressed: int = 0
    settled: int = -1
    paused: bool = False
    blocked: str = ""


class Told(NamedTuple):
    """The status, as far as anything is ever read back from it. `observed` is the index of the spec, -1 before the first write."""

    memory: Memory = Memory()
    phase: str | None = None
    observed: int = -1


class Service(NamedTuple):
    """The ManagedService: which of the specs the user has applied, and what was told."""

    index: int = 0
    finalizer: bool = False
    deleting: bool = False
    told: Told = Told()


class Revision(NamedTuple):
    """A recorded revision; `blocked` is the digest of the spec under which it failed."""

    letter: str
    number: int
    before: str = ""
    blocked: str = ""
    age: int = 0


class Owned(NamedTuple):
    """Whether the Service and the disruption budget are there."""

    front: bool = True
    budget: bool = True


class World(NamedTuple):
    """What the API server holds; the fields are the kinds in their order. `listed` is what discovery names."""

    service: Service | None = Service()
    pods: tuple[Pod, ...] = ()
    listed: tuple[Uid, ...] = ()
    revisions: tuple[Revision, ...] = ()
    owned: Owned = Owned()


class Action(NamedTuple):
    """One write, or one question. `seen` is the object that it was decided on: uid and version at once."""

    verb: str  # create enter leave end record block forget finalizer front budget try tell
    letter: str = ""
    slot: int = 0
    former: int = FRESH
    seen: Pod | Revision | Service | None = None
    value: Any = None  # what is written: Told, finalizer on or off, digest, (number, before)
    age: int = 0
    path: tuple[tuple[str | None, str], ...] = ()  # the changes of phase that are told

    @property
    def kind(self) -> int:
        """The kind that it writes."""
        return {"record": REVISIONS, "block": REVISIONS, "forget": REVISIONS, "finalizer": SERVICE, "tell": SERVICE, "front": OWNED, "budget": OWNED}.get(
            self.verb, PODS
        )

    def __str__(self) -> str:
        if isinstance(self.seen, Pod):
            return f"{self.verb} {self.seen}"
        if isinstance(self.seen, Revision):
            return f"{self.verb if self.verb != 'block' or self.value else 'unblock'} {self.seen.letter}"
        if self.verb == "create":
            return f"create {self.letter}-{self.slot}" + (f" after #{self.former}" if self.former != FRESH else "")
        if isinstance(self.value, Told):
            memory = self.value.memory
            return f"tell {self.value.phase}, target {memory.target or '-'}, stable {memory.stable or '-'}, progressed {memory.progressed}"
        return f"{self.verb} {self.letter}".strip() + (f" {'on' if self.value else 'off'}" if self.verb == "finalizer" else "")


Stages = tuple[tuple[Action, ...], ...]


class Verdict(NamedTuple):
    """The answer to the trial of a revision, as the process remembers it."""

    letter: str
    refused: bool
    age: int = 0


class Decision(NamedTuple):
    """A plan with its report, in the values of this world. `path` are the changes of phase, `wakes` whether it waits for time.

    `last`: the report goes out at once, because the object may be gone before the next one.
    """

    stages: Stages
    write_ahead: bool
    doubt: bool
    question: bool
    held: tuple[Verdict, ...]
    told: Told
    path: tuple[tuple[str | None, str], ...]
    wakes: bool
    last: bool = False
