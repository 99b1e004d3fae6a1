# SPDX-License-Identifier: Apache-2.0
"""What the sandbox serves, as discovery tells it: each resource with its verbs, names for people and subresources."""

from dataclasses import dataclass

from drover_operator.api.crd import DEFINITIONS, crd
from drover_operator.api.meta import GROUP
from drover_operator.testing.kinds import CRDS, KINDS, PODS, Kind
from drover_operator.testing.sandbox.events import CORE_EVENTS

ACCESS_REVIEWS = Kind(group="authorization.k8s.io", plural="selfsubjectaccessreviews", kind="SelfSubjectAccessReview", namespaced=False)
RULES_REVIEWS = Kind(group="authorization.k8s.io", plural="selfsubjectrulesreviews", kind="SelfSubjectRulesReview", namespaced=False)
IDENTITY_REVIEWS = Kind(group="authentication.k8s.io", plural="selfsubjectreviews", kind="SelfSubjectReview", namespaced=False)
READ = ("get", "list", "watch")
CHANGE = ("get", "patch", "update")
_ALL = ("create", "delete", "get", "list", "patch", "update", "watch")
_VERBS: dict[Kind, tuple[str, ...]] = {
    CRDS: READ,
    CORE_EVENTS: ("delete", *READ),
    **dict.fromkeys((ACCESS_REVIEWS, RULES_REVIEWS, IDENTITY_REVIEWS), ("create",)),
}
_NAMES = {f"{definition.plural}.{GROUP}": crd(definition)["spec"]["names"] for definition in DEFINITIONS}
_SHORT: dict[str, tuple[str, ...]] = {
    "namespaces": ("ns",),
    "nodes": ("no",),
    "pods": ("po",),
    "services": ("svc",),
    "configmaps": ("cm",),
    "resourcequotas": ("quota",),
    "events": ("ev",),
    "events.events.k8s.io": ("ev",),
    "poddisruptionbudgets.policy": ("pdb",),
    "customresourcedefinitions.apiextensions.k8s.io": ("crd", "crds"),
    **{resource: tuple(names["shortNames"]) for resource, names in _NAMES.items()},
}
_CATEGORIES: dict[str, tuple[str, ...]] = {
    "pods": ("all",),
    "services": ("all",),
    "customresourcedefinitions.apiextensions.k8s.io": ("api-extensions",),
    **{resource: tuple(names["categories"]) for resource, names in _NAMES.items()},
}


@dataclass(frozen=True, kw_only=True)
class Subresource:
    """A subresource, and the type that requests to it carry."""

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One served resource."""

    kind: Kind
    verbs: tuple[str, ...]
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()


def _offer(kind: Kind) -> Offer:
    return Offer(
        kind=kind,
        verbs=_VERBS.get(kind, _ALL),
        short=_SHORT.get(kind.resource, ()),
        categories=_CATEGORIES.get(kind.resource, ()),
        subresources=tuple(_subresources(kind)),
    )


def _subresources(kind: Kind) -> list[Subresource]:
    found: list[Subresource] = []
    if kind is CRDS:
        return found
    if kind.status:
        found.append(Subresource(name="status", group=kind.group, version=kind.version, kind=kind.kind, verbs=CHANGE))
    if kind.scale:
        found.append(Subresource(name="scale", group="autoscaling", version="v1", kind="Scale", verbs=CHANGE))
    if kind is PODS:
        found.append(Subresource(name="eviction", group="policy", version="v1", kind="Eviction", verbs=("create",)))
    return found


OFFERS = tuple(_offer(kind) for kind in (*KINDS, CORE_EVENTS, ACCESS_REVIEWS, RULES_REVIEWS, IDENTITY_REVIEWS))


_SUBRESOURCES = {offer.kind: tuple(each.name for each in offer.subresources) for offer in OFFERS}


def subresources_of(kind: Kind) -> tuple[str, ...]:
    """The names of its subresources."""
    return _SUBRESOURCES[kind]


def groups() -> dict[tuple[str, str], list[Offer]]:
    """What is served, by (group, version); the core group comes first."""
    found: dict[tuple[str, str], list[Offer]] = {}
    for offer in sorted(OFFERS, key=lambda each: (each.kind.group, each.kind.plural)):
        found.setdefault((offer.kind.group, offer.kind.version), []).append(offer)
    return found
