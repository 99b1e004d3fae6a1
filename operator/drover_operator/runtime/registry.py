# SPDX-License-Identifier: Apache-2.0
"""What a controller declares, and how the operator finds controllers: by entry point, ours and a platform team's alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Literal, Protocol

from drover_operator.api.meta import Object
from drover_operator.api.resource import Resource
from drover_operator.core.plan import Answer, Plan, Verdict
from drover_operator.kube.cache import Key
from drover_operator.kube.errors import ConfigurationError

GROUP = "drover.controllers"


@dataclass(frozen=True, kw_only=True)
class Watch:
    """A resource that belongs to keys of the controller; `key_of` names the key, or None for an object that is not ours.

    An object that many keys look at is filed under its own key, and `users` says whether a primary object is one of those. `optional`: the cluster may
    not serve the resource, and then there are no such objects.
    """

    resource: Resource[Object]
    key_of: Callable[[Any], Key | None]
    selector: str = ""
    urgent: Callable[[Any], bool] = lambda _: False
    users: Callable[[Any, Any], bool] | None = None
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Access:
    """A right that the controller uses: RBAC is generated from these, and nothing else is granted."""

    resource: Resource[Object]
    verbs: tuple[str, ...]
    subresource: str = ""


class View(Protocol):
    """What `gather` may see: caches, the time, and what became of earlier actions."""

    @property
    def now(self) -> float:
        """Seconds since the epoch."""
        ...

    def of(self, resource: Resource[Any], key: Key) -> tuple[Any, ...]:
        """Objects of a watched resource that belong to the key."""
        ...

    def verdicts(self, key: Key) -> Mapping[str, Verdict]:
        """Refusals and dry runs of this key by the id of the action."""
        ...

    def answers(self, key: Key) -> Mapping[str, Answer]:
        """Answers to questions of this key by the id of the question."""
        ...

    def name(self, derived: str) -> str:
        """The name to use for one that was made by hashing content: the same, except where a redacted report is replayed."""
        ...


@dataclass(frozen=True, kw_only=True)
class Notice:
    """An Event to be recorded about the object; `action` is what was done, in CamelCase."""

    reason: str
    action: str
    note: str
    type: Literal["Normal", "Warning"] = "Normal"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is to be told: the status as it was read (None: there is none yet) and as it should be, and Events.

    `urgent`: a person should see it soon. `last`: it goes out at once, because the object may be gone before the next write is due.
    """

    before: Any
    status: Any
    urgent: bool = False
    last: bool = False
    notices: tuple[Notice, ...] = ()


def _by_generation(_facts: Any, _plan: Any) -> str:
    return ""


@dataclass(frozen=True, kw_only=True)
class Controller:
    """One kind and its four pure files. `gather` returns None when there is nothing to decide.

    `change` names, from facts and plan, the change that a pass belongs to; "" means whatever this generation of the spec asks for. It
    must find the same words in every process, and for as long as the change goes on: see `runtime.changes`.
    """

    name: str
    resource: Resource[Object]
    watches: tuple[Watch, ...]
    access: tuple[Access, ...]
    gather: Callable[[Any, View], Any]
    decide: Callable[[Any], Plan]
    report: Callable[[Any, Any], Report]
    change: Callable[[Any, Any], str] = _by_generation


def discover() -> tuple[Controller, ...]:
    """All installed controllers, by name.

    Raises:
        ConfigurationError: an entry point cannot be loaded, or is not a Controller.
    """
    found: dict[str, Controller] = {}
    for point in entry_points(group=GROUP):
        try:
            controller = point.load()
        except Exception as error:  # somebody else's module: whatever it raises, the sentence names it
            raise ConfigurationError(f"the controller '{point.name}' ({point.value}) cannot be loaded: {type(error).__name__}: {error}") from error
        if not isinstance(controller, Controller):
            raise ConfigurationError(f"the entry point '{point.name}' ({point.value}) is not a Controller")
        if found.setdefault(controller.name, controller) is not controller:
            raise ConfigurationError(f"two controllers are named '{controller.name}': the second is '{point.name}' ({point.value})")
    return tuple(found[name] for name in sorted(found))
