# SPDX-License-Identifier: Apache-2.0
"""A stub for all nodes: `python -m bench.nodes KUBECONFIG` marks every pod ready at once, bound or not, as its readiness gates allow.

One write a pod, or two where a gate comes later: as a kubelet does, it tells the containers' readiness apart from that of the pod. Containers
take a quarter of a second to start, which is quick: without it the stub would write before anybody could have opened a gate.
Rejected: kwok without a scheduler; it takes five times the CPU, which both sides would miss.
"""

import asyncio
import sys
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any

import msgspec

from bench.pods import SEEN, Pod
from drover_operator.api.meta import Object
from drover_operator.api.resource import PODS
from drover_operator.kube.auth import connect
from drover_operator.kube.cache import Cache, Key
from drover_operator.kube.client import Client
from drover_operator.kube.errors import KubeError
from drover_operator.kube.http import HttpTransport
from drover_operator.kube.reflector import Reflector
from drover_operator.kube.transport import JSON, Request
from drover_operator.observe import logs

WRITERS = 16
START = 0.25  # seconds from the moment when a pod is seen first


def wanted(pod: Pod) -> dict[str, Any] | None:
    """The status that this pod should have and has not, or None."""
    ready = all(pod.status.is_true(gate.condition_type) for gate in pod.spec.readiness_gates)
    if pod.status.is_true("ContainersReady") and pod.status.is_true("Ready") == ready:
        return None
    now = datetime.now(tz=UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    conditions = [{"type": "ContainersReady", "status": "True", "lastTransitionTime": now}]
    conditions.append({"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": now})
    uid = pod.metadata.uid.replace("-", "")
    address = f"10.{int(uid[:2], 16)}.{int(uid[2:4], 16)}.{int(uid[4:6], 16)}"
    return {"phase": "Running", "conditions": conditions, "podIP": address, "podIPs": [{"ip": address}], "startTime": now}


async def _confirm(client: Client, pod: Pod) -> None:
    """The end of a pod's containers: it is gone now."""
    meta = pod.metadata
    body = msgspec.json.encode({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid}})
    await client.transport.send(Request(method="DELETE", path=SEEN.path(meta.namespace, meta.name), body=body, headers={"Content-Type": JSON}))


async def _play(client: Client, cache: Cache[Pod], changed: asyncio.Queue[Key]) -> None:
    """Give each pod that changed what it should have; what cannot be written is gone, or changed: its next event comes."""
    while True:
        pod = cache.get(await changed.get())
        with suppress(KubeError):
            if pod is not None and pod.metadata.deletion_grace_period_seconds:
                await _confirm(client, pod)
            elif pod is not None and not pod.leaving and (status := wanted(pod)) is not None:
                body = {"metadata": {"uid": pod.metadata.uid}, "status": status}
                await client.patch(PODS, pod.metadata.namespace, pod.metadata.name, body, subresource="status", strategic=True)


async def run(kubeconfig: str) -> None:
    """Play nodes until killed."""
    client = Client(HttpTransport(connect(kubeconfig), agent="bench-nodes"))
    cache: Cache[Pod] = Cache(SEEN, lambda pod: pod.metadata.key)
    changed: asyncio.Queue[Key] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen(key: Key | None, old: Object | None, new: Object | None) -> None:
        if key is None or not isinstance(new, Pod):
            return
        if old is None:
            loop.call_later(START, changed.put_nowait, key)
        elif new.leaving or new.status.is_true("ContainersReady"):
            changed.put_nowait(key)

    cache.listen(listen)
    async with asyncio.TaskGroup() as group:
        group.create_task(Reflector(client, cache, random=Random(1)).run())
        for _ in range(WRITERS):
            group.create_task(_play(client, cache, changed))


if __name__ == "__main__":
    logs.configure("console", "warning")
    asyncio.run(run(sys.argv[1]))
