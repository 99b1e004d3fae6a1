# SPDX-License-Identifier: Apache-2.0
"""Deployments, StatefulSets and Services to ManagedServices, and a note for everything that could not be carried over.

Nothing is guessed: what a ManagedService cannot say is kept as the object it was, or left out with a note. Whether an object
blocks nothing but itself is the measure for `warning` against `error`: an error means that a workload was not imported.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from drover_operator.api.managedservice import Criticality
from drover_operator.api.meta import API_VERSION
from drover_operator.cli.defaults import bare_workload
from drover_operator.cli.fronts import ports_of, uncarried, with_ports
from drover_operator.cli.notes import Note, Notes, Refused
from drover_operator.cli.objects import (
    IMPORTED_KINDS,
    OTHER_WORKLOADS,
    Key,
    Manifest,
    has_controller,
    is_live,
    key_of,
    listed,
    matches,
    part,
    pod_labels,
    portable,
    reference_of,
)
from drover_operator.cli.workloads import CRITICALITIES, CRITICALITY_ANNOTATION, check_name, check_valid, chosen_criticality, metadata_of, spec_of

__all__ = ["CRITICALITIES", "Imported", "Manifest", "convert"]


@dataclass(frozen=True)
class Imported:
    """ManagedServices, the objects that stay what they were, and what a person should know."""

    services: list[Manifest]
    kept: list[Manifest]
    notes: list[Note]


def convert(manifests: Iterable[Manifest], *, criticality: Criticality | None = None, adopt: bool = False, others: Iterable[Manifest] = ()) -> Imported:
    """All manifests of an application at once, so that Services find their workloads; None assumes criticality Normal, with a note.

    `others` are workloads that stay what they are: Services may select their pods too.
    """
    return _Conversion(criticality, adopt=adopt, others=others).run(list(manifests))


@dataclass(frozen=True)
class _Pods:
    """Pods that a selector may find: those of one workload of the input."""

    workload: str
    key: Key
    labels: Manifest


def _is_budget(manifest: Manifest) -> bool:
    return manifest.get("kind") == "PodDisruptionBudget" and str(manifest.get("apiVersion")).startswith("policy/")


class _Conversion:
    """One import: workloads first, because what becomes of the other objects depends on them."""

    def __init__(self, criticality: Criticality | None, *, adopt: bool, others: Iterable[Manifest]) -> None:
        self._criticality = criticality
        self._adopt = adopt
        self._notes: list[Note] = []
        self._services: dict[Key, Manifest] = {}
        # Reference and namespace of the workloads that were imported.
        self._imported: set[Key] = set()
        self._pods: list[_Pods] = []
        self._assumed = 0
        for each in others:
            self._note_pods(each)

    def run(self, manifests: list[Manifest]) -> Imported:
        mine = [each for each in manifests if not has_controller(each)]
        rest = [each for each in mine if not self._workload(each)]
        # What becomes of a budget depends on that of the Service beside it.
        stays = {id(each) for each in sorted(rest, key=_is_budget) if self._keep(each)}
        kept = [portable(each) for each in rest if id(each) in stays]
        self._note_owned(manifests)
        self._note_assumed()
        return Imported(list(self._services.values()), kept, self._notes)

    def _about(self, manifest: Manifest) -> Notes:
        return Notes(reference_of(manifest), self._notes)

    def _workload(self, manifest: Manifest) -> bool:
        """Import it if it is a workload for us; False leaves it to `_keep`."""
        self._note_pods(manifest)
        kind, version = manifest.get("kind"), str(manifest.get("apiVersion"))
        if kind not in IMPORTED_KINDS or not version.startswith(("apps/", "extensions/")):
            return False
        about = self._about(manifest)
        if version != "apps/v1":
            about.warn("apiVersion", f"{version} is no longer served by Kubernetes; passed through as it is, change it to apps/v1 to import it")
            return False
        try:
            self._import(manifest, about)
        except Refused as refusal:
            about.refuse(refusal)
        return True

    def _import(self, manifest: Manifest, about: Notes) -> None:
        key = key_of(manifest)
        check_name(key[1])
        if key in self._services:
            raise Refused("metadata.name", f"{key[1]} was imported already from another object; give one of them another name")
        chosen = chosen_criticality(manifest)
        spec: Manifest = {"criticality": chosen or self._criticality or "Normal"}
        if self._adopt:
            spec["adopt"] = True
        # The template comes last in what is printed, because it is long.
        spec.update(spec_of(bare_workload(manifest) if is_live(manifest) else manifest, about))
        service = {"apiVersion": API_VERSION, "kind": "ManagedService", "metadata": metadata_of(manifest), "spec": spec}
        check_valid(service)
        self._services[key] = service
        self._imported.add((reference_of(manifest), key[0]))
        self._assumed += not (chosen or self._criticality)

    def _note_pods(self, manifest: Manifest) -> None:
        labels = pod_labels(manifest)
        if labels is not None:
            self._pods.append(_Pods(reference_of(manifest), key_of(manifest), labels))

    def _keep(self, manifest: Manifest) -> bool:
        """Whether the object is printed along; False when a ManagedService does its work."""
        kind, group = str(manifest.get("kind")), str(manifest.get("apiVersion")).rpartition("/")[0]
        about = self._about(manifest)
        if (group, kind) == ("", "Service"):
            return not self._carry_front(manifest, about)
        if _is_budget(manifest):
            return not self._carry_budget(manifest, about)
        if group == "kustomize.config.k8s.io":
            about.warn("kind", f"{kind} is not an object of the cluster and is left out; import the output of `kubectl kustomize` instead")
            return False
        if kind in OTHER_WORKLOADS and group in ("", "apps", "batch"):
            about.warn("kind", f"{kind} is not a service that Drover keeps; passed through as it is")
        self._note_scaler(manifest, about)
        return True

    def _selected(self, manifest: Manifest, selects: Any) -> list[_Pods]:
        """The workloads in its namespace whose pods it selects."""
        namespace = key_of(manifest)[0]
        return [pods for pods in self._pods if pods.key[0] == namespace and matches(selects, pods.labels)]

    def _is_imported(self, pods: _Pods) -> bool:
        return (pods.workload, pods.key[0]) in self._imported

    def _carry_front(self, manifest: Manifest, about: Notes) -> bool:
        """Make the ports of a Service those of its ManagedService, if nothing of the Service is lost by it."""
        selector = part(manifest, "spec").get("selector")
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
        service["spec"] = with_ports(service["spec"], ports_of(manifest, about))
        self._note_carried(manifest, service, about)
        return True

    def _reason_to_keep(self, manifest: Manifest, pods: list[_Pods]) -> tuple[str, str] | None:
        if len(pods) > 1:
            return "spec.selector", f"selects the pods of {listed(each.workload for each in pods)}; the Service is kept as it was"
        if key_of(manifest) != pods[0].key:
            return (
                "metadata.name",
                f"is not that of {pods[0].workload}, whose pods it selects; the Service is kept as it was and goes on selecting them",
            )
        return uncarried(manifest)

    def _unclaimed(self, manifest: Manifest, about: Notes) -> None:
        """A Service or budget that stays must not be taken over by the ManagedService of the same name."""
        service = self._services.get(key_of(manifest))
        if service and service["spec"].pop("adopt", None):
            about.warn("metadata.name", "is that of a ManagedService that does not carry it over; imported without adopt")

    def _note_carried(self, manifest: Manifest, service: Manifest, about: Notes) -> None:
        known = service["metadata"].get("labels", {})
        lost = [name for name, value in part(manifest, "metadata", "labels").items() if known.get(name) != value]
        if lost:
            about.warn(
                "metadata.labels",
                f"{listed(lost)} are not carried over; change what selects the Service by them, such as a ServiceMonitor",
            )
        if is_live(manifest) and not self._adopt:
            about.warn("metadata.name", "exists in the cluster and is in the way of Drover's own Service; import with --adopt, or delete it first")

    def _carry_budget(self, manifest: Manifest, about: Notes) -> bool:
        """Two budgets for one pod make every eviction fail, and Drover makes one for each service."""
        pods = [each for each in self._selected(manifest, part(manifest, "spec").get("selector")) if self._is_imported(each)]
        if not pods:
            self._unclaimed(manifest, about)
            return False
        if is_live(manifest) and key_of(manifest) == pods[0].key and self._services[pods[0].key]["spec"].get("adopt"):
            about.warn("spec", "is set anew from the criticality when Drover takes it over")
            return True
        names = listed(each.workload for each in pods)
        about.warn(
            "spec",
            f"is left out, Drover makes a budget for {names} from its criticality and two would block evictions; delete it in the cluster",
        )
        return True

    def _note_scaler(self, manifest: Manifest, about: Notes) -> None:
        for field in ("scaleTargetRef", "targetRef"):
            target = part(manifest, "spec", field)
            reference = f"{str(target.get('kind') or 'Deployment').lower()}/{target.get('name')}"
            if target and (reference, key_of(manifest)[0]) in self._imported:
                about.warn(f"spec.{field}", f"is {reference}, now a ManagedService; set apiVersion {API_VERSION} and kind ManagedService in it")

    def _note_owned(self, manifests: list[Manifest]) -> None:
        for kind, count in Counter(str(each.get("kind")).lower() for each in manifests if has_controller(each)).items():
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
            about = Notes("managedservice/*", self._notes)
            about.warn(
                "spec.criticality",
                f"was assumed to be Normal for {self._assumed}; set it with --criticality or the annotation {CRITICALITY_ANNOTATION}",
            )
