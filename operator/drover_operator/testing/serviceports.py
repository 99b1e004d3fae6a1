# SPDX-License-Identifier: Apache-2.0
"""Services on their way in: defaults, the rules on ports, and what may not be changed."""

import re
from collections.abc import Iterator

from drover_operator.testing.fields import FieldError, duplicate, invalid_value, required, unsupported
from drover_operator.testing.metadata import LABEL, LABEL_RULE
from drover_operator.testing.objects import Json, entries, mapping

_DEFAULTS: Json = {
    "type": "ClusterIP",
    "sessionAffinity": "None",
    "internalTrafficPolicy": "Cluster",
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
}
_ADDRESS = "10.96.0.10"
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_NUMBER = "must be between 1 and 65535, inclusive"
_HIGHEST = 65535


def completed(service: Json, old: Json | None = None) -> Json:
    """A Service with its defaults; on a change what was allotted stays unless it was changed."""
    given, before = mapping(service, "spec"), mapping(old or {}, "spec")
    kept: Json = {name: before[name] for name in ("clusterIP", "clusterIPs") if name in before}
    spec: Json = {**_DEFAULTS, "clusterIP": _ADDRESS, **kept, **given}
    if spec["clusterIP"] != before.get("clusterIP"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    spec["ports"] = [_port(port) for port in entries(spec, "ports")]
    if not spec["ports"]:
        del spec["ports"]
    return {**service, "spec": spec}


def errors(spec: Json) -> list[FieldError]:
    """What is wrong with the values of a Service."""
    ports = entries(spec, "ports")
    if not ports and spec.get("clusterIP") != "None":
        return [required("spec.ports")]
    return list(_port_errors(ports))


def change_errors(old: Json, new: Json) -> list[FieldError]:
    """What may not be changed: a Service keeps its address."""
    if old["clusterIPs"] == new["clusterIPs"]:
        return []
    return [invalid_value("spec.clusterIPs[0]", new["clusterIPs"], "may not change once set")]


def _port(port: Json) -> Json:
    return {"protocol": "TCP", **port, "targetPort": port.get("targetPort") or port.get("port", 0)}


def _port_errors(ports: list[Json]) -> Iterator[FieldError]:
    names: dict[str, None] = {}
    places: dict[tuple[int, str], None] = {}
    for index, port in enumerate(ports):
        where = f"spec.ports[{index}]"
        yield from _name_errors(port.get("name", ""), where, names, needed=len(ports) > 1)
        number, target = port.get("port", 0), port["targetPort"]
        if not 1 <= number <= _HIGHEST:
            yield invalid_value(f"{where}.port", number, _NUMBER)
        if port["protocol"] not in _PROTOCOLS:
            yield unsupported(f"{where}.protocol", port["protocol"], _PROTOCOLS)
        yield from _target_errors(target, f"{where}.targetPort")
        place = (number, port["protocol"])
        if place in places:
            shown = {"Name": "", "Protocol": place[1], "AppProtocol": None, "Port": number, "TargetPort": 0, "NodePort": 0}
            yield duplicate(where, shown)
        places[place] = None


def _name_errors(name: str, where: str, seen: dict[str, None], *, needed: bool) -> Iterator[FieldError]:
    if not name:
        if needed:
            yield required(f"{where}.name")
        return
    if not LABEL.fullmatch(name):
        yield invalid_value(f"{where}.name", name, LABEL_RULE)
    elif name in seen:
        yield duplicate(f"{where}.name", name)
    seen[name] = None


def _target_errors(target: int | str, where: str) -> Iterator[FieldError]:
    if isinstance(target, int):
        if not 1 <= target <= _HIGHEST:
            yield invalid_value(where, target, _NUMBER)
        return
    if len(target) > 15:
        yield invalid_value(where, target, "must be no more than 15 characters")
    if not re.fullmatch(r"[-a-z0-9]+", target):
        yield invalid_value(where, target, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", target):
        yield invalid_value(where, target, "must contain at least one letter (a-z)")
    if "--" in target:
        yield invalid_value(where, target, "must not contain consecutive hyphens")
    if target.startswith("-") or target.endswith("-"):
        yield invalid_value(where, target, "must not begin or end with a hyphen")
