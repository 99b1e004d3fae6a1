# SPDX-License-Identifier: Apache-2.0
"""Services: whether a ManagedService can say all that one says, and its ports."""

from typing import Any

import msgspec

from drover_operator.api.managedservice import Port
from drover_operator.cli.defaults import bare_port
from drover_operator.cli.notes import Notes
from drover_operator.cli.objects import Manifest, is_live, mappings, part

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

# What says the same as a Service that Drover makes; any other field of a Service is a reason to keep it.
SERVICE_CARRIED = ("ports", "selector")
SERVICE_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "type": ("ClusterIP", ""),
    "sessionAffinity": ("None", ""),
    "internalTrafficPolicy": ("Cluster",),
    "ipFamilyPolicy": ("SingleStack",),
    "publishNotReadyAddresses": (False,),
    "clusterIP": ("",),
}
SERVICE_ASSIGNED = ("clusterIP", "clusterIPs", "ipFamilies")
PORT_FIELDS = ("name", "port", "targetPort", "protocol")
MAX_PORTS = 32


def uncarried(manifest: Manifest) -> tuple[str, str] | None:
    """The first thing of a Service that a ManagedService cannot say: field and message."""
    kept = "is not part of a ManagedService; the Service is kept as it was and the ManagedService has no ports"
    for name in part(manifest, "metadata", "annotations"):
        if name != LAST_APPLIED:
            return f"metadata.annotations[{name}]", kept
    for name, value in {"type": None, **part(manifest, "spec")}.items():
        if not _says_nothing(name, value, live=is_live(manifest)):
            shown = f"{value} " if isinstance(value, str | int) else ""
            return f"spec.{name}", shown + kept
    return _uncarried_port(mappings(part(manifest, "spec").get("ports")), kept)


def _says_nothing(name: str, value: Any, *, live: bool) -> bool:
    """Whether the field is carried over, at its default, or was filled in by the API server."""
    if name in SERVICE_CARRIED or value is None or value in SERVICE_DEFAULTS.get(name, ()):
        return True
    return live and name in SERVICE_ASSIGNED and value not in ("None", ["None"])


def _uncarried_port(ports: list[Manifest], kept: str) -> tuple[str, str] | None:
    if not 0 < len(ports) <= MAX_PORTS:
        return "spec.ports", f"are {len(ports)}, which {kept}"
    for port in ports:
        extra = sorted(name for name, value in port.items() if name not in PORT_FIELDS and value)
        if extra:
            return f"spec.ports.{extra[0]}", kept
        try:
            msgspec.convert(_port(port)[0], Port)
        except msgspec.ValidationError as error:
            return "spec.ports", f"do not fit ({error}); the Service is kept as it was and the ManagedService has no ports"
    return None


def ports_of(manifest: Manifest, about: Notes) -> list[Manifest]:
    """The ports of a Service as those of a ManagedService."""
    ports: list[Manifest] = []
    for each in mappings(part(manifest, "spec").get("ports")):
        port, named = _port(bare_port(each) if is_live(manifest) else each)
        if not named:
            about.warn("spec.ports.name", f"is missing for port {port['port']}; named {port['name']}")
        ports.append(port)
    return ports


def _port(port: Manifest) -> tuple[Manifest, bool]:
    """The port with a name, and whether it had one; a name such as `tcp` would tell a service mesh more than its owner did."""
    name = port.get("name")
    found = {field: port[field] for field in PORT_FIELDS if port.get(field) is not None}
    return {"name": name or f"port-{port.get('port')}", **{k: v for k, v in found.items() if k != "name"}}, bool(name)


def with_ports(spec: Manifest, ports: list[Manifest]) -> Manifest:
    """The spec with its ports before the long parts."""
    ahead: Manifest = {name: spec[name] for name in ("criticality", "adopt", "replicas") if name in spec}
    return {**ahead, "ports": ports, **spec}
