# SPDX-License-Identifier: Apache-2.0
"""What is answered without looking at any object: health, discovery, OpenAPI, and reviews of what a user may do."""

import msgspec

from drover_operator.kube.transport import JSON, Reply, Request
from drover_operator.testing.kinds import Kind
from drover_operator.testing.objects import Json
from drover_operator.testing.sandbox import discovery, openapi
from drover_operator.testing.sandbox.offers import ACCESS_REVIEWS, IDENTITY_REVIEWS, RULES_REVIEWS

USER = "kubectl"
_HEALTH = ("/healthz", "/livez", "/readyz")
_EVERYTHING = {"verbs": ["*"]}
_VERDICTS: dict[Kind, Json] = {
    ACCESS_REVIEWS: {"allowed": True, "reason": "the Drover sandbox refuses nobody"},
    RULES_REVIEWS: {
        "incomplete": False,
        "resourceRules": [{**_EVERYTHING, "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{**_EVERYTHING, "nonResourceURLs": ["*"]}],
    },
    IDENTITY_REVIEWS: {"userInfo": {"username": USER, "groups": ["system:masters"]}},
}
_REVIEWS = {f"/apis/{kind.group}/{kind.version}/{kind.plural}": kind for kind in _VERDICTS}


def answer(request: Request) -> Reply | None:
    """The answer, or None when the request is about objects."""
    return {"GET": _read, "POST": _reviewed}.get(request.method, _nothing)(request)


def _read(request: Request) -> Reply | None:
    if request.path in _HEALTH:
        return Reply(status=200, body=b"ok", headers={"Content-Type": "text/plain"})
    if request.path == openapi.OLD:
        return Reply(status=200, body=openapi.EMPTY, headers={"Content-Type": openapi.OLD_MEDIA_TYPE})
    if request.path in ("/api", "/apis") and discovery.wants_aggregated(request):
        return _encoded(200, discovery.aggregated(core=request.path == "/api"), discovery.AGGREGATED)
    found = discovery.document(request.path) or openapi.document(request.path)
    return None if found is None else _encoded(200, found)


def _reviewed(request: Request) -> Reply | None:
    """Who may do what: anybody anything. What exactly was asked is not even read, it comes in several forms."""
    kind = _REVIEWS.get(request.path)
    if kind is None:
        return None
    return _encoded(201, {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {}, "spec": {}, "status": _VERDICTS[kind]})


def _nothing(_request: Request) -> Reply | None:
    return None


def _encoded(status: int, body: Json, content_type: str = JSON) -> Reply:
    return Reply(status=status, body=msgspec.json.encode(body), headers={"Content-Type": content_type})
