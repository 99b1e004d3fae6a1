# SPDX-License-Identifier: Apache-2.0
"""What `plan` does: services from the cluster, from files or from a report, each decided as the operator would, and printed.

Imported only when the verb runs.
"""

import asyncio
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec

from drover_operator.api.managedservice import ManagedService
from drover_operator.cli import manifests
from drover_operator.cli.asking import foretold, stage
from drover_operator.cli.cluster import connected, typed
from drover_operator.cli.forecast import Forecast, document, forecast
from drover_operator.cli.foretelling import told
from drover_operator.cli.options import Where
from drover_operator.cli.outcome import Exit, Failure, sentence
from drover_operator.cli.scene import Scene, empty, keeper, resources, surround
from drover_operator.cli.screen import Counter, look, write_lines
from drover_operator.cli.wishes import Unfit, Wish, completed, left_out, proposed, sorted_out
from drover_operator.core.plan import Action, Verdict
from drover_operator.kube.cache import Key
from drover_operator.kube.client import Client
from drover_operator.runtime.executor import Result

OFFLINE = "decided from the files alone: what the API server would say (rules in CEL, policies, quotas) is assumed to be yes"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `plan` was asked for: one service by name, those in files, or those of a report."""

    name: str = ""
    files: tuple[str, ...] = ()
    report: str = ""
    offline: bool = False
    json: bool = False
    where: Where


@dataclass
class Outlook:
    """Forecasts, what the files have beside services, and one line for each thing that is wrong.

    `scene` is what they were decided by, `proposed` the services as the API server would have them after the files were applied.
    """

    forecasts: list[Forecast] = field(default_factory=list[Forecast])
    left_out: str = ""
    errors: list[str] = field(default_factory=list[str])
    scene: Scene | None = None
    proposed: dict[Key, dict[str, Any]] = field(default_factory=dict[Key, dict[str, Any]])


def plan(asked: Asked) -> Exit:
    """Read, decide, print."""
    found = asyncio.run(outlook(asked))
    for error in found.errors:
        print(f"error: {error}", file=sys.stderr)
    if asked.json:
        shown = {"plans": [document(each) for each in found.forecasts], "leftOut": found.left_out}
        write_lines([msgspec.json.format(msgspec.json.encode(shown), indent=2).decode()])
    elif found.forecasts:
        write_lines(_lines(found))
    return Exit.ERROR if found.errors else Exit.DONE


def _lines(found: Outlook) -> list[str]:
    lines: list[str] = []
    for each in found.forecasts:
        lines += [*([""] if lines else []), *told(each, look())]
    return [*lines, "", f"({found.left_out})"] if found.left_out else lines


async def outlook(asked: Asked) -> Outlook:
    """What would be done next.

    Raises:
        DroverError: files cannot be read, the service is not there, or the cluster does not answer.
    """
    if asked.report:
        from drover_operator.cli import bundle

        return Outlook(forecasts=await bundle.replayed(bundle.read(asked.report), asked.name))
    if asked.offline:
        return await _from_files(asked)
    async with connected(asked.where) as (client, namespace):
        if asked.files:
            return await _from_files_applied(client, asked, namespace)
        scene, notes = await stage(client, [(namespace, asked.name)], Counter(sys.stderr, "objects"))
        found = await foretold(client, scene, service_of(scene, namespace, asked.name))
        return Outlook(forecasts=[replace(found, notes=(*notes, *found.notes))], scene=scene)


def service_of(scene: Scene, namespace: str, name: str) -> ManagedService:
    """The service of that name in the scene."""
    return cast(ManagedService, scene.caches[str(scene.controller.resource)].get((namespace, name)))


# --- files with a cluster


async def _from_files_applied(client: Client, asked: Asked, namespace: str) -> Outlook:
    """What the operator would do once these files were applied; nothing is."""
    wishes, others = sorted_out(manifests.read(asked.files, sys.stdin.buffer), namespace, asked=asked.where.namespace)
    scene = empty(keeper(), time.time())
    found = Outlook(left_out=left_out(others), scene=scene)
    await surround(scene, client, {wish.key for wish in wishes}, Counter(sys.stderr, "objects"))
    for wish in wishes:
        try:
            found.forecasts.append(await _wished(client, found, scene, wish))
        except Unfit as unfit:
            found.errors += unfit.lines
    return found


async def _wished(client: Client, found: Outlook, scene: Scene, wish: Wish) -> Forecast:
    now, then = await proposed(client, wish)
    service, problem = typed(then)
    if service is None:
        raise Unfit([f"msvc/{wish.name}: this version of the command cannot read what the API server makes of it ({problem})"])
    scene.put(scene.controller.resource, then)
    scene.raw[str(scene.controller.resource), wish.key] = now
    found.proposed[wish.key] = msgspec.json.decode(then)
    return replace(await foretold(client, scene, service), wished=True)


# --- files alone


async def _from_files(asked: Asked) -> Outlook:
    read = manifests.read(asked.files, sys.stdin.buffer)
    wishes, others = sorted_out(read, asked.where.namespace or "default", asked=asked.where.namespace)
    scene = empty(keeper(), time.time())
    beside = _put_around(scene, others, asked.where.namespace or "default")
    found = Outlook(left_out=left_out(beside), scene=scene)
    for wish in wishes:
        try:
            scene.put(scene.controller.resource, completed(wish))
        except Unfit as unfit:
            found.errors += unfit.lines
            continue
        step = await forecast(scene, service_of(scene, *wish.key), _accepted)
        found.forecasts.append(replace(step, wished=True, notes=(OFFLINE,)))
    return found


def _put_around(scene: Scene, objects: Iterable[dict[str, Any]], namespace: str) -> list[dict[str, Any]]:
    """The objects that the controller looks at are put into the scene; the others come back."""
    watched, left = resources(scene.controller), list[dict[str, Any]]()
    for each in objects:
        resource = watched.get((each.get("apiVersion", ""), each.get("kind", "")))
        if resource is None:
            left.append(each)
            continue
        body = {**each, "metadata": {"namespace": namespace, **(each.get("metadata") or {})}}
        try:
            scene.put(resource, msgspec.json.encode(body))
        except (msgspec.ValidationError, ValueError) as error:
            raise Failure(f"{resource.kind}/{body['metadata'].get('name', '?')} cannot be read: {sentence(error)}") from error
    return left


async def _accepted(action: Action) -> Result:
    return Result(action, verdict=Verdict(at=0.0))
