# SPDX-License-Identifier: Apache-2.0
"""Ids of changes: what a log line, an Event and a trace belong to, whichever operator process wrote them.

A pass has an id of its own (`reconcile`), which says nothing of the passes before and after it, and nothing of those of another leader.
The id of a change is derived, never stored: from the object's uid and from what the controller says the change is, which is made of the
declared state and of the Memory, and so the same in every process. Rejected: an id given when a change is first seen (it would have to
be remembered, a field and a write for a label), and the generation alone (a scale in mid-rollout would cut the story in two).
"""

from hashlib import sha256

from drover_operator.api.meta import ObjectMeta
from drover_operator.kube.cache import Key

LENGTH = 10  # hexadecimal digits


def change_id(uid: str, what: str) -> str:
    """The id of one change of one object."""
    return sha256(f"{uid} {what}".encode()).hexdigest()[:LENGTH]


class Changes:
    """The change that each key is in; a look at one that goes on costs no hash."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[str, str, str]] = {}

    def of(self, meta: ObjectMeta, what: str) -> str:
        """The id of the change that the controller calls `what`; "" stands for the generation."""
        what = what or f"generation {meta.generation}"
        known = self._known.get(meta.key)
        if known is None or known[:2] != (meta.uid, what):
            known = self._known[meta.key] = (meta.uid, what, change_id(meta.uid, what))
        return known[2]

    def last(self, key: Key) -> str:
        """The id of the change that the key was in when it was last decided, "" before that."""
        known = self._known.get(key)
        return known[2] if known is not None else ""

    def forget(self, key: Key) -> None:
        """The key is gone."""
        self._known.pop(key, None)
