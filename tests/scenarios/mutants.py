# SPDX-License-Identifier: Apache-2.0
"""Operators that are wrong on purpose, one mistake each: what the suites are there to catch."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any
from unittest.mock import patch

from scenarios import crew

from drover_operator.core.plan import Delete, Patch, Plan
from drover_operator.runtime import engine
from drover_operator.runtime.election import Election
from drover_operator.runtime.guard import WriteGuard

Change = Callable[[Plan], Plan]
decide: Any = import_module("drover_controllers.service.decide")  # the package exports functions of these names
filling: Any = import_module("drover_controllers.service.filling")
report: Any = import_module("drover_controllers.service.report")


def _deciding(change: Change) -> Any:
    """An operator that carries out something else than what was decided."""
    right = crew.CONTROLLER.decide
    return patch.object(crew, "CONTROLLER", replace(crew.CONTROLLER, decide=lambda facts: change(right(facts))))


def _unconditional(action: Any) -> Any:
    return replace(action, uid="", version="") if isinstance(action, Patch | Delete) else action


MUTANTS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "delete before create": (
        "old instances leave at once, not when enough others serve",
        (
            patch.object(decide, "canary", lambda _at, demand, _progressed, way, _counts: {way.target: demand.replicas}),
            patch.object(filling, "_within_budget", lambda _draft, victims: victims),
        ),
    ),
    "no settling": (
        "instances are ended while proxies still send requests to them, and nothing in the pod makes up for it",
        (
            patch.object(decide.drain, "drained", lambda *_: None),
            patch.object(decide.build, "_sleep_before_stop", lambda *_: None),
        ),
    ),
    "status before write": (
        "the status tells what is only decided as if it were done",
        (patch.object(report, "_reconciling", lambda *_: (None, "")),),
    ),
    "no guard": (
        "what was written is forgotten, and a cache that lacks it is believed",
        (patch.object(WriteGuard, "waiting", lambda *_: []),),
    ),
    "no precondition": (
        "patches and deletes hit whatever has that name by now",
        (_deciding(lambda plan: replace(plan, stages=tuple(tuple(map(_unconditional, stage)) for stage in plan.stages))),),
    ),
    "no fence": (
        "writes do not say in which epoch they were decided, and a deposed leader goes on",
        (patch.object(Election, "headers", lambda _: {}),),
    ),
    "no barrier": (
        "a new leader believes its caches at once",
        (patch.object(engine.Reflector, "prove", lambda self: self.synced.wait()),),
    ),
    "no write-ahead": (
        "what must be remembered is stored after the act",
        (patch.object(decide, "_begins", lambda *_: False),),
    ),
    "no doubt": (
        "that something has not happened is believed without asking",
        (_deciding(lambda plan: replace(plan, doubt=False)),),
    ),
    "no deadline": (
        "a revision that fails is never given up",
        (patch.object(decide, "overdue", lambda *_: None),),
    ),
}


@contextmanager
def mutated(name: str) -> Iterator[None]:
    """The operator with that mistake in it."""
    with ExitStack() as stack:
        stack.callback(_forget)
        for each in MUTANTS[name][1]:
            stack.enter_context(each)
        _forget()
        yield


def _forget() -> None:
    """What pure functions remember of an operator without, or with, the mistake."""
    for function in vars(decide.build).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
