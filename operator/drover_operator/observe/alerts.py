# SPDX-License-Identifier: Apache-2.0
"""The alerts: few, each about something that a person has to do, each with the page that says what."""

from dataclasses import dataclass
from typing import Any, Literal

from drover_operator.observe import catalogue as c
from drover_operator.observe.queries import Queries

PAGES = "docs/failures"
NAME = "drover-operator"
Q = Queries()


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert: what must hold, for how long, and the page of `docs/failures` that is its runbook."""

    name: str
    expression: str
    lasting: str
    severity: Literal["critical", "warning"]
    summary: str
    description: str
    page: str


ALERTS = (
    Alert(
        name="DroverNoLeader",
        expression=f"{Q.total(c.LEADING, c.LEASE)} < 1 or absent({Q.series(c.LEADING)})",
        lasting="2m",
        severity="critical",
        summary="No operator leads: services run on, and nothing is replaced, updated or scaled.",
        description="No process of the operator holds the Lease, or none can be scraped.",
        page="operator-away",
    ),
    Alert(
        name="DroverPassesFail",
        expression=f"{Q.rate(c.FAILED, c.CONTROLLER, window='10m')} / {Q.rate(c.PASSES, c.CONTROLLER, window='10m')} > 0.1",
        lasting="15m",
        severity="warning",
        summary="More than a tenth of the passes of controller {{ $labels.controller }} fail.",
        description="{{ $value | humanizePercentage }} of the passes failed in the last 10 minutes; the log says why: event 'pass failed'.",
        page="operator-stuck",
    ),
    Alert(
        name="DroverPassStuck",
        expression=f"{Q.most(c.LONGEST, c.NAME)} > 300",
        lasting="5m",
        severity="warning",
        summary="A pass of controller {{ $labels.name }} has gone on for {{ $value | humanizeDuration }}.",
        description="One key holds a worker and is not decided again; /state names it.",
        page="operator-stuck",
    ),
    Alert(
        name="DroverQueueOld",
        expression=f"{Q.most(c.OLDEST, c.CONTROLLER)} > 60",
        lasting="10m",
        severity="warning",
        summary="Services wait for more than a minute to be looked at.",
        description="The oldest key of controller {{ $labels.controller }} has waited for {{ $value | humanizeDuration }}.",
        page="operator-stuck",
    ),
    Alert(
        name="DroverCacheStale",
        expression=f"{Q.most(c.CACHE_AGE, c.RESOURCE)} > 300",
        lasting="5m",
        severity="critical",
        summary="A process of the operator hears nothing of {{ $labels.resource }} any more.",
        description="The last event, bookmark or list came {{ $value | humanizeDuration }} ago; bookmarks come every minute.",
        page="caches-stale",
    ),
    Alert(
        name="DroverListsFail",
        expression=f"{Q.increase(c.RELISTS, c.RESOURCE, window='15m', reason=('error', 'gap'))} > 5",
        lasting="5m",
        severity="warning",
        summary="The operator lists {{ $labels.resource }} anew again and again.",
        description="{{ $value | humanize }} complete lists after an error or a lost event in 15 minutes.",
        page="caches-stale",
    ),
    Alert(
        name="DroverWritesFenced",
        expression=f"{Q.increase(c.FENCED, window='30m')} > 10",
        lasting="5m",
        severity="warning",
        summary="The fence refuses writes of the operator.",
        description="{{ $value | humanize }} writes in 30 minutes carried an epoch or holder that is not in the Lease; a take-over makes a few at most.",
        page="stale-leader",
    ),
    Alert(
        name="DroverFenceAbsent",
        expression=f"{Q.most(c.FENCE)} == 0",
        lasting="15m",
        severity="warning",
        summary="The API server does not refuse writes of a deposed leader.",
        description="The leader's probe of the fence was let through: preconditions and the operator's own clock are all that keeps a late write out.",
        page="fence-absent",
    ),
    Alert(
        name="DroverServiceFailed",
        expression=f"{Q.most(c.OBJECTS, c.CONTROLLER, phase='Failed')} > 0",
        lasting="5m",
        severity="critical",
        summary="{{ $value }} services are in phase Failed and need a person.",
        description="kubectl get msvc -A --field-selector status.phase=Failed names them.",
        page="bad-revision",
    ),
    Alert(
        name="DroverServiceStalled",
        expression=f"{Q.most(c.CONDITIONS, c.CONTROLLER, type='Stalled', status='True')} > 0",
        lasting="15m",
        severity="warning",
        summary="{{ $value }} services cannot become what was declared.",
        description="The condition Stalled says what keeps each of them: kubectl drover status -A.",
        page="bad-revision",
    ),
    Alert(
        name="DroverServiceDegraded",
        expression=f"{Q.most(c.CONDITIONS, c.CONTROLLER, type='Degraded', status='True')} > 0",
        lasting="15m",
        severity="warning",
        summary="{{ $value }} services have lost instances that were not replaced.",
        description="The condition Degraded counts what is missing: kubectl drover status -A.",
        page="node-lost",
    ),
)


def rules() -> dict[str, Any]:
    """The alerts as a file of rules for Prometheus."""
    return {"groups": [{"name": NAME, "rules": [_rule(each) for each in ALERTS]}]}


def prometheus_rule() -> dict[str, Any]:
    """The same as an object for the Prometheus operator."""
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/part-of": "drover"}
    meta = {"name": NAME, "namespace": "drover-system", "labels": labels}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": meta, "spec": rules()}


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expression,
        "for": alert.lasting,
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "description": alert.description, "runbook_url": f"{PAGES}/{alert.page}.md"},
    }
