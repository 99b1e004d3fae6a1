# SPDX-License-Identifier: Apache-2.0
"""Plans: what a decision wants done, as values that can be printed, compared and executed.

Effects carry their preconditions. A plan is a row of stages; the actions of one stage are independent of each other, and a stage
begins only when every action of the one before has been carried out. `kubectl drover plan` prints the value the executor runs.
"""

from dataclasses import dataclass, field
from typing import Any

from drover_operator.api.meta import Object
from drover_operator.api.resource import Resource

AnyResource = Resource[Object]


@dataclass(frozen=True, kw_only=True)
class Create:
    """Create an object by its deterministic name.

    Meeting one of that name counts as done only when it is controlled by `owner_uid`, carries `labels`, and is not being deleted. `status` is
    patched into what was made, as soon as it is made: the server drops the status of what it is given to create.
    """

    resource: AnyResource
    namespace: str
    name: str
    body: dict[str, Any] = field(repr=False)
    status: dict[str, Any] | None = field(default=None, repr=False)
    owner_uid: str
    labels: tuple[tuple[str, str], ...] = ()
    step: str
    reason: str

    @property
    def id(self) -> str:
        """Names this action in refusals."""
        return f"create {self.resource.plural}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Merge-patch exactly the object that was seen: this uid, and this version unless it is "", where any will do.

    `strategic` merges lists by their key (conditions by type) and is served for built-in kinds only.
    """

    resource: AnyResource
    namespace: str
    name: str
    uid: str
    version: str
    body: dict[str, Any]
    subresource: str = ""
    strategic: bool = False
    step: str
    reason: str

    @property
    def id(self) -> str:
        """Names this action in refusals."""
        return f"patch {self.resource.plural}/{self.name}" + (f"/{self.subresource}" if self.subresource else "")


@dataclass(frozen=True, kw_only=True)
class Delete:
    """Delete exactly the object that was seen: this uid, this version."""

    resource: AnyResource
    namespace: str
    name: str
    uid: str
    version: str
    step: str
    reason: str

    @property
    def id(self) -> str:
        """Names this action in refusals."""
        return f"delete {self.resource.plural}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class TryOut:
    """Ask the server whether it would take this object, storing nothing."""

    resource: AnyResource
    namespace: str
    name: str
    body: dict[str, Any] = field(repr=False)
    step: str
    reason: str

    @property
    def id(self) -> str:
        """Names this action among the verdicts."""
        return f"try {self.resource.plural}/{self.name}"


Action = Create | Patch | Delete | TryOut
Stage = tuple[Action, ...]


@dataclass(frozen=True, kw_only=True)
class Deferred:
    """An action that is wanted and not taken, and what it waits for."""

    step: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A question to somebody outside: a GET of `url`, not before `at` (seconds since the epoch), with an answer in `timeout` seconds.

    It is no action: nothing waits for it. The answer comes to a later pass, as one that is not older than `at`.
    """

    id: str
    url: str
    at: float
    timeout: float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of a question that was put at `at` (seconds since the epoch): the HTTP status and body, or the error in words."""

    at: float
    status: int = 0
    body: bytes = field(default=b"", repr=False)
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do now, what waits and why, and when to look again even if nothing happens.

    `wake_after` is in seconds. `write_ahead` says that the report of this pass must be stored before anything is done; such a plan
    has no stages. `doubt` says that the plan rests on something *not* having happened, so that the caches must be proved current
    before it is carried out. `held` names the actions that are not taken because of what became of them before: those verdicts stay known,
    all others are forgotten with the pass. `question` says that the plan only asks the server something: once there is an answer it is
    decided again before anything is told. `asks` are the questions to others that are open now; answers to any other are forgotten.
    """

    stages: tuple[Stage, ...] = ()
    deferred: tuple[Deferred, ...] = ()
    wake_after: float | None = None
    write_ahead: bool = False
    doubt: bool = False
    question: bool = False
    held: tuple[str, ...] = ()
    asks: tuple[Ask, ...] = ()

    @property
    def actions(self) -> tuple[Action, ...]:
        """All actions in order."""
        return tuple(action for stage in self.stages for action in stage)


@dataclass(frozen=True, kw_only=True)
class Found:
    """The object that was met where one should have been created."""

    uid: str
    version: str
    owner_uid: str
    labels: tuple[tuple[str, str], ...] = ()
    deleting: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of an action that was refused, or of a dry run; kept in memory until it is tried again.

    `reason` is "" for an accepted dry run, else the reason of the refusal; `at` is in seconds since the epoch.
    """

    at: float
    reason: str = ""
    message: str = ""
    retryable: bool = True
    found: Found | None = None

    @property
    def refused(self) -> bool:
        """Whether the server said no."""
        return bool(self.reason)
