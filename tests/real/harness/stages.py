# SPDX-License-Identifier: Apache-2.0
"""How long each stage of a recovery took: detected (out of discovery), acted (successors made), served (all of them in discovery)."""

import time
from typing import Any

from api.harness.space import Space, live
from api.harness.waiting import until

PATIENCE = 60.0


class Stages:
    """A clock for the loss of some instances of one service."""

    def __init__(self, space: Space, service: str, lost: set[str]) -> None:
        self._space, self._service, self._lost = space, service, lost
        self._begun = 0.0
        self._took: dict[str, float] = {}

    def __str__(self) -> str:
        return ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in self._took.items())

    def begin(self) -> None:
        """Now it happens."""
        self._begun = time.monotonic()

    def detected(self) -> None:
        """Wait until nobody sends to the lost ones any more."""
        self._reach("detected", lambda: not self._lost & self._space.serving(self._service))

    def replaced(self) -> None:
        """Wait until there is a successor for each of them."""
        self._reach("acted", lambda: len(self._others()) >= len(self._lost) + self._rest)

    def served(self, replicas: int) -> None:
        """Wait until so many others serve."""
        self._reach("served", lambda: len(self._space.serving(self._service) - self._lost) == replicas)

    @property
    def _rest(self) -> int:
        return int(self._space.get(self._service)["spec"]["replicas"]) - len(self._lost)

    def _others(self) -> list[Any]:
        return [each for each in self._space.pods(self._service) if live(each) and each["metadata"]["uid"] not in self._lost]

    def _reach(self, stage: str, look: Any) -> None:
        until(look, f"{stage} after the damage", seconds=PATIENCE, seen=lambda: self._space.show(self._service))
        self._took[stage] = time.monotonic() - self._begun
