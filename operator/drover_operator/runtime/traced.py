# SPDX-License-Identifier: Apache-2.0
"""An engine whose passes are spans: reconcile > gather, decide, execute (one for each action), report.

A subclass, so that an engine without traces has nothing of it, not even a question. Attributes have the names of OpenTelemetry's
conventions for Kubernetes where there are such; what is Drover's own begins with `drover.`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog
from opentelemetry.trace import StatusCode

from drover_operator.api.meta import Object
from drover_operator.api.resource import Resource
from drover_operator.core.plan import Action, Plan
from drover_operator.kube.cache import Key
from drover_operator.kube.client import Client
from drover_operator.observe.traces import Attributes, Traces, trace_id
from drover_operator.runtime.engine import Engine, Setting
from drover_operator.runtime.executor import Result, carry_out, execute
from drover_operator.runtime.registry import Controller

OF_THE_PASS = ("reconcile", "epoch", "generation", "change")


class TracedEngine(Engine):
    """See `Engine`."""

    def __init__(self, controller: Controller, reader: Client, writer: Client, setting: Setting, traces: Traces) -> None:
        gather, decide = _spanned(traces, "gather", controller.gather), _spanned(traces, "decide", controller.decide)
        super().__init__(replace(controller, gather=gather, decide=decide), reader, writer, setting)
        self._traces = traces

    async def _pass(self, key: Key) -> str:
        named = {"drover.controller": self.controller.name, **_object(self.controller.resource, *key)}
        with self._traces.span("reconcile", named) as span:
            structlog.contextvars.bind_contextvars(trace=trace_id(span))
            try:
                result = await super()._pass(key)
                span.set_attribute("drover.result", result)
            finally:
                known = structlog.contextvars.get_contextvars()
                span.set_attributes({f"drover.{name}": known[name] for name in OF_THE_PASS})
            return result

    async def _execute(self, plan: Plan, now: float) -> list[Result]:
        if not plan.stages:
            return []
        with self._traces.span("execute"):
            return await execute(self._writer, plan, now, self._carry)

    async def _carry(self, client: Client, action: Action, now: float) -> Result:
        kind = type(action).__name__.lower()
        about = {"drover.action": kind, "drover.step": action.step, "drover.reason": str(action.reason)}
        with self._traces.span(f"{kind} {action.resource.plural}", {**about, **_object(action.resource, action.namespace, action.name)}) as span:
            result = await carry_out(client, action, now)
            if not result.ok:
                span.set_status(StatusCode.ERROR, str(result.error or (result.verdict and result.verdict.reason)))
            return result

    async def _tell(self, item: Object, facts: Any, plan: Plan) -> None:
        with self._traces.span("report"):
            await super()._tell(item, facts, plan)


def _spanned(traces: Traces, name: str, step: Callable[..., Any]) -> Callable[..., Any]:
    def spanned(*values: Any) -> Any:
        with traces.span(name):
            return step(*values)

    return spanned


def _object(resource: Resource[Any], namespace: str, name: str) -> Attributes:
    return {"k8s.namespace.name": namespace, f"k8s.{resource.kind.lower()}.name": name}
