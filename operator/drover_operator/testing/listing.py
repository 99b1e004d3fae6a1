# SPDX-License-Identifier: Apache-2.0
"""Lists: of the present or of a past version, whole or in chunks that all show the version of the first."""

import base64
from bisect import bisect_right

import msgspec

from drover_operator.kube.transport import Request
from drover_operator.testing.kinds import Kind, Target
from drover_operator.testing.objects import Json
from drover_operator.testing.refusal import Refused, bad_request, expired
from drover_operator.testing.selectors import selection
from drover_operator.testing.storage import Storage, Version

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue"
    " parameter, or use the continue token in this response to retrieve the remainder of the results."
)


class _Continue(msgspec.Struct):
    """The continue token: the version of the first chunk, and the last key that was sent."""

    rv: int
    start: str


def lists_only_metadata(request: Request) -> bool:
    """Whether the Accept header asks for PartialObjectMetadata."""
    return any(name.lower() == "accept" and "as=PartialObjectMetadata" in value for name, value in request.headers.items())


def read_list(storage: Storage, request: Request, target: Target, seen: int) -> bytes:
    """The encoded list; `seen` is the newest version that this API server knows."""
    query, kind = request.query, target.kind
    token = _read_token(query.get("continue", ""))
    revision = token.rv if token else _wanted_revision(request, seen)
    if revision < storage.oldest(kind):
        raise expired(_TOO_OLD) if token else expired(f"The resourceVersion for the provided list is too old: {revision}")
    items = storage.items_at(kind, target.namespace, revision)
    chosen = selection(kind, target.namespace, "", query)
    if not chosen.everything:
        items = [version for version in items if chosen.matches(version)]
    if token:
        items = items[bisect_right(items, token.start, key=lambda version: version.key) :]
    limit = int(query.get("limit") or 0)
    meta: Json = {"resourceVersion": str(revision)}
    if limit and len(items) > limit:
        if chosen.everything:
            meta["remainingItemCount"] = len(items) - limit
        items = items[:limit]
        meta["continue"] = base64.urlsafe_b64encode(msgspec.json.encode(_Continue(revision, items[-1].key))).decode()
    return _encoded(kind, items, meta, only_metadata=lists_only_metadata(request))


def _wanted_revision(request: Request, seen: int) -> int:
    text = request.query.get("resourceVersion", "")
    if text in ("", "0"):
        return seen
    if not text.isdigit():
        raise bad_request(f'invalid resource version "{text}"')
    if int(text) > seen:
        causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        message = f"Timeout: Too large resource version: {text}, current: {seen}"
        raise Refused(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})
    return int(text) if request.query.get("resourceVersionMatch") == "Exact" else seen


def _read_token(text: str) -> _Continue | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text), type=_Continue)
    except (ValueError, msgspec.DecodeError):
        raise bad_request("continue key is not valid") from None


def _encoded(kind: Kind, items: list[Version], meta: Json, *, only_metadata: bool) -> bytes:
    if only_metadata:
        head: Json = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
        bodies = [version.metadata_body for version in items]
    else:
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta}
        # The items of a list of a built-in kind carry no type of their own, those of a custom resource do.
        type_length = 0 if kind.schema else len(f'{{"apiVersion":"{kind.api_version}","kind":"{kind.kind}",') - 1
        bodies = [b"{" + version.body[type_length + 1 :] if type_length else version.body for version in items]
    return b'%b,"items":[%b]}' % (msgspec.json.encode(head)[:-1], b",".join(bodies))
