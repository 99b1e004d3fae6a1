# SPDX-License-Identifier: Apache-2.0
"""Services as files want them: what the API server would store, or, without one, what can be known from the files alone."""

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from drover_operator.api.crd import MANAGED_SERVICE, schema
from drover_operator.api.managedservice import ManagedService
from drover_operator.api.podtemplate import PodTemplate
from drover_operator.api.resource import MANAGED_SERVICES
from drover_operator.cli.outcome import Failure
from drover_operator.kube.cache import Key
from drover_operator.kube.client import Client
from drover_operator.kube.errors import ApiError, Invalid, NotFound, OutcomeUnknown
from drover_operator.runtime.status import merge_patch

Json = dict[str, Any]
MANAGER = "kubectl-drover"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SERVERS_OWN = ("managedFields", "creationTimestamp", "generation", "selfLink")
UNTYPED = "failed to create typed patch object"
UNSTORED = "not-stored-yet"  # the uid of a service that no API server has seen
TOLD = 3  # objects that are left out, by name


class Unfit(Failure):
    """A service in the files is wrong: one line for each thing."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


@dataclass(frozen=True)
class Wish:
    """One ManagedService of the files; `body` is as it stands there, with its namespace."""

    namespace: str
    name: str
    body: Json

    @property
    def key(self) -> Key:
        """Namespace and name."""
        return self.namespace, self.name


def sorted_out(manifests: Iterable[Json], namespace: str, *, asked: str = "") -> tuple[list[Wish], list[Json]]:
    """The services, and everything else. `namespace` is for those that name none; with `asked` (-n) no other is taken.

    Raises:
        Failure: there is no service, one of them has no name or another version, or two have the same name.
    """
    wishes, others = list[Wish](), list[Json]()
    for each in manifests:
        if each.get("kind") == MANAGED_SERVICES.kind:
            wishes.append(_wish(each, namespace, asked))
        else:
            others.append(each)
    if not wishes:
        raise Failure(f"no ManagedService in the files ({left_out(others) or 'they are empty'}); kubectl drover import makes them of Deployments")
    twice = {each.key for at, each in enumerate(wishes) if each.key in {other.key for other in wishes[:at]}}
    if twice:
        raise Failure(f"the files have {_name(*min(twice))} twice; keep one")
    return wishes, others


def _wish(body: Json, namespace: str, asked: str) -> Wish:
    meta = body.get("metadata")
    name = meta.get("name") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(name, str) or not name:
        raise Failure("a ManagedService in the files has no metadata.name")
    if body.get("apiVersion") != MANAGED_SERVICES.api_version:
        raise Failure(f"msvc/{name}: apiVersion is {body.get('apiVersion')}; this version of the command knows {MANAGED_SERVICES.api_version}")
    own = meta.get("namespace")
    if asked and own not in (None, asked):
        raise Failure(f"msvc/{name}: its namespace is {own}, not {asked}; leave out -n, or give -n {own}")
    space = own or namespace
    kept = {key: value for key, value in meta.items() if key not in SERVERS_OWN}
    return Wish(space, name, {**body, "metadata": {**kept, "namespace": space}})


def left_out(others: list[Json]) -> str:
    """What is no ManagedService, in a few words; "" when there is nothing."""
    names = [f"{each.get('kind')}/{(each.get('metadata') or {}).get('name', '?')}" for each in others]
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return f"left out, no ManagedService: {', '.join(names[:TOLD])}{more}" if names else ""


# --- with an API server


async def proposed(client: Client, wish: Wish) -> tuple[bytes, bytes]:
    """The service as it is (empty: it is not there), and as the API server would store it. Nothing is stored.

    One that was made by `kubectl apply` is changed as that does it: what was applied last and is not in the file any more goes.

    Raises:
        Unfit: the API server would refuse it, with its reasons.
        KubeError: it does not answer, or there is no right to ask.
    """
    raw = _raw()
    try:
        now = bytes(await client.get(raw, *wish.key))
    except NotFound:
        now = b""
    removed = _removed(now, wish.body)
    body = _merged(wish.body, removed) if removed is not None else {key: value for key, value in wish.body.items() if key != "status"}
    try:
        return now, await client.apply(MANAGED_SERVICES, *wish.key, body, manager=MANAGER, merge=removed is not None, dry_run=True)
    except Invalid as error:
        raise Unfit(_reasons(wish, error)) from error
    except OutcomeUnknown as error:
        if UNTYPED not in str(error):
            raise
        raise Unfit(_untyped(wish, str(error))) from error
    except NotFound as error:
        raise Failure(_missing(wish, error)) from error


def _raw() -> Any:
    from drover_operator.cli.cluster import AS_IT_CAME

    return AS_IT_CAME


def _removed(now: bytes, wanted: Json) -> Json | None:
    """The nulls that take away what was applied last and is wanted no more; None for an object that was not made by `kubectl apply`."""
    if not now:
        return None
    applied = (msgspec.json.decode(now)["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if applied is None:
        return None
    try:
        last = msgspec.json.decode(applied, type=Json)
    except msgspec.DecodeError:
        return None
    return _nulls(merge_patch(last, wanted))


def _nulls(patch: Json) -> Json:
    kept = {key: _nulls(value) if isinstance(value, dict) else value for key, value in patch.items() if value is None or isinstance(value, dict)}
    return {key: value for key, value in kept.items() if value is None or value}


def _merged(body: Json, removed: Json) -> Json:
    """The body with the nulls laid over it, where it has nothing of its own."""
    nulls = {
        key: _merged(body.get(key, {}), value) if isinstance(value, dict) else None
        for key, value in removed.items()
        if isinstance(value, dict) or body.get(key) is None
    }
    return {key: value for key, value in {**body, **nulls}.items() if key != "status"}


def _reasons(wish: Wish, error: ApiError) -> list[str]:
    causes = error.status.details.causes if error.status.details else ()
    told = [f"{each.field}: {each.message}" if each.field not in each.message else each.message for each in causes if each.field not in ("", "<nil>")]
    return [f"{_name(*wish.key)}: {' '.join(each.split())}" for each in dict.fromkeys(told or [str(error)])]


def _untyped(wish: Wish, said: str) -> list[str]:
    """The fields that server-side apply stumbled over; the API server calls that a fault of its own (500)."""
    _, _, fields = said.partition(UNTYPED)[2].partition("): ")
    found = re.findall(r"\.([\w.\[\]=\"-]+): ([^\n]+)", fields)
    return [f"{_name(*wish.key)}: {field}: {why}" for field, why in found] or [f"{_name(*wish.key)}: {' '.join(fields.split())}"]


def _missing(wish: Wish, error: NotFound) -> str:
    if "namespaces" in str(error):
        return f"{_name(*wish.key)}: namespace {wish.namespace} is not there; create it first, or decide without the cluster by --offline"
    return "Drover is not installed in this cluster: apply crds/ first, or decide without the cluster by --offline"


def _name(namespace: str, name: str) -> str:
    return f"msvc/{name} in namespace {namespace}"


# --- without one


def completed(wish: Wish) -> bytes:
    """The service as far as the files alone can tell: checked against the models that the CRD is made of, whose defaults are the same.

    Rules in CEL are the API server's alone.

    Raises:
        Unfit: fields are unknown, missing, or of a wrong type or value.
    """
    meta = {"uid": UNSTORED, "generation": 1, **wish.body["metadata"]}
    found = msgspec.json.encode({**wish.body, "metadata": meta})
    lines = [*_unknown(wish.body, schema(MANAGED_SERVICE), ""), *_misfit(found, ManagedService, "")]
    if not lines:
        template = msgspec.json.decode(found, type=ManagedService).spec.template
        lines = [*_misfit(bytes(template), PodTemplate, "spec.template")]
    if lines:
        raise Unfit([f"{_name(*wish.key)}: {each}" for each in lines])
    return found


def _misfit(found: bytes, kind: type[msgspec.Struct], where: str) -> Iterator[str]:
    """The first thing that keeps it from being of that kind: `Expected `int`, got `str` - at `$.spec.replicas`, in plain words."""
    try:
        msgspec.json.decode(found, type=kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).replace("`", "").partition(" - at $")
        field = ".".join(part for part in (where, path.removeprefix(".")) if part)
        plain = what[:1].lower() + what[1:]
        yield f"{field}: {plain}" if field else plain


def _unknown(value: Any, node: Json, path: str) -> Iterator[str]:
    """Fields that the schema does not have; the API server would drop them, or refuse them in strict mode."""
    if isinstance(value, list) and isinstance(node.get("items"), dict):
        for at, item in enumerate(value):
            yield from _unknown(item, node["items"], f"{path}[{at}]")
    properties = node.get("properties")
    if not isinstance(value, dict) or not properties:
        return
    for key, child in value.items():
        below = f"{path}.{key}" if path else key
        if key in properties:
            yield from _unknown(child, properties[key], below)
        elif not node.get("x-kubernetes-preserve-unknown-fields"):
            close = difflib.get_close_matches(key, properties, n=1)
            yield f"{below}: unknown field" + (f"; did you mean {close[0]}?" if close else "")
