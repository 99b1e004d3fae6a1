# SPDX-License-Identifier: Apache-2.0
"""The small lives that are looked through: what the user does, step by step, with at most 3 replicas and 3 revisions.

Each row is gone through under several faults. `new` begins with a service that nobody has seen yet; else its first spec has been
reached long ago. The user's next step may come at any moment.
"""

from dataclasses import dataclass

from exhaustive import server
from exhaustive.setting import CALM, REAL, Faults, Rig, Scene
from exhaustive.space import Space
from exhaustive.values import Owned, Spec, World

FRESH = World(owned=Owned(front=False, budget=False))
ONE_OF_EACH = {
    "crash": Faults(crash=1),
    "depose": Faults(depose=1),
    "lost": Faults(lost=1),
    "late": Faults(late=1),
    "fail": Faults(fail=1),
    "sick": Faults(sick=1),
    "tick": Faults(tick=1),
}


@dataclass(frozen=True)
class Row:
    """One life, and why it is looked at."""

    why: str
    specs: tuple[Spec, ...]
    new: bool = False
    bad: str = ""
    refused: str = ""

    def space(self, faults: Faults = CALM, rig: Rig = REAL, *, settle: str = "0s", descending: bool = False) -> tuple[Space, int]:
        """The space of this life under these faults, and the situation in which it begins."""
        scene = Scene(self.specs, self.bad, self.refused, settle, descending)
        space = Space(scene, faults, rig)
        return space, space.start(FRESH if self.new else settled(scene))


def settled(scene: Scene) -> World:
    """The world in which the first spec was reached long ago."""
    space = Space(scene._replace(specs=scene.specs[:1]))
    here = space.start(FRESH)
    while (move := space.quiet(here)) is not None:
        here = move[1]
    assert not space.missing(here), space.missing(here)
    return server.aged(space.world(here))


ONE, TWO, THREE = Spec(), Spec(replicas=2), Spec(replicas=3)
BARE = Spec(surge=0, unavailable=1)  # no surge: an old one goes before a new one comes
# What a lost answer alone does harm in when the engine decides again without proving its caches (`Rig.proves`): the user changes the spec
# meanwhile, and the watch lags. Where nobody changes anything a pod that fails does as well as a user.
HARMED = {"roll bad, mend", "to none", "roll, scale", "change of mind", "back", "back 2"}
SCENES = {
    "create 1": Row("the first steps: finalizer, revision, Service, budget, pod", (ONE,), new=True),
    "create 2": Row("two slots side by side", (TWO,), new=True),
    "create 3": Row("three slots side by side", (THREE,), new=True),
    "create bad": Row("nothing ever becomes healthy, and there is nothing to go back to", (ONE,), new=True, bad="A"),
    "create refused": Row("the server refuses the first template", (ONE,), new=True, refused="A"),
    "create, delete": Row("a deletion in the middle of the creation leaves nothing behind", (ONE, Spec(deleted=True)), new=True),
    "create, scale": Row("the number changes before the first one is reached", (ONE, TWO), new=True),
    "roll 1": Row("one instance: the new one serves before the old one leaves", (ONE, Spec("B"))),
    "roll 2": Row("two instances, one by one", (TWO, Spec("B", 2))),
    "roll 3": Row("three instances, one by one", (THREE, Spec("B", 3))),
    "roll 3 by 2": Row("surge 2: steps overlap", (Spec(replicas=3, surge=2), Spec("B", 3, 2))),
    "roll bare": Row("no surge: one may be missing", (BARE, BARE._replace(letter="B"))),
    "roll 2 bare": Row("no surge, two instances: never both", (BARE._replace(replicas=2), BARE._replace(letter="B", replicas=2))),
    "roll bad": Row("the new revision never becomes healthy: back by deadline", (ONE, Spec("B")), bad="B"),
    "roll 2 bad": Row("back by deadline, and nobody who serves was touched", (TWO, Spec("B", 2)), bad="B"),
    "roll refused": Row("the server refuses the new template: nothing is touched", (ONE, Spec("B")), refused="B"),
    "roll bad, mend": Row("a third revision after a bad one", (ONE, Spec("B"), Spec("C")), bad="B"),
    "out": Row("scale out", (ONE, TWO)),
    "in": Row("scale in", (TWO, ONE)),
    "in 3": Row("two leave at once", (THREE, ONE)),
    "out, in": Row("out and back at any moment", (ONE, TWO, ONE)),
    "to none": Row("down to zero and up again", (ONE, Spec(replicas=0), ONE)),
    "roll, scale": Row("another number in the middle of a roll", (ONE, Spec("B"), Spec("B", 2))),
    "change of mind": Row("a third revision in the middle of a roll", (ONE, Spec("B"), Spec("C"))),
    "back": Row("back to the first revision in the middle of a roll: who is leaving may stay", (ONE, Spec("B"), ONE)),
    "back 2": Row("the same with two", (TWO, Spec("B", 2), TWO)),
    "pause": Row("a roll is paused and goes on", (ONE, Spec("B"), Spec("B", paused=True), Spec("B"))),
    "delete": Row("all leave before they end, and the finalizer goes last", (TWO, Spec(replicas=2, deleted=True))),
    "roll, delete": Row("a deletion in the middle of a roll", (ONE, Spec("B"), Spec("B", deleted=True))),
}
