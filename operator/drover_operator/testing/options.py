# SPDX-License-Identifier: Apache-2.0
"""The parameters of requests, which are judged before anything else: a misspelled dry run must not become a real write."""

from collections.abc import Mapping
from typing import Any

from drover_operator.testing.fields import FieldError, forbidden_field, invalid_value, required, unsupported
from drover_operator.testing.objects import is_object
from drover_operator.testing.refusal import invalid_options

_WRITES = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}
_PROPAGATIONS = ("Foreground", "Background", "Orphan", "nil")
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_MATCHES = ("Exact", "NotOlderThan", "")
NOT_OLDER = "NotOlderThan"
_MANAGER_LENGTH = 128


def check_list(query: Mapping[str, str], *, watch: bool = False) -> None:
    """Refuse the parameters of a list or a watch that make no sense together.

    Raises:
        Refused: 422.
    """
    found = _watch_errors(query) if watch else _list_errors(query)
    if found:
        raise invalid_options("ListOptions", found)


def check_write(method: str, query: Mapping[str, str], body: Any, *, is_apply: bool = False) -> None:
    """Refuse the parameters of a write; those of a delete may stand in its body.

    Raises:
        Refused: 422.
    """
    options: dict[str, Any] = {**query, "dryRun": [query["dryRun"]] if query.get("dryRun") else []}
    found: list[FieldError] = []
    if method == "DELETE":
        options |= body if is_object(body) else {}
        found += _delete_errors(options)
    elif options.get("fieldValidation", "") not in _VALIDATIONS:
        found.append(unsupported("fieldValidation", options["fieldValidation"], _VALIDATIONS))
    if is_apply and not query.get("fieldManager"):
        found.append(required("fieldManager", "is required for apply patch"))
    if method == "PATCH" and not is_apply and "force" in query:
        found.append(forbidden_field("force", "may not be specified for non-apply patch"))
    if len(query.get("fieldManager", "")) > _MANAGER_LENGTH:
        found.append(FieldError("FieldValueTooLong", "fieldManager", f"Too long: may not be more than {_MANAGER_LENGTH} bytes"))
    if any(each != "All" for each in options["dryRun"] or ()):
        found.append(unsupported("dryRun", options["dryRun"], ("All",)))
    if found:
        raise invalid_options(_WRITES[method], found)


def _watch_errors(query: Mapping[str, str]) -> list[FieldError]:
    match, found = query.get("resourceVersionMatch", ""), list[FieldError]()
    if "sendInitialEvents" in query:
        if match != NOT_OLDER:
            found.append(forbidden_field("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
        if match not in ("", NOT_OLDER):
            found.append(unsupported("resourceVersionMatch", match, (NOT_OLDER,)))
    elif match:
        found.append(forbidden_field("resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
    return found


def _list_errors(query: Mapping[str, str]) -> list[FieldError]:
    match, version, found = query.get("resourceVersionMatch", ""), query.get("resourceVersion", ""), list[FieldError]()
    if match and not version:
        found.append(forbidden_field("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if match and query.get("continue"):
        found.append(forbidden_field("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
    if match not in _MATCHES:
        found.append(unsupported("resourceVersionMatch", match, _MATCHES))
    if match == "Exact" and version == "0":
        found.append(forbidden_field("resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if "sendInitialEvents" in query:
        found.append(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return found


def _delete_errors(options: dict[str, Any]) -> list[FieldError]:
    policy = options.get("propagationPolicy")
    if policy is None:
        return []
    if options.get("orphanDependents") is not None:
        return [invalid_value("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")]
    return [] if policy in _PROPAGATIONS[:3] else [unsupported("propagationPolicy", policy, _PROPAGATIONS)]
