# SPDX-License-Identifier: Apache-2.0
"""Errors of the API server.

    DroverError                     everything that Drover raises on purpose
    +- ConfigurationError           a setting, kubeconfig or file is wrong: a person must act
    +- KubeError
       +- Unsent                    the request certainly did not reach the server
       +- OutcomeUnknown            it may have been carried out: look before trying again
       +- Unreadable                the server answered with something that is not what was asked for
       +- ApiError                  the server answered with a Status
          +- Unauthorized Forbidden NotFound Conflict AlreadyExists Gone Invalid Fenced TooManyRequests ServerError

`retryable` is part of the type: a retry of the same request can only help where it is True.
"""

import msgspec

FENCE = "ValidatingAdmissionPolicy 'drover-fence-"  # stands in every refusal by it; the name alone stands in a refusal to show the policy too


class DroverError(Exception):
    """Base of the tree; `str()` of it is one sentence for a person."""

    retryable = False


class ConfigurationError(DroverError):
    """A setting, kubeconfig or file is wrong."""


class KubeError(DroverError):
    """Talking to the API server failed."""


class Unsent(KubeError):
    """The request certainly did not reach the server."""

    retryable = True


class OutcomeUnknown(KubeError):
    """The request may have been carried out: a time-out, a lost connection or a 5xx to a write."""

    retryable = True


class Unreadable(KubeError):
    """An answer is not what was asked for: a proxy in the way, half an answer, an object of another shape."""

    retryable = True


class StatusCause(msgspec.Struct, frozen=True):
    """One cause of a refusal: which field, what is wrong."""

    field: str = ""
    message: str = ""
    reason: str = ""


class StatusDetails(msgspec.Struct, frozen=True, rename="camel"):
    """Details of a Status."""

    name: str = ""
    uid: str = ""
    causes: tuple[StatusCause, ...] = ()
    retry_after_seconds: int = 0


class Status(msgspec.Struct, frozen=True, rename="camel"):
    """The Status object that the API server answers errors and some deletions with."""

    status: str = ""
    message: str = ""
    reason: str = ""
    code: int = 0
    details: StatusDetails | None = None


class ApiError(KubeError):
    """The server answered with an error status."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message or f"the API server answered {status.code} {status.reason}".strip())
        self.status = status

    @property
    def code(self) -> int:
        """The HTTP status."""
        return self.status.code


class Unauthorized(ApiError):
    """401: the credentials are missing, wrong or expired."""


class Forbidden(ApiError):
    """403: no right, quota used up, admission refused, or the namespace is being deleted."""

    @property
    def namespace_terminating(self) -> bool:
        """Whether the namespace takes no new objects because it is being deleted."""
        causes = self.status.details.causes if self.status.details else ()
        return any(cause.reason == "NamespaceTerminating" for cause in causes) or "because it is being terminated" in str(self)


class NotFound(ApiError):
    """404: no such object or resource."""


class Conflict(ApiError):
    """409: the precondition (uid, resource version) does not hold; look again."""

    retryable = True


class AlreadyExists(ApiError):
    """409 to a create: an object of that name is there; look whose it is."""


class Gone(ApiError):
    """410: that resource version is too old to watch from; list again."""

    retryable = True


class Invalid(ApiError):
    """400 or 422: the object is wrong, and stays wrong."""


class Fenced(ApiError):
    """The fence refused a write of ours: the epoch or holder that it carried is not that of the Lease. Nothing is wrong with the object."""

    retryable = True


class TooManyRequests(ApiError):
    """429: certainly not carried out; try again later."""

    retryable = True
    pause = 1.0  # seconds that the server asks for, within reason


class ServerError(ApiError):
    """5xx to a read, or to a write that a broken webhook of somebody kept from being stored."""

    retryable = True

    @property
    def before_storage(self) -> bool:
        """Whether it was answered before anything was stored: admission comes first, and says so in these words."""
        return "failed calling webhook" in self.status.message


_BY_CODE: dict[int, type[ApiError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


def api_error(code: int, body: bytes) -> ApiError:
    """The error for a status code and the body that came with it."""
    try:
        status = msgspec.structs.replace(msgspec.json.decode(body, type=Status), code=code)
    except msgspec.DecodeError:
        status = Status(status="Failure", code=code, message=f"the API server answered {code}: {body[:200].decode(errors='replace')}")
    if code == 409 and status.reason == "AlreadyExists":
        return AlreadyExists(status)
    if code in (403, 422) and FENCE in status.message:
        return Fenced(status)
    if code >= 500:
        return ServerError(status)
    return _BY_CODE.get(code, ApiError)(status)
