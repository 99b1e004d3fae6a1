# SPDX-License-Identifier: Apache-2.0
"""Discovery: which groups, versions and resources there are, in the aggregated form that kubectl asks for first and in the old one."""

from drover_operator.kube.transport import Request
from drover_operator.testing.objects import Json
from drover_operator.testing.sandbox.offers import Offer, Subresource, groups

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def wants_aggregated(request: Request) -> bool:
    """Whether the Accept header names the aggregated form."""
    accept = next((value for name, value in request.headers.items() if name.lower() == "accept"), "")
    return any({"g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"} <= set(part.strip().split(";")) for part in accept.split(","))


def aggregated(*, core: bool) -> Json:
    """All of /api, or all of /apis, in one document."""
    named: dict[str, list[Json]] = {}
    for (group, version), offers in groups().items():
        if core == (not group):
            named.setdefault(group, []).append({"version": version, "resources": [_resource(each) for each in offers], "freshness": "Current"})
    items = [{"metadata": {"name": group, "creationTimestamp": None}, "versions": versions} for group, versions in named.items()]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def document(path: str) -> Json | None:
    """The document of the old form at this path, or None."""
    match path.strip("/").split("/"):
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(*each) for each in groups() if each[0]]}
        case ["apis", group]:
            found = next((each for each in groups() if each[0] == group), None)
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(*found)} if found else None
        case ["api", version]:
            return _resources("", version)
        case ["apis", group, version]:
            return _resources(group, version)
        case _:
            return None


def _group(group: str, version: str) -> Json:
    both = {"groupVersion": f"{group}/{version}", "version": version}
    return {"name": group, "versions": [both], "preferredVersion": both}


def _resources(group: str, version: str) -> Json | None:
    offers = groups().get((group, version))
    if offers is None:
        return None
    listed = [each for offer in offers for each in (_listed(offer), *(_listed_below(offer, below) for below in offer.subresources))]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}" if group else version, "resources": listed}


def _listed(offer: Offer) -> Json:
    kind = offer.kind
    names: Json = {"shortNames": offer.short} if offer.short else {}
    names |= {"categories": offer.categories} if offer.categories else {}
    return {"name": kind.plural, "singularName": kind.kind.lower(), "namespaced": kind.namespaced, "kind": kind.kind, "verbs": offer.verbs, **names}


def _listed_below(offer: Offer, below: Subresource) -> Json:
    name = f"{offer.kind.plural}/{below.name}"
    typed = {"group": below.group, "version": below.version, "kind": below.kind}
    return {"name": name, "singularName": "", "namespaced": offer.kind.namespaced, **typed, "verbs": below.verbs}


def _resource(offer: Offer) -> Json:
    kind = offer.kind
    described: Json = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.kind.lower(),
        "verbs": offer.verbs,
    }
    described |= {"shortNames": offer.short} if offer.short else {}
    described |= {"categories": offer.categories} if offer.categories else {}
    if offer.subresources:
        described["subresources"] = [
            {"subresource": each.name, "responseKind": {"group": each.group, "version": each.version, "kind": each.kind}, "verbs": each.verbs}
            for each in offer.subresources
        ]
    return described
