# SPDX-License-Identifier: Apache-2.0
"""The service controller in the simulated cluster, from outside: what a person declares, and what then runs."""

from scenarios.world import NAMESPACE, World, leaving, play, service

from drover_operator.kube.errors import NotFound


async def run_web(world: World, **spec) -> None:
    world.operator()
    world.cluster.apply(service(**spec))
    await world.until(world.converged)


def budget(world: World, fewest: int, most: int) -> None:
    world.bounds(fewest, most)


def test_a_new_service_reaches_run_with_all_that_it_owns():
    async def scenario(world: World) -> None:
        await run_web(world)
        assert world.status()["ready"] == "3/3"
        assert len(world.ready_endpoints()) == 3
        history = [(each.get("from"), each["to"]) for each in world.status()["history"]]
        assert history == [(None, "Provision"), ("Provision", "Ready"), ("Ready", "Run")]
        assert world.cluster.get("poddisruptionbudgets", NAMESPACE, "web")["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert [r["revision"] for r in world.cluster.objects("controllerrevisions", NAMESPACE)] == [1]

    play(scenario)


def test_rolling_update_keeps_the_budget_at_every_write_and_costs_at_most_48():
    async def scenario(world: World) -> None:
        await run_web(world, replicas=10)
        before = len(world.writes())
        budget(world, fewest=10, most=13)
        world.cluster.apply(service(replicas=10, image="app:2.0"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 10})
        cost = len(world.writes()) - before
        assert cost <= 48, [f"{w.verb} {w.resource}/{w.subresource} {w.name}" for w in world.writes()[before:]]

    play(scenario)


def test_where_nothing_is_drained_a_rolling_update_spares_the_gates():
    async def scenario(world: World) -> None:
        spec = {"replicas": 10, "restart": {"settle": "0s", "drainTimeout": "0s"}}
        await run_web(world, **spec)
        before = len(world.writes())
        world.cluster.apply(service(image="app:2.0", **spec))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 10})
        written = world.writes()[before:]
        assert not [each.name for each in written if (each.resource, each.subresource) == ("pods", "status")]
        assert len(written) <= 38, [f"{w.verb} {w.resource}/{w.subresource} {w.name}" for w in written]

    play(scenario)


def test_an_idle_hour_costs_no_write():
    async def scenario(world: World) -> None:
        import asyncio

        await run_web(world)
        before = len(world.writes())
        await asyncio.sleep(3600)
        assert len(world.writes()) == before

    play(scenario)


def test_scale_out_and_in_through_phase_scale():
    async def scenario(world: World) -> None:
        await run_web(world)
        world.cluster.scale(NAMESPACE, "web", 6)
        await world.until(lambda: world.converged() and len(world.live()) == 6)
        budget(world, fewest=2, most=8)
        world.cluster.scale(NAMESPACE, "web", 2)
        await world.until(lambda: world.converged() and len(world.live()) == 2)
        assert [each["to"] for each in world.status()["history"]][-4:] == ["Scale", "Run", "Scale", "Run"]

    play(scenario)


def test_scale_to_zero_and_back():
    async def scenario(world: World) -> None:
        await run_web(world)
        world.cluster.scale(NAMESPACE, "web", 0)
        await world.until(lambda: not world.pods() and world.status()["phase"] == "Run")
        assert world.status()["summary"] == "ScaledToZero"
        world.cluster.scale(NAMESPACE, "web", 1)
        await world.until(world.converged)

    play(scenario)


def test_a_lost_pod_is_replaced_without_leaving_run():
    async def scenario(world: World) -> None:
        await run_web(world)
        victim = world.pods()[0]["metadata"]
        world.cluster.delete("pods", NAMESPACE, victim["name"])
        await world.until(lambda: victim["uid"] not in [p["metadata"]["uid"] for p in world.pods()] and world.converged())
        assert world.status()["history"][-1]["to"] == "Run"
        assert len(world.status()["history"]) == 3

    play(scenario)


def test_an_evicted_pod_keeps_its_name_and_is_replaced_beside_it():
    async def scenario(world: World) -> None:
        await run_web(world)
        victim = world.pods()[0]["metadata"]["name"]
        world.cluster.evict(NAMESPACE, victim)
        await world.until(lambda: victim not in [p["metadata"]["name"] for p in world.pods()] and world.converged())

    play(scenario)


def test_pods_of_a_dead_node_are_replaced_beside_those_that_never_go():
    async def scenario(world: World) -> None:
        await run_web(world)
        node = world.pods()[0]["spec"]["nodeName"]
        world.cluster.node_down(node)
        await world.until(lambda: len(world.ready_endpoints()) == 3 and len(world.live()) == 3 and len(world.pods()) > 3, within=600)
        assert any("deletionTimestamp" in p["metadata"] for p in world.pods())

    play(scenario)


def test_a_bad_revision_is_rolled_back_after_its_deadline_and_not_tried_again():
    async def scenario(world: World) -> None:
        import asyncio

        world.cluster.set_image_behaviour("app:bad", "never-ready")
        rollout = {"progressDeadline": "30s"}
        await run_web(world, replicas=4, rollout=rollout)
        budget(world, fewest=4, most=5)
        world.cluster.apply(service(replicas=4, image="app:bad", rollout=rollout))
        await world.until(lambda: world.images().get("app:bad", 0) > 0)
        await world.until(lambda: world.images() == {"app:1.0": 4} and world.status()["phase"] == "Run" and len(world.pods()) == 4)
        assert world.status()["summary"] == "RolledBack"
        assert [(each["to"], each["cause"]) for each in world.status()["history"]][-2] == ("Rollback", "unexpected")
        await asyncio.sleep(600)
        assert world.images() == {"app:1.0": 4}
        world.cluster.apply(service(replicas=4, image="app:2.0", rollout=rollout))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 4})
        assert world.status()["summary"] == "Healthy"

    play(scenario)


def test_a_blocked_revision_is_tried_again_when_the_rollout_settings_change():
    async def scenario(world: World) -> None:
        world.cluster.set_image_behaviour("app:bad", "never-ready")
        await run_web(world, rollout={"progressDeadline": "30s"})
        world.cluster.apply(service(image="app:bad", rollout={"progressDeadline": "30s"}))
        await world.until(lambda: world.status()["summary"] == "RolledBack" and world.status()["phase"] == "Run")
        world.cluster.set_image_behaviour("app:bad", "normal")
        world.cluster.apply(service(image="app:bad", rollout={"progressDeadline": "60s"}))
        await world.until(lambda: world.images() == {"app:bad": 3} and world.converged())

    play(scenario)


def test_first_deployment_that_never_comes_up_is_failed_and_recovers_by_a_new_spec():
    async def scenario(world: World) -> None:
        world.cluster.set_image_behaviour("app:bad", "never-ready")
        world.operator()
        world.cluster.apply(service(image="app:bad", rollout={"progressDeadline": "30s"}))
        await world.until(lambda: world.status().get("phase") == "Failed")
        assert world.status()["summary"] == "ProgressDeadlineExceeded"
        world.cluster.apply(service(image="app:1.0", rollout={"progressDeadline": "30s"}))
        await world.until(lambda: world.converged() and world.images() == {"app:1.0": 3})

    play(scenario)


def test_change_of_mind_in_the_middle_supersedes():
    async def scenario(world: World) -> None:
        await run_web(world, replicas=6)
        budget(world, fewest=6, most=8)
        world.cluster.apply(service(replicas=6, image="app:2.0"))
        await world.until(lambda: world.images().get("app:2.0", 0) >= 2)
        world.cluster.apply(service(replicas=6, image="app:3.0"))
        await world.until(lambda: world.converged() and world.images() == {"app:3.0": 6})

    play(scenario)


def test_an_old_instance_lost_in_mid_roll_comes_back_at_its_old_version():
    """With a stuck new version, replacing it by a new one would leave the service short until the deadline."""

    async def scenario(world: World) -> None:
        world.cluster.set_image_behaviour("app:slow", "never-ready")
        await run_web(world, replicas=4)
        world.cluster.apply(service(replicas=4, image="app:slow"))
        await world.until(lambda: world.images().get("app:slow") == 1)
        old = next(p for p in world.live() if p["spec"]["containers"][0]["image"] == "app:1.0")
        world.cluster.delete("pods", NAMESPACE, old["metadata"]["name"])
        await world.until(lambda: old["metadata"]["uid"] not in [p["metadata"]["uid"] for p in world.pods()] and len(world.ready_endpoints()) == 4)
        assert world.images() == {"app:1.0": 4, "app:slow": 1}

    play(scenario)


def test_pause_freezes_the_mix_and_still_repairs():
    async def scenario(world: World) -> None:
        import asyncio

        await run_web(world, replicas=4)
        world.cluster.apply(service(replicas=4, image="app:2.0", paused=True))
        await asyncio.sleep(60)
        assert world.images() == {"app:1.0": 4}
        victim = world.pods()[0]["metadata"]
        world.cluster.delete("pods", NAMESPACE, victim["name"])
        await world.until(lambda: len(world.ready_endpoints()) == 4 and victim["uid"] not in [p["metadata"]["uid"] for p in world.pods()])
        assert world.images() == {"app:1.0": 4}
        world.cluster.apply(service(replicas=4, image="app:2.0", paused=False))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 4})

    play(scenario)


def test_pin_goes_back_and_stays_until_removed():
    async def scenario(world: World) -> None:
        await run_web(world)
        first = world.status()["currentRevision"]
        world.cluster.apply(service(image="app:2.0"))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})
        world.cluster.apply(service(image="app:2.0", pin={"revision": first}))
        await world.until(lambda: world.converged() and world.images() == {"app:1.0": 3})
        assert "Rollback" in [each["to"] for each in world.status()["history"]]
        world.cluster.apply(service(image="app:2.0", pin=None))
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})

    play(scenario)


def test_a_pin_that_names_nothing_is_said_and_changes_nothing():
    async def scenario(world: World) -> None:
        await run_web(world)
        world.cluster.apply(service(pin={"revision": "web-none"}))
        await world.until(lambda: world.status()["summary"] == "PinNotFound")
        assert world.images() == {"app:1.0": 3}

    play(scenario)


def test_deletion_drains_first_and_leaves_nothing():
    async def scenario(world: World) -> None:
        import asyncio

        await run_web(world)
        world.cluster.delete("managedservices", NAMESPACE, "web")
        await world.until(lambda: bool(world.pods()) and all(leaving(p) for p in world.pods()))
        assert world.cluster.find("managedservices", NAMESPACE, "web") is not None
        await world.until(lambda: world.cluster.find("managedservices", NAMESPACE, "web") is None)
        await asyncio.sleep(5)
        for kind in ("pods", "services", "endpointslices", "poddisruptionbudgets", "controllerrevisions"):
            assert world.cluster.objects(kind, NAMESPACE) == [], kind

    play(scenario)


def test_an_unowned_service_in_the_way_is_left_alone_until_adopted():
    async def scenario(world: World) -> None:
        other = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": NAMESPACE},
            "spec": {"selector": {"app": "x"}, "ports": [{"port": 99}]},
        }
        world.cluster.apply(other)
        world.operator()
        world.cluster.apply(service())
        await world.until(lambda: world.status().get("summary") == "NameConflict")
        assert world.cluster.get("services", NAMESPACE, "web")["spec"]["selector"] == {"app": "x"}
        world.cluster.apply(service(adopt=True))
        await world.until(world.converged)
        assert world.cluster.get("services", NAMESPACE, "web")["spec"]["selector"] == {"drover.dev/service": "web"}

    play(scenario)


def test_edited_labels_owner_and_service_are_restored():
    async def scenario(world: World) -> None:
        await run_web(world)
        name = world.pods()[0]["metadata"]["name"]
        world.cluster.patch("pods", NAMESPACE, name, {"metadata": {"labels": {"drover.dev/slot": "77"}, "ownerReferences": []}})
        world.cluster.patch("services", NAMESPACE, "web", {"spec": {"selector": {"app": "evil"}}})
        await world.until(lambda: "app" not in world.cluster.get("services", NAMESPACE, "web")["spec"]["selector"])
        await world.until(lambda: world.cluster.get("pods", NAMESPACE, name)["metadata"].get("ownerReferences") not in (None, []))
        assert world.cluster.get("pods", NAMESPACE, name)["metadata"]["labels"]["drover.dev/slot"] == "0"

    play(scenario)


def test_an_invalid_template_takes_nothing_down_and_says_why():
    async def scenario(world: World) -> None:
        await run_web(world)
        uids = {p["metadata"]["uid"] for p in world.pods()}
        bad = service()
        bad["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "many"}}
        world.cluster.apply(bad)
        await world.until(lambda: world.status()["summary"] == "InvalidTemplate")
        assert "many" in world.condition("Stalled")["message"] or "quantit" in world.condition("Stalled")["message"]
        assert {p["metadata"]["uid"] for p in world.pods()} == uids
        good = service(image="app:2.0")
        good["spec"]["template"]["spec"]["containers"][0]["resources"] = None
        world.cluster.apply(good)
        await world.until(lambda: world.converged() and world.images() == {"app:2.0": 3})

    play(scenario)


def test_a_namespace_that_is_deleted_goes_with_its_services():
    async def scenario(world: World) -> None:
        await run_web(world)
        world.cluster.delete("namespaces", "", NAMESPACE)

        def gone() -> bool:
            try:
                world.cluster.get("namespaces", "", NAMESPACE)
            except NotFound:
                return True
            return False

        await world.until(gone)

    play(scenario)


def test_status_cleared_by_hand_is_rebuilt_without_touching_a_pod():
    async def scenario(world: World) -> None:
        await run_web(world)
        uids = {p["metadata"]["uid"] for p in world.pods()}
        keys = world.status()
        world.cluster.patch("managedservices", NAMESPACE, "web", {"status": dict.fromkeys(keys)}, "status")
        await world.until(world.converged)
        assert {p["metadata"]["uid"] for p in world.pods()} == uids
        assert world.status()["currentRevision"] == keys["currentRevision"]

    play(scenario)
