# SPDX-License-Identifier: Apache-2.0
"""Who owns which fields of an object: metadata.managedFields, and what server-side apply makes of it.

Ownership is tracked lazily: an object is followed from its first apply on, and what it held before belongs to "before-first-apply". The
real server follows every object from its creation, and knows its first writers by name; it has the same name for what it never
followed. Tracking all pods would about double the cost of each write (107 to 255 us for a create, 70 to 120 us for a status). Not
simulated: the limit of ten updaters (the oldest become "ancient-changes"), the annotation of kubectl's client-side apply, and that
upstream loses a claim on replicas when one writer scales twice.
"""

from dataclasses import dataclass
from typing import Any

from drover_operator.testing.fieldsets import Fields, Path, in_order, paths_of_tree, spelled, tree_of, with_declared_parents
from drover_operator.testing.kinds import Kind
from drover_operator.testing.objects import Json, is_list, is_object, mapping
from drover_operator.testing.refusal import Refused, bad_request
from drover_operator.testing.shapes import Shape
from drover_operator.testing.structured import compared, fields_of, merged, outside, without

APPLY, UPDATE = "Apply", "Update"
BEFORE = "before-first-apply"
_STATUS: Path = ("f:status",)
_SPEC: Path = ("f:spec",)
# What nobody owns, as it is nobody's to set.
_SYSTEM = ("creationTimestamp", "generation", "managedFields", "name", "namespace", "resourceVersion", "selfLink", "uid")
_NEEDED = {"manager", "operation", "apiVersion", "fieldsType", "fieldsV1"}
# With one of these a client asks to forget all owners.
_RESETS: tuple[list[Json], ...] = ([], [{}])
_UNOWNED = frozenset({("f:apiVersion",), ("f:kind",), ("f:metadata",), *(("f:metadata", f"f:{name}") for name in _SYSTEM)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who writes: the key of an entry; the same name is another owner in another operation or subresource."""

    name: str
    operation: str = UPDATE
    subresource: str = ""

    def __str__(self) -> str:
        where = f' with subresource "{self.subresource}"' if self.subresource else ""
        return f'"{self.name}"{where}'


@dataclass(frozen=True, slots=True)
class Claim:
    """What a writer owns and when it last took something; `time` is "" where the real server does not note it."""

    fields: Fields
    time: str = ""


Claims = dict[Writer, Claim]


def check(kind: Kind, config: Json) -> None:
    """Refuse what cannot be applied at all.

    Raises:
        Refused: 400 for another kind or with managedFields, 500 for what the schema has no place for (so upstream).
    """
    if (config.get("apiVersion"), config.get("kind")) != (kind.api_version, kind.kind):
        group, _, version = str(config.get("apiVersion", "")).rpartition("/")
        raise bad_request(f"invalid object type: {group}/{version}, Kind={config.get('kind', '')}")
    meta = mapping(config, "metadata")
    if meta.get("managedFields") is not None:
        raise bad_request("metadata.managedFields must be nil")
    if mistakes := list(kind.shape.mistakes(config)):
        said = mistakes[0] if len(mistakes) == 1 else "\n  ".join(("errors:", *mistakes))
        what = f"{meta.get('namespace', '')}/{meta.get('name', '')}; {kind.api_version}, Kind={kind.kind}"
        raise Refused(500, "", f"failed to create typed patch object ({what}): {said}")


def applied(kind: Kind, live: Json, config: Json, writer: Writer, *, now: str, force: bool) -> Json:
    """The object with the configuration applied, its owners in metadata.managedFields; `live` is empty for a new object.

    Raises:
        Refused: 409 when others own what would change, unless forced.
    """
    on_record = read(live.get("metadata", {}))
    claims = on_record or _claims_before(kind, live, now)
    last = claims.get(writer, Claim(frozenset()))
    excluded = _excluded(kind, writer)
    mine = frozenset(outside(fields_of(kind.shape, config), excluded))
    old = _followed(live)
    laid: Json = merged(kind.shape, old, config)
    new: Json = _pruned(kind.shape, laid, last.fields, {**claims, writer: Claim(mine)})
    difference = compared(kind.shape, old, new).without(excluded)
    others = {each: claim for each, claim in claims.items() if each != writer}
    taken = difference.added | difference.modified
    if not force:
        _check_conflicts(kind, others, taken)
    left = _reduced(others, taken | difference.removed)
    mine -= _UNOWNED
    time = now if difference or old != new else last.time
    if kind.schema is None:
        new = _without_nulls(new)
    return _with_claims(new, left | ({writer: Claim(mine, time)} if mine else {}), live, on_record)


def recorded(new: Json, applied_object: Json) -> Json:
    """What is to be stored after an apply, with the owners that the apply has found."""
    return _with_entries(new, applied_object["metadata"].get("managedFields") or [])


def updated(kind: Kind, old: Json, new: Json, writer: Writer, now: str) -> Json:
    """The object after a write that is no apply: the writer takes over what it has changed."""
    claims = read(old["metadata"])
    if not claims:
        return _with_entries(new, [])
    difference = compared(kind.shape, _followed(old), _followed(new)).without(_excluded(kind, writer))
    if not difference:
        return _with_entries(new, old["metadata"]["managedFields"])
    taken = difference.added | difference.modified
    left = _reduced(claims, taken | difference.removed)
    mine = taken - _UNOWNED
    if mine:
        held = left[writer].fields if writer in left else frozenset[Path]()
        left[writer] = Claim(held | mine, "" if writer.subresource == "scale" else now)
    return _with_claims(new, left, old, claims)


def read(meta: Json) -> Claims:
    """The claims on record."""
    return {_writer_of(entry): Claim(frozenset(paths_of_tree(entry["fieldsV1"])), entry.get("time", "")) for entry in meta.get("managedFields") or ()}


def given(old: Json, sent: Json, subresource: str) -> Json:
    """The old object with the owners that a client says it has: it may rewrite them, or have them forgotten by an empty list or entry."""
    entries = sent["metadata"].get("managedFields")
    if subresource or (entries not in _RESETS and not _is_readable(entries)):
        return old
    return {**old, "metadata": {**old["metadata"], "managedFields": [] if entries in _RESETS else entries}}


def same_but_for_times(old: Json, new: Json) -> bool:
    """Whether nothing is new but moments in managedFields, which alone are never stored."""
    if _followed(old) != _followed(new):
        return False
    return {writer: claim.fields for writer, claim in read(old["metadata"]).items()} == {
        writer: claim.fields for writer, claim in read(new["metadata"]).items()
    }


def _is_readable(entries: Any) -> bool:
    if not is_list(entries):
        return False
    return all(is_object(entry) and entry.keys() >= _NEEDED and entry["operation"] in (APPLY, UPDATE) and is_object(entry["fieldsV1"]) for entry in entries)


def _writer_of(entry: Json) -> Writer:
    return Writer(name=entry["manager"], operation=entry["operation"], subresource=entry.get("subresource", ""))


def _claims_before(kind: Kind, live: Json, now: str) -> Claims:
    """Two unknown writers, one of the object and one of its status: as if each had come through the right door."""
    if not live:
        return {}
    fields = compared(kind.shape, {}, _followed(live)).added - _UNOWNED
    of_status = {path for path in fields if kind.status and path[:1] == _STATUS}
    found = {Writer(name=BEFORE): fields - of_status, Writer(name=BEFORE, subresource="status"): of_status}
    return {writer: Claim(frozenset(paths), now) for writer, paths in found.items() if paths}


def _excluded(kind: Kind, writer: Writer) -> tuple[Path, ...]:
    """What a write through this door cannot change, and so cannot own."""
    if writer.subresource == "status":
        return (_SPEC,)
    return (_STATUS,) if kind.status else ()


def _pruned(shape: Shape, laid: Json, last: Fields, claims: Claims) -> Json:
    """Without what the writer applied last time, does not apply now, and nobody else owns."""
    if not last:
        return laid
    before = with_declared_parents(shape, last)
    everything = with_declared_parents(shape, fields_of(shape, laid))
    owned = with_declared_parents(shape, {path for claim in claims.values() for path in claim.fields})
    bare = with_declared_parents(shape, fields_of(shape, without(shape, laid, tree_of(before))))
    kept = with_declared_parents(shape, fields_of(shape, without(shape, laid, tree_of(everything - (bare | owned)))))
    left: Json = without(shape, laid, tree_of((everything - kept) & before))
    return left


def _check_conflicts(kind: Kind, others: Claims, taken: set[Path]) -> None:
    found = {writer: [spelled(path) for path in in_order(claim.fields & taken)] for writer, claim in others.items() if claim.fields & taken}
    if not found:
        return
    groups = [(_named(kind, writer), found[writer]) for writer in sorted(found, key=_rank)]
    conflicts = [(who, field) for who, fields in groups for field in fields]
    causes = [{"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": field} for who, field in conflicts]
    if len(conflicts) == 1:
        text = "1 conflict: conflict with {}: {}".format(*conflicts[0])
    else:
        lines = [line for who, fields in groups for line in (f"conflicts with {who}:", *(f"- {field}" for field in fields))]
        text = f"{len(conflicts)} conflicts: " + "\n".join(lines)
    raise Refused(409, "Conflict", f"Apply failed with {text}", {"causes": causes})


def _rank(writer: Writer) -> tuple[str, str, bool, str]:
    """The order of writers in messages: subresources first."""
    return writer.name, writer.operation, not writer.subresource, writer.subresource


def _named(kind: Kind, writer: Writer) -> str:
    return f"{writer} using {kind.api_version}" if writer.operation == UPDATE else str(writer)


def _reduced(claims: Claims, lost: set[Path]) -> Claims:
    """The claims without those fields; who owns nothing any more is forgotten."""
    reduced = {writer: Claim(claim.fields - lost, claim.time) if claim.fields & lost else claim for writer, claim in claims.items()}
    return {writer: claim for writer, claim in reduced.items() if claim.fields}


def _followed(obj: Json) -> Json:
    """The object without its managedFields, which are not owned themselves."""
    if not obj or "managedFields" not in obj["metadata"]:
        return obj
    return {**obj, "metadata": {key: value for key, value in obj["metadata"].items() if key != "managedFields"}}


def _with_claims(obj: Json, claims: Claims, like: Json, before: Claims) -> Json:
    """The object with these claims on record; entries that say the same as before are kept as they are."""
    known = {_writer_of(entry): entry for entry in mapping(like, "metadata").get("managedFields") or ()}
    ordered = sorted(claims, key=lambda each: (each.operation, claims[each].time, each.name, each.subresource))
    entries = [known[each] if before.get(each) == claims[each] else _entry(each, claims[each], obj["apiVersion"]) for each in ordered]
    return _with_entries(obj, entries)


def _with_entries(obj: Json, entries: list[Json]) -> Json:
    meta = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": meta | ({"managedFields": entries} if entries else {})}


def _entry(writer: Writer, claim: Claim, version: str) -> Json:
    entry: Json = {"manager": writer.name, "operation": writer.operation, "apiVersion": version}
    entry |= {"time": claim.time} if claim.time else {}
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": tree_of(claim.fields)}
    return entry | ({"subresource": writer.subresource} if writer.subresource else {})


def _without_nulls(value: Any) -> Any:
    """An object without its nulls, which built-in kinds take for nothing at all."""
    if is_object(value):
        fields: Json = value
        return {key: _without_nulls(child) for key, child in fields.items() if child is not None}
    if is_list(value):
        items: list[Any] = value
        return [_without_nulls(item) for item in items]
    return value
