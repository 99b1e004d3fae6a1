# SPDX-License-Identifier: Apache-2.0
"""The dashboard for Grafana, from the catalogue: what the services are like, what the operator does, and what it is made of."""

from dataclasses import dataclass
from typing import Any

from drover_operator.observe import catalogue as c
from drover_operator.observe.queries import Queries

Q = Queries('job=~"$job"')
WIDE, HIGH, ACROSS = 8, 7, 24  # of Grafana's grid of 24 columns
WINDOW_OF_REFUSALS = "30m"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """A chart: what it shows as (query, legend), its unit in Grafana's words, and what to see in it. `now` shows the last value only."""

    title: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    hint: str = ""
    stacked: bool = False
    now: bool = False


@dataclass(frozen=True)
class Row:
    """A heading and its panels."""

    title: str
    panels: tuple[Panel, ...]


ROWS = (
    Row(
        "Services",
        (
            Panel("Services by phase", ((Q.most(c.OBJECTS, c.PHASE), "{{phase}}"),), stacked=True),
            Panel(
                "Services in trouble",
                ((Q.most(c.CONDITIONS, c.CONDITION, type=("Stalled", "Degraded", "NeedsHuman"), status="True"), "{{type}}"),),
                hint="kubectl drover status -A names them.",
            ),
            Panel("Instances by state", ((Q.most(c.INSTANCES, c.STATE), "{{state}}"),), stacked=True),
        ),
    ),
    Row(
        "Leadership",
        (
            Panel("Leaders", ((Q.total(c.LEADING, c.LEASE), "{{name}}"),), now=True, hint="One for each Lease."),
            Panel("Epoch", ((Q.most(c.EPOCH), "epoch"),), now=True, hint="Rises with each take-over."),
            Panel("Versions", ((f"count by (version) ({Q.series(c.BUILD)})", "{{version}}"),), now=True, hint="More than one only during an upgrade."),
        ),
    ),
    Row(
        "Work",
        (
            Panel("Passes", ((Q.rate(c.PASSES, c.RESULT), "{{result}}"),), "ops", stacked=True),
            Panel("Time of a pass", tuple((Q.quantile(share, c.TOOK, c.CONTROLLER), f"{{{{controller}}}} p{share * 100:.0f}") for share in (0.5, 0.99)), "s"),
            Panel("Errors and retries", ((Q.rate(c.FAILED, c.CONTROLLER), "errors {{controller}}"), (Q.rate(c.RETRIES, c.NAME), "retries {{name}}")), "ops"),
            Panel("Keys that wait", ((Q.total(c.DEPTH, c.NAME), "waiting {{name}}"), (Q.total(c.BACKOFF, c.CONTROLLER), "in backoff {{controller}}"))),
            Panel(
                "How long keys wait",
                ((Q.quantile(0.99, c.WAITED, c.NAME), "p99 {{name}}"), (Q.most(c.OLDEST, c.CONTROLLER), "oldest now {{controller}}")),
                "s",
                "More than a few seconds means too few workers, or passes that hang.",
            ),
            Panel(
                "Passes under way",
                ((Q.most(c.LONGEST, c.NAME), "longest {{name}}"), (Q.total(c.UNFINISHED, c.NAME), "all together {{name}}")),
                "s",
                "A line that only rises is a pass that hangs; /state names its key.",
            ),
            Panel("Workers", ((Q.total(c.ACTIVE, c.CONTROLLER), "at work {{controller}}"), (Q.most(c.WORKERS, c.CONTROLLER), "all {{controller}}"))),
            Panel("Additions to the queue", ((Q.rate(c.ADDS, c.NAME), "{{name}}"),), "ops"),
            Panel("Passes put off for own writes", ((Q.rate(c.STALE, c.CONTROLLER), "{{controller}}"),), "ops", "The watch is behind what we wrote."),
        ),
    ),
    Row(
        "API server",
        (
            Panel("Requests", ((Q.rate(c.REQUESTS, c.METHOD, c.CODE), "{{method}} {{code}}"),), "reqps", stacked=True),
            Panel("Time to answer, p99", ((Q.quantile(0.99, c.REQUEST_TIME, c.VERB), "{{verb}}"),), "s"),
            Panel("Writes", ((Q.rate(c.WRITES, c.ACTION, c.DONE), "{{action}} {{result}}"),), "ops", stacked=True),
            Panel("Does the fence stand", ((Q.most(c.FENCE), "enforced"),), hint="1: the leader's probe is refused, as it must be."),
            Panel("Writes refused by the fence", ((Q.increase(c.FENCED, window=WINDOW_OF_REFUSALS), "refused"),), hint="A few at a take-over."),
            Panel("Events", ((Q.rate(c.EVENTS, c.FATE), "{{result}}"),), "ops"),
        ),
    ),
    Row(
        "Caches",
        (
            Panel("Objects", ((Q.most(c.CACHED, c.RESOURCE), "{{resource}}"),)),
            Panel("Age", ((Q.most(c.CACHE_AGE, c.RESOURCE), "{{resource}}"),), "s", "Bookmarks come every minute: more than two is a broken watch."),
            Panel(
                "Watches begun again, lists",
                ((Q.rate(c.RESTARTS, c.RESTART), "watch {{reason}}"), (Q.rate(c.RELISTS, c.RELIST), "list {{reason}}")),
                "ops",
            ),
        ),
    ),
    Row(
        "Process",
        (
            Panel("CPU", ((f"rate({Q.series(c.CPU)}[5m])", "{{instance}}"),), "percentunit"),
            Panel("Memory", ((Q.series(c.MEMORY), "{{instance}}"),), "bytes"),
            Panel("Lag of the event loop", ((Q.series(c.LAG), "{{instance}}"),), "s"),
            Panel("Garbage collections", ((Q.rate(c.COLLECTIONS, c.GENERATION), "generation {{generation}}"),), "ops"),
            Panel("Age of the process", ((f"time() - {Q.series(c.STARTED)}", "{{instance}}"),), "s", now=True),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    return {
        "uid": "drover-operator",
        "title": "Drover",
        "tags": ["drover"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_sources(), _jobs()]},
        "panels": _panels(),
    }


def _sources() -> dict[str, Any]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _jobs() -> dict[str, Any]:
    query = f"label_values({c.BUILD.name}, job)"
    choice = {"includeAll": True, "multi": True, "refresh": 2, "current": {"text": "All", "value": "$__all"}}
    return {"name": "job", "label": "Job", "type": "query", "datasource": SOURCE, "definition": query, "query": {"query": query, "refId": "jobs"}, **choice}


def _panels() -> list[dict[str, Any]]:
    found, y = list[dict[str, Any]](), 0
    for row in ROWS:
        found.append(
            {"id": len(found) + 1, "type": "row", "title": row.title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": ACROSS, "h": 1}, "panels": []}
        )
        y += 1
        for index, panel in enumerate(row.panels):
            place = {"x": index * WIDE % ACROSS, "y": y + index * WIDE // ACROSS * HIGH, "w": WIDE, "h": HIGH}
            found.append({"id": len(found) + 1, **_panel(panel), "gridPos": place})
        y += -(-len(row.panels) * WIDE // ACROSS) * HIGH
    return found


def _panel(panel: Panel) -> dict[str, Any]:
    custom = {} if panel.now else {"custom": {"fillOpacity": 30 if panel.stacked else 0, "stacking": {"mode": "normal" if panel.stacked else "none"}}}
    return {
        "type": "stat" if panel.now else "timeseries",
        "title": panel.title,
        "description": panel.hint,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, **custom}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name"} if panel.now else {"legend": {"displayMode": "list"}},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend} for index, (query, legend) in enumerate(panel.queries)
        ],
    }
