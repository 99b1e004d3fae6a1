# SPDX-License-Identifier: Apache-2.0
"""Create, update and apply as the API server does them, below HTTP: ownership, admission, defaults, validation, quota, generations.

Every operation is synchronous and ends in at most one step of the storage per object, so that nothing is ever half applied; a create
may also charge a quota, before it turns out that the name is taken, as upstream.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from drover_operator.testing import builtin, metadata, ownership, validation
from drover_operator.testing.admission import Admission
from drover_operator.testing.fields import quoted
from drover_operator.testing.kinds import ENDPOINT_SLICES, NAMESPACES, PODS, RESOURCE_QUOTAS, Kind
from drover_operator.testing.objects import Json, is_object, mapping
from drover_operator.testing.ownership import Writer
from drover_operator.testing.quota import charged
from drover_operator.testing.refusal import (
    Refused,
    already_exists,
    bad_request,
    check_type,
    conflict,
    forbidden,
    invalid,
    not_found,
    undecodable,
    unknown_fields,
)
from drover_operator.testing.schema import same
from drover_operator.testing.storage import Storage, Version

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SYSTEM = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields")

Patch = Callable[[Json], Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Who does what to which object; `manager` is the name under which fields are owned, by default the user's."""

    verb: str
    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    user: str = "system:admin"
    manager: str = ""
    dry_run: bool = False
    strict: bool = False
    force: bool = False

    @property
    def writer(self) -> Writer:
        """As whom the fields are owned that this write takes."""
        operation = ownership.APPLY if self.verb == "apply" else ownership.UPDATE
        return Writer(name=self.manager or self.user, operation=operation, subresource=self.subresource)


class Registry:
    """The write semantics of the API server on top of the storage."""

    def __init__(self, storage: Storage, clock: Callable[[], float], seed: int) -> None:
        self.storage = storage
        self.admission = Admission()
        self._clock = clock
        self._random = random.Random(seed)
        self._seed = seed
        self._uids = 0
        # New custom resources: the default of their status is only shown, and the first write, even of nothing, stores it.
        self._undefaulted: dict[str, None] = {}

    def now(self) -> str:
        """The present as the wire shows it: whole seconds."""
        return self.stamp(0.0)

    def stamp(self, offset: float) -> str:
        """The moment `offset` seconds from now on the wire."""
        return _on_the_wire(int(self._clock() + offset))

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
        new = self._named(call, builtin.with_texts(call.kind, obj))
        name: str = new["metadata"]["name"]
        self._admit_to_namespace(call, name)
        new = self._completed(call, new)
        self._validate(call, None, new)
        self._charge(call, new)
        if existing := self.storage.get(call.kind, call.namespace, name):
            raise already_exists(call.kind, name, deleting=existing.deleting)
        self._uids += 1
        system: Json = {"uid": f"{self._seed & 0xFFFFFFFF:08x}-0000-4000-8000-{self._uids:012x}", "creationTimestamp": self.now()}
        if call.kind.generation:
            system["generation"] = 1
        if call.verb == "apply" and "managedFields" in obj["metadata"]:
            system["managedFields"] = obj["metadata"]["managedFields"]
        new["metadata"] |= system
        if call.dry_run:
            return Version(call.kind, new, 0)
        if call.kind.schema:
            self._undefaulted[system["uid"]] = None
        return self.storage.put(call.kind, new)

    def apply(self, call: Call, config: Json) -> tuple[Version, bool]:
        """Change or make an object by server-side apply; answers whether it is new."""
        ownership.check(call.kind, config)
        if self.storage.get(call.kind, call.namespace, call.name):
            return self.update(call, lambda old: self._applied(call, old, config)), False
        meta = {**mapping(config, "metadata")}
        metadata.check_name(call.name, meta)
        if uid := meta.get("uid"):
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise conflict(call.kind, call.name, why)
        meta.pop("resourceVersion", None)  # upstream minds it as little: there is no version to differ from
        return self.create(call, self._applied(call, {}, {**config, "metadata": meta})), True

    def update(self, call: Call, patch: Patch) -> Version:
        """Change an object; `patch` makes the new from the old. A change to nothing stores nothing."""
        old = self.existing(call)
        sent = patch(old.data)
        if sent.get("metadata") is not old.meta:  # most writes are of status
            sent = builtin.with_texts(call.kind, sent, is_patch=call.verb == "patch")
        self._check_preconditions(call, old, sent)
        new = self._merged_parts(call, old, sent)
        if call.kind.schema:
            new = self._shaped(call, new, old.data)
        is_tracked = "managedFields" in old.meta
        if call.verb == "apply":
            new = ownership.recorded(new, sent)
        elif is_tracked:
            new = ownership.updated(call.kind, ownership.given(old.data, sent, call.subresource), new, call.writer, self.now())
        if self.admission.is_used:
            new = self._mutated(call, old.data, new)
        self._validate(call, old.data, new)
        if old.uid not in self._undefaulted and (same(new, old.data) or (is_tracked and ownership.same_but_for_times(old.data, new))):
            return old
        new = self._with_generation(call.kind, old, new)
        if call.dry_run:
            return Version(call.kind, new, 0)
        if old.deleting and _free_to_go(new["metadata"]) and call.kind is not NAMESPACES:
            self.storage.remove(old)  # watchers see the last state that was stored, the caller the one that never was
            return Version(call.kind, new, old.revision)
        self._undefaulted.pop(old.uid, None)
        return self.storage.put(call.kind, new)

    def replace_meta(self, version: Version, changes: Json) -> Version:
        """Store changed system metadata; None removes."""
        meta = {key: value for key, value in {**version.meta, **changes}.items() if value is not None}
        if "generation" in meta and "deletionTimestamp" in changes and not version.deleting:
            meta["generation"] += 1
        return self.storage.put(version.kind, {**version.data, "metadata": meta})

    def _named(self, call: Call, obj: Json) -> Json:
        """The object with type, name and namespace filled in; the type comes first, so that lists can cut it off the encoded form."""
        kind = call.kind
        check_type(kind, obj)
        self._check_strangers(call, obj)
        ours = _SYSTEM if kind.generation else tuple(key for key in _SYSTEM if key != "generation")
        meta = metadata.tidy({key: value for key, value in mapping(obj, "metadata").items() if key not in ours})
        if meta.get("resourceVersion"):
            raise Refused(500, "", "resourceVersion should not be set on objects to be created")  # upstream forgot a status here
        if meta.get("namespace", call.namespace) != call.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        name = meta.get("name") or (meta["generateName"] + self.suffix() if meta.get("generateName") else "")
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
        """Defaults in, unknown fields and status out, and what webhooks make of it."""
        if call.kind.status:
            obj = {key: value for key, value in obj.items() if key != "status"}
        if call.kind.schema:
            obj = self._shaped(call, obj)
        if self.admission.is_used:
            obj = self._mutated(call, None, obj)
        return obj if call.kind.schema else builtin.prepare(call.kind, obj, self.suffix, strict=call.strict)

    def _applied(self, call: Call, live: Json, config: Json) -> Json:
        return ownership.applied(call.kind, live, config, call.writer, now=self.now(), force=call.force)

    def _mutated(self, call: Call, old: Json | None, new: Json) -> Json:
        """What webhooks make of it; what they may not touch is as before, what is new in a custom resource has its defaults."""
        changed = self.admission.mutated(call.kind, call.subresource, old, new)
        if changed is new:
            return new
        identity = {key: new["metadata"][key] for key in ("name", "namespace", *_SYSTEM, "resourceVersion") if key in new["metadata"]}
        changed = {**new, **changed, "metadata": {**changed["metadata"], **identity}}
        return self._shaped(call, changed) if call.kind.schema else changed

    def _shaped(self, call: Call, obj: Json, old: Json | None = None) -> Json:
        schema, unknown = call.kind.schema, list[str]()
        if schema is None:
            return obj
        shaped = schema.completed(obj, unknown, old=old, keep_nulls=call.verb == "apply")
        if unknown and call.strict:
            raise unknown_fields(call.kind, unknown, quoted(obj) if call.verb == "patch" else "")
        return shaped

    def _check_strangers(self, call: Call, obj: Json) -> None:
        """Refuse metadata that nobody knows, when asked to be strict."""
        unknown = [f"metadata.{name}" for name in mapping(obj, "metadata") if name not in metadata.FIELDS]
        if unknown and call.strict:
            raise unknown_fields(call.kind, unknown, quoted(obj) if call.verb == "patch" else "")

    def _validate(self, call: Call, old: Json | None, new: Json) -> None:
        """Validation of the kind's own, then by webhooks; a binding is no change of the pod in this sense."""
        if call.subresource == "binding":
            return
        if found := validation.errors(call.kind, new, old):
            raise invalid(call.kind, new["metadata"]["name"], found)
        if self.admission.is_used:
            self.admission.check(call.kind, call.subresource, old, new)

    def _charge(self, call: Call, new: Json) -> None:
        """Charge a new object to the quotas of its namespace."""
        quotas = self.storage.items(RESOURCE_QUOTAS, call.namespace) if call.namespace else ()
        for quota, status in charged(quotas, call.kind, new) if quotas else ():
            if not call.dry_run:
                self._write_status(quota, status)

    def _write_status(self, version: Version, status: Json) -> None:
        """As the API server itself."""
        write = Call(verb="update", kind=version.kind, namespace=version.namespace, name=version.name, subresource="status", user="system:apiserver")
        self.update(write, lambda old: {**old, "status": status})

    def _check_preconditions(self, call: Call, old: Version, sent: Json) -> None:
        meta = sent.get("metadata")
        if not is_object(meta):
            raise undecodable(call.kind, "metadata must be an object")
        if meta is not old.meta:
            metadata.check_identity(call.kind, old.meta, meta, is_whole=call.verb == "update" and not call.subresource)
        check_type(call.kind, sent)
        self._check_strangers(call, sent)
        if meta is not old.meta and not (call.subresource and call.kind.schema) and (found := metadata.change_errors(old.meta, meta)):
            raise invalid(call.kind, old.name, found)

    def _merged_parts(self, call: Call, old: Version, sent: Json) -> Json:
        """What of the sent object counts: status only through its subresource and nothing else there, system metadata never."""
        if call.subresource == "binding":
            return sent
        if call.subresource == "status":
            new: Json = {key: value for key, value in old.data.items() if key != "status"}
            new |= {"status": sent["status"]} if sent.get("status") is not None else {}
            if call.kind.schema is None:  # metadata of built-in kinds can be changed on the way, all but the owners of pods
                new["metadata"] = _with_kept(old.meta, sent["metadata"], ("ownerReferences",) if call.kind is PODS else ())
        else:
            new = {**sent, "apiVersion": call.kind.api_version, "kind": call.kind.kind, "metadata": _with_kept(old.meta, sent["metadata"])}
            if call.kind.status:
                new.pop("status", None)
                new |= {"status": old.data["status"]} if "status" in old.data else {}
        return builtin.changed(call.kind, old.data, new, is_patch=call.verb == "patch", strict=call.strict)

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


def _with_kept(old: Json, sent: Json, more: tuple[str, ...] = ()) -> Json:
    """Metadata as sent, but for what only the server changes."""
    if sent is old:
        return old
    kept = (*_SYSTEM, "resourceVersion", "name", "namespace", *more)
    return {**metadata.tidy({key: value for key, value in sent.items() if key not in kept}), **{key: old[key] for key in kept if key in old}}


@lru_cache(maxsize=256)
def _on_the_wire(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _free_to_go(meta: Json) -> bool:
    return not meta.get("finalizers") and meta.get("deletionGracePeriodSeconds", 0) == 0
