# SPDX-License-Identifier: Apache-2.0
"""Admission webhooks, as functions: they change what is sent, refuse it, or cannot be reached.

As on a real cluster they are asked about dry runs too, are named for a resource or a subresource ("pods", "pods/status"), and what they
add is owned by nobody. Simplified: a built-in object is shown before its defaults, so that whatever a function adds gets its defaults
with the rest; a change of an object that is there gets none.
"""

from collections.abc import Callable
from typing import Literal, TypeVar

from drover_operator.testing.kinds import Kind, named
from drover_operator.testing.objects import Json
from drover_operator.testing.refusal import Refused

T = TypeVar("T")
Operation = Literal["CREATE", "UPDATE", "DELETE"]
# From the old object (None on create) and the new one: the object to go on with. It must make new dicts, never change what it is given.
Mutation = Callable[[Json | None, Json], Json]
# From the old object (None on create) and the new one (None on delete): why not, or None.
Judgement = Callable[[Json | None, Json | None], str | None]
Remove = Callable[[], None]


class Admission:
    """The webhooks of one API server, called in the order in which they came."""

    def __init__(self) -> None:
        self._mutations: dict[str, list[Mutation]] = {}
        self._judgements: dict[str, list[tuple[Judgement, tuple[Operation, ...]]]] = {}

    def mutate(self, resource: str, mutation: Mutation) -> Remove:
        """Call `mutation` on creates and updates of a resource, before validation; answers how to take it away."""
        return _added(self._mutations.setdefault(_key(resource), []), mutation)

    def refuse(self, resource: str, judgement: Judgement, *, name: str, operations: tuple[Operation, ...]) -> Remove:
        """Ask `judgement` after validation, under the name of a webhook; answers how to take it away."""

        def judged(old: Json | None, new: Json | None) -> str | None:
            why = judgement(old, new)
            return f'admission webhook "{name}" denied the request: {why}' if why else None

        return _added(self._judgements.setdefault(_key(resource), []), (judged, operations))

    def break_down(self, resource: str, *, name: str) -> Remove:
        """A webhook that must be asked and cannot be reached: no create or update of the resource goes through."""

        def broken(_old: Json | None, _new: Json) -> Json:
            why = f'failed calling webhook "{name}": failed to call webhook: Post "https://{name}:443/?timeout=10s": connect: connection refused'
            raise Refused(500, "InternalError", f"Internal error occurred: {why}", {"causes": [{"message": why}]})

        return self.mutate(resource, broken)

    def mutated(self, kind: Kind, subresource: str, old: Json | None, new: Json) -> Json:
        """What the webhooks make of an object."""
        for mutation in self._mutations.get(f"{kind.resource}/{subresource}", ()):
            new = mutation(old, new)
        return new

    @property
    def is_used(self) -> bool:
        """Whether anybody has ever put a webhook here."""
        return bool(self._mutations or self._judgements)

    def check(self, kind: Kind, subresource: str, old: Json | None, new: Json | None) -> None:
        """Ask all who judge a create (no old object), a delete (no new one) or an update.

        Raises:
            Refused: 403 with the words of the first that denies.
        """
        operation: Operation = "CREATE" if old is None else "DELETE" if new is None else "UPDATE"
        for judgement, operations in self._judgements.get(f"{kind.resource}/{subresource}", ()):
            if operation in operations and (why := judgement(old, new)):
                raise Refused(403, "Forbidden", why)


def _key(resource: str) -> str:
    """The door that a resource is written through: the full name of the resource, and the subresource."""
    plural, _, subresource = resource.partition("/")
    return f"{named(plural).resource}/{subresource}"


def _added(listed: list[T], item: T) -> Remove:
    listed.append(item)
    return lambda: listed.remove(item)
