# SPDX-License-Identifier: Apache-2.0
"""The rules that the metadata of every kind must keep, in the order and the words of the real API server."""

import re
from collections.abc import Iterator

from drover_operator.testing.fields import FieldError, forbidden_field, invalid_value, required
from drover_operator.testing.kinds import DISRUPTION_BUDGETS, NAMESPACES, SERVICES, Kind
from drover_operator.testing.objects import Json, entries, mapping
from drover_operator.testing.refusal import Refused, bad_request, conflict, other_object

FIELDS = frozenset(
    (
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "uid",
    )
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric"
    " character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'example.com', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_SERVICE_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an"
    " alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an"
    " alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    " '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_KEY_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
    " (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SERVICE = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_KEY = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_LENGTH, _NAME_LENGTH = 63, 253
_ANNOTATIONS_LENGTH = 256 * 1024
_STANDARD_FINALIZERS = ("foregroundDeletion", "kubernetes", "orphan")
_COLLECTIONS = ("annotations", "finalizers", "labels", "managedFields", "ownerReferences")


def tidy(meta: Json) -> Json:
    """Metadata as it is stored: without what nobody knows, and without what is empty."""
    return {key: value for key, value in meta.items() if key in FIELDS and value is not None and (value or key not in _COLLECTIONS)}


def check_identity(kind: Kind, old: Json, sent: Json, *, is_whole: bool) -> None:
    """Whether a change is meant for this object, and for its present version.

    Raises:
        Refused: 400 for another name, 409 for another version; for another uid 409 if the update is of the whole object.
    """
    name: str = old["name"]
    if sent.get("namespace", old.get("namespace")) != old.get("namespace"):
        raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    check_name(name, sent)
    if is_whole and (sent.get("uid") or old["uid"]) != old["uid"]:
        raise other_object(kind, name, f"{old.get('namespace', '')}/{name}".lstrip("/"), (sent["uid"], old["uid"]))
    version = sent.get("resourceVersion") or old["resourceVersion"]
    if not version.isdigit():
        raise Refused(500, "", f'strconv.ParseUint: parsing "{version}": invalid syntax')  # upstream forgot a status here
    if version != old["resourceVersion"]:
        raise conflict(kind, name)


def check_name(name: str, sent: Json) -> None:
    """Whether metadata has the name that the path says.

    Raises:
        Refused: 400.
    """
    if not sent.get("name"):
        raise bad_request(f"the name of the object ({name} based on URL) was undeterminable: name must be provided")
    if sent["name"] != name:
        raise bad_request(f"the name of the object ({sent['name']}) does not match the name on the URL ({name})")


def errors(kind: Kind, meta: Json) -> list[FieldError]:
    """What is wrong with the metadata of an object, new or changed."""
    found = list(_name_errors(kind, meta.get("name", "")))
    for key, value in mapping(meta, "labels").items():
        found += [invalid_value("metadata.labels", key, why) for why in key_faults(key)]
        found += [invalid_value("metadata.labels", value, why) for why in value_faults(value)]
    found += _annotation_errors(mapping(meta, "annotations"))
    found += _owner_errors(entries(meta, "ownerReferences"))
    # The definition of a custom resource only asks for a name, a built-in kind for one that tells whose it is.
    for index, finalizer in enumerate(entries(meta, "finalizers") if kind.schema is None else ()):
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            found.append(invalid_value(f"metadata.finalizers[{index}]", finalizer, why))
    return found


def change_errors(old: Json, new: Json) -> list[FieldError]:
    """What may not be changed."""
    found: list[FieldError] = []
    held = entries(old, "finalizers")
    if "deletionTimestamp" in old and (added := [each for each in entries(new, "finalizers") if each not in held]):
        listed = ", ".join(f'"{each}"' for each in added)
        why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
        found.append(forbidden_field("metadata.finalizers", why))
    if (uid := new.get("uid") or old["uid"]) != old["uid"]:
        found.append(invalid_value("metadata.uid", uid, "field is immutable"))
    if new.get("deletionTimestamp") and "deletionTimestamp" not in old:
        found.append(invalid_value("metadata.deletionTimestamp", new["deletionTimestamp"], "field is immutable"))
    return found


def key_faults(key: str) -> Iterator[str]:
    """What is wrong with the key of a label or an annotation."""
    prefix, slash, name = key.rpartition("/")
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash and not _SUBDOMAIN.fullmatch(prefix):
        yield f"prefix part {SUBDOMAIN_RULE}"
    if not name:
        yield "name part must be non-empty"
    elif len(name) > _LABEL_LENGTH:
        yield f"name part must be no more than {_LABEL_LENGTH} bytes"
    if not _KEY.fullmatch(name):
        yield _KEY_RULE


def value_faults(value: str) -> Iterator[str]:
    """What is wrong with the value of a label."""
    if len(value) > _LABEL_LENGTH:
        yield f"must be no more than {_LABEL_LENGTH} bytes"
    if value and not _KEY.fullmatch(value):
        yield _VALUE_RULE


def _name_errors(kind: Kind, name: str) -> Iterator[FieldError]:
    if not name:
        yield required("metadata.name", "name or generateName is required")
        return
    pattern, rule, length = _SUBDOMAIN, SUBDOMAIN_RULE, _NAME_LENGTH
    if kind is SERVICES:
        pattern, rule, length = _SERVICE, _SERVICE_RULE, _LABEL_LENGTH
    elif kind is NAMESPACES:
        pattern, rule, length = LABEL, LABEL_RULE, _LABEL_LENGTH
    elif kind is DISRUPTION_BUDGETS:
        return  # upstream forgot to check it
    if len(name) > length:
        yield invalid_value("metadata.name", name, f"must be no more than {length} characters")
    if not pattern.fullmatch(name):
        yield invalid_value("metadata.name", name, rule)


def _annotation_errors(annotations: dict[str, str]) -> Iterator[FieldError]:
    for key in annotations:
        yield from (invalid_value("metadata.annotations", key, why) for why in key_faults(key.lower()))
    if sum(len(key) + len(value) for key, value in annotations.items()) > _ANNOTATIONS_LENGTH:
        yield FieldError("FieldValueTooLong", "metadata.annotations", f"Too long: may not be more than {_ANNOTATIONS_LENGTH} bytes")


def _owner_errors(owners: list[Json]) -> Iterator[FieldError]:
    first: Json | None = None
    for owner in owners:
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                why = "version must not be empty" if field == "apiVersion" else "must not be empty"
                yield invalid_value(f"metadata.ownerReferences.{field}", owner.get(field, ""), why)
        if owner.get("controller") and first:
            names = [f"{each.get('kind')}/{each.get('name')}" for each in (first, owner)]
            why = f'Only one reference can have Controller set to true. Found "true" in references for {names[0]} and {names[1]}'
            yield invalid_value("metadata.ownerReferences", [_in_order(each) for each in owners], why)
        first = first or (owner if owner.get("controller") else None)


def _in_order(owner: Json) -> Json:
    """A reference with its fields in the order in which Go prints them."""
    return {key: owner[key] for key in ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion") if key in owner}
