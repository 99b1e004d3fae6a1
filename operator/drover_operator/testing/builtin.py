# SPDX-License-Identifier: Apache-2.0
"""What the API server does to built-in kinds on the way in.

Defaults, so that what is stored differs from what was sent, and the light part of validation that Drover can run into.
"""

import re
from collections.abc import Callable
from typing import Any

from drover_operator.testing.fields import FieldError, duplicate, forbidden_field, invalid_value, required, unsupported
from drover_operator.testing.kinds import CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, NAMESPACES, PODS, SERVICES, Kind
from drover_operator.testing.objects import Json, is_list, is_object, mapping
from drover_operator.testing.refusal import undecodable, unknown_fields

_POD_SPEC = frozenset(
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
    )
)
_CONTAINER = frozenset(
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
_POD_DEFAULTS: Json = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "serviceAccountName": "default",
    "serviceAccount": "default",
    "securityContext": {},
    "schedulerName": "default-scheduler",
    "priority": 0,
    "enableServiceLinks": True,
    "preemptionPolicy": "PreemptLowerPriority",
}
_TOLERATIONS = [
    {"key": f"node.kubernetes.io/{trouble}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300} for trouble in ("not-ready", "unreachable")
]
_PROBE_DEFAULTS: Json = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
_QUANTITY = re.compile(r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$")
_DECIMAL = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_SUFFIXES = {**_DECIMAL, **_BINARY}
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'example.com', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    " '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_LABEL = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")

Suffix = Callable[[], str]


def prepare(kind: Kind, obj: Json, suffix: Suffix, *, strict: bool) -> Json:
    """The object with its defaults, as it is stored on create; `suffix` makes the random part of names."""
    if kind is PODS:
        return _pod(obj, suffix, strict=strict)
    if kind is SERVICES:
        return _service(obj)
    if kind is NAMESPACES:
        return {**obj, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    if kind is DISRUPTION_BUDGETS:
        return {**obj, "status": {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}}
    return obj


def errors(kind: Kind, obj: Json) -> list[FieldError]:
    """What is wrong with a new object."""
    found = _label_errors(obj["metadata"])
    if kind is PODS:
        found += _pod_errors(obj["spec"])
    elif kind is SERVICES:
        found += _service_errors(obj.get("spec", {}))
    elif kind is CONTROLLER_REVISIONS:
        found += [] if obj.get("data") is not None else [required("data", "data is mandatory")]
    elif kind is DISRUPTION_BUDGETS and {"minAvailable", "maxUnavailable"} <= obj.get("spec", {}).keys():
        found.append(invalid_value("spec", obj["spec"], "minAvailable and maxUnavailable cannot be both set"))
    return found


def change_errors(kind: Kind, old: Json, new: Json) -> list[FieldError]:
    """What may not be changed."""
    found = _label_errors(new["metadata"])
    if kind is CONTROLLER_REVISIONS and old.get("data") != new.get("data"):
        found.append(invalid_value("data", new.get("data"), "field is immutable"))
    if kind is PODS and old["spec"] != new["spec"] and _fixed(old["spec"]) != _fixed(new["spec"]):
        found.append(forbidden_field("spec", "pod updates may not change fields other than `spec.containers[*].image`"))
    return found


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


def _pod(obj: Json, suffix: Suffix, *, strict: bool) -> Json:
    spec = obj.get("spec")
    if not is_object(spec):
        spec = {}
    fields: Json = spec
    unknown = [f"spec.{name}" for name in fields if name not in _POD_SPEC]
    token = f"kube-api-access-{suffix()}"
    kept: Json = {name: value for name, value in fields.items() if name in _POD_SPEC}
    for group in ("initContainers", "containers"):
        if group in kept:
            kept[group] = _containers(kept[group], f"spec.{group}", token, unknown)
    if strict and unknown:
        raise unknown_fields(PODS, unknown)
    completed = {**_POD_DEFAULTS, **kept}
    completed["tolerations"] = [*completed.get("tolerations", ()), *_TOLERATIONS]
    completed["volumes"] = [*completed.get("volumes", ()), {"name": token, "projected": {"defaultMode": 420, "sources": []}}]
    return {**obj, "spec": completed, "status": {"phase": "Pending", "qosClass": _qos(completed)}}


def _containers(value: Any, path: str, token: str, unknown: list[str]) -> list[Json]:
    if not is_list(value) or not all(map(is_object, value)):
        raise undecodable(PODS, f"json: cannot unmarshal {_type_name(value)} into Go struct field PodSpec.{path} of type []v1.Container")
    return [_container(item, f"{path}[{index}]", token, unknown) for index, item in enumerate(value)]


def _container(container: Json, path: str, token: str, unknown: list[str]) -> Json:
    unknown += [f"{path}.{name}" for name in container if name not in _CONTAINER]
    kept: Json = {name: value for name, value in container.items() if name in _CONTAINER}
    tag = str(kept.get("image", "")).rpartition("/")[2]
    pull = "IfNotPresent" if "@" in tag or (":" in tag and not tag.endswith(":latest")) else "Always"
    defaults: Json = {
        "imagePullPolicy": pull,
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    mount = {"name": token, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    completed: Json = {**defaults, **kept, "volumeMounts": [*kept.get("volumeMounts", ()), mount]}
    for probe in _PROBES:
        if probe in completed:
            completed[probe] = {**_PROBE_DEFAULTS, **completed[probe]}
    if "ports" in completed:
        completed["ports"] = [{"protocol": "TCP", **port} for port in completed["ports"]]
    _read_quantities(completed["resources"])
    return completed


def _read_quantities(resources: Json) -> None:
    for side in ("limits", "requests"):
        for amount in mapping(resources, side).values():
            try:
                quantity(amount)
            except ValueError as error:
                raise undecodable(PODS, str(error)) from None


def _type_name(value: Any) -> str:
    return {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}[type(value)]


def _qos(spec: Json) -> str:
    resources = [container.get("resources", {}) for container in spec.get("containers", ())]
    if not any(resources):
        return "BestEffort"
    guaranteed = all({"cpu", "memory"} <= r.get("limits", {}).keys() and r.get("requests", r["limits"]) == r["limits"] for r in resources)
    return "Guaranteed" if guaranteed else "Burstable"


def _pod_errors(spec: Json) -> list[FieldError]:
    found: list[FieldError] = []
    if not spec.get("containers"):
        found.append(required("spec.containers"))
    if spec["restartPolicy"] not in ("Always", "Never", "OnFailure"):
        found.append(unsupported("spec.restartPolicy", spec["restartPolicy"], ("Always", "OnFailure", "Never")))
    seen: dict[str, None] = {}
    for group in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(group, ())):
            found += _container_errors(container, f"spec.{group}[{index}]", seen)
    return found


def _container_errors(container: Json, path: str, seen: dict[str, None]) -> list[FieldError]:
    found: list[FieldError] = []
    name = container.get("name", "")
    if not name:
        found.append(required(f"{path}.name"))
    elif not _NAME.match(name):
        found.append(invalid_value(f"{path}.name", name, "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'"))
    elif name in seen:
        found.append(duplicate(f"{path}.name", name))
    seen[name] = None
    if not container.get("image"):
        found.append(required(f"{path}.image"))
    limits, requests = (mapping(container["resources"], side) for side in ("limits", "requests"))
    for resource, amount in requests.items():
        if resource in limits and quantity(amount) > quantity(limits[resource]):
            why = f"must be less than or equal to {resource} limit of {limits[resource]}"
            found.append(invalid_value(f"{path}.resources.requests", amount, why))
    return found


def _service(obj: Json) -> Json:
    defaults: Json = {
        "type": "ClusterIP",
        "clusterIP": "10.96.0.10",
        "clusterIPs": ["10.96.0.10"],
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ipFamilies": ["IPv4"],
        "ipFamilyPolicy": "SingleStack",
    }
    spec = {**defaults, **obj.get("spec", {})}
    spec["ports"] = [{"protocol": "TCP", "targetPort": port.get("port"), **port} for port in spec.get("ports", ())]
    return {**obj, "spec": spec, "status": {"loadBalancer": {}}}


def _service_errors(spec: Json) -> list[FieldError]:
    if not spec.get("ports") and spec.get("clusterIP") != "None":
        return [required("spec.ports")]
    several = len(spec["ports"]) > 1
    return [required(f"spec.ports[{index}].name") for index, port in enumerate(spec["ports"]) if several and not port.get("name")]


def _fixed(spec: Json) -> Json:
    """The part of a pod's spec that may not change."""
    fixed = {name: value for name, value in spec.items() if name not in ("activeDeadlineSeconds", "tolerations")}
    for group in ("initContainers", "containers"):
        fixed[group] = [{**container, "image": ""} for container in spec.get(group, ())]
    return fixed


def _label_errors(meta: Json) -> list[FieldError]:
    labels: dict[str, str] = meta.get("labels") or {}
    found = [
        invalid_value("metadata.labels", value, "must be no more than 63 bytes")
        for value in labels.values()
        if isinstance(value, str) and len(value) > 63  # pyright: ignore[reportUnnecessaryIsInstance]
    ]
    found += [invalid_value("metadata.labels", value, _LABEL_RULE) for value in labels.values() if len(value) <= 63 and not _LABEL.match(value)]
    return found
