# SPDX-License-Identifier: Apache-2.0
"""What should be in the cluster, from the same code that the manifests are generated from, and where it is."""

from dataclasses import dataclass
from typing import Any

import msgspec

from drover_operator.api.crd import DEFINITIONS, crd
from drover_operator.api.resource import Resource
from drover_operator.runtime import furnishing, rbac
from drover_operator.runtime.registry import Controller

Json = dict[str, Any]
RAW: Any = msgspec.Raw
SHARD = "0"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """One object as it should be, and its resource; `part` is what it belongs to, by the name of the check."""

    part: str
    resource: Resource[Any]
    body: Json

    @property
    def namespace(self) -> str:
        """Its namespace, "" for none."""
        return str(self.body["metadata"].get("namespace", ""))

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.body["metadata"]["name"])

    @property
    def id(self) -> str:
        """As people write it: kind/name."""
        return f"{self.body['kind'].lower()}/{self.name}"


def resource(body: Json) -> Resource[Any]:
    """The resource that serves an object. All kinds that are wanted here have regular plurals."""
    group, _, version = body["apiVersion"].rpartition("/")
    word = body["kind"].lower()
    plural = word + "es" if word.endswith("s") else word[:-1] + "ies" if word.endswith("y") else word + "s"
    return Resource(group, version, plural, body["kind"], RAW)


def wanted(controllers: tuple[Controller, ...], namespace: str = "") -> tuple[Wanted, ...]:
    """Everything, in an order in which it can be applied: the fence comes last. `namespace` is for an operator that looks after one only."""
    parts: dict[str, list[Json]] = {
        "namespace": [furnishing.namespace()],
        "definitions": [msgspec.json.decode(msgspec.json.encode(crd(each))) for each in DEFINITIONS],
        "priorities": furnishing.priority_classes(),
        "rights": rbac.manifests(controllers, SHARD, namespace),
        "queues": furnishing.flow_schemas(SHARD),
        "fence": rbac.fence(controllers, SHARD),
    }
    return tuple(Wanted(part=part, resource=resource(body), body=body) for part, bodies in parts.items() for body in bodies)
