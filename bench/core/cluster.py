# SPDX-License-Identifier: Apache-2.0
"""What the small server knows: settled services, pods that change, and what operators keep there for themselves."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bench.core.world import Templates

FIRST_VERSION = 1000
BEHIND = 8  # writes that a watch may be behind

Place = tuple[int, int]  # number of the service, number of the object within it


@dataclass
class Shown:
    """What a pod shows now."""

    version: int = FIRST_VERSION
    change: int = 0
    reason: str = ""


UNCHANGED = Shown()


@dataclass
class Cluster:
    """Everything there is; `whole` and `brief` are the objects of each service by plural, complete and as metadata."""

    services: int
    whole: Templates
    brief: Templates
    version: int = FIRST_VERSION
    pods: dict[Place, Shown] = field(default_factory=dict[Place, Shown])
    kept: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])  # Leases and ConfigMaps by path
    watches: set["asyncio.Queue[bytes]"] = field(default_factory=set["asyncio.Queue[bytes]"])  # of pods
    names: dict[str, Place] = field(default_factory=dict[str, Place])
    writes: int = 0  # to anything but Leases and ConfigMaps

    def places(self, plural: str) -> list[Place]:
        """All objects of that plural, those of one service side by side; none of what a settled service does not have."""
        return [(number, inner) for number in range(self.services) for inner in range(len(self.whole.get(plural, ())))]

    def show(self, plural: str, place: Place, *, brief: bool = False) -> bytes:
        """One object as it is now."""
        number, inner = place
        now = self.pods.get(place, UNCHANGED) if plural == "pods" else UNCHANGED
        template = (self.brief if brief else self.whole)[plural][inner]
        return template.fill(number, now.version, now.change, now.reason)

    def event(self, place: Place, reason: str) -> bytes:
        """Have a pod change, its reason too, and say so as a watch does."""
        self.version += 1
        self.pods[place] = Shown(self.version, self.pods.get(place, UNCHANGED).change + 1, reason)
        return b'{"type":"MODIFIED","object":' + self.show("pods", place) + b"}\n"

    def pod(self, name: str) -> Place:
        """Where the pod of that name is."""
        if not self.names:
            self.names = {_name(self.show("pods", place, brief=True)): place for place in self.places("pods")}
        return self.names[name]

    def tell(self, events: bytes) -> None:
        """Send events to all who watch pods."""
        for waiting in self.watches:
            waiting.put_nowait(events)

    async def caught_up(self) -> None:
        """Return when no watch is far behind: what is not read yet must not fill the memory."""
        await asyncio.sleep(0)
        while any(waiting.qsize() > BEHIND for waiting in self.watches):
            await asyncio.sleep(0.001)


def _name(body: bytes) -> str:
    return str(msgspec.json.decode(body)["metadata"]["name"])
