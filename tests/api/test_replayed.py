# SPDX-License-Identifier: Apache-2.0
"""The simulator's faults, one of each class, replayed on a real API server: what it finds there must be found here.

Which class is shown by which test is a table in docs/explanation/proof.md; `tests/style/test_documents.py` holds it complete.
"""

import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from random import Random

import pytest
from api.conftest import Crew
from api.harness import operators
from api.harness.kube import Body
from api.harness.plane import LEASE, SYSTEM
from api.harness.space import Space, image, service
from api.harness.waiting import Late, until
from api.harness.way import Way
from api.test_crashes import check_nothing_doubled_or_lost
from scenarios.troubles import ON_THE_WAY, OldReads

SEED = 7
HAPPENED = {  # what the way must have counted for a trouble to have happened
    "LostReplies": ("lost",),
    "Refusals": ("refused",),
    "SlowRequests": ("slow",),
    "OldReads": ("old",),
    "TamperedEvents": ("drop", "Overtaken", "Repeated", "float"),
}
SKEWED = "tests/api/harness/skewed.py"


@pytest.fixture
def way(space: Space, alone: Crew) -> Iterator[Way]:
    """Something in between, and nobody else who operates."""
    alone.stop()
    with Way(space.plane) as found:
        yield found


@pytest.fixture
def through(way: Way) -> Iterator[Crew]:
    """Operators that come that way; they give the Lease back, or the next test waits for as long as they took it."""
    found = Crew(way.plane)
    yield found
    found.stop()


def kept(crew: Crew, look: Callable[[], object]) -> Callable[[], object]:
    """Look, while whoever ends is started again as a kubelet would."""

    def looked() -> object:
        if not crew.running:
            crew.start()
        return look()

    return looked


def at_version(space: Space, version: str) -> Callable[[], bool]:
    return lambda: space.get("shop")["status"].get("version") == version and space.get("shop")["status"].get("phase") == "Run"


@pytest.mark.parametrize("name", sorted(ON_THE_WAY))
def test_a_trouble_on_the_way(space: Space, way: Way, through: Crew, name: str) -> None:
    """Two rollouts through a trouble that goes on all the time: no slot twice, never more than the surge or fewer than wanted, and in peace it converges."""
    through.one()
    space.create(service("shop", replicas=4))
    space.converged("shop")
    print(f"seed {SEED}")
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        way.troubles = [OldReads(Random(SEED), 0.5) if name == "OldReads" else ON_THE_WAY[name](Random(SEED))]
        for version in ("2", "3"):
            for each in through.running if name == "OldReads" else ():
                each.kill()  # who begins reads most
            space.patch("shop", image(f"registry.example/app:{version}"))
            arrived = kept(through, at_version(space, version))
            with suppress(Late):  # a write that was refused for its fields is tried again minutes later
                until(arrived, "it arrives in spite of the trouble", seconds=15)
        way.troubles = []
        if name == "Refusals":
            through.stop()  # a template that was refused for its fields is tried again in five minutes, or by a process that does not know
        until(kept(through, at_version(space, "3")), "it arrives in peace", seconds=90, seen=lambda: f"{space.show('shop')}\n{through.tail(space.name)}")
        space.converged("shop", seconds=60)
        pods.settle(), slices.settle()
    print(dict(way.counts))
    assert any(each.startswith(HAPPENED[name]) for each in way.counts if way.counts[each]), f"the trouble never came: {way.counts}"
    check_nothing_doubled_or_lost(pods, slices, 4, 5)


def test_history_is_compacted(space: Space, way: Way, through: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the operator hears nothing its place in history is thrown away: 410 Gone. It lists anew, and goes on."""
    monkeypatch.setattr(operators, "TIMES", "30/25/2")  # it must live through the restart of the API server
    operator = through.one()
    space.create(service("shop", replicas=2))
    space.converged("shop")
    way.closed = True
    way.break_watches()
    space.patch("shop", {"spec": {"replicas": 3}})
    compact(space)
    space.plane.kill_api_server()  # what it has in memory would still answer
    way.closed = False
    until(kept(through, lambda: space.get("shop")["status"].get("ready") == "3/3"), "it goes on", seconds=60, seen=lambda: through.tail(space.name))
    assert operator.running
    assert any((each.get("event"), each.get("reason")) == ("relist", "expired") for each in operator.log), "it never met a 410"


def compact(space: Space) -> None:
    """Compact etcd up to now, by its HTTP door."""
    cluster = space.plane.cluster
    folder = cluster.folder / "certificates"
    context = ssl.create_default_context(cafile=str(folder / "etcd-ca.crt"))
    context.load_cert_chain(folder / "etcd.crt", folder / "etcd.key")
    revision = space.kube.call("get", "/api/v1/namespaces")["metadata"]["resourceVersion"]
    port = cluster.etcd_port
    body = f'{{"revision": "{revision}", "physical": true}}'.encode()
    request = urllib.request.Request(f"https://127.0.0.1:{port}/v3/kv/compaction", data=body, method="POST")
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:
        assert answer.status == 200


def test_the_lease_is_given_to_a_stranger(space: Space, alone: Crew) -> None:
    """In the middle of a rollout: the leader ends, its late writes are refused, and the next one waits for the stranger's time to be over."""
    leader = alone.one()
    space.create(service("shop", replicas=4))
    space.converged("shop")
    with space.kube.watch("pods", space.name) as pods, space.kube.watch("endpointslices", space.name) as slices:
        begin = len(pods.changes)
        space.patch("shop", image("registry.example/app:2", metadata={"annotations": {"drover.dev/simulate-ready-after": "300ms"}}))
        until(lambda: len(pods.changes) > begin, "the update is under way")
        epoch = space.kube.get("leases", SYSTEM, LEASE)["spec"]["leaseTransitions"]
        space.kube.patch("leases", SYSTEM, LEASE, {"spec": {"holderIdentity": "stranger", "leaseTransitions": epoch + 1}})
        assert leader.process.wait(10) == 3, leader.tail()
        until(kept(alone, at_version(space, "2")), "another one goes on", seconds=60, seen=alone.tail)
        space.converged("shop", seconds=40)
        pods.settle(), slices.settle()
    assert space.kube.get("leases", SYSTEM, LEASE)["spec"]["leaseTransitions"] == epoch + 2
    check_nothing_doubled_or_lost(pods, slices, 4, 5)


@pytest.fixture
def broken_webhook(space: Space) -> Iterator[Callable[[], None]]:
    """Somebody's webhook for new pods in this namespace, which answers nobody; the call takes it away."""
    name, where = f"broken-{space.name}"[:60], "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    body: Body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "webhook.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": 1,
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }
        ],
    }
    space.kube.call("post", where, body)
    there = [True]

    def repair() -> None:
        if there.pop() if there else False:
            space.kube.call("delete", f"{where}/{name}")

    yield repair
    repair()


def test_a_webhook_of_somebody_else_is_broken(space: Space, alone: Crew, broken_webhook: Callable[[], None]) -> None:
    """Every new pod is refused with 500: the service says why, asks ever less often, and is whole soon after the webhook is."""
    alone.one()
    space.create(service("shop", replicas=2))
    until(lambda: "webhook" in space.show("shop"), "the status says why", seen=lambda: space.show("shop"))
    mark = space.plane.audit.mark()
    time.sleep(3)
    tried = [each for each in space.plane.audit.since(mark, space.name) if each.resource == "pods" and each.verb == "create"]
    assert len(tried) <= 20, "as often as backoff lets it, not in a loop"
    broken_webhook()
    space.converged("shop", seconds=60)


def test_a_clock_that_is_an_hour_ahead(space: Space, alone: Crew) -> None:
    """It leads for as long as it renews, and hands over: nobody compares clocks of two machines."""
    alone.stop()
    skewed = alone.start(SKEWED, "3600").leads()
    space.create(service("shop", replicas=2))
    space.converged("shop")
    standby = alone.start()
    until(lambda: standby.said("started"), "the other one is there")
    time.sleep(4)
    assert skewed.leading, "a lease from the future is no older than one from now"
    skewed.kill()
    standby.leads()
    space.patch("shop", {"spec": {"replicas": 3}})
    space.converged("shop")
