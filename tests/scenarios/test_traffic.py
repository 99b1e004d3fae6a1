# SPDX-License-Identifier: Apache-2.0
"""A canary whose weights a router gives: however late the router acts and however early it says so, no weight is ever on a backend without instances."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from scenarios.flows import by_hand, promote, started
from scenarios.world import NAMESPACE, World, play, service

from drover_operator.core.plan import Answer, Ask

Json = dict[str, Any]
TEN = 10
STEPS = [{"weight": 10}, {"weight": 50, "hold": "10s"}, {"pause": {}}]
FOREIGN = {"name": "other", "matches": [{"path": {"type": "PathPrefix", "value": "/other"}}], "backendRefs": [{"name": "elsewhere", "port": 80, "weight": 7}]}
DELAYS = [0.0, 0.3, 2.0, 10.0, 30.0, 60.0, 120.0]


def route(*rules: Json) -> Json:
    ours = {"name": "web", "backendRefs": [{"name": "web", "port": 80, "weight": 1}], "timeouts": {"request": "10s"}}
    body = {"parentRefs": [{"name": "gateway"}], "rules": list(rules) or [FOREIGN, ours]}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "shop", "namespace": NAMESPACE}, "spec": body}


def wish(image: str = "app:2.0", steps: Any = None, **rollout: Any) -> Json:
    canary = {"type": "Canary", "canary": {"steps": STEPS if steps is None else steps}, "progressDeadline": "10m", **rollout}
    return service(image=image, replicas=TEN, rollout=canary, traffic={"route": {"name": "shop", "rule": "web"}, "settle": "5s"})


class Requests:
    """What becomes of requests through the router at every instant: `problems`, and the `shares` of the new version in the order in which they came."""

    def __init__(self, world: World) -> None:
        self.problems: list[str] = []
        self.shares: list[int] = []
        self._world = world
        self._ended: set[str] = set()
        world.cluster.router.on_act = self._look
        before = world.cluster.kubelet.on_end

        def ended(pod: Any) -> None:
            self._ended.add(pod.uid)
            self._look()
            before(pod)

        world.cluster.kubelet.on_end = ended

    def _look(self) -> None:
        for name, pods in self._world.cluster.router.backends(NAMESPACE).items():
            if name == "elsewhere":
                continue
            if not pods:
                self._say(f"weight on {name}, which has nobody")
            elif pods & self._ended:
                self._say(f"{name} gets requests for instances that have ended")
        rule = self._world.cluster.router.rules.get((f"{NAMESPACE}/shop", "web"), {})
        now = 100 * rule.get(self._target(), 0) // (sum(rule.values()) or 1)
        if not self.shares or self.shares[-1] != now:
            self.shares.append(now)

    def _target(self) -> str:
        revisions = self._world.cluster.objects("controllerrevisions", NAMESPACE)
        return str(max(revisions, key=lambda each: each["revision"])["metadata"]["name"]) if len(revisions) > 1 else ""

    def _say(self, text: str) -> None:
        if text not in self.problems:
            self.problems.append(text)


def rules(world: World) -> list[Json]:
    return list(world.cluster.get("httproutes", NAMESPACE, "shop")["spec"]["rules"])


def weights(world: World) -> dict[str, int]:
    """The shares in percent."""
    refs = next(rule["backendRefs"] for rule in rules(world) if rule.get("name") == "web")
    return {each["name"]: 100 * each["weight"] // sum(one["weight"] for one in refs) for each in refs if each["weight"]}


def played(act: Callable[[World, Requests], Awaitable[None]], *, lag: float = 0.05, early: float = 0.0) -> Requests:
    found: list[Requests] = []

    async def scene(world: World) -> None:
        world.cluster.router.lag, world.cluster.router.early = lag, early
        world.cluster.apply(route())
        world.operator()
        world.cluster.apply(wish("app:1.0"))
        await world.until(lambda: len(world.ready_endpoints()) == TEN and world.status().get("phase") == "Run", within=300)
        await asyncio.sleep(2 * lag + 10)  # the router knows the first version
        found.append(Requests(world))
        await act(world, found[0])

    play(scene)
    return found[0]


def at_the_pause(world: World) -> bool:
    return bool(world.status().get("summary") == "WaitsForPromotion")


def promoted(world: World) -> bool:
    return world.images() == {"app:2.0": TEN} and len(world.pods()) == TEN and weights(world) == {"web": 100} and len(world.cluster.objects("services")) == 1


@pytest.mark.parametrize("early", [0.0, 2.0], ids=["honest", "early"])
@pytest.mark.parametrize("lag", DELAYS)
def test_to_the_end(lag: float, early: float) -> None:
    async def act(world: World, requests: Requests) -> None:
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=1200)
        assert world.images() == {"app:1.0": TEN, "app:2.0": 5}, "the old version stays whole until all weight is moved"
        assert world.status()["rollout"]["weight"] == {"wanted": 50, "actual": 50}
        promote(world, len(STEPS))
        await world.until(lambda: promoted(world), within=1200)
        assert rules(world)[0] == FOREIGN, "what is not ours stays as it was"
        assert rules(world)[1]["timeouts"] == {"request": "10s"}

    requests = played(act, lag=lag, early=early)
    assert requests.problems == []
    assert requests.shares[:4] == [0, 10, 50, 100]


@pytest.mark.parametrize("lag", [0.05, 2.0, 30.0])
def test_aborted_all_weight_goes_back_by_one_write(lag: float) -> None:
    async def act(world: World, _: Requests) -> None:
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=600)
        by_hand(world, "aborted", world.status()["rollout"]["target"])
        stable = str(world.status()["currentRevision"])
        took = await world.until(lambda: weights(world) in ({stable: 100}, {"web": 100}))
        assert took <= 2.0, "goal R6"
        await world.until(lambda: world.images() == {"app:1.0": TEN} and weights(world) == {"web": 100}, within=300)

    assert played(act, lag=lag).problems == []


def test_a_version_that_does_not_come_up_gets_no_weight() -> None:
    async def act(world: World, _: Requests) -> None:
        world.cluster.set_image_behaviour("app:2.0", "never-ready")
        world.cluster.apply(wish(progressDeadline="30s"))
        await world.until(lambda: world.status().get("summary") == "RolledBack" and world.images() == {"app:1.0": TEN}, within=300)

    requests = played(act)
    assert (requests.problems, requests.shares) == ([], [0])


def test_new_instances_that_fall_ill_lose_their_weight_at_once() -> None:
    """The weight follows what discovery lists, down and up again."""

    async def act(world: World, requests: Requests) -> None:
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=300)
        world.cluster.set_image_behaviour("app:2.0", "never-ready")
        for pod in [each for each in world.live() if each["spec"]["containers"][0]["image"] == "app:2.0"]:
            world.cluster.restart_containers(NAMESPACE, pod["metadata"]["name"])
        took = await world.until(lambda: requests.shares[-1] == 0)
        assert took <= 5.0
        world.cluster.set_image_behaviour("app:2.0", "normal")
        await world.until(lambda: requests.shares[-1] == 50)

    played(act)  # that all of them fall ill at the same instant cannot be known before


TROUBLES = [
    ("it is not there", "RouteNotFound", lambda world: world.cluster.delete("httproutes", NAMESPACE, "shop"), lambda world: world.cluster.apply(route())),
    (
        "another backend stands in the rule",
        "RouteNotUsable",
        lambda world: world.cluster.apply(route(FOREIGN, {"name": "web", "backendRefs": [{"name": "web", "port": 80}, {"name": "elsewhere", "port": 80}]})),
        lambda world: world.cluster.apply(route()),
    ),
]


@pytest.mark.parametrize(("reason", "harm", "mend"), [row[1:] for row in TROUBLES], ids=[row[0] for row in TROUBLES])
def test_a_route_that_cannot_be_used(reason: str, harm: Callable[[World], object], mend: Callable[[World], object]) -> None:
    """Nothing is taken down, no deadline runs against the new version, and it goes on when the route is mended."""

    async def act(world: World, _: Requests) -> None:
        harm(world)
        world.cluster.apply(wish(progressDeadline="30s"))
        await world.until(lambda: world.status().get("summary") == reason)
        await asyncio.sleep(60)
        assert world.images() == {"app:1.0": TEN}
        mend(world)
        await world.until(lambda: at_the_pause(world), within=300)

    played(act)


def test_a_gateway_that_does_not_accept_the_route() -> None:
    async def act(world: World, _: Requests) -> None:
        world.cluster.router.accepts = False
        world.cluster.apply(route(FOREIGN, {"name": "web", "backendRefs": [{"name": "web", "port": 80}], "timeouts": {"request": "9s"}}))
        world.cluster.apply(wish())
        await world.until(lambda: world.status().get("summary") == "RouteNotAccepted")
        assert world.images() == {"app:1.0": TEN}

    played(act)


def test_somebody_else_writes_the_route_in_the_midst() -> None:
    """As kubectl apply of the file would: the weights come back, and nobody leaves meanwhile."""

    async def act(world: World, _: Requests) -> None:
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=300)
        before = weights(world)
        world.cluster.apply(route())
        await world.until(lambda: weights(world) == before)
        promote(world, len(STEPS))
        await world.until(lambda: promoted(world), within=300)

    assert played(act).problems == []


def test_a_leader_that_ends_at_every_step() -> None:
    async def act(world: World, _: Requests) -> None:
        world.cluster.apply(wish())
        for share in (10, 50):
            await world.until(lambda share=share: share in weights(world).values(), within=300)  # type: ignore[misc]
            world.operators[0].kill()
        await world.until(lambda: at_the_pause(world), within=300)
        promote(world, len(STEPS))
        world.operators[0].kill()
        await world.until(lambda: promoted(world), within=300)

    assert played(act).problems == []


def test_paused_all_stay_where_they_are() -> None:
    async def act(world: World, requests: Requests) -> None:
        world.cluster.apply(wish())
        await world.until(lambda: requests.shares[-1:] == [50], within=300)
        world.cluster.patch("managedservices", NAMESPACE, "web", {"spec": {"paused": True}})
        await asyncio.sleep(60)
        assert world.images() == {"app:1.0": TEN, "app:2.0": 5}
        assert requests.shares[-1] == 50
        world.cluster.patch("managedservices", NAMESPACE, "web", {"spec": {"paused": False}})
        await world.until(lambda: at_the_pause(world), within=300)

    assert played(act).problems == []


@pytest.mark.parametrize("change", [{"traffic": None}, {"rollout": {"type": "Rolling", "canary": None}}], ids=["no route any more", "another strategy"])
def test_the_route_is_put_to_rest_whatever_the_spec_says_in_the_midst(change: Json) -> None:
    """Its Services stay until the router has left them."""

    async def act(world: World, _: Requests) -> None:
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=300)
        world.cluster.patch("managedservices", NAMESPACE, "web", {"spec": change})
        await world.until(lambda: weights(world) == {"web": 100} and len(world.cluster.objects("services")) == 1, within=300)

    assert played(act, lag=3.0).problems == []


def test_a_service_that_is_deleted_gives_its_route_back() -> None:
    async def act(world: World, _: Requests) -> None:
        world.cluster.apply(wish())
        await world.until(lambda: at_the_pause(world), within=300)
        world.cluster.delete("managedservices", NAMESPACE, "web")
        await world.until(lambda: not world.pods() and rules(world) == route()["spec"]["rules"], within=300)

    played(act)


def test_nothing_is_written_at_rest() -> None:
    async def scene(world: World) -> None:
        world.cluster.apply(route())
        await started(world, replicas=2, traffic={"route": {"name": "shop"}}, rollout={"type": "Canary", "canary": {"steps": STEPS}})
        await asyncio.sleep(30)
        begin = len(world.writes())
        await asyncio.sleep(120)
        assert len(world.writes()) == begin
        assert rules(world) == route()["spec"]["rules"], "the route is as its owner wrote it"

    play(scene)


# --- requests that are told apart by their headers


STAFF = [{"name": "x-cohort", "value": "staff"}]
VIP = [{"name": "x-cohort", "value": "vip"}]


def lanes(world: World) -> dict[str, str]:
    """The version that each of our rules for headers leads to, by the value of its header."""
    found = [each for each in rules(world) if each.get("name", "").startswith("drover-web-")]
    first = str(world.status()["currentRevision"])
    return {each["matches"][0]["headers"][-1]["value"]: "old" if each["backendRefs"][0]["name"] == first else "new" for each in found}


def _with_cohorts(cohorts: list[Json], **rollout: Any) -> Json:
    body = wish(steps=[{"weight": 50, "hold": "5s"}, {"pause": {}}], **rollout)
    body["spec"]["rollout"]["canary"]["cohorts"] = cohorts
    return body


COHORTS = [{"name": "staff", "match": STAFF, "hold": "10s"}, {"name": "everybody"}, {"name": "vip", "match": VIP, "hold": "10s"}]


def test_cohorts_get_it_one_after_the_other_and_keep_it() -> None:
    async def act(world: World, _: Requests) -> None:
        seen: list[tuple[Json, int]] = []

        def look() -> None:
            now = (lanes(world), weights(world).get(_new(world), 0))
            if now not in seen[-1:]:
                seen.append(now)

        look()
        world.cluster.on_change("httproutes", look)
        world.cluster.apply(_with_cohorts(COHORTS))
        await world.until(lambda: at_the_pause(world), within=300)
        promote(world, 3)
        await world.until(lambda: promoted(world), within=300)
        told = [({key: each[0].get(key) for key in ("staff", "vip") if key in each[0]}, each[1]) for each in seen]
        assert told == [
            ({}, 0),
            ({"staff": "old", "vip": "old"}, 0),
            ({"staff": "new", "vip": "old"}, 0),
            ({"staff": "new", "vip": "old"}, 50),
            ({"staff": "new", "vip": "old"}, 100),
            ({"staff": "new", "vip": "new"}, 100),
            ({}, 100),
            ({}, 0),
        ]
        assert rules(world) == route()["spec"]["rules"], "in the end the route is as its owner wrote it"

    assert played(act).problems == []


def _new(world: World) -> str:
    return str(world.status().get("rollout", {}).get("target", ""))


def test_aborted_every_cohort_goes_back() -> None:
    async def act(world: World, _: Requests) -> None:
        world.cluster.apply(_with_cohorts(COHORTS))
        await world.until(lambda: at_the_pause(world), within=300)
        by_hand(world, "aborted", _new(world))
        await world.until(lambda: world.images() == {"app:1.0": TEN} and rules(world) == route()["spec"]["rules"], within=300)

    assert played(act).problems == []


def experiment(decision: str, **more: Any) -> Json:
    ab = {
        "match": [{"name": "accept-language", "value": "de.*", "type": "RegularExpression"}],
        "decision": decision,
        "minDuration": "1m",
        "replicas": 4,
        **more,
    }
    body = wish(type="ABTest", abTest=ab)
    del body["spec"]["rollout"]["canary"]
    return body


def test_two_versions_side_by_side_until_a_person_decides() -> None:
    async def act(world: World, requests: Requests) -> None:
        world.cluster.apply(experiment("Manual"))
        await world.until(lambda: lanes(world) == {"de.*": "new"}, within=100)
        assert world.images() == {"app:1.0": TEN, "app:2.0": 4}
        await asyncio.sleep(45)
        assert world.status()["summary"] == "HoldsAtStep", "nobody decides before the least duration"
        await world.until(lambda: at_the_pause(world))
        assert requests.shares == [0], "who does not match stays with the old version"
        promote(world, 2)
        await world.until(lambda: promoted(world), within=300)

    assert played(act).problems == []


def test_gates_decide_and_weak_data_never_does() -> None:
    async def act(world: World, _: Requests) -> None:
        numbers = {"requests": "50", "failures": "0"}
        world.cluster.apply(
            {
                "apiVersion": "drover.dev/v1alpha1",
                "kind": "ReleaseGate",
                "metadata": {"name": "orders", "namespace": NAMESPACE},
                "spec": {
                    "measure": {"prometheus": {"address": "http://prometheus", "requests": 'requests{r="$revision"}', "failures": 'failures{r="$revision"}'}},
                    "compare": {"minSamples": 300},
                    "interval": "10s",
                },
            }
        )

        def answer(ask: Ask) -> Answer:
            value = numbers["failures" if "failures" in ask.url else "requests"]
            return Answer(at=ask.at, status=200, body=json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [0, value]}}).encode())

        world.outside = answer
        numbers["requests"] = "1"
        world.cluster.apply(experiment("Gates", gates=["orders"]))
        await world.until(lambda: world.status().get("summary") == "MeasuresGates", within=200)
        await asyncio.sleep(100)
        assert world.images() == {"app:1.0": TEN, "app:2.0": 4}, "too few requests decide nothing"
        numbers["requests"] = "50"
        await world.until(lambda: world.images() == {"app:2.0": TEN} and weights(world) == {"web": 100}, within=600)
        (check,) = world.status()["rollout"]["checks"]
        assert check["requests"] >= 300

    assert played(act).problems == []
