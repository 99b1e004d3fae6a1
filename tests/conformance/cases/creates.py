# SPDX-License-Identifier: Apache-2.0
"""Creating: what is filled in, what is dropped, what is refused and in which words."""

from tests.conformance.cases._bodies import budget, config, pod, revision, service
from tests.conformance.room import CODE, Json, Room


async def a_custom_resource_is_completed(room: Room) -> None:
    """The operator reads what was defaulted, and a status that somebody sends with the object must not be believed."""
    await room.post("managedservices", {**service(), "status": {"phase": "Run", "ready": "5/5"}})
    await room.get("managedservices/web")


async def sets_and_maps_that_must_not_be_empty(room: Room) -> None:
    """A gate that is named twice is told at its second place, whatever follows; and a window for no labels would be one for all services."""
    for gates in (["a", "a"], ["a", "b", "a", "b", "a"], ["a", "A", "a"]):
        await room.post("managedservices", service(spec={"rollout": {"gates": gates}}))
    opens = [{"from": "22:00", "for": "6h", "days": ["Sat", "Sat"]}]
    window = {"apiVersion": "drover.dev/v1alpha1", "kind": "MaintenanceWindow", "metadata": {"name": "w"}}
    await room.post("maintenancewindows", {**window, "spec": {"opens": opens}})
    await room.post("maintenancewindows", {**window, "spec": {"opens": [], "purpose": "Freeze", "services": {"matchLabels": {}}}})


async def kinds_that_have_no_status(room: Room) -> None:
    """Nobody tells anything of gates and windows: a status that is sent along is dropped, and there is none to ask for."""
    gate = {"apiVersion": "drover.dev/v1alpha1", "kind": "ReleaseGate", "metadata": {"name": "errors"}, "spec": {"measure": {"restarts": {}}}}
    await room.post("releasegates", {**gate, "status": {"phase": "Run"}})
    await room.merge("releasegates/errors/status", {"status": {"phase": "Run"}}, show=CODE)
    await room.merge("releasegates/errors", {"spec": {"samples": 3}}, show="metadata.generation spec status")


async def a_config_map_is_stored_as_it_came(room: Room) -> None:
    """Kinds without defaults show the plain frame: type, uid, version, time of one second resolution."""
    await room.post("configmaps", config(data={"k": "v"}, labels={"a": "b"}))
    await room.post("configmaps", {"metadata": {"name": "untyped"}})


async def a_pod_is_completed(room: Room) -> None:
    """The operator compares pods with what it would build, so every default must be as the real server fills it in."""
    await room.post("pods", {**pod(), "status": {"phase": "Running"}})


async def a_pod_with_everything_that_we_set_is_completed(room: Room) -> None:
    """The fields that the builder of the service controller sets: probes, ports, resources, gates, hooks, spreading."""
    container = {
        "name": "app",
        "image": "registry.example/app",
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"httpGet": {"port": 8080, "path": "/healthz"}},
        "livenessProbe": {"tcpSocket": {"port": 8080}},
        "startupProbe": {"exec": {"command": ["true"]}, "periodSeconds": 2},
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m"}},
        "env": [{"name": "A", "value": "1"}, {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    spec = {
        "containers": [container],
        "initContainers": [{"name": "proxy", "image": "registry.example/proxy:2", "restartPolicy": "Always"}],
        "readinessGates": [{"conditionType": "drover.dev/in-service"}],
        "terminationGracePeriodSeconds": 45,
        "topologySpreadConstraints": [spread],
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "c"}}],
        "tolerations": [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
    }
    await room.post("pods", pod("p", spec, labels={"app": "web"}))


async def the_quality_of_service_of_pods(room: Room) -> None:
    """Who is evicted first depends on it, and it is computed from requests and limits."""
    same = {"cpu": "1", "memory": "1Gi"}
    for name, resources in (("best", {}), ("burst", {"requests": {"cpu": "1"}}), ("sure", {"limits": same}), ("half", {"limits": {"cpu": "1"}})):
        await room.post(
            "pods", pod(name, {"containers": [{"name": "a", "image": "i", "resources": resources}]}), show="status.qosClass spec.containers.0.resources"
        )


async def the_priority_of_pods(room: Room) -> None:
    """Pods get the class of their service's criticality; its number is filled in, and a class that is not there refuses the pod."""
    shown = "spec.priorityClassName spec.priority spec.preemptionPolicy"
    for name in ("drover-expendable", "drover-normal", "drover-important", "drover-vital", "system-node-critical", "nobody-made-it"):
        await room.post("pods", pod("p", {"priorityClassName": name}), show=shown, dryRun="All")


async def a_service_is_completed(room: Room) -> None:
    """The ownership check compares the Service that we build with the one that is stored."""
    spec = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    body = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec}
    await room.post("services", body)
    headless = {"clusterIP": "None", "selector": {"app": "web"}, "ports": [{"port": 80}]}
    await room.post("services", {**body, "metadata": {"name": "headless"}, "spec": headless})


async def a_disruption_budget_is_completed(room: Room) -> None:
    """Its status is computed later and by others; what stands there at first decides about an eviction at once."""
    await room.post("poddisruptionbudgets", {**budget(), "status": {"disruptionsAllowed": 9}})


async def a_controller_revision_is_stored_as_it_came(room: Room) -> None:
    """Revisions hold the template that a rollback brings back: its data must come out as it went in."""
    await room.post("controllerrevisions", revision())


async def an_event_is_stored_as_it_came(room: Room) -> None:
    """People read our Events; a field that the server demands and we forget would make all of them fail."""
    regarding = {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "name": "web", "namespace": room.namespace}
    body = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "web.1"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "drover.dev/operator",
        "reportingInstance": "drover-0",
        "action": "Rollout",
        "reason": "RolloutDone",
        "regarding": regarding,
        "note": "All is well.",
        "type": "Normal",
    }
    await room.post("events", body)
    await room.post("events", {**body, "metadata": {"name": "web.2"}, "type": "Bad"})
    for field in ("reason", "action", "reportingController", "reportingInstance", "eventTime", "regarding"):
        less = {key: value for key, value in body.items() if key != field}
        await room.post("events", {**less, "metadata": {"name": f"web.{field.lower()}"}}, show="metadata.name")
    await room.merge("events/web.1", {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}, show="series")


async def a_name_can_be_generated(room: Room) -> None:
    """Slices and Events are named by the server; a name that is given wins over the prefix."""
    await room.post("configmaps", {"metadata": {"generateName": "some-"}}, show="metadata.name metadata.generateName")
    await room.post("configmaps", {"metadata": {"generateName": "some-", "name": "mine"}}, show="metadata.name metadata.generateName")


async def a_taken_name_is_refused(room: Room) -> None:
    """Deterministic names make a repeated create harmless only if the refusal is AlreadyExists."""
    for plural, body in (("configmaps", config()), ("pods", pod()), ("managedservices", service()), ("controllerrevisions", revision())):
        await room.post(plural, body, show="metadata.name")
        await room.post(plural, body)


async def metadata_that_the_server_owns_is_ignored(room: Room) -> None:
    """A restored backup carries all of it, and a deletion timestamp in it must not delete."""
    stale = {
        "uid": "11111111-2222-3333-4444-555555555555",
        "creationTimestamp": "2020-01-01T00:00:00Z",
        "deletionTimestamp": "2020-01-01T00:00:00Z",
        "deletionGracePeriodSeconds": 5,
        "generation": 7,
        "selfLink": "/x",
    }
    await room.post("configmaps", config(**stale))
    await room.post("managedservices", service(**stale), show="metadata")
    await room.post("pods", pod(**stale), show="metadata")


async def creates_that_cannot_be_understood(room: Room) -> None:
    """Each of these is a bug of a client, and the code tells it apart from a conflict or a refusal by admission."""
    await room.post("configmaps", config(resourceVersion="5"))
    await room.post("configmaps", {**config(), "kind": "Secret"}, show=CODE)
    await room.post("configmaps", {**config(), "apiVersion": "v2"}, show=CODE)
    await room.post("managedservices", {**service(), "kind": "Other"})
    await room.post("managedservices", {**service(), "apiVersion": "drover.dev/v1"})
    await room.post("configmaps", config(namespace="elsewhere"))
    await room.post("managedservices", service(namespace="elsewhere"))
    await room.post("configmaps/a", config())
    await room.post("/api/v1/namespaces/nowhere/configmaps", config())
    await room.post("/apis/drover.dev/v1alpha1/namespaces/nowhere/managedservices", service())


async def creates_that_are_no_json(room: Room) -> None:
    """A truncated body must not look like an invalid object, which nobody would try again."""
    for plural in ("configmaps", "managedservices"):
        await room.send("POST", plural, b'{"kind": ', show=CODE)
        await room.send("POST", plural, b"[]", show=CODE)


async def names_that_are_refused(room: Room) -> None:
    """Our names are made from people's names; the rule that is broken must be told in the words people search for."""
    for plural, body in (
        ("configmaps", config),
        ("pods", pod),
        ("managedservices", service),
        ("controllerrevisions", revision),
        ("poddisruptionbudgets", budget),
    ):
        await room.post(plural, body(""))
        await room.post(plural, body("Web_1"))
    await room.post("configmaps", config("x" * 254))
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    await room.post("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "1web"}, "spec": spec})
    await room.post("services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "w" * 64}, "spec": spec})


async def metadata_that_is_refused(room: Room) -> None:
    """Labels carry service names, and finalizers must be qualified: both are checked for every kind."""
    for plural, body in (("configmaps", config), ("managedservices", service), ("pods", pod)):
        await room.post(plural, body("x", labels={"a": "x" * 64}))
        await room.post(plural, body("x", labels={"a": "-b"}))
        await room.post(plural, body("x", labels={"a b": "c"}))
        for key in ("x" * 64, "a.b/", "/c", "A/b"):
            await room.post(plural, body("x", labels={key: ""}))
        await room.post(plural, body("x", annotations={"a b": "c"}))
        await room.post(plural, body("x", finalizers=["mine"]))
        await room.post(plural, body("x", ownerReferences=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "o"}]))


async def pods_that_are_refused(room: Room) -> None:
    """A template that cannot become a pod must be told to the user in the server's words, once, and not be tried for ever."""
    good = {"name": "a", "image": "i"}
    rows = [
        {"containers": []},
        {"containers": [{"name": "a"}]},
        {"containers": [{"image": "i"}]},
        {"containers": [{"name": "A", "image": "i"}]},
        {"containers": [good, good]},
        {"containers": [good], "restartPolicy": "Perhaps"},
        {"containers": [{**good, "resources": {"limits": {"cpu": "lots"}}}]},
        {"containers": [{**good, "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1100m"}}}]},
        {"containers": [{**good, "ports": [{"containerPort": 0}]}]},
        {"containers": [{**good, "imagePullPolicy": "Sometimes"}]},
        {"containers": [{**good, "volumeMounts": [{"name": "missing", "mountPath": "/m"}]}]},
    ]
    for row in rows:
        await room.post("pods", pod("p", row), show="metadata.name", dryRun="All")
    await room.post("pods", pod("p", {"terminationGracePeriodSeconds": -1}), show="spec.terminationGracePeriodSeconds", dryRun="All")
    await room.post("pods", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}})


async def pods_with_odd_values(room: Room) -> None:
    """The finer rules that a template in a ManagedService can break, as our schema looks at names and images only."""
    good = {"name": "a", "image": "i"}
    http, sleep = {"httpGet": {"port": 80}}, {"preStop": {"sleep": {"seconds": 60}}}
    rows: list[Json] = [
        {"containers": [{**good, "readinessProbe": {}}]},
        {"containers": [{**good, "readinessProbe": {**http, "tcpSocket": {"port": 80}}}]},
        {"containers": [{**good, "livenessProbe": {"tcpSocket": {"port": 0}}}]},
        {"containers": [{**good, "livenessProbe": {**http, "successThreshold": 2}}]},
        {"containers": [{**good, "readinessProbe": {**http, "periodSeconds": -1}}]},
        {"containers": [{**good, "lifecycle": sleep}]},
        {"containers": [{**good, "lifecycle": {"preStop": {}}}]},
        {"containers": [good], "readinessGates": [{"conditionType": ""}]},
        {"containers": [good], "topologySpreadConstraints": [{}]},
        {"containers": [good], "initContainers": [{"name": "b", "image": "i", "lifecycle": sleep}]},
        {"containers": [good], "initContainers": [{"name": "a", "image": "i"}]},
        {"containers": [good], "initContainers": [{"name": "b", "image": "i", "restartPolicy": "Never"}]},
        {"containers": [{**good, "ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]}]},
        {"containers": [{**good, "ports": [{"containerPort": 70000}]}]},
        {"containers": [{**good, "ports": [{"containerPort": 80, "protocol": "ICMP"}]}]},
        {"containers": [{**good, "env": [{"value": "1"}]}]},
        {"containers": [good], "priorityClassName": "nobody-made-it"},
        {"containers": [{**good, "resources": {"limits": {"cpu": "-1"}}}]},
        {"containers": [good], "volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]},
        {"containers": [good], "tolerations": [{"operator": "Sometimes"}]},
        {"containers": None},
    ]
    for row in rows:
        await room.post("pods", pod("p", row), show="metadata.name", dryRun="All")
    await room.post("pods", pod("p", {"containers": [{**good, "env": None, "ports": None}], "volumes": None}), show="spec.containers.0.ports", dryRun="All")


async def pods_of_wrong_types(room: Room) -> None:
    """What Go cannot read is a bad request, whatever else is wrong; where it names a Go type, only the code is compared."""
    good = {"name": "a", "image": "i"}
    rows: list[Json] = [
        {"containers": "none"},
        {"containers": [{**good, "env": [{"name": "A", "value": 1}]}]},
        {"containers": [{**good, "command": "run"}]},
        {"containers": [{**good, "ports": [{"containerPort": "http"}]}]},
        {"containers": [{**good, "image": 5}]},
        {"containers": [good], "terminationGracePeriodSeconds": "soon"},
        {"containers": [good], "nodeSelector": {"a": 1}},
        {"containers": [good], "tolerations": {}},
    ]
    for row in rows:
        await room.post("pods", pod("p", row), show=CODE, dryRun="All")


async def ports_of_services_that_are_refused(room: Room) -> None:
    """The ports come from the user's own list, and the server's words are all that the user gets to read."""
    rows: list[list[Json]] = [
        [],
        [{"port": 0}],
        [{"port": 70000}],
        [{"port": 80}, {"port": 81}],
        [{"name": "a", "port": 80}, {"name": "a", "port": 81}],
        [{"name": "a", "port": 80}, {"name": "b", "port": 80}],
        [{"name": "A", "port": 80}],
        [{"name": "a", "port": 80, "targetPort": "9"}],
        [{"name": "a", "port": 80, "targetPort": "x" * 16}],
        [{"name": "a", "port": 80, "targetPort": 0}],
        [{"name": "a", "port": 80, "targetPort": 70000}],
        [{"name": "a", "port": 80, "protocol": "ICMP"}],
    ]
    for ports in rows:
        await room.post("services", {"metadata": {"name": "s"}, "spec": {"selector": {"app": "web"}, "ports": ports}}, show="spec.ports", dryRun="All")


async def other_kinds_that_are_refused(room: Room) -> None:
    """What the operator creates beside pods, with the mistakes that a template or a port list can cause."""
    await room.post("controllerrevisions", {"metadata": {"name": "r"}, "revision": 1})
    await room.post("controllerrevisions", {**revision(), "revision": -1})
    await room.post("poddisruptionbudgets", budget(spec={"minAvailable": 1, "maxUnavailable": 1}))
    await room.post("poddisruptionbudgets", budget(spec={"minAvailable": "half"}))
    await room.post("poddisruptionbudgets", budget(spec={"minAvailable": -1}))
    await room.post("poddisruptionbudgets", budget(spec={"maxUnavailable": "101%"}))
    await room.post("poddisruptionbudgets", budget(spec={"unhealthyPodEvictionPolicy": "Perhaps"}))
    await room.post("poddisruptionbudgets", budget(spec={}), show="spec")
    await room.post("leases", {"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 0}})
    await room.post("leases", {"metadata": {"name": "l"}, "spec": {"leaseTransitions": -1}})


async def paths_that_are_not_there(room: Room) -> None:
    """A 404 for a path and a 404 for an object look alike in code; their words tell them apart."""
    await room.get("configmaps/none")
    await room.get("managedservices/none")
    await room.get("/apis/drover.dev/v1alpha1/nothings")
    await room.get("/apis/nowhere.dev/v1/things")
    await room.post("configmaps", config(), show="metadata.name")
    await room.merge("configmaps/a/status", {"data": {"a": "1"}})
    await room.get("configmaps/a/scale")
    await room.merge("configmaps/none", {"data": {"a": "1"}})
    await room.delete("configmaps/none")
    await room.put("configmaps", config())
