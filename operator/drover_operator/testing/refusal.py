# SPDX-License-Identifier: Apache-2.0
"""How the simulated API server says no: Status replies with the wording of the real one."""

from collections.abc import Sequence
from typing import Any

import msgspec

from drover_operator.kube.transport import JSON, Reply
from drover_operator.testing.fields import FieldError, invalid_value
from drover_operator.testing.kinds import Kind

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class Refused(Exception):
    """A request that the server answers with an error status."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details
        self.meta: dict[str, Any] = {}

    @property
    def status(self) -> dict[str, Any]:
        """The Status object."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": self.meta, "status": "Failure", "message": str(self), "code": self.code}
        status |= {"reason": self.reason} if self.reason else {}
        return status | ({"details": self.details} if self.details else {})

    @property
    def reply(self) -> Reply:
        """The Status as the body of a reply."""
        headers = {"Content-Type": JSON}
        if self.details and (seconds := self.details.get("retryAfterSeconds")):
            headers["Retry-After"] = str(seconds)
        return Reply(status=self.code, body=msgspec.json.encode(self.status), headers=headers)


def refusal(code: int, reason: str, message: str = "", retry_after: int = 0) -> Reply:
    """An error reply for a fault hook, such as `refusal(429, "TooManyRequests", retry_after=1)`."""
    details = {"retryAfterSeconds": retry_after} if retry_after else None
    return Refused(code, reason, message or f"simulated {code} {reason}", details).reply


def not_found(kind: Kind, name: str) -> Refused:
    """404: no such object."""
    return Refused(404, "NotFound", f'{kind.resource} "{name}" not found', _details(kind, name))


def no_such_resource() -> Refused:
    """404: the resource is there, what was asked of it is not."""
    return Refused(404, "NotFound", "the server could not find the requested resource", {})


def no_such_page() -> Refused:
    """404: nothing is served under that path, and the answer is no Status."""
    return _Text(404, "NotFound", "404 page not found\n")


def not_allowed() -> Refused:
    """405: a method that this path does not take."""
    return Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def already_exists(kind: Kind, name: str, *, deleting: bool = False) -> Refused:
    """409 to a create."""
    prefix = "object is being deleted: " if deleting else ""
    return Refused(409, "AlreadyExists", f'{prefix}{kind.resource} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str = MODIFIED) -> Refused:
    """409 to a precondition of a write."""
    return Refused(409, "Conflict", f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}', _details(kind, name))


def unmet(kind: Kind, name: str, why: str) -> Refused:
    """409 to a precondition of a delete, which names the kind where others name the resource."""
    details = _details(kind, name) | {"kind": kind.kind}
    return Refused(409, "Conflict", f'Operation cannot be fulfilled on {kind.qualified_kind} "{name}": {why}', details)


def other_object(kind: Kind, name: str, key: str, uids: tuple[str, str]) -> Refused:
    """409 to a whole update that was meant for another object of that name; `uids` are the wanted one and the one that is there."""
    precondition = f"Precondition failed: UID in precondition: {uids[0]}, UID in object meta: {uids[1]}"
    folder = f"{kind.group}/{kind.plural}" if kind.schema else kind.plural
    return conflict(kind, name, f"StorageError: invalid object, Code: 4, Key: /registry/{folder}/{key}, ResourceVersion: 0, AdditionalErrorMsg: {precondition}")


def forbidden(kind: Kind, name: str, why: str, causes: Sequence[dict[str, str]] = ()) -> Refused:
    """403 by admission."""
    details = _details(kind, name) | ({"causes": list(causes)} if causes else {})
    return Refused(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {why}', details)


def denied(kind: Kind, name: str, policy: str, why: str) -> Refused:
    """422 by a ValidatingAdmissionPolicy."""
    message = f"{kind.resource} \"{name}\" is forbidden: ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {why}"
    return Refused(422, "Invalid", message, _details(kind, name) | {"causes": [{"message": why}]})


def invalid(kind: Kind, name: str, errors: Sequence[FieldError]) -> Refused:
    """422: the object is wrong; Events are told by the name that they had in the core group."""
    return _invalid(("" if kind.kind == "Event" else kind.group, kind.kind), name, errors)


def check_type(kind: Kind, obj: dict[str, Any]) -> None:
    """Whether an object is of the type that its path serves, if it says of which it is.

    Raises:
        Refused: 400, or 422 for another kind under a path of custom resources.
    """
    version, given = obj.get("apiVersion") or kind.api_version, obj.get("kind") or kind.kind
    if kind.schema is None and (version, given) != (kind.api_version, kind.kind):
        raise bad_request(f'{given} in version "{version}" cannot be handled as a {kind.kind}: unknown conversion')
    if version != kind.api_version:
        raise bad_request(f"the API version in the data ({version}) does not match the expected API version ({kind.api_version})")
    if given != kind.kind:
        name = obj.get("metadata", {}).get("name", "")
        raise _invalid((kind.group, given), name, [invalid_value("kind", given, f"must be {kind.kind}")])


def unconditional(kind: Kind, name: str) -> Refused:
    """422 to a whole update that does not say which version it is based on; it names the resource as if it were a kind."""
    return _invalid((kind.group, kind.plural), name, [invalid_value("metadata.resourceVersion", 0, "must be specified for an update")])


def invalid_options(what: str, errors: Sequence[FieldError]) -> Refused:
    """422: the parameters of the request are wrong; `what` is ListOptions, DeleteOptions and so on."""
    return _invalid(("meta.k8s.io", what), "", errors)


def unfit_patch(patched: str, why: str) -> Refused:
    """422: what came of a patch cannot be read as an object; `patched` is shown as upstream prints it."""
    return _invalid(("", ""), "", [invalid_value("patch", patched, why)])


def bad_request(message: str) -> Refused:
    """400: not even readable."""
    return Refused(400, "BadRequest", message)


def undecodable(kind: Kind, why: str) -> Refused:
    """400: readable JSON that is no object of that kind."""
    return bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')


def unknown_fields(kind: Kind, paths: Sequence[str], patched: str = "") -> Refused:
    """400 under strict field validation; 422 with what came of a patch."""
    why = "strict decoding error: " + ", ".join(f'unknown field "{path}"' for path in paths)
    return unfit_patch(patched, why) if patched else undecodable(kind, why)


def expired(message: str, token: str = "") -> Refused:
    """410: that version is compacted; with a token a chunked list can be continued at any other."""
    refused = Refused(410, "Expired", message)
    refused.meta = {"continue": token} if token else {}
    return refused


class _Text(Refused):
    """A refusal that is answered with its words alone."""

    @property
    def reply(self) -> Reply:
        """The words as the body of a reply."""
        return Reply(status=self.code, body=str(self).encode(), headers={"Content-Type": "text/plain; charset=utf-8"})


def _invalid(what: tuple[str, str], name: str, errors: Sequence[FieldError]) -> Refused:
    group, kind = what
    unique = list(dict.fromkeys(str(error) for error in errors))
    text = unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
    causes = [{"reason": error.reason, "message": error.message, "field": error.field} for error in errors]
    details: dict[str, Any] = {key: value for key, value in (("name", name), ("kind", kind), ("group", group)) if value}
    return Refused(422, "Invalid", f'{kind}{"." if group else ""}{group} "{name}" is invalid: {text}', details | {"causes": causes})


def _details(kind: Kind, name: str) -> dict[str, Any]:
    return {"name": name, "kind": kind.plural} | ({"group": kind.group} if kind.group else {})
