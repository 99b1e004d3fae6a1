# SPDX-License-Identifier: Apache-2.0
"""The simulated cluster: API server, actors and faults put together under the clock of the running loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from drover_operator.kube.errors import ApiError, api_error
from drover_operator.testing import patch as patches
from drover_operator.testing.actors import Actor
from drover_operator.testing.admission import Judgement, Mutation, Operation, Remove
from drover_operator.testing.apiserver import ApiServer, Write
from drover_operator.testing.connection import SimulatedTransport
from drover_operator.testing.controllers import EndpointSliceController, GarbageCollector, NamespaceController
from drover_operator.testing.disruption import DisruptionController
from drover_operator.testing.jobs import JobController
from drover_operator.testing.kinds import NODES, PODS, Kind, named, typed
from drover_operator.testing.kubelet import Kubelet
from drover_operator.testing.objects import Json
from drover_operator.testing.proxies import Proxies
from drover_operator.testing.quotacontroller import QuotaController
from drover_operator.testing.refusal import Refused, not_found
from drover_operator.testing.router import Router
from drover_operator.testing.rules import are_evaluated
from drover_operator.testing.scheduler import NodeController, Scheduler
from drover_operator.testing.storage import Version

T = TypeVar("T")

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
PERSON = "kubectl"
NAMESPACES_FROM_THE_START = ("default", "drover-system", "kube-system")
PODS_PER_NODE = 110
_POLL_SECONDS = 0.05
_PATIENT_AFTER = 10.0  # seconds; what takes minutes need not be known to the tenth of a second


class SimulatedCluster:
    """A deterministic Kubernetes cluster in this process: one seed, one history.

    Made inside a running loop, whose time is its clock: use `virtualtime.run`. Without `start()` the API server works and
    nobody acts. Objects that it hands out are shared with the storage: look at them, never change them. `start` is its wall clock,
    in seconds since the epoch, when the loop's time is 0.
    """

    def __init__(self, *, seed: int = 1, nodes: int = 3, start: float = START) -> None:
        self._loop = asyncio.get_running_loop()
        self._start = start
        self.server = ApiServer(self.now, seed)
        self.kubelet = Kubelet(self.server)
        self.scheduler = Scheduler(self.server, lambda node: self.kubelet.down_since(node) is not None)
        self.node_controller = NodeController(self.server, self.kubelet.down_since)
        self.endpoint_slices = EndpointSliceController(self.server)
        self.garbage_collector = GarbageCollector(self.server)
        self.quota_controller = QuotaController(self.server)
        self.proxies = Proxies(self.server, seed)
        self.router = Router(self.server)
        self._actors: tuple[Actor, ...] = (
            self.scheduler,
            self.kubelet,
            self.node_controller,
            self.endpoint_slices,
            self.garbage_collector,
            self.proxies,
            self.quota_controller,
            DisruptionController(self.server),
            self.router,
            JobController(self.server, lambda image: self.kubelet.behaviour_of((image,)).mode),
            NamespaceController(self.server),
        )
        self._transports: list[SimulatedTransport] = []
        self._api_down = False
        self._tasks: list[asyncio.Task[None]] = []
        self._stops: list[Callable[[], None]] = [actor.follow() for actor in self._actors]
        for name in NAMESPACES_FROM_THE_START:
            self.create_namespace(name)
        for number in range(1, nodes + 1):
            self.add_node(f"node-{number}", zone=f"zone-{'abc'[number % 3]}")
        self.writes.clear()

    async def start(self) -> None:
        """Start the actors."""
        self._tasks = [asyncio.create_task(actor.run(), name=type(actor).__name__) for actor in self._actors]

    async def stop(self) -> None:
        """Stop the actors; an actor that broke down raises here."""
        for task in self._tasks:
            task.cancel()
        results = await asyncio.gather(*self._tasks, return_exceptions=True)
        for stop in self._stops:
            stop()
        self._tasks, self._stops = [], []
        for result in results:
            if isinstance(result, Exception):
                raise result

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._start + self._loop.time()

    @property
    def writes(self) -> list[Write]:
        """Every mutating request so far, actors' included; filter by `user`."""
        return self.server.writes

    def transport(self, user: str = "admin") -> SimulatedTransport:
        """A new way in, as one process has it, with fault hooks of its own."""
        transport = SimulatedTransport(self.server, user)
        transport.down = "the API server is down" if self._api_down else None
        self._transports.append(transport)
        return transport

    @property
    def api_down(self) -> bool:
        """Whether no process can reach the API server; actors in the cluster work on."""
        return self._api_down

    @api_down.setter
    def api_down(self, is_down: bool) -> None:
        self._api_down = is_down
        for transport in self._transports:
            transport.down = "the API server is down" if is_down else None

    def compact(self) -> None:
        """Forget the history, so that watches from older versions get 410."""
        self.server.storage.compact()

    def on_change(self, resource: str, look: Callable[[], None]) -> None:
        """Call `look` after every change of a resource, before anybody else can act on it. It may look at everything, and write nothing."""
        self._stops.append(self.server.storage.subscribe(named(resource), lambda _: look()))

    @property
    def evaluates_rules(self) -> bool:
        """Whether CEL rules of custom resources are evaluated, which takes an optional library."""
        return are_evaluated()

    def mutate(self, resource: str, mutation: Mutation) -> Remove:
        """A mutating webhook: `mutation` makes of the old object (None on create) and the new one what is stored; answers how to remove it."""
        return self.server.registry.admission.mutate(resource, mutation)

    def refuse(
        self, resource: str, judgement: Judgement, *, name: str = "webhook.example.com", operations: tuple[Operation, ...] = ("CREATE", "UPDATE")
    ) -> Remove:
        """A validating webhook: `judgement` says of the old and the new object why not, or None; answers how to remove it."""
        return self.server.registry.admission.refuse(resource, judgement, name=name, operations=operations)

    def break_webhook(self, resource: str, *, name: str = "webhook.example.com") -> Remove:
        """A webhook that cannot be reached: creates and updates of the resource fail with 500 until it is removed."""
        return self.server.registry.admission.break_down(resource, name=name)

    def objects(self, resource: str, namespace: str = "") -> list[Json]:
        """The objects of a resource (plural, with or without group), sorted by namespace and name."""
        return [version.data for version in self.server.storage.items(named(resource), namespace)]

    def find(self, resource: str, namespace: str, name: str) -> Json | None:
        """An object, or None."""
        version = self.server.storage.get(named(resource), namespace, name)
        return version.data if version else None

    def get(self, resource: str, namespace: str, name: str) -> Json:
        """An object.

        Raises:
            NotFound: it is not there.
        """
        return self._version(named(resource), namespace, name).data

    def apply(self, obj: Json) -> Json:
        """Create or merge-patch an object, as a person with kubectl would."""
        kind, meta = typed(obj), obj["metadata"]
        namespace = meta.get("namespace", "default") if kind.namespaced else ""
        obj = {**obj, "metadata": {**meta, "namespace": namespace} if namespace else meta}
        existing = self.server.storage.get(kind, namespace, meta["name"])
        if existing is None:
            return self._as_person(lambda: self.server.create(kind, obj, user=PERSON)).data
        return self._as_person(lambda: self.server.patch(existing, obj, user=PERSON)).data

    def patch(self, resource: str, namespace: str, name: str, change: Json | list[Json], subresource: str = "") -> Json:
        """Patch an object as a person: a merge patch, or a JSON patch when it is a list."""
        version = self._version(named(resource), namespace, name)

        def changed(old: Json) -> Json:
            return patches.json_patch(old, change) if isinstance(change, list) else patches.merged(old, change)

        return self._as_person(lambda: self.server.patch(version, changed, user=PERSON, subresource=subresource)).data

    def delete(self, resource: str, namespace: str, name: str, *, grace: int | None = None, propagation: str = "Background") -> None:
        """Delete an object as a person."""
        version = self._version(named(resource), namespace, name)
        self._as_person(lambda: self.server.delete(version, user=PERSON, grace=grace, propagation=propagation))

    def scale(self, namespace: str, name: str, replicas: int, resource: str = "managedservices") -> None:
        """What `kubectl scale` does, but through spec.replicas itself."""
        self.patch(resource, namespace, name, {"spec": {"replicas": replicas}})

    def create_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """A new namespace."""
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels or {}}})

    def add_node(self, name: str, *, zone: str = "zone-a", pods: int = PODS_PER_NODE) -> None:
        """A new node that is ready."""
        labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "spec": {}})
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": self.server.registry.now()}
        room = {"pods": str(pods)}
        self.patch("nodes", "", name, {"status": {"capacity": room, "allocatable": room, "conditions": [ready]}}, "status")

    def set_image_behaviour(self, image: str, mode: str = "normal", *, start_delay: float | None = None, ready_after: float = 0.0) -> None:
        """What containers of that image do; see `Behaviour` for the modes."""
        self.kubelet.set_behaviour(image, mode, start_delay=start_delay, ready_after=ready_after)

    def node_down(self, name: str) -> None:
        """Cut a node off: its pods freeze, after 40 s they are not ready, after 300 s more they are deleted but stay."""
        self._version(NODES, "", name)
        self.kubelet.node_down(name)
        self.node_controller.lost(name)

    def node_up(self, name: str, *, rebooted: bool = False) -> None:
        """Bring a node back, with its containers still running or started anew."""
        self.kubelet.node_up(name, rebooted=rebooted)

    def remove_node(self, name: str) -> None:
        """Delete a node for good; 40 s later its pods are ended by force."""
        self.kubelet.node_down(name)
        self.delete("nodes", "", name)

    def evict(self, namespace: str, pod: str) -> None:
        """The node runs short and ends a running pod: phase Failed, reason Evicted, the name stays taken."""
        self.kubelet.evict(self._version(PODS, namespace, pod))

    def restart_containers(self, namespace: str, pod: str) -> None:
        """All containers of a running pod end and start anew."""
        self.kubelet.restart(self._version(PODS, namespace, pod))

    async def until(self, holds: Callable[[], bool], timeout: float = 60.0) -> float:
        """Wait until something holds; answers how many virtual seconds it took.

        Raises:
            TimeoutError: it did not in time.
        """
        begin = self._loop.time()
        while not holds():
            waited = self._loop.time() - begin
            if waited > timeout:
                raise TimeoutError(f"it did not hold within {timeout:g} simulated seconds")
            await asyncio.sleep(_POLL_SECONDS if waited < _PATIENT_AFTER else 10 * _POLL_SECONDS)
        return self._loop.time() - begin

    def _version(self, kind: Kind, namespace: str, name: str) -> Version:
        version = self.server.storage.get(kind, namespace, name)
        if version is None:
            raise _as_api_error(not_found(kind, name))
        return version

    def _as_person(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        except Refused as refused:
            raise _as_api_error(refused) from None


def _as_api_error(refused: Refused) -> ApiError:
    return api_error(refused.code, refused.reply.body)
