# SPDX-License-Identifier: Apache-2.0
"""Everybody else: an administrator and an ordinary account who write what the fence looks at, without a pause. `python -m api.harness.bystander TASK`.

Each of them keeps up one stream of writes to each resource, spread over all ways to the API servers in turn: an object is made, patched
eight times and deleted. The streams begin a write every `pause` seconds until STOP; what became of each is in the records.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from api.harness.program import STOP, task, tell
from api.harness.zombie import SPEC, Record, outcome

from drover_operator.api.resource import CONFIG_MAPS, MANAGED_SERVICES, PODS, Resource
from drover_operator.kube.auth import connect
from drover_operator.kube.client import Client
from drover_operator.kube.errors import KubeError
from drover_operator.kube.http import HttpTransport

OURS = {"drover.dev/service": "nobody"}  # the label by which the fence chooses pods
SERVICE = {"criticality": "Normal", "replicas": 0, "template": {"spec": {"containers": [{"name": "a", "image": "b"}]}}}
BODIES: dict[str, tuple[Resource[Any], dict[str, Any]]] = {
    "configmaps": (CONFIG_MAPS, {"kind": "ConfigMap", "data": {"a": "b"}}),
    "pods": (PODS, {"kind": "Pod", "metadata": {"labels": OURS}, "spec": SPEC}),
    "managedservices": (MANAGED_SERVICES, {"kind": "ManagedService", "spec": SERVICE}),
}
PATCHES = 8


class Stream:
    """The writes of one user to one resource."""

    def __init__(self, user: str, plural: str, clients: Mapping[str, Client], plan: dict[str, Any], records: list[Record]) -> None:
        self._user, self._plural, self._space = user, plural, plan["namespace"]
        self._resource, self._body = BODIES[plural]
        self._clients = itertools.cycle(clients.items())
        self._pause: float = plan["pause"]
        self._records = records
        self.made = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Begin a write every pause; one that takes longer than that delays the next."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for life in itertools.count():
            uid = ""
            for step in range(PATCHES + 2):
                if stop.is_set():
                    return
                uid = await self._write(f"{self._user}-{self._plural}-{life}", step, uid)
                due = max(due + self._pause, loop.time() - self._pause)
                await asyncio.sleep(due - loop.time())

    async def _write(self, name: str, step: int, uid: str) -> str:
        route, client = next(self._clients)
        verb = "create" if not step else "patch" if step <= PATCHES else "delete"
        sent, error, version = time.time(), None, 0
        try:
            if verb == "create":
                body = {"apiVersion": self._resource.api_version, **self._body, "metadata": {**self._body.get("metadata", {}), "name": name}}
                written = await client.create(self._resource, self._space, body)
            elif verb == "patch":
                written = await client.patch(self._resource, self._space, name, {"metadata": {"annotations": {"step": str(step)}}})
            else:
                written = await client.delete(self._resource, self._space, name, uid=uid)
            uid, version = written.uid, written.version
        except KubeError as caught:
            error = caught
        self._records.append(
            Record(f"{self._user} {verb} {self._plural}", route, name, f"{outcome(error)}: {error}" if error else outcome(None), version, sent, time.time())
        )
        self.made += 1
        return uid


async def main() -> None:
    """Write until STOP."""
    plan, stop, records = task(), asyncio.Event(), list[Record]()
    asyncio.get_running_loop().add_signal_handler(STOP, stop.set)
    users = {user: connect(kubeconfig) for user, kubeconfig in plan["users"].items()}
    ways = {user: {route: HttpTransport(replace(each, server=url), agent=user) for route, url in plan["routes"].items()} for user, each in users.items()}
    streams = [
        Stream(user, plural, {route: Client(way, patience=0.0) for route, way in some.items()}, plan, records)
        for user, some in ways.items()
        for plural in BODIES
    ]
    tasks = [asyncio.create_task(each.run(stop)) for each in streams]
    try:
        while not all(each.made >= plan["warm"] for each in streams) and not stop.is_set():
            await asyncio.wait(tasks, timeout=plan["pause"], return_when=asyncio.FIRST_EXCEPTION)
        tell("writing", streams=len(streams), written=len(records))
        await asyncio.gather(*tasks)
    finally:
        for some in ways.values():
            for way in some.values():
                await way.close()
    Path(plan["records"]).write_text(json.dumps([asdict(each) for each in records]))
    tell("done", records=plan["records"])


if __name__ == "__main__":
    asyncio.run(main())
