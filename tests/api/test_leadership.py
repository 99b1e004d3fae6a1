# SPDX-License-Identifier: Apache-2.0
"""Two operators, one leader; and the fence: the API server itself refuses the writes of one who leads no more."""

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from api.conftest import Crew
from api.harness.kube import Body, Kube, Refused, path
from api.harness.operators import Operator
from api.harness.plane import LEASE, ROOT, SYSTEM, WRITER, Plane
from api.harness.space import Space, image, service
from api.harness.waiting import until

FLOOR = "drover.dev/epoch-floor"


def lease(plane: Plane) -> Body:
    return dict(plane.kube.get("leases", SYSTEM, LEASE)["spec"])


def test_exactly_one_leads(space: Space, alone: Crew) -> None:
    """Two processes, warm caches in both; one holds the Lease, and only that one writes."""
    pair = [alone.start(), alone.start()]
    leader = until(lambda: next((each for each in pair if each.leading), None), "one leads", seen=alone.tail)
    standby = next(each for each in pair if each is not leader)
    until(lambda: standby.said("started"), "the other has started")
    space.create(service("shop", replicas=2))
    space.converged("shop")
    assert [each.metrics()['leader_election_master_status{name="drover-operator-0"}'] for each in (leader, standby)] == [1.0, 0.0]
    wrote = [
        each
        for each, metrics in ((each, each.metrics()) for each in pair)
        if any(name.startswith("drover_writes_total") and value for name, value in metrics.items())
    ]
    assert wrote == [leader]
    assert standby.said("leading") is None


def test_a_standby_takes_over_from_a_killed_leader(space: Space, alone: Crew) -> None:
    """SIGKILL of the leader in mid-update: at 3/2/0.5 s the standby leads within 6 s and goes on."""
    leader = alone.one()
    standby = alone.start()
    until(lambda: standby.said("started"), "the standby has started")
    space.create(service("shop", replicas=4, rollout={"rolling": {"maxSurge": 1}}))
    space.converged("shop")
    epoch = lease(space.plane)["leaseTransitions"]
    space.patch("shop", image("registry.example/app:2", metadata={"annotations": {"drover.dev/simulate-ready-after": "300ms"}}))
    space.until("shop", lambda item: item["status"]["phase"] == "Update", "the update is under way")
    leader.kill()
    killed = time.monotonic()
    standby.leads(seconds=8)
    took = time.monotonic() - killed
    assert took < 6, f"{took:.1f} s"
    assert lease(space.plane)["leaseTransitions"] > epoch
    assert space.converged("shop", seconds=40)["status"]["version"] == "2"


def test_a_frozen_leader_writes_nothing_when_it_wakes(space: Space, alone: Crew) -> None:
    """SIGSTOP past the lease, another takes over, SIGCONT: the old one ends with exit code 3, and no write of its epoch was accepted."""
    frozen = alone.one()
    standby = alone.start()
    until(lambda: standby.said("started"), "the standby has started")
    space.create(service("shop", replicas=3))
    space.converged("shop")
    old = lease(space.plane)["leaseTransitions"]
    frozen.signal(signal.SIGSTOP)
    try:
        space.patch("shop", image("registry.example/app:2"))
        standby.leads(seconds=10)
        taken = space.plane.audit.mark()
        space.converged("shop")
        space.plane.kubectl("scale", "-n", space.name, "msvc/shop", "--replicas=5")
    finally:
        frozen.signal(signal.SIGCONT)
    assert frozen.process.wait(10) == 3, frozen.tail()
    space.converged("shop")
    mine = [each for each in space.plane.audit.since(taken) if each.counted]
    assert mine and {each.user for each in mine} == {WRITER}
    assert lease(space.plane)["leaseTransitions"] > old


@pytest.fixture
def impostor(plane: Plane) -> Iterator[Kube]:
    """The operator's own credentials in the hands of a test."""
    kube = Kube(plane.operator_kubeconfig)
    yield kube
    kube.close()


def proof(epoch: object, holder: str, user: str = WRITER) -> dict[str, str]:
    return {"Impersonate-User": user, "Impersonate-Extra-drover.dev%2Fepoch": str(epoch), "Impersonate-Extra-drover.dev%2Fholder": holder}


def refusal(attempt: Callable[[], object]) -> Refused | None:
    """The refusal that a write met, or None when it was accepted."""
    try:
        attempt()
    except Refused as error:
        return error
    return None


SPEC = {"containers": [{"name": "a", "image": "b"}]}


def attempts(space: Space, kube: Kube, headers: dict[str, str]) -> list[tuple[str, Any]]:
    """One write of each sort, as the operator would send it."""
    pod = space.pods("shop")[0]["metadata"]["name"]
    content = {"content": "application/merge-patch+json", "headers": headers}
    return [
        (
            "create",
            lambda: kube.call(
                "post", path("pods", space.name), {"metadata": {"name": "late", "labels": {"drover.dev/service": "nobody"}}, "spec": SPEC}, headers=headers
            ),
        ),
        ("patch", lambda: kube.call("patch", path("pods", space.name, pod), {"metadata": {"labels": {"late": "yes"}}}, **content)),
        ("patch status", lambda: kube.call("patch", path("pods", space.name, pod, "status"), {"status": {"message": "late"}}, **content)),
        ("patch our status", lambda: kube.call("patch", path("managedservices", space.name, "shop", "status"), {"status": {"summary": "late"}}, **content)),
        ("delete", lambda: kube.call("delete", path("pods", space.name, pod), {"apiVersion": "v1", "kind": "DeleteOptions"}, headers=headers)),
    ]


def test_the_fence_refuses_an_old_epoch(space: Space, operator: Operator, impostor: Kube) -> None:
    """Creates, patches, status writes and deletes with another epoch or holder: 422, in words that say why. With the right ones: accepted."""
    space.create(service("shop", replicas=1))
    space.converged("shop")
    now = lease(space.plane)
    wrong = [
        (proof(now["leaseTransitions"] - 1, now["holderIdentity"]), f"this write carries epoch {now['leaseTransitions'] - 1} of"),
        (proof(now["leaseTransitions"], "somebody-else"), "of somebody-else, not those of the Lease"),
        ({"Impersonate-User": WRITER}, "this write carries epoch none of nobody"),
        (proof("x", now["holderIdentity"]), "this write carries epoch x of"),
    ]
    for headers, words in wrong:
        for name, attempt in attempts(space, impostor, headers):
            error = refusal(attempt)
            assert error is not None, f"accepted: {name} with {headers}"
            assert error.code == 422 and words in str(error), f"{name}: {error.code} {error}"
    for _, attempt in attempts(space, impostor, proof(now["leaseTransitions"], now["holderIdentity"])):
        attempt()
    space.converged("shop")


def test_credentials_alone_write_nothing(space: Space, operator: Operator, impostor: Kube) -> None:
    """Without impersonation the account may not write, and it may impersonate nobody else."""
    space.create(service("shop", replicas=1))
    space.converged("shop")
    now = lease(space.plane)
    for headers in ({}, proof(now["leaseTransitions"], now["holderIdentity"], "drover:operator:1"), {"Impersonate-User": "kubernetes-admin"}):
        for name, attempt in attempts(space, impostor, headers):
            with pytest.raises(Refused) as refusal:
                attempt()
            assert refusal.value.code == 403, f"{name}: {refusal.value}"


def test_a_user_of_another_shard_has_no_rights(space: Space) -> None:
    """Rights are given to the user of each shard by name: a shard that nobody installed can write nothing, with any epoch."""
    with pytest.raises(Refused, match='User "drover:operator:7" cannot create resource "pods"'):
        space.kube.call(
            "post",
            path("pods", space.name),
            {"metadata": {"name": "late"}, "spec": SPEC},
            headers=proof(1, "x", "drover:operator:7"),
        )


def test_the_lease_is_kept(plane: Plane, operator: Operator) -> None:
    """An administrator who clears all leases away is told why ours stays; other leases go as ever."""
    before = plane.kube.get("leases", SYSTEM, LEASE)["metadata"]["uid"]
    plane.kube.create("leases", SYSTEM, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "another"}})
    said = plane.kubectl("delete", "leases", "--all", "-n", SYSTEM, ok=False)
    assert f"the Lease {LEASE} fences the operator; delete the policy drover-keep-leases first if it must go" in said
    assert plane.kube.get("leases", SYSTEM, LEASE)["metadata"]["uid"] == before
    assert plane.kube.find("leases", SYSTEM, "another") is None


def test_a_missing_lease_stops_nobody_else(space: Space, alone: Crew, impostor: Kube) -> None:
    """The Lease is gone (its policy taken away first): everybody else writes as ever; the next one starts above the old epoch, which is void.

    Until there is one again the fence refuses nothing (failurePolicy Ignore), which is why the Lease is kept by a policy of its own.
    """
    plane = space.plane
    alone.one()
    space.create(service("shop", replicas=1))
    space.converged("shop")
    old = lease(plane)
    alone.stop()
    plane.kubectl("delete", "validatingadmissionpolicybinding", "drover-keep-leases")
    try:

        def deleted() -> bool:
            try:
                plane.kube.delete("leases", SYSTEM, LEASE)
            except Refused as error:
                return error.code == 404
            return True

        until(deleted, "the Lease can be deleted", seconds=20)
        space.kube.create("configmaps", space.name, {"metadata": {"name": "theirs"}})
        space.create(service("later", replicas=1))
        pod = space.pods("shop")[0]["metadata"]["name"]
        space.kube.patch("pods", space.name, pod, {"metadata": {"labels": {"others": "write"}}})
    finally:
        plane.kubectl("apply", "-f", str(ROOT / "manifests/policies"))
    alone.one()
    assert lease(plane)["leaseTransitions"] > old["leaseTransitions"]
    for _, attempt in attempts(space, impostor, proof(old["leaseTransitions"], old["holderIdentity"])):
        with pytest.raises(Refused, match="not those of the Lease"):
            attempt()
    assert int(plane.kube.get("configmaps", SYSTEM, LEASE)["metadata"]["annotations"][FLOOR]) == lease(plane)["leaseTransitions"]
    space.converged("later")
    space.converged("shop")
