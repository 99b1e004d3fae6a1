# SPDX-License-Identifier: Apache-2.0
"""Everybody else: an administrator and an ordinary account who write what the fence looks at, without a pause. `python -m api.harness.bystander TASK`.

A write begins every `pause` seconds until STOP, whatever became of those before it: of each user to each resource in turn, and by each way
to the API servers. An object is made, patched so many times and deleted; what became of each write is in the records.
"""

import asyncio
import itertools
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from api.harness.program import STOP, task, tell
from api.harness.zombie import SPEC, Record, outcome

from drover_operator.api.resource import CONFIG_MAPS, MANAGED_SERVICES, PODS, Resource
from drover_operator.kube.auth import connect
from drover_operator.kube.client import Client, Written
from drover_operator.kube.errors import KubeError
from drover_operator.kube.http import HttpTransport

OURS = {"drover.dev/service": "nobody"}  # the label by which the fence chooses pods
SERVICE = {"criticality": "Normal", "replicas": 0, "template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}
BODIES: dict[str, tuple[Resource[Any], dict[str, Any]]] = {
    "configmaps": (CONFIG_MAPS, {"kind": "ConfigMap", "data": {"a": "b"}}),
    "pods": (PODS, {"kind": "Pod", "metadata": {"labels": OURS}, "spec": SPEC}),
    "managedservices": (MANAGED_SERVICES, {"kind": "ManagedService", "spec": SERVICE}),
}
PATCHES = {"configmaps": 8, "pods": 8, "managedservices": 40}  # in the life of one: a new service gives the operator much to do


LANES = 4  # objects of each user and resource that are written to side by side


class Lane:
    """The writes of one user to one object after the other; one at a time."""

    def __init__(self, number: int, user: str, plural: str, clients: list[tuple[str, Client]], space: str) -> None:
        self._number, self._user, self._plural, self._clients, self._space = number, user, plural, clients, space
        self._resource, self._body = BODIES[plural]
        self._steps, self._uid = 0, ""
        self.busy = False

    async def step(self, records: list[Record]) -> None:
        """The next write."""
        patches = PATCHES[self._plural]
        life, step = divmod(self._steps, patches + 2)
        route, client = self._clients[(self._number + self._steps) % len(self._clients)]
        self._steps += 1
        name = f"{self._user}-{self._plural}-{self._number}-{life}"
        verb = "create" if not step else "patch" if step <= patches else "delete"
        self.busy, error, version, sent = True, None, 0, time.time()
        try:
            written = await self._write(client, verb, name)
            self._uid, version = written.uid, written.version
        except KubeError as caught:
            error = caught
        finally:
            self.busy = False
        became = outcome(error) if error is None else f"{outcome(error)}: {error}"
        records.append(Record(f"{self._user} {verb} {self._plural}", route, name, became, version, sent, time.time()))

    async def _write(self, client: Client, verb: str, name: str) -> Written:
        match verb:
            case "create":
                body = {"apiVersion": self._resource.api_version, **self._body, "metadata": {**self._body.get("metadata", {}), "name": name}}
                return await client.create(self._resource, self._space, body)
            case "patch":
                return await client.patch(self._resource, self._space, name, {"metadata": {"annotations": {"step": str(self._steps)}}})
            case _:
                return await client.delete(self._resource, self._space, name, uid=self._uid)


async def write_on(lanes: list[Lane], records: list[Record], pause: float, warm: int) -> None:
    """Begin a write every pause on the next lane that has none on its way, until STOP."""
    stop, turns = asyncio.Event(), itertools.cycle(lanes)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(STOP, stop.set)
    due, said = loop.time(), False
    async with asyncio.TaskGroup() as group:
        while not stop.is_set():
            lane = next((each for each in itertools.islice(turns, len(lanes)) if not each.busy), None)
            if lane is not None:
                lane.busy = True
                group.create_task(lane.step(records))
            if len(records) >= warm and not said:
                said = True
                tell("writing", written=len(records))
            due = max(due + pause, loop.time())
            await asyncio.sleep(due - loop.time())


async def main() -> None:
    """Write until STOP."""
    plan, records = task(), list[Record]()
    users = {user: connect(kubeconfig) for user, kubeconfig in plan["users"].items()}
    ways = {user: {route: HttpTransport(replace(each, server=url), agent=user) for route, url in plan["routes"].items()} for user, each in users.items()}
    clients = {user: [(route, Client(way, patience=0.0)) for route, way in some.items()] for user, some in ways.items()}
    kinds = itertools.product(range(LANES), users, BODIES)
    try:
        lanes = [Lane(number, user, plural, clients[user], plan["namespace"]) for number, (_, user, plural) in enumerate(kinds)]
        await write_on(lanes, records, plan["pause"], plan["warm"])
    finally:
        for way in (way for some in ways.values() for way in some.values()):
            await way.close()
    Path(plan["records"]).write_text(json.dumps([asdict(each) for each in records]))
    tell("done", records=plan["records"])


if __name__ == "__main__":
    asyncio.run(main())
