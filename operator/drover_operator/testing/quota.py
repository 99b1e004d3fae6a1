# SPDX-License-Identifier: Apache-2.0
"""ResourceQuota at admission: what an object uses, and whether there is room for it.

As upstream, admission works on status: a quota that no controller has seen yet refuses nothing, and a create that fails after it was
charged has used up its share all the same. Counted are pods, their requests of cpu and memory, and objects (count/<resource>); scopes,
limits and storage are not.
"""

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

from drover_operator.testing.kinds import CONFIG_MAPS, PODS, SERVICES, Kind
from drover_operator.testing.objects import Json, entries, mapping
from drover_operator.testing.refusal import forbidden
from drover_operator.testing.storage import Version

_QUANTITY = re.compile(r"^([+-]?[0-9.]+)(?:([numkMGTPE]|[KMGTPE]i)|[eE]([-+]?[0-9]+))?$")
_DECIMAL = {"E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "": 0, "m": -3, "u": -6, "n": -9}
_BINARY = {"Ei": 6, "Pi": 5, "Ti": 4, "Gi": 3, "Mi": 2, "Ki": 1}
_COMPUTE = {"cpu": "cpu", "memory": "memory", "requests.cpu": "cpu", "requests.memory": "memory"}


class Amount(NamedTuple):
    """A resource quantity, exact; `binary` is how it is written: 1Ki, not 1024."""

    value: Fraction
    binary: bool = False

    @classmethod
    def read(cls, text: object) -> "Amount":
        """An amount as objects write it.

        Raises:
            ValueError: it is none.
        """
        match = _QUANTITY.match(str(text))
        if match is None:
            raise ValueError(f"'{text}' is no quantity")
        number, suffix, exponent = match.groups()
        if suffix in _BINARY:
            return cls(Fraction(number) * 1024 ** _BINARY[suffix], binary=True)
        return cls(Fraction(number) * Fraction(10) ** (int(exponent) if exponent else _DECIMAL[suffix or ""]))

    def __str__(self) -> str:
        """The canonical form: no fraction, the largest suffix."""
        if self.value == 0:
            return "0"
        scales = {suffix: Fraction(1024) ** power for suffix, power in _BINARY.items()} | {"": Fraction(1)} if self.binary else {}
        scales = scales if self.value.denominator == 1 and scales else {suffix: Fraction(10) ** power for suffix, power in _DECIMAL.items()}
        return next((f"{self.value / scale}{suffix}" for suffix, scale in scales.items() if (self.value / scale).denominator == 1), "1n")

    def plus(self, other: "Amount") -> "Amount":
        """The sum, written as this one unless this is nothing."""
        return Amount(self.value + other.value, self.binary if self.value else other.binary)


Usage = dict[str, Amount]
# Kinds that have a limit of their own name beside that of their count.
_BY_NAME = (SERVICES, CONFIG_MAPS)
NOTHING, ONE = Amount(Fraction(0)), Amount(Fraction(1))


def measured(kind: Kind) -> frozenset[str]:
    """The names under which objects of a kind can be limited."""
    return frozenset({f"count/{kind.resource}", *(("pods", *_COMPUTE) if kind is PODS else ()), *((kind.plural,) if kind in _BY_NAME else ())})


def usage(kind: Kind, obj: Json) -> Usage:
    """What an object uses; a pod that has ended is still an object."""
    used: Usage = {f"count/{kind.resource}": ONE} | ({kind.plural: ONE} if kind in _BY_NAME else {})
    if kind is PODS and mapping(obj, "status").get("phase") not in ("Succeeded", "Failed"):
        used |= {"pods": ONE} | {name: _requested(obj["spec"], resource) for name, resource in _COMPUTE.items()}
    return used


def total(usages: Iterable[Usage]) -> Usage:
    """The sum of what many objects use."""
    result: Usage = {}
    for each in usages:
        for name, amount in each.items():
            result[name] = result.get(name, NOTHING).plus(amount)
    return result


def charged(quotas: Iterable[Version], kind: Kind, obj: Json) -> list[tuple[Version, Json]]:
    """The quotas that a new object is charged to, with what is used of each then.

    Raises:
        Refused: 403 when there is no room in one of them, or the object does not say what it needs.
    """
    needed = usage(kind, obj)
    return [(quota, after) for quota in quotas if (after := _after(quota, kind, obj, needed))]


def _after(quota: Version, kind: Kind, obj: Json, needed: Usage) -> Json:
    """What is used of a quota after it was charged, or nothing if it does not limit such objects."""
    status = mapping(quota.data, "status")
    hard, used = _read(mapping(status, "hard")), _read(mapping(status, "used"))
    limited = sorted(hard.keys() & needed.keys())
    name: str = obj["metadata"]["name"]
    if silent := _silent_containers(kind, obj, limited):
        raise forbidden(kind, name, f"failed quota: {quota.name}: must specify {silent}")
    if not used.keys() >= set(limited):
        raise forbidden(kind, name, f"status unknown for quota: {quota.name}, resources: {','.join(limited)}")
    requested = {each: needed[each] for each in limited if needed[each].value}
    exceeded = [each for each in requested if used[each].value + requested[each].value > hard[each].value]
    if exceeded:
        columns = ", ".join(f"{word}: {_listed(side, exceeded)}" for word, side in (("requested", requested), ("used", used), ("limited", hard)))
        raise forbidden(kind, name, f"exceeded quota: {quota.name}, {columns}")
    return {**status, "used": mapping(status, "used") | {each: str(used[each].plus(requested[each])) for each in requested}} if requested else {}


def _read(amounts: Json) -> Usage:
    return {name: Amount.read(text) for name, text in amounts.items()}


def _listed(amounts: Usage, names: Iterable[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in names)


def _silent_containers(kind: Kind, obj: Json, limited: list[str]) -> str:
    """Which containers do not say how much they need of what is limited."""
    if kind is not PODS:
        return ""
    spec: Json = obj["spec"]
    containers = [*entries(spec, "containers"), *entries(spec, "initContainers")]
    silent = {name: sorted(each["name"] for each in containers if _COMPUTE[name] not in _requests(each)) for name in limited if name in _COMPUTE}
    return "; ".join(f"{name} for: {','.join(names)}" for name, names in silent.items() if names)


def _requests(container: Json) -> Json:
    """What a container asks for; a limit is a request where there is none."""
    resources = mapping(container, "resources")
    return {**mapping(resources, "limits"), **mapping(resources, "requests")}


def _requested(spec: Json, resource: str) -> Amount:
    """What a pod asks for: its containers and sidecars together, or one of those that run before them if that is more."""
    first: list[Json] = entries(spec, "initContainers")
    sidecars = [each for each in first if each.get("restartPolicy") == "Always"]
    together = NOTHING
    for amount in _amounts([*entries(spec, "containers"), *sidecars], resource):
        together = together.plus(amount)
    return max([together, *_amounts([each for each in first if each not in sidecars], resource)], key=lambda amount: amount.value)


def _amounts(containers: list[Json], resource: str) -> Iterator[Amount]:
    return (Amount.read(_requests(each).get(resource, 0)) for each in containers)
