# SPDX-License-Identifier: Apache-2.0
"""What `kubectl drover plan` says against what the operator then does, at random points of random flows.

The operator is ended, as by a crash, and the cluster stands still. Then the command looks, by the code that the user runs, and a new
operator takes one step: every write that reaches the API server is taken down. Then it decides no more, so that one step is one plan. By
the clock that is decided by, no time passes between the two.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import msgspec
from scenarios.strategies import STRATEGIES, rollout
from scenarios.world import NAMESPACE, listen_for_errors, service

from drover_controllers.service import CONTROLLER
from drover_operator.cli.asking import foretold, stage
from drover_operator.cli.bundle import replayed, taken
from drover_operator.cli.forecast import document
from drover_operator.cli.planning import service_of
from drover_operator.kube.client import Client
from drover_operator.kube.errors import ApiError
from drover_operator.kube.transport import STRATEGIC_PATCH, Reply, Request
from drover_operator.runtime.engine import Engine, Setting
from drover_operator.runtime.registry import Controller
from drover_operator.testing import Host, SimulatedCluster, virtualtime

Json = dict[str, Any]
NAMES = ("web", "api")
BAD = "app:bad"
REFUSED = {"spec": {"containers": [{"name": "server", "image": "app:1", "noSuchField": 1}]}}  # a dry run says so
SECRET = "correct-horse-battery"
REPORTED = 0.1  # of the looks are reported and replayed, too
OFTEN = 4  # how much more often people roll out and scale than anything else happens
RESOURCES = {each.resource.path("NS").replace("/NS", f"/{NAMESPACE}"): str(each.resource) for each in (*CONTROLLER.watches, CONTROLLER)}
PAUSES = (0.0, 0.004, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.6, 2.1, 2.5, 3.0, 5.0, 9.0, 20.0, 35.0)
INSTANT = 0.1  # seconds of the loop; a step of several passes needs some, and for whom it takes the wall clock stands still
BOOKS = ("/leases", "/events")


class Step:
    """An operator that takes one step for each service: one that has acted is not decided again."""

    def __init__(self, cluster: SimulatedCluster, clock: Callable[[], float]) -> None:
        self.requests: list[tuple[Request, int]] = []
        self._acted: set[str] = set()
        self._transport = cluster.transport(user="operator")
        self._transport.faults.latency = 0.0
        self._transport.faults.after = self._after
        self._operator = Crew(clock, self._transport, Random(1), replace(CONTROLLER, gather=self._gather))

    def _gather(self, item: Any, view: Any) -> Any:
        return None if item.metadata.name in self._acted else CONTROLLER.gather(item, view)

    def _after(self, request: Request, reply: Reply) -> Reply:
        if request.mutating and not any(each in request.path for each in BOOKS):
            self.requests.append((request, reply.status))
            if is_effect(request):
                self._acted.add(owner(request))
        return reply

    async def take(self, seconds: float) -> None:
        """Begin, and end after so many seconds."""
        self._operator.start()
        await asyncio.sleep(INSTANT + seconds)
        await self._operator.end()


class Crew:
    """The engine with its caches, without an election."""

    def __init__(self, clock: Callable[[], float], transport: Any, random: Random, controller: Controller = CONTROLLER) -> None:
        client = Client(transport)
        self._transport = transport
        self._engine = Engine(controller, client, client, Setting(clock=clock, random=random, workers=4))
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._engine.follow()), asyncio.create_task(self._engine.lead())]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended
        self._transport.cut()


def owner(request: Request) -> str:
    """The service that a write is for, by the name of its object."""
    name = json.loads(request.body)["metadata"]["name"] if request.method == "POST" else parts(request)[1]
    return name.partition("-")[0]


def parts(request: Request) -> tuple[str, str, str]:
    """Resource, name and subresource of the path."""
    collection = next(each for each in RESOURCES if request.path == each or request.path.startswith(each + "/"))
    name, _, below = request.path.removeprefix(collection).strip("/").partition("/")
    return RESOURCES[collection], name, below


def is_status(request: Request) -> bool:
    resource, _, below = parts(request)
    return resource == str(CONTROLLER.resource) and below == "status"


def is_effect(request: Request) -> bool:
    return not is_status(request) and "dryRun" not in request.query


def as_told(request: Request) -> Json:
    """A write in the words of the plan."""
    resource, name, below = parts(request)
    body = json.loads(request.body)
    match request.method:
        case "POST":
            return {"kind": "Create", "resource": resource, "name": body["metadata"]["name"], "body": body}
        case "DELETE":
            return {"kind": "Delete", "resource": resource, "name": name, **body["preconditions"]}
        case _:
            meta = body["metadata"]
            seen = {each: meta.pop(each) for each in ("uid", "resourceVersion") if each in meta}
            strategic = request.headers["Content-Type"] == STRATEGIC_PATCH
            told = {**body, "metadata": meta} if meta else {key: value for key, value in body.items() if key != "metadata"}
            return {"kind": "Patch", "resource": resource, "name": name, **seen, "subresource": below, "strategic": strategic, "body": told}


def foretold_write(action: Json) -> Json:
    """An action of the plan without what is said about it."""
    return {key: value for key, value in action.items() if key not in ("id", "step", "reason", "namespace", "warning", "answer")}


def same(told: Json, done: Json) -> bool:
    """A version that could not be known is not compared."""
    return told == {key: value for key, value in done.items() if key in told}


def compare(plan: Json, step: Step) -> None:
    """The writes of the step must be the plan: its stages in order, within a stage in any order, and nothing else."""
    mine = [(request, code) for request, code in step.requests if owner(request) == plan["name"]]
    asked = [each for each in mine if "dryRun" in each[0].query]
    assert [foretold_write(each)["body"] for part in plan["stages"] if part["does"] == "Ask" for each in part["actions"]] == [
        json.loads(request.body) for request, _ in asked
    ]
    done = _folded([(as_told(request), code) for request, code in mine if is_effect(request)])
    stored = [request for request, _ in mine if "dryRun" not in request.query]
    for part in plan["stages"]:
        if part["does"] == "Remember":
            _compare_memory(part["status"], stored.pop(0))
        if part["does"] != "Act":
            continue
        wanted = [foretold_write(each) for each in part["actions"]]
        got, done = done[: len(wanted)], done[len(wanted) :]
        assert len(got) == len(wanted) and all(any(same(each, write) for write, _ in got) for each in wanted), ("planned", wanted, "done", got)
        if any(code >= 300 for _, code in got):
            return  # what follows a refusal is decided anew: another step
    assert done == [], ("not planned", done)


def _folded(done: list[tuple[Json, int]]) -> list[tuple[Json, int]]:
    """Creates with the status that is patched into them right after, as the plan tells them."""
    folded: list[tuple[Json, int]] = []
    made: dict[str, Json] = {}
    for told, code in done:
        if told["kind"] == "Patch" and "resourceVersion" not in told and told["name"] in made:
            made.pop(told["name"])["status"] = told["body"]["status"]
            continue
        if told["kind"] == "Create":
            made[told["name"]] = told
        folded.append((told, code))
    return folded


def _compare_memory(told: Json, write: Request) -> None:
    """It is stored before anything is done; where a rollout gets two steps further at once, in two writes."""
    assert is_status(write)
    status = json.loads(write.body)["status"]
    assert told == {key: status[key] for key in told}


def ids(plan: Json) -> Json:
    """A plan without what a report leaves out."""
    stages = [[part["does"], [(each["id"], each["step"], each["reason"]) for each in part.get("actions", ())]] for part in plan["stages"]]
    return {"stages": stages, "waits": plan["waits"], "wakeAfterSeconds": plan["wakeAfterSeconds"]}


class Flow:
    """One cluster from one seed: acts of people and of chance, and between them the operator, until somebody looks."""

    def __init__(self, seed: int, looks: int, tally: Counter[str], acts: Sequence[str] = ()) -> None:
        self.chance = Random(seed)
        self.tally = tally
        self.trail: list[str] = []
        self._acts = acts or ANYTHING
        self._looks = looks
        self._seed = seed
        self._rotation = 0
        self._image = dict.fromkeys(NAMES, 1)
        self._spec: dict[str, Json] = {name: self._begin() for name in NAMES}
        self._specs: set[tuple[str, int]] = set()

    def _begin(self) -> Json:
        chance = self.chance
        surge, unavailable = chance.choice([("25%", 0), (1, 0), (0, 1), (2, 1), ("100%", 0), ("50%", "50%")])
        rolling = {"maxSurge": surge, "maxUnavailable": unavailable, "minReady": chance.choice(["0s", "0s", "2s"])}
        restart = {"settle": chance.choice(["0s", "2s", "2s"]), "drainTimeout": chance.choice(["0s", "30s"])}
        return {"replicas": chance.randint(1, 6), "rollout": self._waves(rolling), "restart": restart, "revisionHistoryLimit": 1}

    def _waves(self, rolling: Json) -> Json:
        """Any strategy with settings by chance; how instances are replaced on the way stays as it was."""
        name = self.chance.choice(list(STRATEGIES))
        return rollout(name, STRATEGIES[name].by_chance(self.chance), progressDeadline="30s", rolling=rolling)

    def play(self) -> None:
        listen_for_errors()
        virtualtime.run(self._play)

    async def _play(self) -> None:
        self.cluster = SimulatedCluster(seed=self._seed, nodes=3)
        self.cluster.create_namespace(NAMESPACE)
        self.cluster.set_image_behaviour(BAD, "never-ready")
        self._actors = Host()
        await self._actors.run(self.cluster.start())
        self._apply("web")
        try:
            for _ in range(self._looks):
                await self._free()
                await self._look()
        finally:
            self._actors.thaw()
            await self.cluster.stop()
            self.tally["specs"] += len(self._specs)

    async def _free(self) -> None:
        """The operator works, or is away, while something happens."""
        operator = Crew(self.cluster.now, self.cluster.transport(user="operator"), Random(self.chance.random()))
        away = self.chance.random() < 0.4
        if not away:
            operator.start()
        pause = self.chance.choice(PAUSES)
        await asyncio.sleep(self.chance.choice((0.0, pause)))
        for _ in range(self.chance.choice((0, 1, 1, 1, 2))):
            self._act()
        await asyncio.sleep(self.chance.uniform(0.3, 1.0) * pause)
        if not away:
            await operator.end()
        self.trail.append(f"{'away' if away else 'working'} for {pause} s")
        await asyncio.sleep(0.01)  # what it had sent arrives

    async def _look(self) -> None:
        self._actors.freeze()
        transport = self.cluster.transport()
        transport.faults.latency = 0.0
        client = Client(transport)
        found = [item["metadata"] for name in NAMES if (item := self.cluster.find("managedservices", NAMESPACE, name))]
        self._specs |= {(each["uid"], each["generation"]) for each in found}
        plans = [await self._plan(client, each["name"]) for each in found]
        for plan in plans:
            if self.chance.random() < REPORTED:
                await self._replay(client, plan)
        seconds, now = self._calm(plans), self.cluster.now()
        step = Step(self.cluster, self.cluster.now if seconds else lambda: now)
        await step.take(seconds)
        for plan in plans:
            compare(plan, step)
            self._count(plan)
        self._actors.thaw()

    async def _replay(self, client: Client, plan: Json) -> None:
        """A report that is taken now has no secret in it, and decides the same as the cluster with all its secrets."""
        text = msgspec.json.encode(await taken(client, [(NAMESPACE, plan["name"])], lambda _: None, self.cluster.now))
        assert SECRET.encode() not in text
        assert self.cluster.get("managedservices", NAMESPACE, plan["name"])["metadata"]["uid"].encode() not in text
        again = json.loads(msgspec.json.encode(document((await replayed(json.loads(text)))[0])))
        assert ids(again) == ids(plan), "the report decides otherwise"
        self.tally["replayed"] += 1
        self.tally["replayed with effects"] += not plan["nothingToDo"]

    def _calm(self, plans: list[Json]) -> float:
        """How long nothing may happen, in seconds: until the operator said that it would look again."""
        if not all(each["nothingToDo"] for each in plans):
            return 0.0
        return max(0.0, min([self.chance.choice((0.0, 3.0)), *(each["wakeAfterSeconds"] - INSTANT - 0.06 for each in plans if each["wakeAfterSeconds"])]))

    async def _plan(self, client: Client, name: str) -> Json:
        scene, notes = await stage(client, [(NAMESPACE, name)], lambda _: None, self.cluster.now)
        assert not notes, notes
        return json.loads(msgspec.json.encode(document(await foretold(client, scene, service_of(scene, NAMESPACE, name)))))

    def _count(self, plan: Json) -> None:
        does = [part["does"] for part in plan["stages"]]
        acts = {
            each["id"].partition("/")[0] + ("/status" if each.get("subresource") else "")
            for part in plan["stages"]
            if part["does"] == "Act"
            for each in part["actions"]
        }
        self.tally.update({"scenarios", *(each for each in does if each != "Act"), *acts})
        self.tally["with effects"] += bool(acts)
        self.tally[f"{self._spec[plan['name']]['rollout']['type']} with effects"] += bool(acts)
        self.tally["several stages"] += does.count("Act") > 1
        self.tally["nothing to do"] += plan["nothingToDo"]
        self.tally["waits"] += bool(plan["waits"])
        self.tally.update({each["reason"] for each in plan["waits"]})

    # -- what people and chance do
    def _act(self) -> None:
        name = self.chance.choice(("web", "web", "web", "api"))
        what = self.chance.choice(self._acts)
        self.trail.append(f"{what} {name}")
        try:
            ACTS[what](self, name)
        except (ApiError, LookupError):
            self.trail.append("(could not)")

    def _apply(self, name: str, **change: Any) -> None:
        spec = self._spec[name]
        spec |= change
        body = service(name, **{"image": f"app:{self._image[name]}", **spec})
        secret = {"name": "DB_PASSWORD", "value": f"{SECRET}{self._rotation}"}
        body["spec"]["template"] = {
            "metadata": {"annotations": {"note": SECRET}},
            "spec": {"containers": [{**each, "env": [secret]} for each in body["spec"]["template"]["spec"]["containers"]]},
        }
        self.cluster.apply({**body, "spec": {"pin": None, **body["spec"]}})

    def _image_of(self, name: str) -> None:
        self._image[name] = self.chance.randint(1, 5)
        for field in ("image", "template"):
            self._spec[name].pop(field, None)
        self._apply(name)

    def _all_well(self, name: str) -> None:
        """Nothing holds the service up any more, and it rolls on."""
        for number in (1, 2, 3):
            self.cluster.node_up(f"node-{number}")
        self._spec[name] |= {"paused": False, "pin": None}
        self._image_of(name)

    def _strategy(self, name: str) -> None:
        self._apply(name, rollout=self._waves(self._spec[name]["rollout"]["rolling"]))

    def _hand(self, name: str, **notes: str | None) -> None:
        """What the verbs that steer write."""
        self.cluster.patch("managedservices", NAMESPACE, name, {"metadata": {"annotations": {f"drover.dev/{key}": note for key, note in notes.items()}}})

    def _promote(self, name: str) -> None:
        memory = self.cluster.get("managedservices", NAMESPACE, name)["status"]["rollout"]
        self._hand(name, promoted=f"{memory['target']}/{memory.get('step', 0) + self.chance.choice((1, 1, 100))}/{memory['begunAt']}")

    def _abort(self, name: str) -> None:
        self._hand(name, aborted=self.cluster.get("managedservices", NAMESPACE, name)["status"]["rollout"]["target"])

    def _retry(self, name: str) -> None:
        self._hand(name, aborted=None, retried=str(self.cluster.now()))

    def _pod(self, name: str) -> str:
        return self.chance.choice([p["metadata"]["name"] for p in self.cluster.objects("pods", NAMESPACE) if p["metadata"]["name"].startswith(f"{name}-")])

    def _pin(self, name: str) -> None:
        known = [each["metadata"]["name"] for each in self.cluster.objects("controllerrevisions", NAMESPACE) if each["metadata"]["name"].startswith(f"{name}-")]
        pin = self.chance.choice([None, {"revision": self.chance.choice([*known, f"{name}-none"])}])
        self._apply(name, pin=pin)

    def _rotate(self, name: str) -> None:
        """A rollout of nothing but another secret."""
        self._rotation = self.chance.randint(0, 3)
        self._apply(name)

    def _rename(self, name: str) -> None:
        self._apply(name, version=f"v{self.chance.randint(1, 9)}")

    def _drift(self, resource: str, changes: list[Json]) -> Callable[[str], None]:
        return lambda name: self.cluster.patch(resource, NAMESPACE, name, self.chance.choice(changes)) and None

    def _node(self, _name: str) -> None:
        node = f"node-{self.chance.randint(1, 3)}"
        self.cluster.node_up(node) if self.chance.random() < 0.6 else self.cluster.node_down(node)

    def _rival(self, name: str) -> None:
        ports = [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}]
        meta = {"name": name, "namespace": NAMESPACE}
        self.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"app": name}, "ports": ports}})


ACTS: dict[str, Callable[[Flow, str], None]] = {
    "image": Flow._image_of,
    "bad image": lambda flow, name: flow._apply(name, image=BAD),
    "refused": lambda flow, name: flow._apply(name, template=REFUSED),
    "scale": lambda flow, name: flow._apply(name, replicas=flow.chance.randint(0, 7)),
    "pause": lambda flow, name: flow._apply(name, paused=flow.chance.random() < 0.5),
    "pin": Flow._pin,
    "strategy": Flow._strategy,
    "promote": Flow._promote,
    "abort": Flow._abort,
    "retry": Flow._retry,
    "version": Flow._rename,
    "secret": Flow._rotate,
    "ports": lambda flow, name: flow._apply(name, ports=flow.chance.choice([[], [], [{"name": "http", "port": 80}], [{"name": "web", "port": 81}]])),
    "history": lambda flow, name: flow._apply(name, revisionHistoryLimit=flow.chance.choice([1, 2, 10])),
    "adopt": lambda flow, name: flow._apply(name, adopt=True),
    "delete": lambda flow, name: flow.cluster.delete("managedservices", NAMESPACE, name),
    "evict": lambda flow, name: flow.cluster.evict(NAMESPACE, flow._pod(name)),
    "lose a pod": lambda flow, name: flow.cluster.delete("pods", NAMESPACE, flow._pod(name)),
    "restart": lambda flow, name: flow.cluster.restart_containers(NAMESPACE, flow._pod(name)),
    "node": Flow._node,
    "labels of a pod": lambda flow, name: flow.cluster.patch("pods", NAMESPACE, flow._pod(name), {"metadata": {"labels": {"drover.dev/slot": "77"}}}) and None,
    "owner of a pod": lambda flow, name: flow.cluster.patch("pods", NAMESPACE, flow._pod(name), {"metadata": {"ownerReferences": []}}) and None,
    "Service edited": lambda flow, name: flow._drift("services", [{"spec": {"selector": {"x": "y"}}}, {"metadata": {"ownerReferences": []}}])(name),
    "Service deleted": lambda flow, name: flow.cluster.delete("services", NAMESPACE, name),
    "budget edited": lambda flow, name: flow._drift(
        "poddisruptionbudgets", [{"spec": {"maxUnavailable": 4}}, {"metadata": {"labels": {"drover.dev/managed-by": "x"}}}]
    )(name),
    "budget deleted": lambda flow, name: flow.cluster.delete("poddisruptionbudgets", NAMESPACE, name),
    "finalizer": lambda flow, name: flow._drift("managedservices", [{"metadata": {"finalizers": []}}])(name),
    "status cleared": lambda flow, name: flow.cluster.patch("managedservices", NAMESPACE, name, {"status": None}, "status") and None,
    "rival": Flow._rival,
    "all well": Flow._all_well,
}
ANYTHING = (*ACTS, "ports", *("image", "scale", "all well", "promote") * OFTEN)
# What people do to a spec and to a rollout, and nothing else: no faults. Changes of the template come most often, because they begin a rollout.
WISHES = (*("all well", "scale", "promote") * 4, *("image", "pin", "strategy") * 2, "bad image", "pause", "abort", "retry", "refused", "secret")
LOOKS_AT_A_SPEC = 12


def by_wish(seed: int) -> Counter[str]:
    """Random specs of every strategy, and what people then change, scale, pin and steer: each look is compared. An error tells what happened."""
    tally: Counter[str] = Counter({"seeds": 1})
    flow = Flow(seed, LOOKS_AT_A_SPEC, tally, WISHES)
    try:
        flow.play()
    except BaseException as error:
        error.add_note(f"seed {seed}: {'; '.join(flow.trail)}")
        raise
    return tally
