# SPDX-License-Identifier: Apache-2.0
"""The Go types of the part of a pod that Drover or the simulator reads, and the rules on their values that a template can break.

A real server decodes into these types before it looks at anything: a wrong type is 400, a null is as if it were not there.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from drover_operator.testing.fields import FieldError, forbidden_field, invalid_value, required, unsupported
from drover_operator.testing.kinds import PODS
from drover_operator.testing.metadata import key_faults
from drover_operator.testing.objects import Json, entries, is_list, is_object, mapping
from drover_operator.testing.refusal import undecodable

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
_Object = dict[str, Any]
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


class _Go(msgspec.Struct, rename="camel", frozen=True):
    """Missing fields have Go's zero value."""


class _Sleep(_Go, frozen=True):
    seconds: _Int64 = 0


class _TcpSocket(_Go, frozen=True):
    port: _Int32 | str = 0


class _Probe(_Go, frozen=True):
    exec: _Object = {}
    http_get: _Object = {}
    tcp_socket: _TcpSocket = _TcpSocket()
    grpc: _Object = {}
    period_seconds: _Int32 = 0
    timeout_seconds: _Int32 = 0
    success_threshold: _Int32 = 0
    failure_threshold: _Int32 = 0


class _Handler(_Go, frozen=True):
    exec: _Object = {}
    http_get: _Object = {}
    sleep: _Sleep = _Sleep()


class _Lifecycle(_Go, frozen=True):
    pre_stop: _Handler = _Handler()
    post_start: _Handler = _Handler()


class _Port(_Go, frozen=True):
    name: str = ""
    container_port: _Int32 = 0
    protocol: str = ""


class _Resources(_Go, frozen=True):
    limits: _Object = {}
    requests: _Object = {}
    claims: list[_Object] = []


class _Variable(_Go, frozen=True):
    name: str = ""
    value: str = ""


class _Container(_Go, frozen=True):
    name: str = ""
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    env: list[_Variable] = []
    ports: list[_Port] = []
    resources: _Resources = _Resources()
    lifecycle: _Lifecycle = _Lifecycle()
    readiness_probe: _Probe = _Probe()
    liveness_probe: _Probe = _Probe()
    startup_probe: _Probe = _Probe()
    restart_policy: str = ""
    volume_mounts: list[_Object] = []


class _Gate(_Go, frozen=True):
    condition_type: str = ""


class _Spread(_Go, frozen=True):
    topology_key: str = ""
    max_skew: _Int32 = 0
    when_unsatisfiable: str = ""
    label_selector: _Object = {}


class _Spec(_Go, frozen=True):
    containers: list[_Container] = []
    init_containers: list[_Container] = []
    node_selector: dict[str, str] = {}
    priority_class_name: str = ""
    readiness_gates: list[_Gate] = []
    restart_policy: str = ""
    termination_grace_period_seconds: _Int64 = 0
    tolerations: list[_Object] = []
    topology_spread_constraints: list[_Spread] = []
    volumes: list[_Object] = []


def decoded(pod: Json) -> Json:
    """The pod without its nulls.

    Raises:
        Refused: 400 when a field has a type that Go cannot read.
    """
    bare: Json = _without_nulls(pod)
    try:
        msgspec.convert(bare.get("spec", {}), _Spec)
        msgspec.convert(mapping(bare, "metadata").get("labels", {}), dict[str, str])
    except msgspec.ValidationError as error:
        raise undecodable(PODS, f"json: cannot unmarshal into Go struct: {error}") from None
    return bare


def _without_nulls(value: Any) -> Any:
    if is_object(value):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if is_list(value) else value


def rules(spec: Json) -> Iterator[FieldError]:
    """What is wrong with the values of a new pod, beyond names, images and resources."""
    grace: int = spec["terminationGracePeriodSeconds"]
    for index, gate in enumerate(entries(spec, "readinessGates")):
        if not gate.get("conditionType"):
            yield from (invalid_value(f"spec.readinessGates[{index}].conditionType", "", why) for why in key_faults(""))
    for index, spread in enumerate(entries(spec, "topologySpreadConstraints")):
        yield from _spread(spread, f"spec.topologySpreadConstraints[{index}]")
    for group in ("initContainers", "containers"):
        for index, container in enumerate(entries(spec, group)):
            if group == "containers" or container.get("restartPolicy") == "Always":
                yield from _container(container, f"spec.{group}[{index}]", grace)
            else:
                yield from _init_container(container, f"spec.{group}[{index}]")


def _spread(spread: Json, path: str) -> Iterator[FieldError]:
    if spread.get("maxSkew", 0) < 1:
        yield invalid_value(f"{path}.maxSkew", spread.get("maxSkew", 0), "must be greater than zero")
    if not spread.get("topologyKey"):
        yield required(f"{path}.topologyKey", "can not be empty")
    if spread.get("whenUnsatisfiable") not in ("DoNotSchedule", "ScheduleAnyway"):
        yield unsupported(f"{path}.whenUnsatisfiable", spread.get("whenUnsatisfiable", ""), ("DoNotSchedule", "ScheduleAnyway"))


def _container(container: Json, path: str, grace: int) -> Iterator[FieldError]:
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        if probe in container:
            yield from _one_handler(container[probe], f"{path}.{probe}")
            yield from _number(mapping(container[probe], "tcpSocket"), f"{path}.{probe}.tcpSocket")
    hook = mapping(container, "lifecycle").get("preStop")
    if hook is not None:
        yield from _one_handler(hook, f"{path}.lifecycle.preStop")
        seconds = mapping(hook, "sleep").get("seconds", 0)
        if not 0 <= seconds <= grace:
            yield invalid_value(f"{path}.lifecycle.preStop.sleep", seconds, f"must be non-negative and less than terminationGracePeriodSeconds ({grace})")


def _one_handler(holder: Json, path: str) -> Iterator[FieldError]:
    given = [name for name in _HANDLERS if name in holder]
    if not given:
        yield required(path, "must specify a handler type")
    for extra in given[1:]:
        yield forbidden_field(f"{path}.{extra}", "may not specify more than 1 handler type")


def _number(socket: Json, path: str) -> Iterator[FieldError]:
    port = socket.get("port", 0 if socket else 1)
    if isinstance(port, int) and not 1 <= port <= 65535:
        yield invalid_value(f"{path}.port", port, "must be between 1 and 65535, inclusive")


def _init_container(container: Json, path: str) -> Iterator[FieldError]:
    """Only one that goes on beside the others has probes and hooks."""
    for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name):
            yield forbidden_field(f"{path}.{name}", "may not be set for init containers without restartPolicy=Always")
