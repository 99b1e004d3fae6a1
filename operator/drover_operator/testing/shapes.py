# SPDX-License-Identifier: Apache-2.0
"""How the parts of an object are merged and owned: which maps and lists have parts of their own, and by what entries are known.

The shape of a custom resource is read from its schema. Built-in kinds go by a table of field names, because one name means one thing
in nearly all of them. Rejected: the OpenAPI document of Kubernetes (1 MB for what stands in the table below).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from drover_operator.testing.objects import Json, is_list, is_object

Listing = Literal["atomic", "set", "map"]
_SCALARS = {"integer": "numeric (int or float)", "number": "numeric (int or float)", "string": "string", "boolean": "boolean"}
_FITS: dict[str, tuple[type, ...]] = {"numeric (int or float)": (int, float), "string": (str,), "boolean": (bool,)}


class Shape:
    """The shape of one place in an object; whether a map, a list or a leaf stands there is seen from the value.

    fields: the shapes under declared keys. rest: the shape under all others; None means that there are none.
    is_struct: every key counts as declared. is_atomic: a map here is one leaf.
    items: the shape of the entries of a list. keys: what an entry is known by, with `defaults` for keys that it does not give.
    """

    __slots__ = ("_fields", "defaults", "is_atomic", "is_struct", "items", "keys", "listing", "rest", "wants")

    def __init__(
        self,
        fields: Mapping[str, "Shape"] | None = None,
        rest: "Shape | None" = None,
        *,
        is_struct: bool = False,
        is_atomic: bool = False,
        items: "Shape | None" = None,
        listing: Listing = "atomic",
        keys: Iterable[str] = (),
        defaults: Json | None = None,
        wants: str = "",
    ) -> None:
        self._fields = {} if fields is None else fields
        self.rest = rest
        self.is_struct = is_struct
        self.is_atomic = is_atomic
        self.items = items
        self.listing: Listing = listing
        self.keys = tuple(sorted(keys))
        self.defaults = defaults or {}
        self.wants = wants

    def declares(self, key: str) -> bool:
        """Whether a key is a field of its own and no entry of a map."""
        return self.is_struct or key in self._fields

    def knows(self, key: str) -> bool:
        """Whether anything may stand under that key."""
        return self.rest is not None or self.declares(key)

    def child(self, key: str) -> "Shape":
        """The shape under a key."""
        return self._fields.get(key) or self.rest or LEAF

    def step(self, element: str) -> "Shape":
        """The shape one path element further on."""
        return self.child(element[2:]) if element.startswith("f:") else self.items or LEAF

    def is_map(self, value: Any) -> bool:
        """Whether that value here is a map whose entries are owned one by one."""
        return is_object(value) and not self.is_atomic

    def is_collection(self, value: Any) -> bool:
        """Whether that value here is a list whose entries are owned one by one."""
        return is_list(value) and self.listing != "atomic"

    def entry(self, item: Any) -> str:
        """The path element of an entry of a list, `k:{"name":"main"}` or `v:"value"`; of one that nothing tells from others, `k:{}`."""
        if self.listing == "set":
            return f"v:{_text(item)}"
        fields: Json = {**self.defaults, **item} if is_object(item) else {}
        return f"k:{_text({key: fields[key] for key in self.keys if key in fields})}"

    def mistakes(self, value: Any, path: str = "") -> Iterator[str]:
        """Why a value cannot be applied at all, in the words of the real server."""
        if value is None:
            return
        if wrong := self._wrong_type(value):
            yield f"{path}: {wrong}"
        elif self.is_map(value):
            yield from self._map_mistakes(value, path)
        elif self.is_collection(value):
            yield from self._list_mistakes(value, path)

    def _wrong_type(self, value: Any) -> str:
        fits = _FITS.get(self.wants, (dict,) if self.wants == "map" else (list,))
        if not self.wants or (isinstance(value, fits) and isinstance(value, bool) <= (self.wants == "boolean")):
            return ""
        return f"expected {self.wants}, got {_odd(self.wants, value)}"

    def _map_mistakes(self, value: Json, path: str) -> Iterator[str]:
        for key, child in value.items():
            if not self.knows(key):
                yield f"{path}.{key}: field not declared in schema"
                return  # the real server looks no further either
            yield from self.child(key).mistakes(child, f"{path}.{key}")

    def _list_mistakes(self, value: list[Any], path: str) -> Iterator[str]:
        seen: dict[str, None] = {}
        for index, item in enumerate(value):
            element = self.entry(item)
            if why := self._no_entry(item, element):
                yield f"{path}: element {index}: {why}"
                return
            if element in seen:
                yield f"{path}: duplicate entries for key {shown(element)}"
            seen[element] = None
            yield from (self.items or LEAF).mistakes(item, path + shown(element))

    def _no_entry(self, item: Any, element: str) -> str:
        """Why an item has no place in a list of this shape, or nothing."""
        if self.listing == "set":
            return "associative list without keys has an element that's a map type" if is_object(item) else ""
        if not is_object(item):
            return "associative list with keys may not have non-map elements"
        names = " ".join(f'"{key}"' for key in self.keys)
        omits = f"associative list with keys has an element that omits all key fields [{names}]"
        return f"{omits} (and doesn't have default values for any key fields)" if element == "k:{}" else ""


def shown(element: str) -> str:
    """A path element as messages show it: `.spec`, `[name="main"]`, `[="value"]`."""
    kind, text = element[0], element[2:]
    if kind == "f":
        return f".{text}"
    if kind == "v":
        return f"[={text}]"
    keys: Json = msgspec.json.decode(text)
    return "[" + ",".join(f"{key}={_text(value)}" for key, value in keys.items()) + "]"


def _odd(wanted: str, value: Any) -> str:
    """A value of a wrong type as upstream prints it, each time in another way."""
    if wanted.startswith("numeric"):
        return GO_TYPES[type(value)]
    return f"&value.valueUnstructured{{Value:{go_text(value)}}}" if wanted == "string" else f"&{{{go_text(value)}}}"


def go_text(value: Any) -> str:
    """A value as Go's %v prints it."""
    if is_object(value):
        fields: Json = value
        return "map[" + " ".join(f"{key}:{go_text(fields[key])}" for key in sorted(fields)) + "]"
    if is_list(value):
        items: list[Any] = value
        return "[" + " ".join(go_text(item) for item in items) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return "<nil>" if value is None else str(value)


def _text(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


GO_TYPES: dict[type, str] = {str: "string", bool: "bool", dict: "map[string]interface {}", list: "[]interface {}", int: "int64", float: "float64"}
LEAF = Shape()
# What nobody has described: maps have parts, lists are one leaf.
OPEN = Shape()
OPEN.rest = OPEN


def _map_by(*keys: str, **defaults: Any) -> Shape:
    return Shape(items=STRUCT, listing="map", keys=keys, defaults=defaults)


_NAMED: dict[str, Shape] = {}
STRUCT = Shape(_NAMED, is_struct=True)
STRUCT.rest = STRUCT
_ATOMIC = Shape(is_atomic=True)
_OWNER_REFERENCES = Shape(items=_ATOMIC, listing="map", keys=("uid",))
_STRINGS = Shape(rest=LEAF)
_METADATA = Shape({"labels": _STRINGS, "annotations": _STRINGS, "finalizers": Shape(listing="set"), "ownerReferences": _OWNER_REFERENCES}, is_struct=True)
_MAPS = ("allocatable", "annotations", "binaryData", "capacity", "data", "disruptedPods", "hard", "labels", "limits", "overhead", "requests", "used")
_ATOMIC_MAPS = (
    "configMapKeyRef",
    "fieldRef",
    "labelSelector",
    "nodeSelector",
    "regarding",
    "related",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "resourceFieldRef",
    "scopeSelector",
    "secretKeyRef",
    "selector",
    "targetRef",
)
_BY_NAME = ("claims", "containers", "env", "ephemeralContainers", "initContainers", "resourceClaims", "schedulingGates", "volumes")
_NAMED.update(
    {
        "metadata": _METADATA,
        **dict.fromkeys(_MAPS, _STRINGS),
        **dict.fromkeys(_ATOMIC_MAPS, _ATOMIC),
        **dict.fromkeys(_BY_NAME, _map_by("name")),
        "addresses": _map_by("type"),
        "conditions": _map_by("type"),
        "hostAliases": _map_by("ip"),
        "imagePullSecrets": Shape(items=_ATOMIC, listing="map", keys=("name",)),
        "podCIDRs": Shape(listing="set"),
        "podIPs": _map_by("ip"),
        "ports": _map_by("containerPort", "protocol", protocol="TCP"),
        "topologySpreadConstraints": _map_by("topologyKey", "whenUnsatisfiable"),
        "volumeDevices": _map_by("devicePath"),
        "volumeMounts": _map_by("mountPath"),
    }
)


def _built_in(**fields: Shape) -> Shape:
    return Shape({**_NAMED, **fields}, STRUCT, is_struct=True)


# Where a name means something else than in a pod.
_EXCEPTIONS: dict[str, Shape] = {
    "Service": _built_in(spec=_built_in(ports=_map_by("port", "protocol", protocol="TCP"))),
    "EndpointSlice": _built_in(endpoints=LEAF, ports=LEAF),
    "ControllerRevision": _built_in(data=_ATOMIC),
}


def built_in_shape(kind: str) -> Shape:
    """The shape of a kind of Kubernetes' own."""
    return _EXCEPTIONS.get(kind, STRUCT)


def custom_shape(tree: Json) -> Shape:
    """The shape of a custom resource, from the schema of its CRD."""
    shape = _shape_of(tree)
    fields = {name: _shape_of(child) for name, child in tree["properties"].items()}
    return Shape({**fields, "apiVersion": LEAF, "kind": LEAF, "metadata": _METADATA}, shape.rest, wants="map")


def _shape_of(node: Json) -> Shape:
    """The shape of one node of a structural schema."""
    extra, items = node.get("additionalProperties"), node.get("items")
    is_open = bool(node.get("x-kubernetes-preserve-unknown-fields")) or extra is True
    wanted = node.get("type", "")
    return Shape(
        {name: _shape_of(child) for name, child in node.get("properties", {}).items()},
        _shape_of(extra) if is_object(extra) else OPEN if is_open else None,
        is_atomic=node.get("x-kubernetes-map-type") == "atomic",
        items=_shape_of(items) if items else None,
        listing=node.get("x-kubernetes-list-type", "atomic"),
        keys=node.get("x-kubernetes-list-map-keys", ()),
        defaults={name: child["default"] for name, child in (items or {}).get("properties", {}).items() if "default" in child},
        wants={"object": "map", "array": "list"}.get(wanted, _SCALARS.get(wanted, "")),
    )
