# SPDX-License-Identifier: Apache-2.0
"""The columns of the built-in kinds, as the printers of the real API server fill them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from drover_operator.cli.layout import age
from drover_operator.testing.conditions import is_true
from drover_operator.testing.objects import Json, entries, mapping

NONE = "<none>"
UNKNOWN = "<unknown>"


@dataclass(frozen=True, slots=True)
class Seen:
    """One object at one moment, in seconds since the epoch."""

    item: Json
    now: float

    @property
    def meta(self) -> Json:
        """Its metadata."""
        return mapping(self.item, "metadata")

    @property
    def spec(self) -> Json:
        """Its spec; empty when it has none."""
        return mapping(self.item, "spec")

    @property
    def status(self) -> Json:
        """Its status; empty when it has none."""
        return mapping(self.item, "status")

    def since(self, moment: str | None) -> str:
        """How long ago a moment of the wire is, as kubectl writes it."""
        return age(self.now - datetime.fromisoformat(moment).timestamp()) if moment else UNKNOWN


Cell = Callable[[Seen], Any]


@dataclass(frozen=True)
class Column:
    """One column; `wide` shows it only with -o wide."""

    name: str
    cell: Cell
    type: str = "string"
    wide: bool = False
    description: str = ""


def _wide(name: str, cell: Cell) -> Column:
    return Column(name, cell, wide=True)


def _statuses(pod: Json) -> list[Json]:
    status = mapping(pod, "status")
    return [*entries(status, "initContainerStatuses"), *entries(status, "containerStatuses")]


def _ready(seen: Seen) -> str:
    ready = sum(bool(each.get("ready")) for each in _statuses(seen.item))
    sidecars = [each for each in entries(seen.spec, "initContainers") if each.get("restartPolicy") == "Always"]
    return f"{ready}/{len(entries(seen.spec, 'containers')) + len(sidecars)}"


def pod_status(seen: Seen) -> str:
    """The word in the column STATUS of a pod: what its first troubled container says, else its phase."""
    if seen.meta.get("deletionTimestamp"):
        return "Unknown" if seen.status.get("reason") == "NodeLost" else "Terminating"
    word: str = seen.status.get("reason") or seen.status.get("phase") or "Pending"
    for status in _statuses(seen.item):
        state = mapping(status, "state")
        told = mapping(state, "waiting").get("reason") or mapping(state, "terminated").get("reason")
        if told:
            return told if told != "Completed" or not _any_runs(seen.item) else "NotReady"
    return word


def _any_runs(pod: Json) -> bool:
    return any("running" in mapping(each, "state") for each in _statuses(pod))


def _restarts(seen: Seen) -> str:
    statuses = _statuses(seen.item)
    count = sum(int(each.get("restartCount", 0)) for each in statuses)
    last = max((mapping(mapping(each, "lastState"), "terminated").get("finishedAt") or "" for each in statuses), default="")
    return f"{count} ({seen.since(last)} ago)" if count and last else str(count)


def _gates(seen: Seen) -> str:
    gates = [each["conditionType"] for each in entries(seen.spec, "readinessGates")]
    return f"{sum(is_true(seen.status, each) for each in gates)}/{len(gates)}" if gates else NONE


def _node_status(seen: Seen) -> str:
    ready = {True: "Ready", False: "NotReady"}[is_true(seen.status, "Ready")]
    return ready + (",SchedulingDisabled" if seen.spec.get("unschedulable") else "")


def _address(kind: str) -> Cell:
    return lambda seen: next((each["address"] for each in entries(seen.status, "addresses") if each["type"] == kind), NONE)


def _info(name: str) -> Cell:
    return lambda seen: mapping(seen.status, "nodeInfo").get(name, UNKNOWN)


def _service_ports(seen: Seen) -> str:
    return ",".join(f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in entries(seen.spec, "ports")) or NONE


def _slice_ports(seen: Seen) -> str:
    return ",".join(str(port.get("port", "<unset>")) for port in entries(seen.item, "ports")) or "<unset>"


def _endpoints(seen: Seen) -> str:
    addresses = [address for each in entries(seen.item, "endpoints") for address in each["addresses"]]
    more = f" + {len(addresses) - 3} more..." if len(addresses) > 3 else ""
    return ",".join(addresses[:3]) + more or "<unset>"


def _controller(seen: Seen) -> str:
    owner = next((each for each in entries(seen.meta, "ownerReferences") if each.get("controller")), None)
    if owner is None:
        return NONE
    group = owner["apiVersion"].rpartition("/")[0]
    return f"{owner['kind'].lower()}{'.' + group if group else ''}/{owner['name']}"


def _selector(seen: Seen) -> str:
    return ",".join(f"{key}={value}" for key, value in mapping(seen.spec, "selector").items()) or NONE


def _last_seen(seen: Seen) -> str:
    told = mapping(seen.item, "series").get("lastObservedTime") or seen.item.get("lastTimestamp") or seen.item.get("eventTime")
    return seen.since(told or seen.meta.get("creationTimestamp"))


def _regarding(seen: Seen) -> str:
    about = mapping(seen.item, "involvedObject") or mapping(seen.item, "regarding")
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _told(seen: Seen) -> str:
    return str(seen.item.get("message") or seen.item.get("note") or "").strip()


def _quota(side: str) -> Cell:
    """Used of hard, for what is asked for (`requests.` and plain) or limited (`limits.`)."""

    def cell(seen: Seen) -> str:
        hard, used = mapping(seen.status, "hard") or mapping(seen.spec, "hard"), mapping(seen.status, "used")
        names = [name for name in hard if name.startswith("limits.") == (side == "limits")]
        return ", ".join(f"{name}: {used.get(name, '0')}/{hard[name]}" for name in names)

    return cell


_JOB_ENDS = ("Complete", "Failed", "", "Suspended", "FailureTarget")  # in the order in which they are told; between them: it is being deleted


def _job_status(seen: Seen) -> str:
    """The first of these words that is true."""
    for word in _JOB_ENDS:
        if is_true(seen.status, word) if word else seen.meta.get("deletionTimestamp"):
            return word or "Terminating"
    return "Running"


def _completions(seen: Seen) -> str:
    wanted, at_once = seen.spec.get("completions"), seen.spec.get("parallelism", 0)
    done = seen.status.get("succeeded", 0)
    if wanted is not None:
        return f"{done}/{wanted}"
    return f"{done}/1 of {at_once}" if at_once > 1 else f"{done}/1"


def _job_duration(seen: Seen) -> str:
    begun, ended = seen.status.get("startTime"), seen.status.get("completionTime")
    if not begun:
        return ""
    until = datetime.fromisoformat(ended).timestamp() if ended else seen.now
    return age(until - datetime.fromisoformat(begun).timestamp())


def _template(name: str) -> Cell:
    """A field of all containers of a template."""
    return lambda seen: ",".join(each.get(name, "") for each in entries(mapping(mapping(seen.spec, "template"), "spec"), "containers"))


def _listed(value: Any) -> str:
    """A list in a column of a CRD, as JSON; nothing where there is none."""
    return msgspec.json.encode(value).decode() if value else ""


def _job_selector(seen: Seen) -> str:
    labels = mapping(mapping(seen.spec, "selector"), "matchLabels")
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE


NAME = Column("Name", lambda seen: seen.meta.get("name", ""), description="Name of the object.")
AGE = Column("Age", lambda seen: seen.since(seen.meta.get("creationTimestamp")), description="Time since it was created.")
_EVENTS = (
    Column("Last Seen", _last_seen),
    Column("Type", lambda seen: seen.item.get("type", "")),
    Column("Reason", lambda seen: seen.item.get("reason", "")),
    Column("Object", _regarding),
    Column("Message", _told),
    Column("Name", NAME.cell, wide=True),
)

BUILT_IN: dict[str, tuple[Column, ...]] = {
    "pods": (
        NAME,
        Column("Ready", _ready),
        Column("Status", pod_status),
        Column("Restarts", _restarts),
        AGE,
        _wide("IP", lambda seen: seen.status.get("podIP") or NONE),
        _wide("Node", lambda seen: seen.spec.get("nodeName") or NONE),
        _wide("Nominated Node", lambda seen: seen.status.get("nominatedNodeName") or NONE),
        _wide("Readiness Gates", _gates),
    ),
    "nodes": (
        NAME,
        Column("Status", _node_status),
        Column("Roles", lambda _: NONE),
        AGE,
        Column("Version", _info("kubeletVersion")),
        _wide("Internal-IP", _address("InternalIP")),
        _wide("External-IP", _address("ExternalIP")),
        _wide("OS-Image", _info("osImage")),
        _wide("Kernel-Version", _info("kernelVersion")),
        _wide("Container-Runtime", _info("containerRuntimeVersion")),
    ),
    "namespaces": (NAME, Column("Status", lambda seen: seen.status.get("phase", "")), AGE),
    "services": (
        NAME,
        Column("Type", lambda seen: seen.spec.get("type", "")),
        Column("Cluster-IP", lambda seen: seen.spec.get("clusterIP") or NONE),
        Column("External-IP", lambda _: NONE),
        Column("Port(s)", _service_ports),
        AGE,
        _wide("Selector", _selector),
    ),
    "configmaps": (NAME, Column("Data", lambda seen: len(mapping(seen.item, "data")) + len(mapping(seen.item, "binaryData")), type="integer"), AGE),
    "resourcequotas": (NAME, Column("Request", _quota("requests")), Column("Limit", _quota("limits")), AGE),
    "controllerrevisions.apps": (NAME, Column("Controller", _controller), Column("Revision", lambda seen: seen.item.get("revision", 0), type="integer"), AGE),
    "endpointslices.discovery.k8s.io": (
        NAME,
        Column("AddressType", lambda seen: seen.item.get("addressType", "")),
        Column("Ports", _slice_ports),
        Column("Endpoints", _endpoints),
        AGE,
    ),
    "poddisruptionbudgets.policy": (
        NAME,
        Column("Min Available", lambda seen: str(seen.spec.get("minAvailable", "N/A"))),
        Column("Max Unavailable", lambda seen: str(seen.spec.get("maxUnavailable", "N/A"))),
        Column("Allowed Disruptions", lambda seen: seen.status.get("disruptionsAllowed", 0), type="integer"),
        AGE,
    ),
    "jobs.batch": (
        NAME,
        Column("Status", _job_status),
        Column("Completions", _completions),
        Column("Duration", _job_duration),
        AGE,
        _wide("Containers", _template("name")),
        _wide("Images", _template("image")),
        _wide("Selector", _job_selector),
    ),
    "httproutes.gateway.networking.k8s.io": (NAME, Column("Hostnames", lambda seen: _listed(seen.spec.get("hostnames"))), AGE),
    "leases.coordination.k8s.io": (NAME, Column("Holder", lambda seen: seen.spec.get("holderIdentity") or ""), AGE),
    "customresourcedefinitions.apiextensions.k8s.io": (NAME, Column("Created At", lambda seen: seen.meta.get("creationTimestamp", ""))),
    "events": _EVENTS,
    "events.events.k8s.io": _EVENTS,
}
