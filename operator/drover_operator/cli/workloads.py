# SPDX-License-Identifier: Apache-2.0
"""The ManagedService that a Deployment or StatefulSet becomes: metadata, spec and template, and what the API server would refuse."""

import json
import re
from collections import Counter
from typing import Any, cast, get_args

import msgspec

from drover_operator.api.fields import MAX_REPLICAS
from drover_operator.api.managedservice import MAX_NAME, Criticality, ManagedService
from drover_operator.api.meta import DNS_LABEL_PATTERN, GROUP
from drover_operator.api.podtemplate import PodTemplate
from drover_operator.cli.notes import Notes, Refused
from drover_operator.cli.objects import Manifest, mapping, mappings, part, texts, without_nulls

CRITICALITIES: tuple[str, ...] = get_args(Criticality)
CRITICALITY_ANNOTATION = f"{GROUP}/criticality"
OWN_PREFIX = f"{GROUP}/"
# Written by the tool or the controller that had the workload before: on another object they would say what is not so.
FOREIGN_ANNOTATIONS = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/",
    "meta.helm.sh/",
    "argocd.argoproj.io/tracking-id",
    CRITICALITY_ANNOTATION,
)
FOREIGN_LABELS = ("kustomize.toolkit.fluxcd.io/", "helm.toolkit.fluxcd.io/")


def metadata_of(manifest: Manifest) -> Manifest:
    """Metadata of the ManagedService: what people wrote, not what tools and controllers did."""
    metadata = mapping(manifest, "metadata")
    found: Manifest = {name: metadata[name] for name in ("name", "namespace") if metadata.get(name)}
    for name, foreign in (("labels", FOREIGN_LABELS), ("annotations", FOREIGN_ANNOTATIONS)):
        written = texts(mapping(metadata, name, f"metadata.{name}"))
        if carried := {key: value for key, value in written.items() if not key.startswith(foreign)}:
            found[name] = carried
    return found


def spec_of(manifest: Manifest, about: Notes) -> Manifest:
    """Everything but ports, in the order in which it is printed."""
    spec = mapping(manifest, "spec")
    if manifest["kind"] == "StatefulSet":
        _check_stateless(spec, about)
    template = _template(mapping(spec, "template", "spec.template"), about)
    found: Manifest = {
        "replicas": spec.get("replicas"),
        "rollout": _rollout(manifest["kind"], spec, about),
        "revisionHistoryLimit": _within(spec, "revisionHistoryLimit", 1, 100, about),
        "paused": spec.get("paused") or None,
        "template": template,
    }
    return {name: value for name, value in found.items() if value is not None}


def _check_stateless(spec: Manifest, about: Notes) -> None:
    if spec.get("volumeClaimTemplates"):
        raise Refused("spec.volumeClaimTemplates", "need pets, which are not supported yet; not imported, leave it a StatefulSet", "warning")
    about.warn("kind", "StatefulSet without volumes is imported as Cattle; stable names and ordered starts are lost")


def _rollout(kind: str, spec: Manifest, about: Notes) -> Manifest | None:
    rolling = _statefulset_rolling(spec, about) if kind == "StatefulSet" else _deployment_rolling(spec, about)
    ready = _seconds(spec, "minReadySeconds", 0, 3600, about)
    if ready not in (None, "0s"):
        rolling["minReady"] = ready
    found: Manifest = {"type": "Recreate" if mapping(spec, "strategy", "spec.strategy").get("type") == "Recreate" else "Rolling"}
    deadline = _seconds(spec, "progressDeadlineSeconds", 10, 86400, about)
    if deadline:
        found["progressDeadline"] = deadline
    if rolling:
        found["rolling"] = rolling
    return found if found != {"type": "Rolling"} else None


def _deployment_rolling(spec: Manifest, about: Notes) -> Manifest:
    strategy = mapping(spec, "strategy", "spec.strategy")
    if strategy.get("type") == "Recreate":
        return {}
    settings = mapping(strategy, "rollingUpdate", "spec.strategy.rollingUpdate")
    shares = {name: _share(settings.get(name), f"spec.strategy.rollingUpdate.{name}", about) for name in ("maxSurge", "maxUnavailable")}
    found: Manifest = {name: value for name, value in shares.items() if value is not None}
    if str(found.get("maxSurge")) in ("0", "0%") and "maxUnavailable" not in found:
        # Both would be 0, which is refused: Drover's default is 0 where that of a Deployment is 25%.
        found["maxUnavailable"] = "25%"
    return found


def _statefulset_rolling(spec: Manifest, about: Notes) -> Manifest:
    strategy = mapping(spec, "updateStrategy", "spec.updateStrategy")
    if strategy.get("type") == "OnDelete":
        about.warn("spec.updateStrategy.type", "OnDelete is not supported; imported as Rolling, set spec.paused to hold updates back")
    settings = mapping(strategy, "rollingUpdate", "spec.updateStrategy.rollingUpdate")
    if settings.get("partition"):
        about.warn("spec.updateStrategy.rollingUpdate.partition", "is not supported; all instances are updated")
    if "maxUnavailable" not in settings:
        return {}
    share = _share(settings["maxUnavailable"], "spec.updateStrategy.rollingUpdate.maxUnavailable", about)
    return {} if share is None else {"maxUnavailable": share}


def _share(value: Any, field: str, about: Notes) -> int | str | None:
    """A count or percentage within our limits, None when it is neither."""
    if value is None:
        return None
    if type(value) is int and value >= 0:
        return _limited(value, MAX_REPLICAS, field, about)
    percent = re.fullmatch(r"([0-9]{1,9})%", value) if isinstance(value, str) else None
    if percent:
        return f"{_limited(int(percent[1]), 100, field, about, '%')}%"
    raise Refused(field, f"must be a number or a percentage such as 25%, not {value!r}")


def _limited(value: int, most: int, field: str, about: Notes, unit: str = "") -> int:
    if value > most:
        about.warn(field, f"{value}{unit} is more than the {most}{unit} that Drover takes; imported as {most}{unit}")
    return min(value, most)


def _within(spec: Manifest, name: str, least: int, most: int, about: Notes) -> int | None:
    """The number, moved to the nearest that Drover takes."""
    value = spec.get(name)
    if value is None:
        return None
    if type(value) is not int or value < 0:
        raise Refused(f"spec.{name}", f"must be a number from 0 up, not {value!r}")
    nearest = min(max(value, least), most)
    if nearest != value:
        about.warn(f"spec.{name}", f"{value} is not from {least} to {most}; imported as {nearest}")
    return nearest


def _seconds(spec: Manifest, name: str, least: int, most: int, about: Notes) -> str | None:
    """The duration as people write it: 600 is 10m."""
    value = _within(spec, name, least, most, about)
    if value is None:
        return None
    for size, unit in ((3600, "h"), (60, "m")):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value}s"


def _template(template: Manifest, about: Notes) -> Manifest:
    """The pod template as it is, without what the server or Drover sets."""
    metadata = _template_metadata(mapping(template, "metadata", "spec.template.metadata"), about)
    spec = without_nulls(mapping(template, "spec", "spec.template.spec"))
    _check_pod(spec, about)
    return {"metadata": metadata, "spec": spec} if metadata else {"spec": spec}


def _template_metadata(metadata: Manifest, about: Notes) -> Manifest:
    labels = texts(mapping(metadata, "labels", "spec.template.metadata.labels"))
    for name in [name for name in labels if name.startswith(OWN_PREFIX)]:
        about.warn("spec.template.metadata.labels", f"{name} is dropped; labels under {OWN_PREFIX} are Drover's own")
        del labels[name]
    if metadata.get("finalizers"):
        about.warn("spec.template.metadata.finalizers", "are not carried over; Drover sets the finalizers of its pods")
    annotations = texts(mapping(metadata, "annotations", "spec.template.metadata.annotations"))
    return {name: value for name, value in (("labels", labels), ("annotations", annotations)) if value}


def _check_pod(spec: Manifest, about: Notes) -> None:
    if spec.get("restartPolicy", "Always") != "Always":
        raise Refused("spec.template.spec.restartPolicy", f"{spec['restartPolicy']} is not possible, a service does not end; only Always is")
    containers = mappings(spec.get("containers")) + mappings(spec.get("initContainers"))
    for name, count in Counter(str(each.get("name")) for each in containers).items():
        if count > 1:
            raise Refused("spec.template.spec.containers", f"{name} is the name of {count} containers; names must differ")
    ports = [port for each in containers for port in mappings(each.get("ports"))]
    why = "is carried over, but a node takes one instance only; set maxSurge 0 if there is no spare node"
    if spec.get("hostNetwork") is True and ports:
        about.warn("spec.template.spec.hostNetwork", why)
    elif any(port.get("hostPort") for port in ports):
        about.warn("spec.template.spec.containers.ports.hostPort", why)


def check_name(name: str) -> None:
    """Refuse a name that the API server would refuse."""
    if not name:
        raise Refused("metadata.name", "is missing; not imported, a ManagedService needs a name")
    if len(name) > MAX_NAME:
        raise Refused("metadata.name", f"has {len(name)} characters, a ManagedService at most {MAX_NAME}; not imported, give it a shorter name")
    if not re.fullmatch(DNS_LABEL_PATTERN, name):
        raise Refused("metadata.name", f"{name} is not a DNS label (small letters, digits and -); not imported, give it another name")


def chosen_criticality(manifest: Manifest) -> str | None:
    """What the annotation says."""
    chosen = part(manifest, "metadata", "annotations").get(CRITICALITY_ANNOTATION)
    if chosen is not None and chosen not in CRITICALITIES:
        raise Refused(f"metadata.annotations[{CRITICALITY_ANNOTATION}]", f"must be one of {', '.join(CRITICALITIES)}, not {chosen}")
    return cast(str | None, chosen)


def check_valid(service: Manifest) -> None:
    """The models are the schema, so what they refuse the API server would refuse too."""
    path = ""
    try:
        decoded = msgspec.json.decode(json.dumps(service), type=ManagedService)
        path = "spec.template."
        msgspec.json.decode(decoded.spec.template, type=PodTemplate)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        raise Refused((path + place.strip("`.")).rstrip(".") or "spec", f"is not valid: {message}; not imported") from None
