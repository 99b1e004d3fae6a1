# SPDX-License-Identifier: Apache-2.0
"""Bugs that rivals have or had, each as a scenario with its repository and number in its name: what went wrong there must not go wrong here.

Argo Rollouts, Flagger, Kruise, KEDA and Kubernetes themselves; see `rivals` for the bugs of parts that do not exist yet.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from importlib import import_module
from typing import Any
from unittest.mock import patch

import pytest
from scenarios import test_rivals_delivery, test_rivals_routes
from scenarios.ledger import tally
from scenarios.rivals import PARTS, PENDING, Conflicts, Departures, Hidden, Interjection, Json, NoQuorum, Postmark, Slow, at_every_change, bugs_of
from scenarios.world import GATE, NAMESPACE, World, kstatus, play, service

from drover_operator.testing import kubelet

build: Any = import_module("drover_controllers.service.build")  # the package exports functions of these names
gather: Any = import_module("drover_controllers.service.gather")
LEASE = ("leases", "drover-system", "drover-operator-0")
SELECTOR = {"drover.dev/service": "web"}


async def run_web(world: World, **spec: Any) -> None:
    world.operator("a")
    world.cluster.apply(service(**spec))
    await world.until(world.converged)


def change(world: World, **spec: Any) -> None:
    """Change these fields of the spec, as a person would."""
    if image := spec.pop("image", ""):
        spec["template"] = {"spec": {"containers": [{"name": "server", "image": image}]}}
    world.cluster.patch("managedservices", NAMESPACE, "web", {"spec": spec})


def uids(world: World, image: str = "") -> set[str]:
    """Live instances, of one image or of all."""
    return {pod["metadata"]["uid"] for pod in world.live() if image in ("", pod["spec"]["containers"][0]["image"])}


def at_rest(world: World) -> bool:
    """Everything is done, and every condition says so."""
    found = world.cluster.get("managedservices", NAMESPACE, "web")
    return world.converged() and kstatus(found) == "Current" and world.condition("Progressing")["reason"] == "Settled"


async def stays(world: World, seconds: float) -> None:
    """For so long nothing is written at all."""
    await asyncio.sleep(5)  # the last counts are told
    before = len(world.writes())
    await asyncio.sleep(seconds)
    assert len(world.writes()) == before, [f"{w.verb} {w.resource}/{w.subresource} {w.name}" for w in world.writes()[before:]]


def went_back(world: World) -> bool:
    return world.status().get("summary") == "RolledBack" and world.status().get("phase") == "Run" and not world.status().get("plan")


def test_argo_rollouts_3316_a_hidden_event_does_not_fire_the_deadline_on_healthy_pods():
    """A missed event left a wrong count in the cache, and the deadline fired on healthy pods; here what is not known is asked for first."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=3, rollout={"progressDeadline": "30s"})
        world.bounds(3, 4)
        hidden = Hidden("pods", "endpointslices")
        world.troubles.append(hidden)
        change(world, image="app:2.0")
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3}, within=400)
        assert hidden.hidden > 10
        assert "Rollback" not in [each["to"] for each in world.status()["history"]]
        assert not world.status()["rollout"].get("blockedRevision")

    play(scenario)
    tally(rival_bugs_passed=1)


async def meddle(world: World) -> None:
    """Somebody else, who writes the service and all its pods ten times a second."""
    for serial in itertools.count():
        touch = {"metadata": {"annotations": {"example.com/touched": str(serial)}}}
        world.cluster.patch("managedservices", NAMESPACE, "web", touch)
        for pod in world.pods():
            world.cluster.patch("pods", NAMESPACE, pod["metadata"]["name"], touch)
        await asyncio.sleep(0.1)


def test_argo_rollouts_4073_somebody_else_who_writes_holds_nothing_up():
    """It put its own result into its cache over a newer object and was in conflict for ever; here caches are filled by the server alone."""

    async def all_the_time(world: World) -> None:
        await run_web(world)
        world.bounds(3, 4)
        world.troubles.append(Slow(0.09))
        meddling = asyncio.create_task(meddle(world))
        change(world, image="app:2.0")
        await world.until(lambda: world.images().get("app:2.0", 0) >= 1)
        change(world, image="app:3.0")
        await world.until(lambda: at_rest(world) and world.images() == {"app:3.0": 3}, within=60)
        assert not meddling.done()
        assert sum(write.status == 409 for write in world.writes()) >= 10
        meddling.cancel()

    async def once(world: World) -> None:
        await run_web(world)
        meddled = Interjection("PATCH managedservices/status", lambda: change(world, image="app:2.0"))
        world.troubles += [Slow(0.5), meddled]
        world.cluster.scale(NAMESPACE, "web", 4)
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 4}, within=40)
        assert meddled.done

    play(all_the_time)
    play(once)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_3080_3332_4044_3091_1775_a_burst_of_conflicts_on_every_write_is_got_over_without_a_restart():
    """After some conflicts a rollout stood still until the controller was restarted, by cron; here every write is tried again by itself."""

    async def scenario(world: World) -> None:
        conflicts = Conflicts(world, seconds=3.0)
        world.troubles.append(conflicts)
        await run_web(world, rollout={"progressDeadline": "30s"})
        world.bounds(3, 4)
        change(world, image="app:2.0")
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 3}, within=60)
        world.cluster.set_image_behaviour("app:bad", "never-ready")
        change(world, image="app:bad")
        await world.until(lambda: went_back(world) and world.images() == {"app:2.0": 3}, within=90)
        assert set(conflicts.refused) == {
            "PATCH managedservices",
            "PATCH managedservices/status",
            "POST controllerrevisions",
            "PATCH controllerrevisions",
            "POST poddisruptionbudgets",
            "POST services",
            "POST pods",
            "PATCH pods/status",
            "DELETE pods",
        }
        assert conflicts.refused.total() >= 20, conflicts.refused
        assert len(world.lives) == 1

    play(scenario)
    tally(rival_bugs_passed=1)


# -- roads to endless Progressing
async def scaled_out(world: World) -> Json:
    change(world, replicas=7)
    return {"app:2.0": 7}


async def scaled_in(world: World) -> Json:
    change(world, replicas=2)
    return {"app:2.0": 2}


async def scaled_to_zero_and_back(world: World) -> Json:
    change(world, replicas=0)
    await asyncio.sleep(1.5)
    change(world, replicas=3)
    return {"app:2.0": 3}


async def lost_the_last_instance(world: World) -> Json:
    await world.until(lambda: world.images().get("app:2.0") == 4)
    newest = max((pod["metadata"] for pod in world.live()), key=lambda meta: (meta["creationTimestamp"], meta["name"]))
    world.cluster.delete("pods", NAMESPACE, newest["name"], grace=0)
    return {"app:2.0": 4}


async def paused_and_resumed(world: World) -> Json:
    change(world, paused=True)
    await asyncio.sleep(700)
    change(world, paused=False)
    return {"app:2.0": 4}


async def told_the_same_again(world: World) -> Json:
    template = world.cluster.get("managedservices", NAMESPACE, "web")["spec"]["template"]
    server = template["spec"]["containers"][0]
    change(world, template={"spec": {"containers": [dict(reversed(server.items()))]}, "metadata": None})
    return {"app:2.0": 4}


async def changed_and_back(world: World) -> Json:
    change(world, image="app:3.0")
    await asyncio.sleep(0.4)
    change(world, image="app:2.0")
    return {"app:2.0": 4}


async def updated_at_zero(world: World) -> Json:
    change(world, replicas=0)
    await world.until(lambda: at_rest(world) and not world.pods())
    change(world, image="app:3.0")
    await world.until(lambda: at_rest(world) and world.status()["summary"] == "ScaledToZero")
    change(world, replicas=2)
    return {"app:3.0": 2}


ROADS: tuple[Callable[[World], Coroutine[Any, Any, Json]], ...] = (
    scaled_out,
    scaled_in,
    scaled_to_zero_and_back,
    lost_the_last_instance,
    paused_and_resumed,
    told_the_same_again,
    changed_and_back,
    updated_at_zero,
)


def test_argo_rollouts_3110_1593_4294_whatever_happens_in_the_middle_of_an_update_it_ends():
    """An update was Progressing for ever after something else had happened meanwhile; here it ends, says so, and is then quiet."""
    for road in ROADS:

        async def scenario(world: World, road: Any = road) -> None:
            await run_web(world, replicas=4)
            change(world, image="app:2.0")
            await world.until(lambda: world.images().get("app:2.0", 0) >= 1)
            wanted = await road(world)
            await world.until(lambda: at_rest(world) and world.images() == wanted, within=60)
            assert world.status()["summary"] == "Healthy"
            await stays(world, 60)

        try:
            play(scenario)
        except Exception as error:
            error.add_note(road.__name__)
            raise
    tally(rival_bugs_passed=1)


async def evict_all_that_enter(world: World, image: str) -> None:
    """Each instance of the image fails some seconds after it was put in service."""
    for _ in itertools.count():
        await asyncio.sleep(6.0)
        for pod in world.live():
            conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
            if pod["spec"]["containers"][0]["image"] == image and conditions.get(GATE) == "True":
                world.cluster.evict(NAMESPACE, pod["metadata"]["name"])


def test_argo_rollouts_3765_instances_that_come_and_go_are_no_progress():
    """Pods that became ready and crashed again were taken for progress, for days; here the deadline does not move for those that fail."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=4, rollout={"progressDeadline": "2m", "rolling": {"minReady": "30s"}})
        world.bounds(4, 5)
        evicting = asyncio.create_task(evict_all_that_enter(world, "app:2.0"))
        change(world, image="app:2.0")
        took = await world.until(lambda: went_back(world) and world.images() == {"app:1.0": 4}, within=180)
        assert took >= 120
        evicting.cancel()

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_3457_old_revisions_do_not_confuse_a_rollout_that_is_fine():
    """It timed out on healthy pods until somebody removed an old revision; here six updates overtake each other, and the last is done."""

    async def scenario(world: World) -> None:
        await run_web(world, rollout={"progressDeadline": "30s"}, revisionHistoryLimit=1)
        world.bounds(3, 4)
        for serial in range(2, 8):
            change(world, image=f"app:{serial}.0")
            await asyncio.sleep(2.0)
        await world.until(lambda: at_rest(world) and world.images() == {"app:7.0": 3})
        assert {each["to"] for each in world.status()["history"]} <= {"Provision", "Ready", "Run", "Update"}
        assert len(world.cluster.objects("controllerrevisions", NAMESPACE)) == 2
        await stays(world, 60)

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_3082_the_fix_of_a_refused_template_is_rolled_out():
    """The update after one with an invalid spec was aborted, since the deadline had passed meanwhile; here the fix has all of its time."""

    async def scenario(world: World) -> None:
        await run_web(world, rollout={"progressDeadline": "30s"})
        world.bounds(3, 4)
        template = {"spec": {"containers": [{"name": "server", "image": "app:2.0", "resources": {"limits": {"cpu": "many"}}}]}}
        change(world, template=template)
        await world.until(lambda: world.status()["summary"] == "InvalidTemplate")
        await asyncio.sleep(120)
        change(world, image="app:2.0")
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 3}, within=30)
        assert "Rollback" not in [each["to"] for each in world.status()["history"]]

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_3534_what_is_paused_stays_paused_however_long():
    """A status jumped from paused to progressing and failed every quarter of an hour; here nothing is written while nothing happens."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=4, rollout={"progressDeadline": "30s"})
        world.bounds(4, 5)
        change(world, image="app:2.0")
        await world.until(lambda: world.images().get("app:2.0", 0) == 2)
        change(world, paused=True)
        await world.until(lambda: world.condition("Progressing")["reason"] == "Paused" and len(world.pods()) == 4 and len(world.ready_endpoints()) == 4)
        mix = world.images()
        assert len(mix) == 2
        await stays(world, 1900)
        assert world.images() == mix
        assert world.condition("Progressing")["reason"] == "Paused"
        change(world, paused=False)
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 4})

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_4504_a_template_that_is_refused_for_ever_is_said_and_seldom_tried():
    """It tried some 5,000 times, and only the log knew why; here a condition has the server's words, and an hour has a dozen tries."""

    async def scenario(world: World) -> None:
        await run_web(world)
        serving, before = uids(world), len(world.writes())
        change(world, template={"spec": {"containers": [{"name": "server", "image": "app:2.0", "imagePullPolicy": "Sometimes"}]}})
        await world.until(lambda: world.condition("Stalled")["status"] == "True", within=5)
        told = world.condition("Stalled")
        assert told["reason"] == "InvalidTemplate"
        assert 'imagePullPolicy: Unsupported value: "Sometimes"' in told["message"]
        await asyncio.sleep(3600)
        assert world.condition("Stalled") == told, "also in between it never told anything else"
        tries = [write for write in world.writes()[before:] if write.verb == "create"]
        assert 10 <= len(tries) <= 13
        assert len(world.writes()) - before <= 3 * 13
        assert uids(world) == serving

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_1774_a_stable_that_is_sick_and_too_few_does_not_stop_the_fix():
    """Stable pods that crash, and more of them wanted: the fix waited for them; here it replaces them."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=4)
        world.cluster.set_image_behaviour("app:1.0", "crash")
        await world.until(lambda: not world.ready_endpoints())
        change(world, replicas=6)
        await asyncio.sleep(20)
        world.bounds(0, 8)
        change(world, image="app:2.0")
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 6}, within=60)

    play(scenario)
    tally(rival_bugs_passed=1)


def test_flagger_639_a_fix_needs_nothing_of_a_version_that_never_came_up():
    """With the primary down nothing could be delivered any more; here the first version never starts, and the second one serves."""

    async def scenario(world: World) -> None:
        world.cluster.set_image_behaviour("app:1.0", "crash")
        world.operator("a")
        world.cluster.apply(service(rollout={"progressDeadline": "30s"}))
        await world.until(lambda: world.status().get("phase") == "Failed")
        change(world, image="app:2.0")
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 3}, within=30)

    play(scenario)
    tally(rival_bugs_passed=1)


@pytest.mark.parametrize("moment", [1, 4, 9])
def test_argo_rollouts_4784_a_stop_waits_for_the_writes_that_are_under_way(moment: int):
    """The process was gone while its writes were under way, and the lease with it; here it hears their answers before it gives the lease back."""

    async def scenario(world: World) -> None:
        await run_web(world)
        post, released = Postmark(world), list[float]()
        world.troubles += [post, Slow(0.5)]
        world.cluster.on_change("leases", lambda: None if world.cluster.get(*LEASE)["spec"]["holderIdentity"] else released.append(world.cluster.now()))
        change(world, image="app:2.0")
        await world.until(lambda: post.sent["a-1"] >= moment and post.under_way("a-1") > 0)
        world.operators[0].stop()
        await world.until(world.lives[0].over.is_set, within=15)
        assert post.under_way("a-1") == 0
        assert released[0] > max(each.time for each in post.arrivals) + 0.2, "the answers had not come"
        assert world.lives[0].died_of is None
        await asyncio.sleep(5)
        count = len(post.arrivals)
        world.operator("b")
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 3})
        assert {each.life for each in post.arrivals[count:]} == {"b-1"}
        assert world.effects()["create pods"] == world.effects()["delete pods"] + 3 == 6, "nothing was done twice"

    play(scenario)
    tally(rival_bugs_passed=int(moment == 1))


def test_argo_rollouts_4768_of_two_processes_with_one_identity_one_acts():
    """Two controllers shared one lease by mistake and both acted; here two that even share their name cannot: the later one leads alone."""

    async def scenario(world: World) -> None:
        await run_web(world)
        post = Postmark(world)
        world.troubles.append(post)
        world.bounds(3, 4)
        world.operator("a")
        change(world, image="app:2.0")
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 3})
        epochs = [each.epoch for each in post.accepted]
        assert epochs == sorted(epochs)
        for _ in range(100):
            await asyncio.sleep(0.1)
            assert sum(life.leading for life in world.lives) == 1
        assert world.cluster.get(*LEASE)["spec"]["leaseTransitions"] == epochs[-1], "nobody took it from the other again"

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_2117_a_leader_that_was_frozen_past_its_lease_changes_nothing():
    """The old leader worked on beside the new one; here what it had sent is refused, and it ends when it is awake again."""

    async def scenario(world: World) -> None:
        world.operator("a")
        world.operator("b")
        world.cluster.apply(service(replicas=5))
        await world.until(world.converged)
        leader, post = world.leader, Postmark(world)
        assert leader is not None
        world.bounds(5, 7)
        world.troubles += [post, Slow(12.0, leader.identity)]
        change(world, image="app:2.0")
        await world.until(lambda: post.under_way(leader.identity) > 0)
        leader.host.freeze()
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 5})
        leader.host.thaw()
        await asyncio.sleep(30)
        late = [each for each in post.arrivals if each.life == leader.identity]
        assert late
        assert {each.code for each in late} == {422}
        assert min(each.epoch for each in post.accepted) > late[0].epoch
        assert leader.over.is_set()
        assert at_rest(world)

    play(scenario)
    tally(rival_bugs_passed=1)


NEXT = build.CURRENT_BUILDER + 1


def _pod_next(*parts: Any) -> Json:
    """A builder of a later release: its pods differ."""
    body = build.BUILDERS[NEXT - 1](*parts)
    meta = body["metadata"]
    return {**body, "metadata": {**meta, "annotations": {**meta["annotations"], "example.com/builder": str(NEXT)}}}


def made_by_next(world: World) -> int:
    return sum(pod["metadata"]["annotations"].get("example.com/builder") == str(NEXT) for pod in world.live())


async def replaced(world: World, identity: str) -> None:
    """The operator is replaced by one of another release."""
    world.operators[-1].stop()
    await world.until(world.operators[-1].life.over.is_set)
    world.operator(identity)


def test_argo_rollouts_4696_4818_a_new_release_of_the_operator_writes_no_pod():
    """A new release hashed templates in another way and rolled every workload; here a new builder makes the pods of new revisions only."""

    async def scenario(world: World) -> None:
        await run_web(world)
        serving = uids(world)
        with patch.dict(build.BUILDERS, {NEXT: _pod_next}), patch.object(build, "CURRENT_BUILDER", NEXT), patch.object(gather, "CURRENT_BUILDER", NEXT):
            await replaced(world, "new")
            await stays(world, 700)
            assert uids(world) == serving
            world.cluster.delete("pods", NAMESPACE, world.pods()[0]["metadata"]["name"])
            await world.until(lambda: at_rest(world) and len(uids(world) - serving) == 1)
            assert made_by_next(world) == 0, "a lost instance comes back as it was"
            change(world, image="app:2.0")
            await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 3})
            assert made_by_next(world) == 3
        serving = uids(world)
        await replaced(world, "old")
        await stays(world, 700)
        assert uids(world) == serving

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_1356_what_is_only_written_out_is_no_change():
    """Defaults that were filled in looked like another template; here neither a default that is written out nor the order of keys is a change."""

    async def scenario(world: World) -> None:
        check = {"tcp": {"port": 80}}
        await run_web(world, healthCheck=check)
        serving, before = uids(world), len(world.writes())
        container = {"image": "app:1.0", "name": "server"}
        written_out = {**check, "interval": "5s", "timeout": "5s", "unhealthyThreshold": 3, "healthyThreshold": 2}
        rollout = {"type": "Rolling", "progressDeadline": "10m", "rolling": {"maxSurge": "25%", "maxUnavailable": 0, "minReady": "0s"}}
        change(world, template={"spec": {"containers": [container]}}, healthCheck=written_out, rollout=rollout, mode="Cattle", paused=False)
        await asyncio.sleep(30)
        assert uids(world) == serving
        assert {write.resource for write in world.writes()[before:]} <= {"managedservices.drover.dev"}
        assert at_rest(world)
        await stays(world, 60)

    play(scenario)
    tally(rival_bugs_passed=1)


def test_flagger_989_an_etcd_that_changes_its_leader_is_no_change_of_the_spec():
    """A read that failed with "leader changed" was taken for a new version; here lost connections, errors and 410 lead to a list, and to nothing."""

    async def scenario(world: World) -> None:
        await run_web(world)
        await asyncio.sleep(5)
        serving, before = uids(world), len(world.writes())
        generation = world.cluster.get("managedservices", NAMESPACE, "web")["metadata"]["generation"]
        for seconds in (1, 20):
            world.cluster.api_down = True
            await asyncio.sleep(seconds)
            world.cluster.compact()
            world.cluster.api_down = False
            world.troubles.append(NoQuorum())
            await asyncio.sleep(seconds)
            world.troubles.clear()
            await asyncio.sleep(60)
        assert len(world.writes()) == before
        assert uids(world) == serving
        assert world.cluster.get("managedservices", NAMESPACE, "web")["metadata"]["generation"] == generation
        change(world, image="app:2.0")
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 3}, within=30)

    play(scenario)
    tally(rival_bugs_passed=1)


@pytest.mark.parametrize("lag", [0.2, 3.0])
def test_kruise_2276_with_a_cache_that_trails_nobody_ends_who_is_still_sent_requests(lag: float):
    """On a cache that trailed a pod came back into service and was then updated without a drain; here each leaves anew, whatever the cache says."""

    async def scenario(world: World) -> None:
        hook = {"preStop": {"exec": {"command": ["true"]}}}  # the user's own: ours would give proxies time too
        server = {"name": "server", "image": "app:1.0", "lifecycle": hook}
        world.cluster.apply(service(replicas=4))
        change(world, template={"spec": {"containers": [server]}})
        world.operator("a")
        await world.until(world.converged)
        world.bounds(4, 6)
        world.lives[0].transport.faults.lag = lag
        world.lives[0].transport.break_streams()
        for image in ("app:2.0", "app:1.0", "app:2.0", "app:1.0", "app:2.0"):
            change(world, template={"spec": {"containers": [{**server, "image": image}]}})
            await asyncio.sleep(6.3)
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 4})
        assert world.effects()["delete pods"] >= 4

    with patch.object(kubelet, "STOP_SECONDS", 0.05):  # a program that ends when it is told to
        play(scenario)
    tally(rival_bugs_passed=int(lag == 3.0))


def test_kruise_rollouts_257_the_old_image_in_the_middle_of_a_roll_goes_back_from_anywhere():
    """With a canary half way an apply of the old image had no effect, and undo was refused; here it goes back, keeping all that is still old."""
    for moment, pause in ((1, 0.0), (2, 0.5), (3, 0.0), (4, 2.2), (5, 0.0), (6, 0.3), (2, -1.0)):

        async def scenario(world: World, moment: int = moment, pause: float = pause) -> None:
            await run_web(world, replicas=6)
            world.bounds(6, 8)
            change(world, image="app:2.0")
            await world.until(lambda: world.images().get("app:2.0", 0) >= moment)
            change(world, paused=pause < 0)
            await asyncio.sleep(abs(pause))
            old = uids(world, "app:1.0")
            change(world, image="app:1.0", paused=False)
            await world.until(lambda: at_rest(world) and world.images() == {"app:1.0": 6}, within=40)
            assert old <= uids(world)
            assert {each["cause"] for each in world.status()["history"]} == {"expected"}

        play(scenario)
    tally(rival_bugs_passed=1)


def test_kruise_rollouts_197_a_tool_that_sets_the_settings_back_stops_nothing():
    """Another tool changed the strategy at the wrong moment and the roll stayed paused for ever; here the last spec holds, whatever came before."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=6)
        world.bounds(5, 9)
        change(world, image="app:2.0")
        for serial in range(20):
            rolling = {"maxSurge": ("50%", 1)[serial % 2], "maxUnavailable": (0, 1)[serial % 2]}
            change(world, rollout={"rolling": rolling}, paused=serial % 3 != 2)
            await asyncio.sleep(0.37)
        change(world, rollout={"rolling": None}, paused=None)
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 6}, within=40)
        await stays(world, 60)

    play(scenario)
    tally(rival_bugs_passed=1)


def test_keda_6982_6421_7231_of_pause_resume_and_scale_in_any_order_the_last_word_holds():
    """A pause that met a scaling was half carried out and never told again; here all orders within milliseconds end where the last spec says."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=2)
        for serial, order in enumerate(itertools.permutations(("pause", "resume", "scale", "image"))):
            await done_in(world, order, f"app:{serial + 2}", 3 - serial % 2)

    play(scenario)
    tally(rival_bugs_passed=1)


async def done_in(world: World, order: tuple[str, ...], image: str, replicas: int) -> None:
    """These acts, two milliseconds apart; then what they come to is waited for."""
    acts: dict[str, Json] = {"pause": {"paused": True}, "resume": {"paused": False}, "scale": {"replicas": replicas}, "image": {"image": image}}
    for act in order:
        change(world, **acts[act])
        await asyncio.sleep(0.002)
    if order.index("pause") > order.index("resume"):
        await world.until(lambda: paused_with(world, replicas), within=20)
        change(world, paused=False)
    await world.until(lambda: at_rest(world) and world.images() == {image: replicas}, within=30)


def paused_with(world: World, replicas: int) -> bool:
    found = world.cluster.get("managedservices", NAMESPACE, "web")
    told = found["status"]["observedGeneration"] == found["metadata"]["generation"] and world.condition("Progressing")["reason"] == "Paused"
    return told and len(world.pods()) == len(world.ready_endpoints()) == replicas


@pytest.mark.parametrize("mode", ["never-ready", "pull-error"])
def test_argo_rollouts_2118_after_a_failed_rollout_discovery_has_everybody(mode: str):
    """After Degraded a service selected pods that were gone; here selector and endpoints are whole at every instant, and afterwards."""

    async def scenario(world: World) -> None:
        world.cluster.set_image_behaviour("app:bad", mode)
        await run_web(world, replicas=4, rollout={"progressDeadline": "30s"})
        at_every_change(world, "services", lambda each: each["spec"]["selector"] == SELECTOR, "another selector")
        world.bounds(4, 5)
        change(world, image="app:bad")
        await world.until(lambda: went_back(world) and world.images() == {"app:1.0": 4})
        assert set(world.ready_endpoints()) == uids(world)
        await stays(world, 60)

    play(scenario)
    tally(rival_bugs_passed=int(mode == "never-ready"))


def test_argo_rollouts_4750_a_second_bad_image_takes_nobody_out_of_discovery():
    """While the pods of a second bad image crashed, the active service lost its selector; here two in a row take no endpoint away."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=4, rollout={"progressDeadline": "30s"})
        at_every_change(world, "services", lambda each: each["spec"]["selector"] == SELECTOR, "another selector")
        world.bounds(4, 5)
        for image in ("app:bad", "app:worse"):
            world.cluster.set_image_behaviour(image, "crash")
            change(world, image=image)
            await world.until(lambda image=image: world.images().get(image, 0) > 0)
            await world.until(lambda: went_back(world) and world.images() == {"app:1.0": 4})
        assert set(world.ready_endpoints()) == uids(world)

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_1731_2507_a_service_that_has_pods_is_taken_over_without_a_gap():
    """A first deployment pointed the service of the old pods to new ones that were not there yet; here it is taken when all of them are ready."""

    async def scenario(world: World) -> None:
        labels = {"app": "shop"}
        server = {"name": "server", "image": "app:0.9"}
        for number in range(3):
            meta = {"name": f"plain-{number}", "namespace": NAMESPACE, "labels": labels}
            world.cluster.apply({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [server]}})
        front = {"selector": labels, "ports": [{"name": "http", "port": 80}]}
        world.cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": NAMESPACE}, "spec": front})
        await world.until(lambda: len(world.ready_endpoints()) == 3)
        world.bounds(3, 3)
        world.cluster.set_image_behaviour("app:1.0", ready_after=20.0)
        world.operator("a")
        world.cluster.apply(service(adopt=True))
        await world.until(world.converged)
        assert set(world.ready_endpoints()) == uids(world)
        await asyncio.sleep(2.0)
        for number in range(3):
            world.cluster.delete("pods", NAMESPACE, f"plain-{number}")
        await stays(world, 30)

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_1822_numbers_that_flap_make_few_pods():
    """While old pods waited to be scaled down the controller fought itself, 39 times in 30 s; here who leaves may stay, and no more are made."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=3)
        for serial in range(40):
            change(world, replicas=(6, 3)[serial % 2])
            await asyncio.sleep(0.75)
        await world.until(lambda: at_rest(world) and len(world.ready_endpoints()) == 3)
        assert world.effects()["create pods"] <= 3 + 3 + 2, world.effects()
        world.bounds(3, 8)
        change(world, replicas=6, image="app:2.0")
        await world.until(lambda: world.images().get("app:2.0", 0) >= 2)
        change(world, image="app:1.0")
        await asyncio.sleep(0.5)
        made = world.effects()["create pods"]
        await world.until(lambda: at_rest(world) and world.images() == {"app:1.0": 6})
        assert world.effects()["create pods"] <= made + 2

    play(scenario)
    tally(rival_bugs_passed=1)


async def drained(world: World) -> list[float]:
    """Scale in by three: the seconds that each of them had between leaving service and its end."""
    departures = Departures(world)
    change(world, replicas=1)
    await world.until(lambda: at_rest(world) and len(world.pods()) == 1)
    assert len(departures.drains()) == 3
    return sorted(departures.drains().values())


def test_argo_rollouts_1992_1639_zero_seconds_are_zero():
    """A delay of 0 meant "never" in one place and "at once" in another; here 0 s are none, and 5 s are five."""

    def scenario(settle: str, least: float, most: float) -> Callable[[World], Coroutine[Any, Any, None]]:
        async def played(world: World) -> None:
            await run_web(world, replicas=4, restart={"settle": settle})
            drains = await drained(world)
            assert least <= drains[0] <= drains[-1] <= most, drains

        return played

    play(scenario("0s", 0.0, 0.5))
    play(scenario("5s", 5.0, 7.0))
    tally(rival_bugs_passed=1)


def test_argo_rollouts_3774_3762_every_abort_drains_as_long_as_the_first():
    """Aborted a second time, the pods were gone at once, under traffic; here each time they settle for as long as is declared."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=4, restart={"settle": "4s"})
        world.bounds(4, 5)
        departures = Departures(world)
        for _ in range(3):
            departures.left.clear()
            departures.ended.clear()
            change(world, image="app:2.0")
            await world.until(lambda: len(uids(world, "app:2.0") & set(world.ready_endpoints())) >= 2)
            change(world, image="app:1.0")
            await world.until(lambda: at_rest(world) and world.images() == {"app:1.0": 4})
            assert len(departures.drains()) >= 2
            assert min(departures.drains().values()) >= 4.0

    play(scenario)
    tally(rival_bugs_passed=1)


def test_flagger_1898_a_revision_that_never_comes_up_takes_no_good_instance_away():
    """A promotion that failed sent everything to the broken primary and removed the good pods; here not one of them leaves, ever."""

    async def scenario(world: World) -> None:
        world.cluster.set_image_behaviour("app:bad", "never-ready")
        await run_web(world, replicas=4, rollout={"progressDeadline": "30s"})
        good = uids(world)
        world.bounds(4, 5)
        at_every_change(world, "managedservices", lambda _: good <= uids(world), "a good instance left")
        at_every_change(world, "endpointslices", lambda _: good <= set(world.ready_endpoints()), "a good instance is not in discovery")
        change(world, image="app:bad")
        await world.until(lambda: went_back(world) and world.images() == {"app:1.0": 4})
        await stays(world, 60)
        assert uids(world) == good

    play(scenario)
    tally(rival_bugs_passed=1)


def test_flagger_1932_a_revision_that_breaks_half_way_takes_no_more_good_instances_away():
    """What to do when the promoted copy breaks was left open; here the good ones that are left stay, and the service goes back to all of them."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=6, rollout={"progressDeadline": "30s"})
        change(world, image="app:2.0")
        await world.until(lambda: len(uids(world, "app:2.0") & set(world.ready_endpoints())) >= 3)
        world.cluster.set_image_behaviour("app:2.0", "crash")
        await asyncio.sleep(1.0)
        good = uids(world, "app:1.0")
        assert len(good) >= 2
        at_every_change(world, "pods", lambda _: good <= uids(world), "a good instance left")
        world.bounds(len(good), 8)
        await world.until(lambda: went_back(world) and world.images() == {"app:1.0": 6})
        assert good <= set(world.ready_endpoints())

    play(scenario)
    tally(rival_bugs_passed=1)


@pytest.mark.parametrize("road", ["image", "pin"])
def test_flagger_1588_a_rollout_that_is_stuck_can_be_taken_back(road: str):
    """Stuck in Promoting, nobody could roll back; here the old image, or a pin, takes a stuck rollout back at once and long before its deadline."""

    async def scenario(world: World) -> None:
        world.cluster.set_image_behaviour("app:bad", "never-ready")
        await run_web(world, replicas=4)
        good, first = uids(world), world.status()["currentRevision"]
        world.bounds(4, 5)
        change(world, image="app:bad")
        await asyncio.sleep(120)
        assert world.images() == {"app:1.0": 4, "app:bad": 1}
        change(world, **({"image": "app:1.0"} if road == "image" else {"pin": {"revision": first}}))
        await world.until(lambda: world.converged() and world.images() == {"app:1.0": 4}, within=10)
        assert uids(world) == good

    play(scenario)
    tally(rival_bugs_passed=int(road == "image"))


async def scaled_among(world: World, others: int) -> float:
    """Scale one service while so many others are scaled too: the seconds until all its instances serve."""
    names = [f"other-{number:03}" for number in range(others)]
    world.operator("a")
    for name in ("web", *names):
        world.cluster.apply(service(name, replicas=1))
    await world.until(lambda: world.converged() and all(map(world.converged, names)))
    await asyncio.sleep(5)
    for name in (*names, "web"):
        world.cluster.scale(NAMESPACE, name, 2)
    return await world.until(lambda: world.converged() and len(world.ready_endpoints()) == 2)


def test_keda_6789_3810_one_among_many_is_scaled_as_fast_as_alone():
    """A limit in the client made scaling wait 24 s among 1,088 objects; here there is none, and 150 at once are as fast as one."""
    times: list[float] = []

    def scenario(others: int) -> Callable[[World], Coroutine[Any, Any, None]]:
        async def played(world: World) -> None:
            times.append(await scaled_among(world, others))

        return played

    play(scenario(0))
    play(scenario(149))
    assert times[1] <= times[0] + 0.5, times
    tally(rival_bugs_passed=1)


@pytest.mark.parametrize("mode", ["pull-error", "crash", "never-ready"])
def test_kubernetes_67250_a_broken_rollout_takes_its_own_fix(mode: str):
    """A StatefulSet waited for its broken pod until somebody deleted it by hand; here the fix is enough, at the first deployment and later."""

    async def scenario(world: World) -> None:
        for image in ("app:bad", "app:worse"):
            world.cluster.set_image_behaviour(image, mode)
        world.operator("a")
        world.cluster.apply(service(image="app:bad"))
        await asyncio.sleep(60)
        change(world, image="app:1.0")
        await world.until(lambda: at_rest(world) and world.images() == {"app:1.0": 3}, within=20)
        world.bounds(3, 4)
        for image in ("app:bad", "app:worse"):
            change(world, image=image)
            await asyncio.sleep(60)
        change(world, image="app:2.0")
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 3}, within=30)
        assert [write for write in world.cluster.writes if write.user == "kubectl" and write.resource == "pods"] == []

    play(scenario)
    tally(rival_bugs_passed=int(mode == "crash"))


def test_kruise_2109_pods_that_never_end_hold_nothing_up():
    """One pod that was stuck in Terminating stopped an update; here those of a dead node and one that somebody holds are left behind."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=6)
        held, *others = (pod["metadata"]["name"] for pod in world.pods())
        world.cluster.patch("pods", NAMESPACE, held, {"metadata": {"finalizers": ["example.com/unmount"]}})
        world.cluster.delete("pods", NAMESPACE, held)
        world.cluster.node_down(world.cluster.get("pods", NAMESPACE, others[0])["spec"]["nodeName"])
        await world.until(lambda: len(world.live()) == len(world.ready_endpoints()) == 6 and len(world.pods()) >= 8, within=600)
        stuck = len(world.pods()) - 6
        world.bounds(6, 8)
        change(world, image="app:2.0")
        await world.until(lambda: world.images() == {"app:2.0": 6} and world.status()["phase"] == "Run" and len(world.ready_endpoints()) == 6, within=60)
        await world.until(lambda: len(world.pods()) == 6 + stuck, within=10)
        world.bounds(4, 8)
        change(world, replicas=4)
        await world.until(lambda: len(world.live()) == 4 and world.status()["phase"] == "Run", within=30)

    play(scenario)
    tally(rival_bugs_passed=1)


def test_flagger_453_468_a_pin_goes_back_at_once_and_by_no_other_way():
    """Going back was a new delivery with all of its analysis; here a pin begins within a second and needs no longer than the way there."""

    async def scenario(world: World) -> None:
        await run_web(world, replicas=4)
        world.bounds(4, 5)
        first = world.status()["currentRevision"]
        change(world, image="app:2.0")
        there = await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 4})
        await asyncio.sleep(60)
        change(world, pin={"revision": first})
        assert await world.until(lambda: len(uids(world, "app:1.0")) >= 1) < 0.5
        back = await world.until(lambda: world.converged() and world.images() == {"app:1.0": 4})
        assert back <= there + 2.0
        assert world.condition("Progressing")["reason"] == "Pinned"

    play(scenario)
    tally(rival_bugs_passed=1)


def deadline(seconds: int) -> Json:
    return {"progressDeadline": f"{seconds}s"}


def test_argo_rollouts_3120_a_retry_is_a_whole_new_try_each_time():
    """A retry of an aborted rollout was stuck three times of four; here each changed deadline makes a full try, and a good one is kept."""

    async def scenario(world: World) -> None:
        await run_web(world, rollout=deadline(20))
        world.bounds(3, 4)
        world.cluster.set_image_behaviour("app:2.0", "never-ready")
        change(world, image="app:2.0")
        for seconds in (21, 22, 23):
            await world.until(lambda: world.images().get("app:2.0") == 1, within=5)
            await world.until(lambda: went_back(world) and world.images() == {"app:1.0": 3}, within=40)
            change(world, rollout=deadline(seconds))
        await world.until(lambda: world.images().get("app:2.0") == 1, within=5)
        world.cluster.set_image_behaviour("app:2.0", "normal")
        await world.until(lambda: at_rest(world) and world.images() == {"app:2.0": 3}, within=30)

    play(scenario)
    tally(rival_bugs_passed=1)


def test_argo_rollouts_2929_what_was_taken_back_is_not_tried_again_by_itself():
    """An aborted rollout began anew though nobody had asked; here only another template or another deadline does that, and a pin does not."""

    async def scenario(world: World) -> None:
        await run_web(world, rollout=deadline(20))
        first = world.status()["currentRevision"]
        world.cluster.set_image_behaviour("app:2.0", "never-ready")
        change(world, image="app:2.0")
        await world.until(lambda: went_back(world) and world.images() == {"app:1.0": 3})
        at_every_change(world, "pods", lambda pod: pod["spec"]["containers"][0]["image"] == "app:1.0" or "deletionTimestamp" in pod["metadata"], "tried again")
        for act in ({"replicas": 5}, {"paused": True}, {"paused": False}, {"pin": {"revision": first}}, {"pin": None}, {"replicas": 3}):
            change(world, **act)
            await asyncio.sleep(20)
        await replaced(world, "b")
        world.cluster.delete("pods", NAMESPACE, world.pods()[0]["metadata"]["name"])
        await asyncio.sleep(1400)
        assert went_back(world)
        assert world.images() == {"app:1.0": 3}

    play(scenario)
    tally(rival_bugs_passed=1)


def test_what_is_pending_says_where_it_belongs():
    """The rest of the rivals' bugs; one that has a scenario by now must be struck off."""
    passed = [bug for name in (*globals(), *vars(test_rivals_delivery), *vars(test_rivals_routes)) if name.startswith("test_") for bug in bugs_of(name)]
    assert len(passed) == len(set(passed)), "a bug has one scenario"
    assert set(passed) & set(PENDING) == set()
    for bug, why in sorted(PENDING.items()):
        assert why.partition(":")[0] in PARTS, bug
        print(f"{bug}: {why}")
    tally(rival_bugs_pending=len(PENDING))
