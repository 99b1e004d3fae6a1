# SPDX-License-Identifier: Apache-2.0
"""What a report may show of an object. Pure: JSON in, JSON out, of the same shape and types, so that it still decides the same.

Three nets, one behind the other. An object is reduced to the fields that Drover reads. Of a pod template only fields that are known
to carry no secret stay as they are; whatever else is in it is hidden, known or not. What was hidden is looked for in all text that
others wrote, and so is what looks like a secret by itself. Rejected: a list of fields to hide, which the next field is not on.

A service's uid goes by a stand-in wherever it is, since the tokens of its agents can be worked out from it.
"""

import re
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from drover_operator.api.meta import Object
from drover_operator.api.resource import MANAGED_SERVICES, PODS, Resource

Json = dict[str, Any]
HIDDEN = "***"
LEAST, LEAST_PART = 4, 8  # characters of a hidden value, and of a part of one; what is shorter is found in any text
OURS = "drover.dev/"
SERVICE_UID = f"{OURS}service-uid"
FREE_TEXT = ("message", "note", "reason")  # written by whoever, about whatever
# Fields of a pod template whose values are names, numbers and choices.
_OF_PODS = """
    activeDeadlineSeconds affinity automountServiceAccountToken dnsPolicy enableServiceLinks hostIPC hostNetwork hostPID hostUsers nodeName
    nodeSelector os preemptionPolicy priority priorityClassName readinessGates restartPolicy runtimeClassName schedulerName securityContext
    serviceAccountName shareProcessNamespace terminationGracePeriodSeconds tolerations topologySpreadConstraints
"""
_OF_CONTAINERS = """
    envFrom image imagePullPolicy name ports resources restartPolicy securityContext stdin stdinOnce terminationMessagePolicy tty
    volumeDevices
"""
_OF_PROBES = """
    failureThreshold grpc initialDelaySeconds periodSeconds port sleep successThreshold tcpSocket terminationGracePeriodSeconds
    timeoutSeconds
"""
POD_FIELDS, CONTAINER_FIELDS, PROBE_FIELDS = _OF_PODS.split(), _OF_CONTAINERS.split(), _OF_PROBES.split()
CONTAINER_LISTS = ("containers", "initContainers")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_WORDS = r"pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|client[_-]?key|auth|authorization|credentials?|sig|signature"
_LOOKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [^-]+-----.*?(?:-----END [^-]+-----|\Z)", re.DOTALL), HIDDEN),
    (re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/\s\"'@]*@"), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{4,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(rf"((?:{_WORDS})[A-Za-z0-9_-]*[\"']?\s*[:=]\s*)(\"[^\"]*\"|'[^']*'|[^\s\"'&;,]+)", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){1,4}"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}|\bgh[pousr]_[A-Za-z0-9]{16,}|\bglpat-[A-Za-z0-9_-]{16,}|\bxox[abeprs]-[A-Za-z0-9-]{8,}"), HIDDEN),
)
# What may stand between the parts of a script or an address, in which a secret may have signs of its own.
_BETWEEN = tuple(map(re.compile, (r"['\"]", r"\s+", r"[\s'\"=]+", r"[\s=;,'\"()&|@]+")))
_FLAG = re.compile(r"--[A-Za-z][A-Za-z0-9-]*|-[A-Za-z]")


class Redactor:
    """Redacts objects one after the other, and remembers what it has hidden; `text` is for what comes after all objects."""

    def __init__(self) -> None:
        self._hidden: set[str] = set()
        self._names: set[str] = set()  # of objects: in every text, and no secret
        self._pattern: re.Pattern[str] | None = None

    def object(self, resource: Resource[Object], found: bytes) -> Json:
        """One object with what a report shows of it; free text in it is not searched for what is hidden elsewhere.

        Raises:
            msgspec.ValidationError: this version cannot read it.
        """
        kept: Json = msgspec.json.decode(msgspec.json.encode(resource.decoder.decode(found)))
        self._names.update((kept["metadata"].get("name", ""), kept["metadata"].get("namespace", "")))
        if resource == MANAGED_SERVICES:
            kept["metadata"]["uid"] = self._uid(kept["metadata"].get("uid", ""))
        if resource == PODS:
            whole: Json = msgspec.json.decode(found)
            self._remember(whole.get("spec", {}))
            kept = _with_programs(kept, whole)
        return {"apiVersion": resource.api_version, "kind": resource.kind, **self._below(kept)}

    def text(self, value: Any) -> Any:
        """Any JSON with its free text searched for all that was hidden so far."""
        if self._pattern is None:
            words = sorted((each for each in self._hidden - self._names if len(each) >= LEAST), key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, words)) or r"(?!)")
        return self._searched(value, self._pattern)

    def _searched(self, value: Any, pattern: re.Pattern[str]) -> Any:
        if isinstance(value, list):
            return [self._searched(each, pattern) for each in value]
        if not isinstance(value, dict):
            return value
        return {
            key: pattern.sub(HIDDEN, child) if key in FREE_TEXT and isinstance(child, str) else self._searched(child, pattern) for key, child in value.items()
        }

    def _below(self, value: Any) -> Any:
        """Any value outside of a template."""
        if isinstance(value, str):
            return scrubbed(value)
        if isinstance(value, list):
            return [self._below(each) for each in value]
        if not isinstance(value, dict):
            return value
        return {key: self._field(key)(child) for key, child in value.items()}

    def _field(self, key: str) -> Callable[[Any], Any]:
        rules: dict[str, Callable[[Any], Any]] = {
            "annotations": self._annotations,
            "ownerReferences": self._owners,
            SERVICE_UID: self._uid,
            "template": self._template,
            "healthCheck": self._check,
        }
        return rules.get(key, self._below)

    def _annotations(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return self._hide(value)
        return {key: self._field(key)(child) if key.startswith(OURS) else self._hide(child) for key, child in value.items() if "last-applied" not in key}

    def _owners(self, value: Any) -> Any:
        return [self._owner(each) for each in value] if isinstance(value, list) else self._hide(value)

    def _owner(self, value: Any) -> Any:
        return self._chosen(value, ("controller",), {"uid": self._uid})

    def _uid(self, value: Any) -> Any:
        """A stand-in, the same wherever the uid is: whom an object belongs to is told by comparing them."""
        if not isinstance(value, str) or not value:
            return self._hide(value)
        if value.startswith(HIDDEN):
            return value
        self._hide(value)
        return HIDDEN + sha256(f"drover-report/{value}".encode()).hexdigest()[:16]

    def _check(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        commands = {"exec": self._commands, "http": self._request}
        return {key: commands.get(key, self._below)(child) for key, child in value.items()}

    # -- pod templates
    def _template(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return self._hide(value)
        rules = {"metadata": self._template_meta, "spec": self._pod}
        return {key: rules.get(key, self._hide)(child) for key, child in value.items()}

    def _template_meta(self, value: Any) -> Any:
        return self._chosen(value, ("labels",), {"annotations": self._annotations})

    def _pod(self, value: Any) -> Any:
        return self._chosen(value, POD_FIELDS, dict.fromkeys(CONTAINER_LISTS, self._containers))

    def _containers(self, value: Any) -> Any:
        rules: dict[str, Callable[[Any], Any]] = {
            "env": self._environment,
            "command": self._arguments,
            "args": self._arguments,
            "lifecycle": self._lifecycle,
            **dict.fromkeys(PROBES, self._probe),
        }
        return [self._chosen(each, CONTAINER_FIELDS, rules) for each in value] if isinstance(value, list) else self._hide(value)

    def _remember(self, spec: Json) -> None:
        """What a pod has beside its template, such as the token of the agent, may be found in what is said about it."""
        for each in (*spec.get("containers", ()), *spec.get("initContainers", ())):
            self._environment(each.get("env", []))

    def _environment(self, value: Any) -> Any:
        return [self._chosen(each, ("name", "valueFrom"), {}) for each in value] if isinstance(value, list) else self._hide(value)

    def _lifecycle(self, value: Any) -> Any:
        return self._chosen(value, (), {"preStop": self._probe, "postStart": self._probe})

    def _probe(self, value: Any) -> Any:
        return self._chosen(value, PROBE_FIELDS, {"exec": self._commands, "httpGet": self._request})

    def _commands(self, value: Any) -> Any:
        return self._chosen(value, (), {"command": self._arguments})

    def _request(self, value: Any) -> Any:
        """A path may have a token in its query, or be one."""
        return self._chosen(value, ("port", "scheme"), {"path": self._path})

    def _path(self, value: Any) -> Any:
        path, mark, query = value.partition("?") if isinstance(value, str) else ("", "", "")
        self._hide(query)
        return scrubbed(path) + (f"?{HIDDEN}" if mark else "") if path else self._hide(value)

    def _arguments(self, value: Any) -> Any:
        """Names of flags and programs stay, what is given to them does not."""
        return [self._argument(each, first=at == 0) for at, each in enumerate(value)] if isinstance(value, list) else self._hide(value)

    def _argument(self, value: Any, *, first: bool) -> Any:
        flag, mark, given = value.partition("=") if isinstance(value, str) else ("", "", "")
        if _FLAG.fullmatch(flag):
            self._hide(given)
            return flag + (f"={HIDDEN}" if mark else "")
        if first and isinstance(value, str) and value.startswith("/") and not set(value) & set(" =:@?"):
            return scrubbed(value)
        if isinstance(value, str) and value.startswith("-"):
            self._hide(value[2:])  # what is given to a flag of one letter, as in -pPASSWORD
        return self._hide(value)

    def _chosen(self, value: Any, kept: Sequence[str], rules: dict[str, Any]) -> Any:
        """An object of which some fields are kept, some have a rule of their own, and the others are hidden."""
        if not isinstance(value, dict):
            return self._hide(value)
        return {key: self._below(child) if key in kept else rules.get(key, self._hide)(child) for key, child in value.items()}

    def _hide(self, value: Any) -> Any:
        """Nothing of the value but its shape; what it was is looked for elsewhere."""
        if isinstance(value, str):
            self._hidden.update((value, *(each for signs in _BETWEEN for each in signs.split(value) if len(each) >= LEAST_PART)))
            return HIDDEN if value else ""
        if isinstance(value, list):
            return [self._hide(each) for each in value]
        if isinstance(value, dict):
            return {key: self._hide(child) for key, child in value.items()}
        if value is None or isinstance(value, bool):
            return value
        self._hidden.add(str(value))
        return 0


def scrubbed(text: str) -> str:
    """The text without what looks like a secret: credentials in addresses, tokens, keys, and whatever follows a telling word."""
    for pattern, instead in _LOOKS:
        text = pattern.sub(instead, text)
    return text


def _with_programs(kept: Json, whole: Json) -> Json:
    """A pod with the images that it runs and how its containers ended."""
    programs = [{"name": each.get("name", ""), "image": each.get("image", "")} for each in whole.get("spec", {}).get("containers", ())]
    ends = {each.get("name", ""): each.get("lastState", {}).get("terminated") for each in whole.get("status", {}).get("containerStatuses", ())}
    status: Json = kept.get("status", {})
    for each in status.get("containerStatuses", ()):
        if (last := ends.get(each.get("name", ""))) is not None:
            each["lastState"] = {"terminated": {key: last[key] for key in ("exitCode", "reason", "finishedAt") if key in last}}
    return {**kept, "spec": {**kept.get("spec", {}), "containers": programs}}
