# SPDX-License-Identifier: Apache-2.0
"""What the API server does to built-in kinds on the way in: defaults, so that what is stored differs from what was sent, and validation.

As much of the rules as Drover can run into; those of pods are `podspec`, those of Services `serviceports`, those of metadata `metadata`.
"""

import re
from collections.abc import Callable
from typing import Any

from drover_operator.testing import podspec, serviceports
from drover_operator.testing.fields import FieldError, forbidden_field, invalid_value, quoted, required, unsupported
from drover_operator.testing.kinds import CONFIG_MAPS, CONTROLLER_REVISIONS, DISRUPTION_BUDGETS, EVENTS, LEASES, NAMESPACES, PODS, SERVICES, Kind
from drover_operator.testing.metadata import FIELDS as METADATA
from drover_operator.testing.metadata import key_faults
from drover_operator.testing.objects import Json, entries, is_object, mapping
from drover_operator.testing.refusal import undecodable, unfit_patch, unknown_fields

_FIELDS = {
    "ConfigMap": frozenset(("binaryData", "data", "immutable")),
    "ControllerRevision": frozenset(("data", "revision")),
    "EndpointSlice": frozenset(("addressType", "endpoints", "ports")),
    "HTTPRoute": frozenset(("spec", "status")),
    "Job": frozenset(("spec", "status")),
    "Lease": frozenset(("spec",)),
    "PodDisruptionBudget": frozenset(("spec", "status")),
    "Pod": frozenset(("spec", "status")),
    "Service": frozenset(("spec", "status")),
}
_BEFORE_1_19: Json = {"deprecatedFirstTimestamp": None, "deprecatedLastTimestamp": None, "deprecatedSource": {}}
_NO_BUDGET: Json = {"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}
_POLICIES = ("AlwaysAllow", "IfHealthyBudget")
_PERCENT_RULE = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
_CONFIG_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex"
    " used for validation is '[-._a-zA-Z0-9]+')"
)
_PERCENT, _CONFIG_KEY = re.compile(r"[0-9]+%"), re.compile(r"[-._a-zA-Z0-9]+")
_MICRO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)")
_SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def prepare(kind: Kind, obj: Json, suffix: podspec.Suffix, *, strict: bool) -> Json:
    """The object with its defaults, as it is stored on create; `suffix` makes the random part of names.

    Raises:
        Refused: 400 for what cannot be read, 403 for a priority class that is not there.
    """
    if why := _unreadable(kind, obj):
        raise undecodable(kind, why)
    obj, unknown = _known(kind, obj)
    if kind is PODS:
        obj, more = podspec.completed(obj)
        unknown += more
    if strict and unknown:
        raise unknown_fields(kind, sorted(unknown))
    return podspec.admitted(obj, suffix) if kind is PODS else _completed(kind, obj)


def changed(kind: Kind, old: Json, new: Json, *, is_patch: bool, strict: bool) -> Json:
    """A changed object with its defaults.

    Raises:
        Refused: 400 for what cannot be read, 422 when that comes of a patch.
    """
    if kind.schema:
        return new
    if why := _unreadable(kind, new):
        raise unfit_patch(quoted(new), why) if is_patch else undecodable(kind, why)
    shown = quoted(new) if strict and is_patch else ""
    new, unknown = _known(kind, new)
    if kind is SERVICES:
        new = serviceports.completed(new, old)
    elif kind is PODS and old.get("spec") != new.get("spec"):
        new, more = podspec.changed(new)
        unknown += more
    elif kind is PODS and "conditions" in mapping(new, "status"):
        new = {**new, "status": _with_times(new["status"])}
    if strict and unknown:
        raise unknown_fields(kind, sorted(unknown), shown)
    return new


def errors(kind: Kind, obj: Json) -> list[FieldError]:
    """What is wrong with an object, beside its metadata."""
    rules = _RULES.get(kind)
    return rules(obj) if rules else []


def change_errors(kind: Kind, old: Json, new: Json) -> list[FieldError]:
    """What may not be changed, beside metadata; what is wrong with the object as such is told too."""
    found = [] if old.get("spec") == new.get("spec") and "spec" in new else errors(kind, new)
    if kind is CONTROLLER_REVISIONS and old.get("data") != new.get("data"):
        found.append(invalid_value("data", new.get("data"), "field is immutable"))
    elif kind is CONFIG_MAPS and old.get("immutable") and old.get("data") != new.get("data"):
        found.append(forbidden_field("data", "field is immutable when `immutable` is set"))
    elif kind is PODS and not found and old["spec"] != new["spec"]:
        found += podspec.change_errors(old["spec"], new["spec"])
    elif kind is SERVICES:
        found += serviceports.change_errors(old["spec"], new["spec"])
    return found


def with_texts(kind: Kind, obj: Json, *, is_patch: bool = False) -> Json:
    """The object with labels and annotations as Go reads them: a null is an empty text.

    Raises:
        Refused: 400 when one of them is no text, 422 when that comes of a patch.
    """
    meta = obj.get("metadata")
    held = [name for name in ("labels", "annotations") if is_object(meta) and name in meta]
    if not is_object(meta) or not held:
        return obj
    odd = [(name, each) for name in held if meta[name] is not None for each in _odd_texts(meta[name])]
    if odd:
        why = f"json: cannot unmarshal {_type_name(odd[0][1])} into Go struct field ObjectMeta.metadata.{odd[0][0]} of type string"
        raise unfit_patch(quoted(obj), why) if is_patch else undecodable(kind, why)
    texts = {name: {key: each or "" for key, each in meta[name].items()} for name in held if meta[name] is not None}
    return {**obj, "metadata": {**{key: value for key, value in meta.items() if key not in held}, **texts}}


def _odd_texts(texts: Any) -> list[Any]:
    return [each for each in texts.values() if not isinstance(each, str | None)] if is_object(texts) else [texts]


def _type_name(value: Any) -> str:
    return {str: "string", bool: "bool", int: "number", float: "number", dict: "object", list: "array"}[type(value)]


def _known(kind: Kind, obj: Json) -> tuple[Json, list[str]]:
    """The object without the fields that its kind does not have, and their paths."""
    known = _FIELDS.get(kind.kind)
    if known is None:
        return obj, []
    unknown = [name for name in obj if name not in known and name not in ("apiVersion", "kind", "metadata")]
    paths = [*unknown, *(f"metadata.{name}" for name in mapping(obj, "metadata") if name not in METADATA)]
    return {name: value for name, value in obj.items() if name not in unknown}, paths


def _completed(kind: Kind, obj: Json) -> Json:
    if kind is SERVICES:
        return {**serviceports.completed(obj), "status": {"loadBalancer": {}}}
    if kind is NAMESPACES:
        name, meta = obj["metadata"]["name"], obj["metadata"]
        labels = {**mapping(meta, "labels"), "kubernetes.io/metadata.name": name}
        return {**obj, "metadata": {**meta, "labels": labels}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    if kind is DISRUPTION_BUDGETS:
        return {**obj, "status": _NO_BUDGET}
    return {**_BEFORE_1_19, **obj} if kind is EVENTS else obj


def _with_times(status: Json) -> Json:
    """Conditions of pods have their times even when nobody gave any; none at all are left out."""
    conditions = [{"lastProbeTime": None, "lastTransitionTime": None, **each} for each in entries(status, "conditions")]
    rest = {key: value for key, value in status.items() if key != "conditions"}
    return {**rest, "conditions": conditions} if conditions else rest


def _unreadable(kind: Kind, obj: Json) -> str:
    """Why a time in the object cannot be read, or nothing."""
    if kind is LEASES:
        return next((_not_micro(mapping(obj, "spec")[name]) for name in ("renewTime", "acquireTime") if _is_odd(mapping(obj, "spec").get(name), _MICRO)), "")
    if kind is EVENTS:
        return _not_micro(obj["eventTime"]) if _is_odd(obj.get("eventTime"), _MICRO) else ""
    if kind is PODS:
        times = [each.get("lastTransitionTime") for each in entries(mapping(obj, "status"), "conditions")]
        return next((f'parsing time "{each}" as "2006-01-02T15:04:05Z07:00": cannot parse "{each}" as "2006"' for each in times if _is_odd(each, _SECONDS)), "")
    return ""


def _is_odd(time: str | None, form: re.Pattern[str]) -> bool:
    return time is not None and not form.fullmatch(time)


def _not_micro(time: str) -> str:
    return f'parsing time "{time}" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "{time[19:]}" as ".000000"'


def _config_errors(config: Json) -> list[FieldError]:
    return [invalid_value(f"data[{key}]", key, _CONFIG_RULE) for key in mapping(config, "data") if not _CONFIG_KEY.fullmatch(key)]


def _budget_errors(budget: Json) -> list[FieldError]:
    spec, found = mapping(budget, "spec"), list[FieldError]()
    if {"minAvailable", "maxUnavailable"} <= spec.keys():
        shown = {name: spec.get(name[0].lower() + name[1:]) for name in ("MinAvailable", "Selector", "MaxUnavailable", "UnhealthyPodEvictionPolicy")}
        found.append(invalid_value("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for name in ("minAvailable", "maxUnavailable"):
        value = spec.get(name, 0)
        if isinstance(value, int) and value < 0:
            found.append(invalid_value(f"spec.{name}", value, "must be greater than or equal to 0"))
        elif isinstance(value, str) and not _PERCENT.fullmatch(value):
            found.append(invalid_value(f"spec.{name}", value, _PERCENT_RULE))
        elif isinstance(value, str) and int(value.rstrip("%")) > 100:
            found.append(invalid_value(f"spec.{name}", value, "must not be greater than 100%"))
    if (policy := spec.get("unhealthyPodEvictionPolicy")) not in (None, *_POLICIES):
        found.append(unsupported("spec.unhealthyPodEvictionPolicy", policy, _POLICIES))
    return found


def _lease_errors(lease: Json) -> list[FieldError]:
    spec, found = mapping(lease, "spec"), list[FieldError]()
    if spec.get("leaseDurationSeconds", 1) <= 0:
        found.append(invalid_value("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0"))
    if spec.get("leaseTransitions", 0) < 0:
        found.append(invalid_value("spec.leaseTransitions", spec["leaseTransitions"], "must be greater than or equal to 0"))
    return found


def _event_errors(event: Json) -> list[FieldError]:
    found = [required("eventTime")] if not event.get("eventTime") else []
    if not event.get("reportingController"):
        found.append(required("reportingController"))
    found += [invalid_value("reportingController", event.get("reportingController", ""), why) for why in key_faults(event.get("reportingController", ""))]
    found += [required(name) for name in ("reportingInstance", "action", "reason") if not event.get(name)]
    if event.get("type") not in ("Normal", "Warning"):
        found.append(invalid_value("type", "", f"has invalid value: {event.get('type', '')}"))
    if mapping(event, "regarding").get("namespace", "") != event["metadata"]["namespace"]:
        found.append(invalid_value("involvedObject.namespace", mapping(event, "regarding").get("namespace", ""), "does not match event.namespace"))
    return found


def _revision_errors(revision: Json) -> list[FieldError]:
    found = [required("data", "data is mandatory")] if revision.get("data") is None else []
    number = revision.get("revision", 0)
    return [*found, *([invalid_value("revision", number, "must be greater than or equal to 0")] if number < 0 else [])]


_RULES: dict[Kind, Callable[[Json], list[FieldError]]] = {
    PODS: lambda pod: podspec.errors(mapping(pod, "spec")),
    SERVICES: lambda service: serviceports.errors(mapping(service, "spec")),
    CONFIG_MAPS: _config_errors,
    CONTROLLER_REVISIONS: _revision_errors,
    DISRUPTION_BUDGETS: _budget_errors,
    LEASES: _lease_errors,
    EVENTS: _event_errors,
}
