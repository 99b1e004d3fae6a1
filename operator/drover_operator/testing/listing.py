# SPDX-License-Identifier: Apache-2.0
"""Lists: of the present or of a past version, whole or in chunks that all show the version of the first."""

import base64
from bisect import bisect_right
from collections.abc import Mapping

import msgspec

from drover_operator.kube.transport import Request
from drover_operator.testing.kinds import Kind, Target
from drover_operator.testing.objects import Json
from drover_operator.testing.refusal import Refused, bad_request, expired
from drover_operator.testing.selectors import selection
from drover_operator.testing.storage import Storage, Version

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue"
    " parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token"
    " results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and"
    " now may show up in the list."
)
_ANY_VERSION = -1


class _Continue(msgspec.Struct):
    """The continue token: the version of the first chunk (or any, for those who need no snapshot), and the last key that was sent."""

    rv: int
    start: str


def lists_only_metadata(request: Request) -> bool:
    """Whether the Accept header asks for PartialObjectMetadata."""
    return any(name.lower() == "accept" and "as=PartialObjectMetadata" in value for name, value in request.headers.items())


def read_list(storage: Storage, request: Request, target: Target, seen: int) -> bytes:
    """The encoded list; `seen` is the newest version that this API server knows."""
    query, kind = request.query, target.kind
    token = _read_token(query.get("continue", ""))
    if token and query.get("resourceVersion", "0") not in ("", "0"):
        raise bad_request("specifying resource version is not allowed when using continue")
    revision = _wanted_revision(request, seen) if token is None else seen if token.rv == _ANY_VERSION else token.rv
    if revision < storage.oldest(kind):
        raise expired(_TOO_OLD, _text(_ANY_VERSION, token.start)) if token else expired("The resourceVersion for the provided list is too old.")
    items = storage.items_at(kind, target.namespace, revision)
    chosen = selection(kind, target.namespace, "", query)
    if not chosen.everything:
        items = [version for version in items if chosen.matches(version)]
    if token:
        items = items[bisect_right(items, token.start, key=lambda version: version.key) :]
    limit = int(query.get("limit") or 0)
    meta: Json = {"resourceVersion": str(revision)}
    if kind.schema and not lists_only_metadata(request):
        meta["continue"] = ""
    if limit and len(items) > limit:
        if chosen.everything:
            meta["remainingItemCount"] = len(items) - limit
        items = items[:limit]
        meta["continue"] = _text(revision, items[-1].key)
    return _encoded(kind, items, meta, only_metadata=lists_only_metadata(request))


def _wanted_revision(request: Request, seen: int) -> int:
    text = request.query.get("resourceVersion", "")
    if text in ("", "0"):
        return seen
    if not text.isdigit():
        raise bad_request(f"invalid resource version: {_unreadable(text)}")
    if int(text) > seen:
        causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        message = f"Timeout: Too large resource version: {text}, current: {seen}"
        raise Refused(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})
    return int(text) if request.query.get("resourceVersionMatch") == "Exact" else seen


def watched_version(query: Mapping[str, str]) -> str:
    """The version that a watch begins at, or nothing.

    Raises:
        Refused: 500 for one that is none.
    """
    version = query.get("resourceVersion", "")
    if version and not version.isdigit():
        raise Refused(500, "", _unreadable(version))  # upstream forgot a status here
    return version


def _unreadable(text: str) -> str:
    """Why a version is none, in the words of Go."""
    return f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'


def _text(revision: int, start: str) -> str:
    """A token as the server hands it out."""
    return base64.urlsafe_b64encode(msgspec.json.encode(_Continue(revision, start))).decode().rstrip("=")


def _read_token(text: str) -> _Continue | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(_content(text), type=_Continue)
    except msgspec.DecodeError:
        why = f"invalid character '{_content(text)[:1].decode(errors='replace')}' looking for beginning of value"
    except ValueError as error:
        why = str(error)
    raise bad_request(f"invalid continue token: continue key is not valid: {why}")


def _content(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def _encoded(kind: Kind, items: list[Version], meta: Json, *, only_metadata: bool) -> bytes:
    if only_metadata:
        head: Json = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
        bodies = [version.metadata_body for version in items]
    else:
        head = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": meta}
        # The items of a list of a built-in kind carry no type of their own, those of a custom resource do.
        bodies = [version.body for version in items] if kind.schema else _untyped(kind, items)
    return b'%b,"items":[%b]}' % (msgspec.json.encode(head)[:-1], b",".join(bodies))


def _untyped(kind: Kind, items: list[Version]) -> list[bytes]:
    """The items without their type: it is cut off where it comes first, so that most need not be encoded anew for each list."""
    start = f'{{"apiVersion":"{kind.api_version}","kind":"{kind.kind}",'.encode()
    return [b"{" + version.body[len(start) :] if version.body.startswith(start) else _encoded_without_type(version.data) for version in items]


def _encoded_without_type(data: Json) -> bytes:
    return msgspec.json.encode({name: value for name, value in data.items() if name not in ("apiVersion", "kind")})
