# SPDX-License-Identifier: Apache-2.0
"""Workloads of a running cluster for `import`, and what selects or scales their pods. Only reads; Secrets and ConfigMaps are not asked for.

All workloads of the namespace are read, not only those that were named: a Service that selects the pods of two of them must not
follow one.
"""

import asyncio
import difflib
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from drover_operator.api.resource import DISRUPTION_BUDGETS, SERVICES, Resource
from drover_operator.cli.cluster import CHUNK, Progress, connected
from drover_operator.cli.notes import Note
from drover_operator.cli.objects import IMPORTED_KINDS, Manifest, has_controller, key_of, reference_of
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Failure
from drover_operator.cli.screen import Counter
from drover_operator.kube.client import Client
from drover_operator.kube.errors import Forbidden, Gone, NotFound

Named = tuple[str, str]  # kind and name: ("Deployment", "web")


def _raw(group: str, version: str, plural: str, kind: str) -> Resource[Any]:
    return Resource[Any](group, version, plural, kind, model=msgspec.Raw)


WORKLOADS = (_raw("apps", "v1", "deployments", "Deployment"), _raw("apps", "v1", "statefulsets", "StatefulSet"))
# They are not imported, but a Service may select their pods too.
OTHERS = (_raw("apps", "v1", "daemonsets", "DaemonSet"),)
AUTOSCALERS = _raw("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
WHY = {
    "daemonsets.apps": "a Service that selects their pods too would not be noticed",
    "poddisruptionbudgets.policy": "delete those of imported workloads yourself, two budgets would block evictions",
    "horizontalpodautoscalers.autoscaling": "those of imported workloads must point to the ManagedService",
}


@dataclass(frozen=True)
class Found:
    """What was asked for with what stands beside it, the workloads that stay, and what could not be read."""

    asked: list[Manifest]
    others: list[Manifest]
    notes: list[Note]


def read(names: list[Named], where: Where) -> Found:
    """The named workloads, or with no name all of the namespace.

    Raises:
        Failure: one of them is not there, or its kind is not served.
        KubeError: the cluster does not answer, or refuses what is needed.
    """
    return asyncio.run(_read(names, where))


def next_steps(services: list[Manifest], asked: list[Manifest], where: Where) -> list[str]:
    """The commands with which the services take the place of their workloads, once what was printed is applied."""
    keys = {key_of(each) for each in services}
    workloads = [each for each in asked if each["kind"] in IMPORTED_KINDS and key_of(each) in keys]
    file = ["--kubeconfig", where.kubeconfig] if where.kubeconfig else []
    context = ["--context", where.context] if where.context else []
    kubectl = shlex.join(["kubectl", *file, *context, "-n", key_of(services[0])[0]])
    return [
        f"next: {kubectl} wait --for=condition=Ready --timeout=10m {' '.join(map(reference_of, services))}",
        f"next: {kubectl} delete {' '.join(map(reference_of, workloads))}",
    ]


async def _read(names: list[Named], where: Where) -> Found:
    async with connected(where) as (client, namespace):
        reader = _Reader(client, namespace, Counter(sys.stderr, "objects"))
        wanted = {kind for kind, _ in names}
        mine: list[Manifest] = []
        for resource in WORKLOADS:
            mine += await reader.objects(resource, needed=not wanted or resource.kind in wanted)
        beside = await reader.objects(SERVICES, needed=True)
        for resource in (DISRUPTION_BUDGETS, AUTOSCALERS):
            beside += await reader.objects(resource)
        rest = await reader.objects(OTHERS[0])
    chosen = _chosen(mine, names, namespace)
    keys = {key_of(each) for each in chosen}
    # What a controller made for something else, such as Drover for services that it runs already, is no matter of this import.
    beside = [each for each in beside if key_of(each) in keys or not has_controller(each)]
    asked = {id(each) for each in chosen}
    return Found(chosen + beside, [each for each in mine if id(each) not in asked] + rest, reader.notes)


def _chosen(mine: list[Manifest], names: list[Named], namespace: str) -> list[Manifest]:
    """In the order in which they were named."""
    if not names:
        return mine
    there = {(str(each["kind"]), key_of(each)[1]): each for each in mine}
    for kind, name in names:
        if (kind, name) not in there:
            raise Failure(f"no {kind} '{name}' in namespace '{namespace}'" + _hint(kind, name, there))
    return [there[each] for each in dict.fromkeys(names)]


def _hint(kind: str, name: str, there: Iterable[Named]) -> str:
    for other, same in there:
        if same == name:
            return f"; there is {other.lower()}/{name}"
    close = difflib.get_close_matches(name, [each for one, each in there if one == kind], n=3)
    return f"; did you mean {' or '.join(close)}?" if close else f"; look with kubectl get {kind.lower()}s -A"


class _Reader:
    """Reads whole lists, in chunks, and remembers what it could do without."""

    def __init__(self, client: Client, namespace: str, progress: Progress) -> None:
        self._client = client
        self._namespace = namespace
        self._progress = progress
        self.notes: list[Note] = []

    async def objects(self, resource: Resource[Any], *, needed: bool = False) -> list[Manifest]:
        """The objects, each with its kind; where they are not needed, a refusal is a note."""
        try:
            found = await self._chunks(resource)
        except NotFound:
            if needed:
                raise Failure(f"this cluster has no {resource}: give the manifests with -f FILE") from None
            return []
        except Forbidden:
            if needed:
                raise
            why = WHY.get(str(resource), "what they have to do with the import is not known")
            self.notes.append(Note("warning", f"{resource.kind.lower()}/*", "", f"may not be read with your rights; {why}"))
            return []
        finally:
            self._progress(0)
        # The items of a list do not say what they are.
        return [{"apiVersion": resource.api_version, "kind": resource.kind, **msgspec.json.decode(each, type=Manifest)} for each in found]

    async def _chunks(self, resource: Resource[Any]) -> list[msgspec.Raw]:
        found: list[msgspec.Raw] = []
        after, limit = "", CHUNK
        while True:
            try:
                page = await self._client.page(resource, self._namespace, limit=limit, after=after)
            except Gone:
                # The list changed for longer than the server remembers: once more, whole, as kubectl does.
                found, after, limit = [], "", 0
                continue
            found += page.items or ()
            after = page.metadata.continue_
            if not after:
                return found
            self._progress(len(found))
