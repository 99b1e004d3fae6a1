# SPDX-License-Identifier: Apache-2.0
"""Forecasts from a running cluster: services with all around them, questions that are really asked, and what makes a forecast doubtful.

Nothing is stored: objects are listed, and questions are dry runs.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import msgspec

from drover_operator.api.builtin import Lease
from drover_operator.api.managedservice import ManagedService
from drover_operator.api.meta import Object, seconds_of
from drover_operator.api.resource import LEASES, MANAGED_SERVICES, PODS
from drover_operator.cli.cluster import Progress, one, typed
from drover_operator.cli.forecast import Forecast, forecast
from drover_operator.cli.layout import age
from drover_operator.cli.outcome import Failure
from drover_operator.cli.scene import Scene, empty, keeper, listed, surround
from drover_operator.core.plan import Action, Create, Verdict
from drover_operator.kube.cache import Key
from drover_operator.kube.client import Client
from drover_operator.kube.errors import KubeError, NotFound
from drover_operator.runtime.executor import Result, carry_out

LEASE_NAMESPACE, LEASE_PREFIX = "drover-system", "drover-operator-"
NO_RIGHT = "cannot create resource"  # in the refusal of somebody who has no right, as against those of policies and quotas
MOST_LOOKS = 3  # at a service that is being changed while it is read
FEW = 5  # services that are read one by one
MOST_NAMES = 20  # creates whose names are looked up
SILENT = 60.0  # seconds without a sign of the operator


@dataclass
class Asker:
    """Asks the API server what the operator would ask; `assumed` are the questions that this user has no right to ask."""

    client: Client
    now: float
    assumed: list[str] = field(default_factory=list[str])

    async def __call__(self, action: Action) -> Result:
        """The answer to one question; for `foresee`."""
        result = await carry_out(self.client, action, self.now)
        if result.verdict is None or NO_RIGHT not in result.verdict.message:
            return result
        self.assumed.append(action.step)
        return Result(action, verdict=Verdict(at=self.now))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed, in a sentence each."""
        return tuple(f"you have no right to ask the API server to {step}; that it would accept is assumed" for step in self.assumed)


async def stage(client: Client, keys: Collection[Key], progress: Progress, clock: Callable[[], float] = time.time) -> tuple[Scene, list[str]]:
    """These services with all around them, and what is to be said about that picture.

    Raises:
        Failure: a service is not there, or was written by another version.
        KubeError: the API server does not answer, or refuses.
    """
    scene, found, changed = await _looked(client, keys, progress, clock)
    for _ in range(1, MOST_LOOKS):
        if changed:
            scene, found, changed = await _looked(client, keys, progress, clock)
    for key in keys:
        service, problem = typed(found[key])
        if service is None:
            raise Failure(f"service '{key[1]}' was written by another version of Drover ({problem}): use kubectl drover of that version")
        scene.put(scene.controller.resource, found[key])
    return scene, [*scene.unread, *(f"{name} was changed while it was read, so this may be out of date already" for _, name in changed)]


async def _looked(client: Client, keys: Collection[Key], progress: Progress, clock: Callable[[], float]) -> tuple[Scene, dict[Key, bytes], list[Key]]:
    """One look: what is around the services, the services, and those that were changed meanwhile."""
    scene = empty(keeper(), clock())
    found = await _services(client, keys)
    await surround(scene, client, keys, progress)
    again = await _services(client, keys)
    return scene, found, [key for key in keys if found[key] != again[key]]


async def _services(client: Client, keys: Collection[Key]) -> dict[Key, bytes]:
    """The services as JSON; many of them are listed."""
    if len(keys) <= FEW:
        return {key: await one(client, *key) for key in keys}
    every = [each for namespace in sorted({space for space, _ in keys}) async for each in listed(client, MANAGED_SERVICES, namespace)]
    named = {msgspec.json.decode(each, type=Object).metadata.key: each for each in every}
    return {key: named[key] if key in named else await one(client, *key) for key in keys}


async def foretold(client: Client, scene: Scene, service: ManagedService) -> Forecast:
    """The forecast for a service in that scene, with notes on what it rests on; it may be as somebody wishes it to be.

    Raises:
        KubeError: the API server does not answer.
    """
    asker = Asker(client, scene.now)
    found = await forecast(scene, service, asker)
    was = scene.raw.get((str(scene.controller.resource), service.metadata.key))
    stored = typed(was)[0] if was else None
    notes = (*(behind(stored) if stored else ()), *await away(client, scene.now), *asker.notes)
    return replace(found, notes=notes, warnings=await obstacles(client, found.actions))


def behind(service: ManagedService) -> list[str]:
    """Whether the operator has not looked at the last change of a service that is stored."""
    meta, status = service.metadata, service.status
    if status.phase is None:
        return ["no operator has looked at this service yet; is it running?"]
    if status.observed_generation < meta.generation:
        return [f"the operator has not looked at the last change yet (generation {meta.generation}, seen {status.observed_generation}); is it running?"]
    return []


async def away(client: Client, now: float) -> list[str]:
    """Whether no operator holds its lease; silent where leases may not be read."""
    try:
        leases = [LEASES.decoder.decode(each) async for each in listed(client, LEASES, LEASE_NAMESPACE)]
    except (KubeError, msgspec.ValidationError):
        return []
    held = [_renewed(each) for each in leases if each.metadata.name.startswith(LEASE_PREFIX) and each.spec.holder_identity]
    if not held:
        return [f"no operator holds a lease in namespace {LEASE_NAMESPACE}: nothing is done until one runs"]
    silence = now - max(held)
    return [f"no operator has renewed its lease for {age(silence)}: nothing is done until one runs"] if silence > SILENT else []


def _renewed(lease: Lease) -> float:
    """When the lease was renewed, in seconds since the epoch; 0 when it does not say."""
    try:
        return seconds_of(datetime.fromisoformat(lease.spec.renew_time or "").astimezone(UTC))
    except ValueError:
        return 0.0


async def obstacles(client: Client, actions: Collection[Action]) -> Mapping[str, str]:
    """Creates whose name is taken, in a sentence each by the id of the action. Pods have names that nobody else makes."""
    found: dict[str, str] = {}
    for action in [each for each in actions if isinstance(each, Create) and each.resource != PODS][:MOST_NAMES]:
        try:
            there = (await client.get(action.resource, action.namespace, action.name)).metadata
        except NotFound:
            continue
        except KubeError:
            continue  # no right to look: then nothing is known about it
        if there.controller_uid() != action.owner_uid:
            whose = "another owner controls it" if there.controller_uid() else "nobody controls it"
            found[action.id] = f"{action.resource.kind} {action.name} is there already and {whose}"
    return found
