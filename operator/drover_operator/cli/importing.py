# SPDX-License-Identifier: Apache-2.0
"""Deployments, StatefulSets and Services to ManagedServices, and a note for everything that could not be carried over.

Nothing is guessed: what a ManagedService cannot say is kept as the object it was, or left out with a note. Whether an object
blocks nothing but itself is the measure for `warning` against `error`: an error means that a workload was not imported.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, cast, get_args

import msgspec

from drover_operator.api.managedservice import MAX_NAME, MAX_REPLICAS, Criticality, ManagedService, Port
from drover_operator.api.meta import API_VERSION, DNS_LABEL_PATTERN, GROUP
from drover_operator.api.podtemplate import PodTemplate

Manifest = dict[str, Any]
Key = tuple[str, str]
Level = Literal["warning", "error"]

CRITICALITIES: tuple[str, ...] = get_args(Criticality)
CRITICALITY_ANNOTATION = f"{GROUP}/criticality"
OWN_PREFIX = f"{GROUP}/"

IMPORTED_KINDS = ("Deployment", "StatefulSet")
# They run pods, but not as a service that has to be there all the time.
OTHER_WORKLOADS = ("DaemonSet", "Job", "CronJob", "ReplicaSet", "ReplicationController", "Pod")
# Written by the tool or the controller that had the workload before.
FOREIGN_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/", CRITICALITY_ANNOTATION)
LAST_APPLIED = FOREIGN_ANNOTATIONS[0]
SERVER_METADATA = ("uid", "resourceVersion", "generation", "creationTimestamp", "deletionTimestamp", "managedFields", "selfLink")

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


@dataclass(frozen=True)
class Note:
    """One thing that was not carried over, and what to do about it; `message` reads on from `field`."""

    level: Level
    object: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.object}: {f'{self.field} {self.message}'.strip()}"


@dataclass(frozen=True)
class Imported:
    """ManagedServices, the objects that stay what they were, and what a person should know."""

    services: list[Manifest]
    kept: list[Manifest]
    notes: list[Note]


def convert(manifests: Iterable[Manifest], *, criticality: Criticality | None = None, adopt: bool = False) -> Imported:
    """All manifests of an application at once, so that Services find their workloads; None assumes criticality Normal, with a note."""
    return _Conversion(criticality, adopt).run(list(manifests))


class _Refused(Exception):
    """This workload cannot be a ManagedService."""

    def __init__(self, field: str, message: str, level: Level = "error") -> None:
        super().__init__(message)
        self.field = field
        self.message = message
        self.level: Level = level


@dataclass(frozen=True)
class _Notes:
    """The notes about one object."""

    object: str
    notes: list[Note]

    def warn(self, field: str, message: str) -> None:
        self.notes.append(Note("warning", self.object, field, message))

    def refuse(self, refusal: _Refused) -> None:
        self.notes.append(Note(refusal.level, self.object, refusal.field, refusal.message))


@dataclass(frozen=True)
class _Pods:
    """Pods that a selector may find: those of one workload of the input."""

    workload: str
    key: Key
    labels: Manifest


class _Conversion:
    """One import: workloads first, because what becomes of the other objects depends on them."""

    def __init__(self, criticality: Criticality | None, adopt: bool) -> None:
        self._criticality = criticality
        self._adopt = adopt
        self._notes: list[Note] = []
        self._services: dict[Key, Manifest] = {}
        # Reference and namespace of the workloads that were imported.
        self._imported: set[Key] = set()
        self._pods: list[_Pods] = []
        self._assumed = 0

    def run(self, manifests: list[Manifest]) -> Imported:
        mine = [each for each in manifests if not _owner(each)]
        rest = [each for each in mine if not self._workload(each)]
        kept = [_portable(each) for each in rest if self._keep(each)]
        self._note_owned(manifests)
        self._note_assumed()
        return Imported(list(self._services.values()), kept, self._notes)

    def _about(self, manifest: Manifest) -> _Notes:
        return _Notes(_reference(manifest), self._notes)

    def _workload(self, manifest: Manifest) -> bool:
        """Import it if it is a workload for us; False leaves it to `_keep`."""
        self._note_pods(manifest)
        kind, version = manifest.get("kind"), str(manifest.get("apiVersion"))
        if kind not in IMPORTED_KINDS or not version.startswith(("apps/", "extensions/")):
            return False
        about = self._about(manifest)
        if version != "apps/v1":
            about.warn(
                "apiVersion", f"{version} is no longer served by Kubernetes; passed through as it is, change it to apps/v1 to import it"
            )
            return False
        try:
            self._import(manifest, about)
        except _Refused as refusal:
            about.refuse(refusal)
        return True

    def _import(self, manifest: Manifest, about: _Notes) -> None:
        key = _key(manifest)
        _check_name(key[1])
        if key in self._services:
            raise _Refused("metadata.name", f"{key[1]} was imported already from another object; give one of them another name")
        chosen = _chosen_criticality(manifest)
        spec: Manifest = {"criticality": chosen or self._criticality or "Normal"}
        if self._adopt:
            spec["adopt"] = True
        # The template comes last in what is printed, because it is long.
        spec.update(_spec(manifest, about))
        service = {"apiVersion": API_VERSION, "kind": "ManagedService", "metadata": _metadata(manifest), "spec": spec}
        _check(service)
        self._services[key] = service
        self._imported.add((_reference(manifest), key[0]))
        self._assumed += not (chosen or self._criticality)

    def _note_pods(self, manifest: Manifest) -> None:
        labels = _pod_labels(manifest)
        if labels is not None:
            self._pods.append(_Pods(_reference(manifest), _key(manifest), labels))

    def _keep(self, manifest: Manifest) -> bool:
        """Whether the object is printed along; False when a ManagedService does its work."""
        kind, group = str(manifest.get("kind")), str(manifest.get("apiVersion")).rpartition("/")[0]
        about = self._about(manifest)
        if (group, kind) == ("", "Service"):
            return not self._carry(manifest, about)
        if (group, kind) == ("policy", "PodDisruptionBudget"):
            return not self._replaces_budget(manifest, about)
        if group == "kustomize.config.k8s.io":
            about.warn("kind", f"{kind} is not an object of the cluster and is left out; import the output of `kubectl kustomize` instead")
            return False
        if kind in OTHER_WORKLOADS and group in ("", "apps", "batch"):
            about.warn("kind", f"{kind} is not a service that Drover keeps; passed through as it is")
        self._note_scaler(manifest, about)
        return True

    def _selected(self, manifest: Manifest, selects: Any) -> list[_Pods]:
        """The workloads in its namespace whose pods it selects."""
        namespace = _key(manifest)[0]
        return [pods for pods in self._pods if pods.key[0] == namespace and _selects(selects, pods.labels)]

    def _is_imported(self, pods: _Pods) -> bool:
        return (pods.workload, pods.key[0]) in self._imported

    def _carry(self, manifest: Manifest, about: _Notes) -> bool:
        """Make the ports of a Service those of its ManagedService, if nothing of the Service is lost by it."""
        selector = _part(manifest, "spec").get("selector")
        pods = self._selected(manifest, {"matchLabels": selector}) if selector else []
        if not any(map(self._is_imported, pods)):
            self._unclaimed(manifest, about)
            return False
        reason = self._reason_to_keep(manifest, pods)
        if reason:
            about.warn(*reason)
            self._unclaimed(manifest, about)
            return False
        service = self._services[pods[0].key]
        service["spec"] = _with_ports(service["spec"], _ports(manifest, about))
        self._note_carried(manifest, service, about)
        return True

    def _reason_to_keep(self, manifest: Manifest, pods: list[_Pods]) -> tuple[str, str] | None:
        if len(pods) > 1:
            return "spec.selector", f"selects the pods of {_listed(each.workload for each in pods)}; the Service is kept as it was"
        if _key(manifest) != pods[0].key:
            return (
                "metadata.name",
                f"is not that of {pods[0].workload}, whose pods it selects; the Service is kept as it was and goes on selecting them",
            )
        return _uncarried(manifest)

    def _unclaimed(self, manifest: Manifest, about: _Notes) -> None:
        """A Service that stays must not be taken over by the ManagedService of the same name."""
        service = self._services.get(_key(manifest))
        if service and service["spec"].pop("adopt", None):
            about.warn("metadata.name", "is that of a ManagedService that does not carry this Service; it was imported without adopt")

    def _note_carried(self, manifest: Manifest, service: Manifest, about: _Notes) -> None:
        known = service["metadata"].get("labels", {})
        lost = [name for name, value in _part(manifest, "metadata", "labels").items() if known.get(name) != value]
        if lost:
            about.warn(
                "metadata.labels",
                f"{_listed(lost)} are not carried over; change what selects the Service by them, such as a ServiceMonitor",
            )
        if _is_live(manifest) and not self._adopt:
            about.warn(
                "metadata.name", "exists in the cluster and is in the way of Drover's own Service; import with --adopt, or delete it first"
            )

    def _replaces_budget(self, manifest: Manifest, about: _Notes) -> bool:
        """Two budgets for one pod make every eviction fail, and Drover makes one for each service."""
        pods = [each for each in self._selected(manifest, _part(manifest, "spec").get("selector")) if self._is_imported(each)]
        if not pods:
            return False
        names = _listed(each.workload for each in pods)
        about.warn(
            "spec",
            f"is left out, Drover makes a budget for {names} from its criticality and two would block evictions; delete it in the cluster",
        )
        return True

    def _note_scaler(self, manifest: Manifest, about: _Notes) -> None:
        for field in ("scaleTargetRef", "targetRef"):
            target = _part(manifest, "spec", field)
            reference = f"{str(target.get('kind') or 'Deployment').lower()}/{target.get('name')}"
            if target and (reference, _key(manifest)[0]) in self._imported:
                about.warn(
                    f"spec.{field}", f"is {reference}, now a ManagedService; set apiVersion {API_VERSION} and kind ManagedService in it"
                )

    def _note_owned(self, manifests: list[Manifest]) -> None:
        for kind, count in Counter(str(each.get("kind")).lower() for each in manifests if _owner(each)).items():
            self._notes.append(
                Note(
                    "warning",
                    f"{kind}/*",
                    "metadata.ownerReferences",
                    f"name a controller in {count} of them; left out, it makes them itself",
                )
            )

    def _note_assumed(self) -> None:
        if self._assumed:
            about = _Notes("managedservice/*", self._notes)
            about.warn(
                "spec.criticality",
                f"was assumed to be Normal for {self._assumed}; set it with --criticality or the annotation {CRITICALITY_ANNOTATION}",
            )


# --- the spec of one workload


def _spec(manifest: Manifest, about: _Notes) -> Manifest:
    """Everything but ports, in the order in which it is printed."""
    spec = _mapping(manifest, "spec")
    if manifest["kind"] == "StatefulSet":
        _check_stateless(spec, about)
    template = _template(_mapping(spec, "template", "spec.template"), about)
    found: Manifest = {
        "replicas": spec.get("replicas"),
        "rollout": _rollout(manifest["kind"], spec, about),
        "revisionHistoryLimit": _within(spec, "revisionHistoryLimit", 1, 100, about),
        "paused": spec.get("paused") or None,
        "template": template,
    }
    return {name: value for name, value in found.items() if value is not None}


def _check_stateless(spec: Manifest, about: _Notes) -> None:
    if spec.get("volumeClaimTemplates"):
        raise _Refused(
            "spec.volumeClaimTemplates", "need pets, which are not supported yet; not imported, leave it a StatefulSet", "warning"
        )
    about.warn("kind", "StatefulSet without volumes is imported as Cattle; stable names and ordered starts are lost")


def _rollout(kind: str, spec: Manifest, about: _Notes) -> Manifest | None:
    rolling = _statefulset_rolling(spec, about) if kind == "StatefulSet" else _deployment_rolling(spec, about)
    ready = _seconds(spec, "minReadySeconds", 0, 3600, about)
    if ready not in (None, "0s"):
        rolling["minReady"] = ready
    found: Manifest = {"type": "Rolling"}
    deadline = _seconds(spec, "progressDeadlineSeconds", 10, 86400, about)
    if deadline:
        found["progressDeadline"] = deadline
    if rolling:
        found["rolling"] = rolling
    return found if len(found) > 1 else None


def _deployment_rolling(spec: Manifest, about: _Notes) -> Manifest:
    strategy = _mapping(spec, "strategy", "spec.strategy")
    if strategy.get("type") == "Recreate":
        # Nearest to what its user asked for: never more instances than before, all of them at once.
        about.warn("spec.strategy.type", "Recreate is not supported yet; imported as Rolling with maxSurge 0 and maxUnavailable 100%")
        return {"maxSurge": 0, "maxUnavailable": "100%"}
    settings = _mapping(strategy, "rollingUpdate", "spec.strategy.rollingUpdate")
    shares = {name: _share(settings.get(name), f"spec.strategy.rollingUpdate.{name}", about) for name in ("maxSurge", "maxUnavailable")}
    found: Manifest = {name: value for name, value in shares.items() if value is not None}
    if str(found.get("maxSurge")) in ("0", "0%") and "maxUnavailable" not in found:
        # Both would be 0, which is refused: Drover's default is 0 where that of a Deployment is 25%.
        found["maxUnavailable"] = "25%"
    return found


def _statefulset_rolling(spec: Manifest, about: _Notes) -> Manifest:
    strategy = _mapping(spec, "updateStrategy", "spec.updateStrategy")
    if strategy.get("type") == "OnDelete":
        about.warn("spec.updateStrategy.type", "OnDelete is not supported; imported as Rolling, set spec.paused to hold updates back")
    settings = _mapping(strategy, "rollingUpdate", "spec.updateStrategy.rollingUpdate")
    if settings.get("partition"):
        about.warn("spec.updateStrategy.rollingUpdate.partition", "is not supported; all instances are updated")
    if "maxUnavailable" not in settings:
        return {}
    share = _share(settings["maxUnavailable"], "spec.updateStrategy.rollingUpdate.maxUnavailable", about)
    return {} if share is None else {"maxUnavailable": share}


def _share(value: Any, field: str, about: _Notes) -> int | str | None:
    """A count or percentage within our limits, None when it is neither."""
    if value is None:
        return None
    if type(value) is int and 0 <= value:
        return _limited(value, MAX_REPLICAS, field, about)
    percent = re.fullmatch(r"([0-9]{1,9})%", value) if isinstance(value, str) else None
    if percent:
        return f"{_limited(int(percent[1]), 100, field, about, '%')}%"
    raise _Refused(field, f"must be a number or a percentage such as 25%, not {value!r}")


def _limited(value: int, most: int, field: str, about: _Notes, unit: str = "") -> int:
    if value > most:
        about.warn(field, f"{value}{unit} is more than the {most}{unit} that Drover takes; imported as {most}{unit}")
    return min(value, most)


def _within(spec: Manifest, name: str, least: int, most: int, about: _Notes) -> int | None:
    """The number, moved to the nearest that Drover takes."""
    value = spec.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise _Refused(f"spec.{name}", f"must be a number from 0 up, not {value!r}")
    nearest = min(max(value, least), most)
    if nearest != value:
        about.warn(f"spec.{name}", f"{value} is not from {least} to {most}; imported as {nearest}")
    return nearest


def _seconds(spec: Manifest, name: str, least: int, most: int, about: _Notes) -> str | None:
    """The duration as people write it: 600 is 10m."""
    value = _within(spec, name, least, most, about)
    if value is None:
        return None
    for size, unit in ((3600, "h"), (60, "m")):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value}s"


def _template(template: Manifest, about: _Notes) -> Manifest:
    """The pod template as it is, without what the server or Drover sets."""
    metadata = _template_metadata(_mapping(template, "metadata", "spec.template.metadata"), about)
    spec = _without_nulls(_mapping(template, "spec", "spec.template.spec"))
    _check_pod(spec, about)
    return {"metadata": metadata, "spec": spec} if metadata else {"spec": spec}


def _template_metadata(metadata: Manifest, about: _Notes) -> Manifest:
    labels = _texts(_mapping(metadata, "labels", "spec.template.metadata.labels"))
    for name in [name for name in labels if name.startswith(OWN_PREFIX)]:
        about.warn("spec.template.metadata.labels", f"{name} is dropped; labels under {OWN_PREFIX} are Drover's own")
        del labels[name]
    if metadata.get("finalizers"):
        about.warn("spec.template.metadata.finalizers", "are not carried over; Drover sets the finalizers of its pods")
    annotations = _texts(_mapping(metadata, "annotations", "spec.template.metadata.annotations"))
    return {name: value for name, value in (("labels", labels), ("annotations", annotations)) if value}


def _check_pod(spec: Manifest, about: _Notes) -> None:
    if spec.get("restartPolicy", "Always") != "Always":
        raise _Refused(
            "spec.template.spec.restartPolicy", f"{spec['restartPolicy']} is not possible, a service does not end; only Always is"
        )
    containers = _mappings(spec.get("containers")) + _mappings(spec.get("initContainers"))
    for name, count in Counter(str(each.get("name")) for each in containers).items():
        if count > 1:
            raise _Refused("spec.template.spec.containers", f"{name} is the name of {count} containers; names must differ")
    ports = [port for each in containers for port in _mappings(each.get("ports"))]
    why = "is carried over, but a node takes one instance only; set maxSurge 0 if there is no spare node"
    if spec.get("hostNetwork") is True and ports:
        about.warn("spec.template.spec.hostNetwork", why)
    elif any(port.get("hostPort") for port in ports):
        about.warn("spec.template.spec.containers.ports.hostPort", why)


# --- Services


def _uncarried(manifest: Manifest) -> tuple[str, str] | None:
    """The first thing of a Service that a ManagedService cannot say: field and message."""
    kept = "is not part of a ManagedService; the Service is kept as it was and the ManagedService has no ports"
    for name in _part(manifest, "metadata", "annotations"):
        if name != LAST_APPLIED:
            return f"metadata.annotations[{name}]", kept
    for name, value in {"type": None, **_part(manifest, "spec")}.items():
        if not _says_nothing(name, value, live=_is_live(manifest)):
            shown = f"{value} " if isinstance(value, str | int) else ""
            return f"spec.{name}", shown + kept
    return _uncarried_port(_mappings(_part(manifest, "spec").get("ports")), kept)


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


def _ports(manifest: Manifest, about: _Notes) -> list[Manifest]:
    ports: list[Manifest] = []
    for each in _mappings(_part(manifest, "spec").get("ports")):
        port, named = _port(each)
        if not named:
            about.warn("spec.ports.name", f"is missing for port {port['port']}; named {port['name']}")
        ports.append(port)
    return ports


def _port(port: Manifest) -> tuple[Manifest, bool]:
    """The port with a name, and whether it had one; a name such as `tcp` would tell a service mesh more than its owner did."""
    name = port.get("name")
    found = {field: port[field] for field in PORT_FIELDS if port.get(field) is not None}
    return {"name": name or f"port-{port.get('port')}", **{k: v for k, v in found.items() if k != "name"}}, bool(name)


def _with_ports(spec: Manifest, ports: list[Manifest]) -> Manifest:
    """The spec with its ports before the long parts."""
    ahead: Manifest = {name: spec[name] for name in ("criticality", "adopt", "replicas") if name in spec}
    return {**ahead, "ports": ports, **spec}


# --- reading manifests of any shape


def _mapping(parent: Manifest, name: str, path: str = "") -> Manifest:
    """A mapping of a workload; absent is empty, anything else is refused."""
    value = parent.get(name)
    if value is None:
        return {}
    if not _is_mapping(value):
        raise _Refused(path or name, "must be a mapping")
    return value


def _part(manifest: Manifest, *path: str) -> Manifest:
    """A mapping of an object that is only looked at; empty when there is none."""
    value: Any = manifest
    for name in path:
        value = value.get(name) if _is_mapping(value) else None
    return value if _is_mapping(value) else {}


def _is_mapping(value: object) -> TypeGuard[Manifest]:
    return isinstance(value, dict)


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _items(value: object) -> list[Any]:
    return value if _is_list(value) else []


def _mappings(value: object) -> list[Manifest]:
    return [each for each in _items(value) if _is_mapping(each)]


def _key(manifest: Manifest) -> Key:
    metadata = _part(manifest, "metadata")
    return (str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def _reference(manifest: Manifest) -> str:
    """The object as kubectl names it: deployment/frontend."""
    return f"{str(manifest.get('kind')).lower()}/{_key(manifest)[1] or '?'}"


def _is_live(manifest: Manifest) -> bool:
    """Whether it was read from a cluster, with the fields that an API server fills in."""
    return bool(_part(manifest, "metadata").get("uid"))


def _owner(manifest: Manifest) -> bool:
    """Whether a controller made it, as a Deployment makes ReplicaSets and they make pods."""
    return any(owner.get("controller") is True for owner in _mappings(_part(manifest, "metadata").get("ownerReferences")))


def _portable(manifest: Manifest) -> Manifest:
    """The object as it is; one from a cluster without the parts that would bind it to that cluster."""
    if not _is_live(manifest):
        return manifest
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in SERVER_METADATA}
    return {**{name: value for name, value in manifest.items() if name != "status"}, "metadata": metadata}


def _pod_labels(manifest: Manifest) -> Manifest | None:
    """The labels of the pods that the object makes, None when it makes none."""
    kind = manifest.get("kind")
    if kind == "Pod":
        return _part(manifest, "metadata", "labels")
    if kind not in (*IMPORTED_KINDS, *OTHER_WORKLOADS):
        return None
    path = ("spec", "jobTemplate", "spec", "template") if kind == "CronJob" else ("spec", "template")
    return _part(manifest, *path, "metadata", "labels")


def _selects(selector: Any, labels: Manifest) -> bool:
    """Whether a label selector matches; an empty one matches all, none at all matches nothing."""
    if not _is_mapping(selector):
        return False
    wanted = _part(selector, "matchLabels")
    expressions = _mappings(selector.get("matchExpressions"))
    return all(labels.get(name) == value for name, value in wanted.items()) and all(_holds(each, labels) for each in expressions)


def _holds(expression: Manifest, labels: Manifest) -> bool:
    key, operator = str(expression.get("key")), expression.get("operator")
    if operator in ("Exists", "DoesNotExist"):
        return (key in labels) is (operator == "Exists")
    return (key in labels and labels[key] in _items(expression.get("values"))) is (operator == "In")


def _metadata(manifest: Manifest) -> Manifest:
    metadata = _mapping(manifest, "metadata")
    found: Manifest = {name: metadata[name] for name in ("name", "namespace") if metadata.get(name)}
    annotations = _texts(_mapping(metadata, "annotations", "metadata.annotations"))
    carried = {name: value for name, value in annotations.items() if not name.startswith(FOREIGN_ANNOTATIONS)}
    for name, value in (("labels", _texts(_mapping(metadata, "labels", "metadata.labels"))), ("annotations", carried)):
        if value:
            found[name] = value
    return found


def _texts(mapping: Manifest) -> Manifest:
    """Labels or annotations, with an empty value where YAML has none, as the API server reads them."""
    return {name: "" if value is None else value for name, value in mapping.items()}


def _without_nulls(value: Any) -> Any:
    """A copy without the fields that are null: for the API server they are not there."""
    if _is_mapping(value):
        return {name: _without_nulls(child) for name, child in value.items() if child is not None}
    return [_without_nulls(child) for child in value] if _is_list(value) else value


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names)))


# --- what the API server would refuse


def _check_name(name: str) -> None:
    if not name:
        raise _Refused("metadata.name", "is missing; not imported, a ManagedService needs a name")
    if len(name) > MAX_NAME:
        raise _Refused(
            "metadata.name", f"has {len(name)} characters, a ManagedService at most {MAX_NAME}; not imported, give it a shorter name"
        )
    if not re.fullmatch(DNS_LABEL_PATTERN, name):
        raise _Refused("metadata.name", f"{name} is not a DNS label (small letters, digits and -); not imported, give it another name")


def _chosen_criticality(manifest: Manifest) -> str | None:
    """What the annotation says."""
    chosen = _part(manifest, "metadata", "annotations").get(CRITICALITY_ANNOTATION)
    if chosen is not None and chosen not in CRITICALITIES:
        raise _Refused(f"metadata.annotations[{CRITICALITY_ANNOTATION}]", f"must be one of {', '.join(CRITICALITIES)}, not {chosen}")
    return cast(str | None, chosen)


def _check(service: Manifest) -> None:
    """The models are the schema, so what they refuse the API server would refuse too."""
    path = ""
    try:
        decoded = msgspec.json.decode(json.dumps(service), type=ManagedService)
        path = "spec.template."
        msgspec.json.decode(decoded.spec.template, type=PodTemplate)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        raise _Refused((path + place.strip("`.")).rstrip(".") or "spec", f"is not valid: {message}; not imported") from None
