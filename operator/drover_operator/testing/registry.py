# SPDX-License-Identifier: Apache-2.0
"""Create, update and delete as the API server does them, below HTTP: admission, defaults, validation, generations, deletion.

Every operation is synchronous and ends in at most one step of the storage per object, so that nothing is ever half applied.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from drover_operator.testing import builtin
from drover_operator.testing.fields import forbidden_field, invalid_value, required
from drover_operator.testing.kinds import ENDPOINT_SLICES, NAMESPACES, PODS, Kind
from drover_operator.testing.objects import Json, entries, is_object, mapping
from drover_operator.testing.refusal import (
    Refused,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    not_found,
    undecodable,
    unknown_fields,
)
from drover_operator.testing.storage import Storage, Version

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
_SYSTEM = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")

Patch = Callable[[Json], Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who does what to which object."""

    verb: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    user: str = "system:admin"
    dry_run: bool = False
    strict: bool = False


class Registry:
    """The write semantics of the API server on top of the storage."""

    def __init__(self, storage: Storage, clock: Callable[[], float], seed: int) -> None:
        self.storage = storage
        self._clock = clock
        self._random = random.Random(seed)
        self._seed = seed
        self._uids = 0

    def now(self) -> str:
        """The present as the wire shows it: whole seconds."""
        return self.stamp(0.0)

    def stamp(self, offset: float) -> str:
        """The moment `offset` seconds from now on the wire."""
        return datetime.fromtimestamp(int(self._clock() + offset), tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def suffix(self) -> str:
        """Five characters for generated names."""
        return "".join(self._random.choices(_SUFFIX_ALPHABET, k=5))

    def existing(self, call: Call) -> Version:
        """The object that a call is about.

        Raises:
            Refused: 404.
        """
        version = self.storage.get(call.kind, call.namespace, call.name)
        if version is None:
            raise not_found(call.kind, call.name)
        return version

    def create(self, call: Call, obj: Json) -> Version:
        """Store a new object."""
        new = self._named(call, obj)
        name: str = new["metadata"]["name"]
        self._admit_to_namespace(call, name)
        new = self._completed(call, new)
        if not _SUBDOMAIN.match(name) or len(name) > 253:
            raise invalid(call.kind, name, [invalid_value("metadata.name", name, builtin.SUBDOMAIN_RULE)])
        self._validate(call.kind, new)
        if self.storage.get(call.kind, call.namespace, name):
            raise already_exists(call.kind, name)
        self._uids += 1
        system: Json = {"uid": f"{self._seed & 0xFFFFFFFF:08x}-0000-4000-8000-{self._uids:012x}", "creationTimestamp": self.now()}
        if call.kind.generation:
            system["generation"] = 1
        new["metadata"] |= system
        return Version(call.kind, new, 0) if call.dry_run else self.storage.put(call.kind, new)

    def update(self, call: Call, patch: Patch) -> Version:
        """Change an object; `patch` makes the new from the old. A change to nothing stores nothing."""
        old = self.existing(call)
        sent = patch(old.data)
        self._check_preconditions(call, old, sent)
        new = self._merged_parts(call, old, sent)
        if _same(new, old.data):
            return old
        self._check_finalizers(call, old, new)
        new = self._with_generation(call.kind, old, new)
        if call.dry_run:
            return Version(call.kind, new, 0)
        if old.deleting and _free_to_go(new["metadata"]) and call.kind is not NAMESPACES:
            return self.storage.remove(Version(call.kind, new, old.revision))
        return self.storage.put(call.kind, new)

    def replace_meta(self, version: Version, changes: Json) -> Version:
        """Store changed system metadata; None removes."""
        meta = {key: value for key, value in {**version.meta, **changes}.items() if value is not None}
        if "generation" in meta and "deletionTimestamp" in changes:
            meta["generation"] += 1
        return self.storage.put(version.kind, {**version.data, "metadata": meta})

    def _named(self, call: Call, obj: Json) -> Json:
        """The object with type, name and namespace filled in; key order matters, lists cut the type off the encoded form."""
        kind = call.kind
        if (obj.get("apiVersion", kind.api_version), obj.get("kind", kind.kind)) != (kind.api_version, kind.kind):
            raise bad_request(f"the API version or kind in the data ({obj.get('apiVersion')}, Kind={obj.get('kind')}) does not match the URL")
        meta: Json = {key: value for key, value in mapping(obj, "metadata").items() if key not in _SYSTEM and value is not None}
        if meta.get("resourceVersion"):
            raise Refused(500, "", "resourceVersion should not be set on objects to be created")  # upstream forgot a status here
        if meta.get("namespace", call.namespace) != call.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        name = meta.get("name") or (meta["generateName"] + self.suffix() if meta.get("generateName") else "")
        if not name:
            raise invalid(kind, "", [required("metadata.name", "name or generateName is required")])
        where = {"namespace": call.namespace} if kind.namespaced else {}
        rest = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {**meta, "name": name, **where}, **rest}

    def _admit_to_namespace(self, call: Call, name: str) -> None:
        if not call.kind.namespaced:
            return
        namespace = self.storage.get(NAMESPACES, "", call.namespace)
        if namespace is None:
            raise not_found(NAMESPACES, call.namespace)
        if namespace.deleting:
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {call.namespace} is being terminated",
                "field": "metadata.namespace",
            }
            why = f"unable to create new content in namespace {call.namespace} because it is being terminated"
            raise forbidden(call.kind, name, why, [cause])

    def _completed(self, call: Call, obj: Json) -> Json:
        """Defaults in, unknown fields and status out."""
        if call.kind.status:
            obj = {key: value for key, value in obj.items() if key != "status"}
        if call.kind.schema is None:
            return builtin.prepare(call.kind, obj, self.suffix, strict=call.strict)
        return self._shaped(call, obj)

    def _shaped(self, call: Call, obj: Json) -> Json:
        schema, unknown = call.kind.schema, list[str]()
        if schema is None:
            return obj
        shaped = schema.completed(obj, unknown)
        if unknown and call.strict:
            raise unknown_fields(call.kind, unknown)
        return shaped

    def _validate(self, kind: Kind, obj: Json) -> None:
        found = kind.schema.errors(obj) if kind.schema else builtin.errors(kind, obj)
        if found:
            raise invalid(kind, obj["metadata"]["name"], found)

    def _check_preconditions(self, call: Call, old: Version, sent: Json) -> None:
        meta = sent.get("metadata")
        if not is_object(meta):
            raise undecodable(call.kind, "metadata must be an object")
        given: Json = meta
        if given.get("name", old.name) != old.name or given.get("namespace", old.namespace) != old.namespace:
            raise bad_request(f"the name of the object ({given.get('name')}) does not match the name on the URL ({old.name})")
        if (given.get("resourceVersion") or str(old.revision)) != str(old.revision):
            raise conflict(call.kind, old.name)
        if (uid := given.get("uid") or old.uid) != old.uid:
            raise invalid(call.kind, old.name, [invalid_value("metadata.uid", uid, "field is immutable")])

    def _merged_parts(self, call: Call, old: Version, sent: Json) -> Json:
        """What of the sent object counts: status only through its subresource and nothing else there, system metadata never."""
        if call.subresource == "binding":
            return sent
        if call.subresource == "status":
            new = {**old.data, "status": sent.get("status", {})}
            if call.kind is PODS:  # labels and annotations can be changed on the way, as upstream
                taken = {key: sent["metadata"][key] for key in ("labels", "annotations") if key in sent["metadata"]}
                new["metadata"] = {**old.meta, **taken}
        else:
            meta = {key: value for key, value in sent["metadata"].items() if key not in _SYSTEM}
            kept = {key: old.meta[key] for key in (*_SYSTEM, "resourceVersion", "name", "namespace") if key in old.meta}
            new = {**sent, "apiVersion": call.kind.api_version, "kind": call.kind.kind, "metadata": {**meta, **kept}}
            if call.kind.status:
                new.pop("status", None)
                new |= {"status": old.data["status"]} if "status" in old.data else {}
        return self._reshaped(call, old, new)

    def _reshaped(self, call: Call, old: Version, new: Json) -> Json:
        if call.kind.schema:
            shaped = self._shaped(call, new)
            self._validate(call.kind, shaped)
            return shaped
        if found := builtin.change_errors(call.kind, old.data, new):
            raise invalid(call.kind, old.name, found)
        return new

    def _check_finalizers(self, call: Call, old: Version, new: Json) -> None:
        if not old.deleting:
            return
        held = entries(old.meta, "finalizers")
        if added := [item for item in new["metadata"].get("finalizers") or () if item not in held]:
            listed = ", ".join(f'"{item}"' for item in added)
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}"
            raise invalid(call.kind, old.name, [forbidden_field("metadata.finalizers", why)])

    def _with_generation(self, kind: Kind, old: Version, new: Json) -> Json:
        if not kind.generation:
            return new
        ignored = ("metadata", "status", "resourceVersion")
        if kind is PODS and new["spec"].get("nodeName") != old.data["spec"].get("nodeName"):
            return new  # a binding is no change of what is wanted
        changed = any(new.get(key) != old.data.get(key) for key in (*new, *old.data) if key not in ignored)
        if kind is ENDPOINT_SLICES:
            changed = changed or new["metadata"].get("labels") != old.meta.get("labels")
        return {**new, "metadata": {**new["metadata"], "generation": old.meta["generation"] + 1}} if changed else new


def _same(new: Json, old: Json) -> bool:
    """Whether two objects are the same JSON; Python alone would take 1, 1.0 and true for one value."""
    return new == old and msgspec.json.encode(new, order="deterministic") == msgspec.json.encode(old, order="deterministic")


def _free_to_go(meta: Json) -> bool:
    return not meta.get("finalizers") and meta.get("deletionGracePeriodSeconds", 0) == 0
