# SPDX-License-Identifier: Apache-2.0
"""The world that sequences are played in: everything that goes wrong without raising is heard here.

Beside the invariants of all scenarios it checks the bounds of the status at every write, and listens to the log: a pass that fails with
a traceback, an object that the operator cannot read and a process that ends are failures, however well the service looks at the end.
"""

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Iterator
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import structlog
from scenarios.crew import Life, Operator
from scenarios.invariants import NAMESPACE, Invariants, Json

from drover_controllers.service.naming import place_of
from drover_operator.api.crd import Definition
from drover_operator.kube.errors import ApiError
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.engine import nobody
from drover_operator.testing import SimulatedCluster, validation

NAME = "web"
FLAPPING = "app:flap"
IMAGES = {"app:never": "never-ready", "app:crash": "crash", "app:fail": "fail", "app:pull": "pull-error", FLAPPING: "flap"}
SLOW, SLOW_SECONDS = "app:slow", 12.0
STATUS_BYTES, MESSAGE, LISTED = 128 * 1024, 1024, {"instances": 100, "history": 20, "plan": 20, "versions": 20, "conditions": 16}
# Looked at again at once, by design; no answer comes to the processes that a test has killed.
HARMLESS = ("the object has been modified", "not found", "is over: ", "no answer in 30 s", "the API server is down")
BOOKKEEPING = ("leases", "leases.coordination.k8s.io", "configmaps", "events.events.k8s.io")
FOREIGN_BACKEND = "legacy"  # of a route
STATUS_PATH = f"/managedservices/{NAME}/status"


# What services of the fuzz may name, as it stands before each trial; other names lead to nothing. Of the gates one is passed by whoever does not
# restart, one by whoever passes its Job, and one never: nobody answers.
STEADY, TESTED, SILENT = "fuzz", "fuzz1", "fuzz2"
WINDOW = ROUTE = "fuzz"
JOB: Json = {"template": {"spec": {"containers": [{"name": "test", "image": "app:1.0"}]}}}


def _ours(kind: str, name: str, **spec: Any) -> Json:
    return {"apiVersion": "drover.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


RULES: list[Json] = [{"name": "fuzz", "backendRefs": [{"name": NAME, "port": 80}]}]
FURNITURE: dict[str, Json] = {
    "releasegates/fuzz": _ours("ReleaseGate", STEADY, measure={"restarts": {}}, interval="2s"),
    "releasegates/fuzz1": _ours("ReleaseGate", TESTED, measure={"job": {**JOB, "timeout": "20s"}}),
    "releasegates/fuzz2": _ours("ReleaseGate", SILENT, measure={"http": {"url": "http://fuzz.example/"}}, interval="20s"),
    "maintenancewindows/fuzz": _ours("MaintenanceWindow", WINDOW, opens=[{"from": "00:00", "for": "24h"}]),
    "httproutes/fuzz": {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": ROUTE, "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": RULES},
    },
}


class Moot(Exception):
    """There is nothing that the operation could be done to."""


class Rules(Invariants):
    """The invariants of all scenarios, where a person may edit what they rest on.

    Pods are told apart by their names: the labels are the person's to break. The status is judged when the operator has written it. Of
    traffic nothing is asked: with a settle of 0 s requests may be lost, as declared.
    """

    def __init__(self, cluster: SimulatedCluster) -> None:
        super().__init__(cluster, NAME)
        self.most = 0
        self._born: set[str] = set()
        self.edited = False  # somebody wrote a history of his own

    def problem(self, text: str) -> None:
        """Note it once, under the name of this oracle."""
        if not any(f": {text} (" in each for each in self.problems):
            self.problems.append(f"invariant: {text} (at {self._cluster.now() % 86400:.3f} s)")

    def check(self) -> None:
        """After every change; after every so many when there are hundreds of pods: a look at all of them costs more than all else."""
        self.instants += 1
        if self.instants % (1 + len(self._born) // 50):
            return
        found = self._cluster.find("managedservices", NAMESPACE, NAME)
        if found is not None:
            self._specs.setdefault((found["metadata"]["uid"], found["metadata"]["generation"]), found["spec"])
        self._check_numbers()

    def _check_numbers(self) -> None:
        live = [pod for pod in self.live() if self._is_of_today(pod)]
        places = [place_of(pod["metadata"]["name"]) or pod["metadata"]["name"] for pod in live]
        if len(places) != len(set(places)):
            self.problem(f"a slot is filled twice: {sorted(map(str, places))}")
        born = {pod["metadata"]["uid"] for pod in self.pods()}
        if len(live) > self.most and born - self._born:  # those that leave may be kept after all: nothing is made then
            self.problem(f"{len(live)} instances, at most {self.most}")
        self._born = born

    def _is_of_today(self, pod: Json) -> bool:
        """Whether it belongs to the service that is there now; those of one that was torn away are for the garbage collector."""
        found = self._cluster.find("managedservices", NAMESPACE, NAME)
        return found is not None and any(owner["uid"] == found["metadata"]["uid"] for owner in pod["metadata"].get("ownerReferences", ()))

    def _check_traffic(self, name: str, uid: str) -> None:
        """See the class."""

    def told(self) -> None:
        """The operator has written the status."""
        found = self._cluster.find("managedservices", NAMESPACE, NAME)
        if found is None:
            return
        self._check_bounds(found["status"])
        if not self.edited:
            self._check_status()

    def _check_bounds(self, status: Json) -> None:
        if (size := len(msgspec.json.encode(status))) > STATUS_BYTES:
            self.problem(f"a status of {size} bytes")
        for name, most in LISTED.items():
            if len(status.get(name) or ()) > most:
                self.problem(f"{len(status[name])} {name}")
        for each in status.get("conditions", ()):
            if len(each.get("message", "")) > MESSAGE:
                self.problem(f"a message of {len(each['message'])} characters")

    def _reached(self, found: Json) -> bool:
        spec = found["spec"]
        return bool(spec.get("paused")) or self.serving(found["status"]["targetRevision"]) >= demanded(spec)

    def serving(self, revision: str) -> int:
        """Live instances of a revision, by name."""
        return sum(1 for pod in self.live() if (place_of(pod["metadata"]["name"]) or ("", 0))[0] == revision)


class Arena:
    """One cluster with one service `web`, declared whole each time, as GitOps does."""

    def __init__(self, seed: int, first: Json) -> None:
        self.cluster = SimulatedCluster(seed=seed, nodes=3)
        self.make_room()
        self.rules = Rules(self.cluster)
        self.operators: list[Operator] = []
        self.declared = first
        self._random = Random(seed)
        self._dies = ""
        self.sound: Json | None = None
        self._heard: list[str] = []
        self._seen = self._counted = self._kills = self._measured = 0
        self._told: Json = {}
        for image, mode in IMAGES.items():
            self.cluster.set_image_behaviour(image, mode)
        self.cluster.set_image_behaviour(SLOW, "normal", ready_after=SLOW_SECONDS)
        asyncio.get_running_loop().set_exception_handler(self._loop_trouble)

    # -- the operator
    def operator(self) -> None:
        """Start one, or one more."""
        name = f"op-{len(self.operators) + 1}"
        self.operators.append(Operator(self.cluster, name, Random(self._random.random()), connect=self._connect, outside=nobody))

    def die(self, when: str) -> None:
        """Kill the process at its next write: `before` it arrives, or `after` it was applied and before the reply."""
        self._dies = when

    def _connect(self, life: Life) -> None:
        life.transport.faults.before = lambda request: self._before(life, request)
        life.transport.faults.after = lambda request, reply: self._after(life, request, reply)

    def _before(self, life: Life, request: Request) -> Reply | BaseException | None:
        return ConnectionError("the process is dead") if self._killed(life, request, "before") else None

    def _after(self, life: Life, request: Request, reply: Reply) -> Reply | BaseException:
        if request.path.endswith(STATUS_PATH) and reply.status < 300:
            self.rules.told()
            self._note()
        self._killed(life, request, "after")
        return reply

    def _note(self) -> None:
        """What was told of gates alone is no unrest: those of a whole rollout are measured until its end, however long it waits."""
        status = self.status()
        told = {**status, "rollout": {key: value for key, value in status.get("rollout", {}).items() if key != "checks"}}
        self._measured += told == self._told
        self._told = told

    def _killed(self, life: Life, request: Request, when: str) -> bool:
        if self._dies != when or not request.mutating or "leases" in request.path or "events" in request.path:
            return False
        self._dies = ""
        self._kills += 1
        life.kill()
        return True

    def _loop_trouble(self, _: asyncio.AbstractEventLoop, context: Json) -> None:
        self._heard.append(f"loop: {context['message']}: {context.get('exception')!r}")

    @property
    def problems(self) -> list[str]:
        """What was seen that must never be."""
        lives = [life for each in self.operators for life in each.lives]
        deaths = [f"process: it ended with {life.died_of!r}" for life in lives if life.died_of is not None]
        if sum(life.over.is_set() for life in lives) > self._kills:
            deaths.append("process: it ended by itself")
        return [*self.rules.problems, *self._heard, *deaths]

    async def end(self) -> list[str]:
        """End everything; answers all the problems that there were."""
        problems = self.problems
        self._heard.clear()
        for each in self.operators:
            await each.end()
        await self.cluster.stop()
        return [*problems, *self._heard]

    # -- what is seen
    @property
    def object(self) -> Json | None:
        """The service as it is stored."""
        return self.cluster.find("managedservices", NAMESPACE, NAME)

    def status(self) -> Json:
        """Its status."""
        return (self.object or {}).get("status", {})

    def writes(self) -> int:
        """How many times the operator has changed an object, but for what it noted of measurements."""
        seen, self._seen = self._seen, len(self.cluster.writes)
        news = (self.cluster.writes[index] for index in range(seen, self._seen))
        self._counted += sum(1 for each in news if each.changed and each.user.startswith("drover:operator") and each.resource not in BOOKKEEPING)
        return self._counted - self._measured

    # -- what a person does
    def declare(self, manifest: Json, *, tried: bool = False, ruled: bool = True) -> None:
        """Replace labels, annotations and spec by these; create the service when it is not there.

        What comes after a template that is only `tried` starts from the one before it: with a broken one nothing else could be tried any
        more. Without the rules in CEL (not `ruled`) it is as if it had been stored before a rule existed.
        """
        sound = self.wish()
        self.make_room()
        before, self.rules.most = self.rules.most, max(self.rules.most, most_of(manifest))
        try:
            with contextlib.nullcontext() if ruled else patch.object(validation, "are_evaluated", lambda: False):
                self.declared = wish(self._replace(manifest))
        except ApiError:
            self.rules.most = before
            raise
        self.sound = sound if tried else None

    def make_room(self) -> None:
        """The namespace is there with its furniture, unless it is still going."""
        if self.cluster.find("namespaces", "", NAMESPACE) is None:
            self.cluster.create_namespace(NAMESPACE)
            self.furnish()

    def furnish(self) -> None:
        """Gates, window and route are as they were; but for weights, which are the operator's, and what is in a namespace that goes."""
        if "deletionTimestamp" in self.cluster.get("namespaces", "", NAMESPACE)["metadata"]:
            return
        for place, wanted in FURNITURE.items():
            plural, _, name = place.partition("/")
            found = self.cluster.find(plural, NAMESPACE, name)
            if found is None:
                self.cluster.apply(wanted)
            elif plural != "httproutes" or any(each["name"] == FOREIGN_BACKEND for rule in found["spec"]["rules"] for each in rule["backendRefs"]):
                self.cluster.patch(plural, NAMESPACE, name, [{"op": "add", "path": "/spec", "value": wanted["spec"]}])
        for each in self.cluster.objects("maintenancewindows", NAMESPACE):
            if each["metadata"]["name"] != WINDOW:
                self.cluster.delete("maintenancewindows", NAMESPACE, each["metadata"]["name"])
        if not self.cluster.router.accepts:
            self.accept_routes(accepts=True)

    def accept_routes(self, *, accepts: bool) -> None:
        """Whether the Gateway takes the route, and tells so."""
        self.cluster.router.accepts = accepts
        self.cluster.router.mark(f"{NAMESPACE}/{ROUTE}")

    def _replace(self, manifest: Json) -> Json:
        found = self.object
        if found is None:
            identity = {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService"}
            return self.cluster.apply({**identity, **manifest, "metadata": {**manifest["metadata"], "name": NAME, "namespace": NAMESPACE}})
        meta = {key: value for key, value in found["metadata"].items() if key not in ("labels", "annotations")}
        parts = [{"op": "add", "path": "/metadata", "value": {**meta, **manifest["metadata"]}}, {"op": "add", "path": "/spec", "value": manifest["spec"]}]
        return self.cluster.patch("managedservices", NAMESPACE, NAME, parts)

    def wish(self) -> Json:
        """What the next change starts from: what is declared now, or was last while the service is not there."""
        if self.sound is not None:
            return self.sound
        return self.declared if self.object is None else wish(self.object)


def body(definition: Definition, name: str, spec: Json) -> Json:
    """An object of one of our kinds in the namespace."""
    return {"apiVersion": "drover.dev/v1alpha1", "kind": definition.kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}


def wish(stored: Json) -> Json:
    """The part of an object that people declare."""
    meta = {key: stored["metadata"][key] for key in ("labels", "annotations") if key in stored["metadata"]}
    return {"metadata": meta, "spec": stored["spec"]}


def demanded(spec: Json) -> int:
    """The replica number within its bounds."""
    bounds = spec.get("scaling", {})
    return int(min(max(spec.get("replicas", 1), bounds.get("min", 0)), bounds.get("max", 10**6)))


def most_of(manifest: Json) -> int:
    """Most instances that the spec allows; any number when it cannot be read: it will be refused then."""
    try:
        rollout = manifest["spec"].get("rollout", {})
        count, surge = demanded(manifest["spec"]), rollout.get("rolling", {}).get("maxSurge", "25%")
        beside = count if rollout.get("type") in ("BlueGreen", "Canary", "ABTest") else 0  # two sets of full size
        return count + max(beside, surge if isinstance(surge, int) else -(-int(surge.rstrip("%")) * count // 100))
    except (TypeError, ValueError, AttributeError, KeyError):
        return 10**6


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """What the operator's log says of failures, while this is open."""
    heard: list[str] = []

    def hear(_logger: Any, _method: str, event: Any) -> Any:
        if event.get("exc_info"):
            heard.append(f"log: {event['event']}: {traceback.format_exc(limit=-3).strip()}")
        elif event["event"] in ("unreadable object", "pass failed") and not any(words in event["reason"] for words in HARMLESS):
            heard.append(f"log: {event['event']}: {event['reason']}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[hear], wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        yield heard
    finally:
        structlog.configure(**before)
