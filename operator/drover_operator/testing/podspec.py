# SPDX-License-Identifier: Apache-2.0
"""Pods on their way in: the defaults that are filled in, the fields that nobody knows, the rules on values, and what may be changed.

As upstream in the order and the words, as far as a template in a ManagedService can meet them; types are `podtypes`.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from drover_operator.testing import podtypes
from drover_operator.testing.fields import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported
from drover_operator.testing.kinds import PODS
from drover_operator.testing.metadata import LABEL, LABEL_RULE
from drover_operator.testing.objects import Json, entries, is_object, mapping
from drover_operator.testing.refusal import forbidden, undecodable

Suffix = Callable[[], str]
_PROBE_FIELDS = frozenset(
    (
        "exec",
        "failureThreshold",
        "grpc",
        "httpGet",
        "initialDelaySeconds",
        "periodSeconds",
        "successThreshold",
        "tcpSocket",
        "terminationGracePeriodSeconds",
        "timeoutSeconds",
    )
)
_SPEC_FIELDS = frozenset(
    (
        "activeDeadlineSeconds",
        "affinity",
        "automountServiceAccountToken",
        "containers",
        "dnsConfig",
        "dnsPolicy",
        "enableServiceLinks",
        "ephemeralContainers",
        "hostAliases",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostUsers",
        "hostname",
        "hostnameOverride",
        "imagePullSecrets",
        "initContainers",
        "nodeName",
        "nodeSelector",
        "os",
        "overhead",
        "preemptionPolicy",
        "priority",
        "priorityClassName",
        "readinessGates",
        "resourceClaims",
        "resources",
        "restartPolicy",
        "runtimeClassName",
        "schedulerName",
        "schedulingGates",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "setHostnameAsFQDN",
        "shareProcessNamespace",
        "subdomain",
        "terminationGracePeriodSeconds",
        "tolerations",
        "topologySpreadConstraints",
        "volumes",
        "workloadRef",
    )
)
_CONTAINER_FIELDS = frozenset(
    (
        "args",
        "command",
        "env",
        "envFrom",
        "image",
        "imagePullPolicy",
        "lifecycle",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "restartPolicyRules",
        "securityContext",
        "startupProbe",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    )
)
_SPEC_DEFAULTS: Json = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "serviceAccountName": "default",
    "serviceAccount": "default",
    "securityContext": {},
    "schedulerName": "default-scheduler",
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
}
# Of a cluster with Drover's manifests; other classes are not there.
_PRIORITIES = {
    "": 0,
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
    "drover-expendable": 1_000,
    "drover-normal": 10_000,
    "drover-important": 100_000,
    "drover-vital": 1_000_000,
}
_LOST = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_PROBE_DEFAULTS: Json = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_GROUPS = ("initContainers", "containers")
_MODED = ("configMap", "downwardAPI", "projected", "secret")
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SOURCES: list[Json] = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
]
_QUANTITY = re.compile(r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$")
_DECIMAL = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_SUFFIXES = {**_DECIMAL, **_BINARY}
_FIXED = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was"
    " previously negative)"
)


def completed(pod: Json) -> tuple[Json, list[str]]:
    """A new pod with its defaults, and the paths of the fields that were dropped.

    Raises:
        Refused: 400 for a field of a wrong type.
    """
    pod, unknown = podtypes.decoded(pod), list[str]()
    spec = _defaulted(mapping(pod, "spec"), unknown)
    return {**pod, "spec": spec, "status": {"phase": "Pending", "qosClass": _qos(spec)}}, unknown


def admitted(pod: Json, suffix: Suffix) -> Json:
    """A new pod with what admission adds: its account, its priority, and how long it stays on a lost node.

    Raises:
        Refused: 403 for a priority that is not there.
    """
    spec: Json = pod["spec"]
    wanted = spec.get("priorityClassName", "")
    if wanted not in _PRIORITIES:
        raise forbidden(PODS, pod["metadata"]["name"], f"no PriorityClass with name {wanted} was found")
    token = f"kube-api-access-{suffix()}"
    mount = {"name": token, "mountPath": _ACCOUNT, "readOnly": True}
    groups = {group: [{**each, "volumeMounts": [*entries(each, "volumeMounts"), mount]} for each in spec[group]] for group in _GROUPS if group in spec}
    added: Json = {
        "tolerations": [*entries(spec, "tolerations"), *_tolerations(entries(spec, "tolerations"))],
        "volumes": [*entries(spec, "volumes"), {"name": token, "projected": {"defaultMode": 420, "sources": _TOKEN_SOURCES}}],
        "priority": _PRIORITIES[wanted],
    }
    return {**pod, "spec": {**spec, **groups, **added}}


def changed(pod: Json) -> tuple[Json, list[str]]:
    """A changed pod with its defaults, and the paths of the fields that were dropped.

    Raises:
        Refused: 400 for a field of a wrong type.
    """
    pod, unknown = podtypes.decoded(pod), list[str]()
    return {**pod, "spec": _defaulted(mapping(pod, "spec"), unknown)}, unknown


def errors(spec: Json) -> list[FieldError]:
    """What is wrong with the values of a new pod, or of a changed one."""
    found: list[FieldError] = []
    names = [each.get("name", "") for each in entries(spec, "volumes")]
    found += [duplicate(f"spec.volumes[{index}].name", name) for index, name in enumerate(names) if name in names[:index]]
    if not spec.get("containers"):
        found.append(required("spec.containers"))
    seen: dict[str, None] = {}
    for group in reversed(_GROUPS):
        for index, container in enumerate(entries(spec, group)):
            found += _container_errors(container, f"spec.{group}[{index}]", seen)
            found += _mount_errors(container, f"spec.{group}[{index}]", names)
    if spec["restartPolicy"] not in ("Always", "Never", "OnFailure"):
        found.append(unsupported("spec.restartPolicy", spec["restartPolicy"], ("Always", "OnFailure", "Never")))
    return [*found, *podtypes.rules(spec), *_toleration_errors(entries(spec, "tolerations"))]


def change_errors(old: Json, new: Json) -> list[FieldError]:
    """What may not be changed in the spec of a pod."""
    for group in _GROUPS:
        if len(entries(old, group)) != len(entries(new, group)):
            return [forbidden_field(f"spec.{group}", "pod updates may not add or remove containers")]
    kept = all(each in entries(new, "tolerations") for each in entries(old, "tolerations"))
    return [] if kept and _fixed(old) == _fixed(new) else [forbidden_field("spec", _FIXED)]


def quantity(text: Any) -> float:
    """A resource quantity as a number.

    Raises:
        ValueError: it is none.
    """
    match = _QUANTITY.match(str(text))
    if match is None:
        raise ValueError(f"quantities must match the regular expression '{_QUANTITY.pattern}'")
    number, suffix = match.groups()
    return float(number) * _SUFFIXES[suffix] if suffix in _SUFFIXES else float(number + suffix)


def _defaulted(fields: Json, unknown: list[str]) -> Json:
    unknown += [f"spec.{name}" for name in fields if name not in _SPEC_FIELDS]
    spec: Json = {**_SPEC_DEFAULTS, **{name: value for name, value in fields.items() if name in _SPEC_FIELDS}}
    for group in _GROUPS:
        if group in spec:
            spec[group] = [_container(item, f"spec.{group}[{index}]", unknown) for index, item in enumerate(spec[group])]
    if "volumes" in spec:
        spec["volumes"] = [_volume(each) for each in spec["volumes"]]
    return spec | ({"terminationGracePeriodSeconds": 1} if spec["terminationGracePeriodSeconds"] < 0 else {})


def _container(container: Json, path: str, unknown: list[str]) -> Json:
    unknown += [f"{path}.{name}" for name in container if name not in _CONTAINER_FIELDS]
    kept: Json = {name: value for name, value in container.items() if name in _CONTAINER_FIELDS}
    defaults: Json = {
        "imagePullPolicy": _pull_policy(str(kept.get("image", ""))),
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    done: Json = {**defaults, **kept}
    for probe in _PROBES:
        if probe in done:
            unknown += [f"{path}.{probe}.{name}" for name in done[probe] if name not in _PROBE_FIELDS]
            done[probe] = _probe(done[probe])
    if "ports" in done:
        done["ports"] = [{"protocol": "TCP", **port} for port in done["ports"]]
    if "env" in done:
        done["env"] = [_variable(each) for each in done["env"]]
    _read_quantities(done["resources"])
    if limits := mapping(done["resources"], "limits"):
        done["resources"] = {**done["resources"], "requests": {**limits, **mapping(done["resources"], "requests")}}
    return done


def _pull_policy(image: str) -> str:
    tag = image.rpartition("/")[2]
    return "IfNotPresent" if "@" in tag or (":" in tag and not tag.endswith(":latest")) else "Always"


def _probe(probe: Json) -> Json:
    known: Json = {**_PROBE_DEFAULTS, **{name: value for name, value in probe.items() if name in _PROBE_FIELDS}}
    return {**known, "httpGet": {"path": "/", "scheme": "HTTP", **known["httpGet"]}} if "httpGet" in known else known


def _variable(variable: Json) -> Json:
    source = mapping(variable, "valueFrom")
    if "fieldRef" not in source:
        return variable
    return {**variable, "valueFrom": {**source, "fieldRef": {"apiVersion": "v1", **source["fieldRef"]}}}


def _volume(volume: Json) -> Json:
    return {name: {"defaultMode": 420, **value} if name in _MODED and is_object(value) else value for name, value in volume.items()}


def _tolerations(given: list[Json]) -> list[Json]:
    """Those that every pod gets for 300 s, unless it says itself how long it stays on a lost node."""
    own = [each for each in given if each.get("effect", "NoExecute") == "NoExecute"]
    return [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for key in _LOST
        if not any(each.get("key") in (None, key) for each in own)
    ]


def _read_quantities(resources: Json) -> None:
    for side in ("limits", "requests"):
        for amount in mapping(resources, side).values():
            try:
                quantity(amount)
            except ValueError as error:
                raise undecodable(PODS, str(error)) from None


def _qos(spec: Json) -> str:
    resources = [mapping(container, "resources") for group in _GROUPS for container in entries(spec, group)]
    if not any(mapping(each, side) for each in resources for side in ("limits", "requests")):
        return "BestEffort"
    guaranteed = all({"cpu", "memory"} <= mapping(each, "limits").keys() and mapping(each, "requests") == mapping(each, "limits") for each in resources)
    return "Guaranteed" if guaranteed else "Burstable"


def _container_errors(container: Json, path: str, seen: dict[str, None]) -> Iterator[FieldError]:
    name = container.get("name", "")
    if not name:
        yield required(f"{path}.name")
    elif not LABEL.fullmatch(name):
        yield invalid_value(f"{path}.name", name, LABEL_RULE)
    elif name in seen:
        yield duplicate(f"{path}.name", name)
    seen[name] = None
    if not container.get("image"):
        yield required(f"{path}.image")
    yield from _port_errors(entries(container, "ports"), f"{path}.ports")
    for index, variable in enumerate(entries(container, "env")):
        if not variable.get("name"):
            yield required(f"{path}.env[{index}].name")
    for probe in (each for each in _PROBES if each in container):
        yield from _probe_errors(container[probe], f"{path}.{probe}", serving=probe == "readinessProbe")
    if container["imagePullPolicy"] not in ("Always", "IfNotPresent", "Never"):
        yield unsupported(f"{path}.imagePullPolicy", container["imagePullPolicy"], ("Always", "IfNotPresent", "Never"))
    yield from _resource_errors(container["resources"], f"{path}.resources")


def _probe_errors(probe: Json, path: str, *, serving: bool) -> Iterator[FieldError]:
    for name in ("initialDelaySeconds", *_PROBE_DEFAULTS):
        if probe.get(name, 0) < 0:
            yield invalid_value(f"{path}.{name}", probe[name], "must be greater than or equal to 0")
    if not serving and probe["successThreshold"] != 1:
        yield invalid_value(f"{path}.successThreshold", probe["successThreshold"], "must be 1")


def _port_errors(ports: list[Json], path: str) -> Iterator[FieldError]:
    seen: dict[str, None] = {}
    for index, port in enumerate(ports):
        name, number, where = port.get("name", ""), port.get("containerPort", 0), f"{path}[{index}]"
        if name and name in seen:
            yield duplicate(f"{where}.name", name)
        seen[name] = None
        if number == 0:
            yield required(f"{where}.containerPort")
        elif not 1 <= number <= 65535:
            yield invalid_value(f"{where}.containerPort", number, "must be between 1 and 65535, inclusive")
        if port["protocol"] not in _PROTOCOLS:
            yield unsupported(f"{where}.protocol", port["protocol"], _PROTOCOLS)


def _mount_errors(container: Json, path: str, names: list[str]) -> Iterator[FieldError]:
    for index, mount in enumerate(entries(container, "volumeMounts")):
        if mount.get("name") not in names:
            yield FieldError("FieldValueNotFound", f"{path}.volumeMounts[{index}].name", f'Not found: "{mount.get("name", "")}"')


def _resource_errors(resources: Json, path: str) -> Iterator[FieldError]:
    limits, requests = mapping(resources, "limits"), mapping(resources, "requests")
    for side, amounts in (("limits", limits), ("requests", requests)):
        for resource, amount in amounts.items():
            if quantity(amount) < 0:
                yield invalid_value(f"{path}.{side}[{resource}]", str(amount), "must be greater than or equal to 0")
    for resource, amount in requests.items():
        if resource in limits and quantity(amount) > quantity(limits[resource]):
            yield invalid_value(f"{path}.requests", amount, f"must be less than or equal to {resource} limit of {limits[resource]}")


def _toleration_errors(tolerations: list[Json]) -> Iterator[FieldError]:
    for index, each in enumerate(tolerations):
        where, operator = f"spec.tolerations[{index}].operator", each.get("operator", "Equal")
        if not each.get("key") and operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid_value(where, each.get("operator", ""), why)
        if operator not in ("Equal", "Exists"):
            yield unsupported(where, operator, ("Equal", "Exists"))


def _fixed(spec: Json) -> Json:
    """The part of a pod's spec that may not change."""
    fixed = {name: value for name, value in spec.items() if name not in ("activeDeadlineSeconds", "tolerations")}
    for group in _GROUPS:
        fixed[group] = [{**container, "image": ""} for container in entries(spec, group)]
    return fixed
