# SPDX-License-Identifier: Apache-2.0
"""How the simulated API server says no: Status replies with the wording of the real one."""

from collections.abc import Sequence
from typing import Any

import msgspec

from drover_operator.kube.transport import JSON, Reply
from drover_operator.testing.fields import FieldError
from drover_operator.testing.kinds import Kind

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


class Refused(Exception):
    """A request that the server answers with an error status."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details

    @property
    def status(self) -> dict[str, Any]:
        """The Status object."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": str(self), "code": self.code}
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
    """404: no such path."""
    return Refused(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(kind: Kind, name: str) -> Refused:
    """409 to a create."""
    return Refused(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str = MODIFIED, what: str = "") -> Refused:
    """409 to a precondition; deletes name the kind where patches name the resource, as upstream does."""
    return Refused(409, "Conflict", f'Operation cannot be fulfilled on {what or kind.resource} "{name}": {why}', _details(kind, name))


def forbidden(kind: Kind, name: str, why: str, causes: Sequence[dict[str, str]] = ()) -> Refused:
    """403 by admission."""
    details = _details(kind, name) | ({"causes": list(causes)} if causes else {})
    return Refused(403, "Forbidden", f'{kind.resource} "{name}" is forbidden: {why}', details)


def denied(kind: Kind, name: str, policy: str, why: str) -> Refused:
    """422 by a ValidatingAdmissionPolicy."""
    message = f"{kind.resource} \"{name}\" is forbidden: ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {why}"
    return Refused(422, "Invalid", message, _details(kind, name) | {"causes": [{"message": why}]})


def invalid(kind: Kind, name: str, errors: Sequence[FieldError], what: str = "") -> Refused:
    """422: the object is wrong."""
    unique = list(dict.fromkeys(str(error) for error in errors))
    text = unique[0] if len(unique) == 1 else f"[{', '.join(unique)}]"
    causes = [{"reason": error.reason, "message": error.message, "field": error.field} for error in errors]
    details: dict[str, Any] = {"name": name} if name else {}
    details |= {"kind": kind.kind, "causes": causes} | ({"group": kind.group} if kind.group else {})
    return Refused(422, "Invalid", f'{what or kind.qualified_kind} "{name}" is invalid: {text}', details)


def bad_request(message: str) -> Refused:
    """400: not even readable."""
    return Refused(400, "BadRequest", message)


def undecodable(kind: Kind, why: str) -> Refused:
    """400: readable JSON that is no object of that kind."""
    return bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')


def unknown_fields(kind: Kind, paths: Sequence[str]) -> Refused:
    """400 under strict field validation."""
    return undecodable(kind, "strict decoding error: " + ", ".join(f'unknown field "{path}"' for path in paths))


def expired(message: str) -> Refused:
    """410: that version is compacted."""
    return Refused(410, "Expired", message)


def _details(kind: Kind, name: str) -> dict[str, Any]:
    return {"name": name, "kind": kind.plural} | ({"group": kind.group} if kind.group else {})
