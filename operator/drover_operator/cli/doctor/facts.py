# SPDX-License-Identifier: Apache-2.0
"""What was read, as values. Each thing is there, or is not, or could not be read and why; checks know nothing of how it was read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drover_operator.cli.doctor.wanted import Wanted

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Read:
    """One object: `body` as the server has it, None when it is not there; `unread` says why nobody knows."""

    body: Json | None = None
    unread: str = ""


@dataclass(frozen=True, kw_only=True)
class Many:
    """Some objects, or why they could not be listed."""

    items: tuple[Json, ...] = ()
    unread: str = ""


@dataclass(frozen=True, kw_only=True)
class Server:
    """The API server: its version, and its clock and ours at the same moment, in seconds since the epoch (0: it did not say)."""

    major: int
    minor: int
    text: str
    clock: float
    here: float


@dataclass(frozen=True, kw_only=True)
class Right:
    """A right of `who` ("": the user of this command). `allowed` is None while nobody has said; `unread` says why nobody would."""

    who: str
    verb: str
    group: str
    resource: str
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    allowed: bool | None = None
    unread: str = ""

    def __str__(self) -> str:
        what = self.resource + (f".{self.group}" if self.group else "") + (f"/{self.subresource}" if self.subresource else "")
        return f"{self.verb} {what}" + (f" in {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All of it. `found` is by the id of what is wanted; services and instances carry metadata, services status too."""

    server: Server
    version: str
    wanted: tuple[Wanted, ...]
    found: Mapping[str, Read]
    rights: tuple[Right, ...] = ()
    mine: tuple[Right, ...] = ()
    lease: Read = field(default_factory=Read)
    floor: Read = field(default_factory=Read)
    deployment: Read = field(default_factory=Read)
    operators: Many = field(default_factory=Many)
    services: Many = field(default_factory=Many)
    instances: Many = field(default_factory=Many)
