# SPDX-License-Identifier: Apache-2.0
"""Under a steady load of 200 requests a second, each of 50 ms: whatever people do to a service, no client notices."""

from api.harness.operators import Operator
from api.harness.space import live
from real.harness.load import Load
from real.harness.space import RealSpace, service


def test_a_rolling_update(space: RealSpace, operator: Operator, load: Load) -> None:
    """Six instances are replaced; both versions answer meanwhile, the old one not afterwards, and no request fails."""
    space.create(service("shop", replicas=6))
    space.converged("shop", seconds=60)
    load.start("shop")
    space.version("shop", "1.1")
    assert space.converged("shop", seconds=120)["status"]["version"] == "1.1"
    seen = load.more(3)
    assert seen.versions() == {"1.1"}
    assert {version for line in seen.lines for version in line["versions"]} == {"1.0", "1.1"}
    assert seen.failed == (), f"{len(seen.failed)} of {seen.ok + len(seen.failed)}: {seen.failed[:5]}"


def test_scaling_out_and_in(space: RealSpace, operator: Operator, load: Load) -> None:
    """From two to six and back: who is taken away has been drained."""
    space.create(service("shop", replicas=2))
    space.converged("shop", seconds=60)
    load.start("shop")
    for replicas in (6, 2):
        space.plane.kubectl("scale", "-n", space.name, "msvc/shop", f"--replicas={replicas}")
        space.converged("shop", seconds=60)
    seen = load.more(3)
    assert seen.failed == (), f"{len(seen.failed)} of {seen.ok + len(seen.failed)}: {seen.failed[:5]}"


def test_a_restart_by_hand_and_a_drained_node(space: RealSpace, operator: Operator, load: Load) -> None:
    """`kubectl delete pod` of one instance, and `kubectl drain` of a node: others' deletions are drained by preStop, evictions by the budget."""
    space.create(service("shop", replicas=4))
    space.converged("shop", seconds=60)
    load.start("shop", node="node-a")
    victim = space.pods("shop")[0]["metadata"]["name"]
    space.plane.kubectl("delete", "pod", "-n", space.name, victim)
    space.converged("shop", seconds=60)
    try:
        space.plane.kubectl("drain", "node-b", "--ignore-daemonsets", "--timeout=50s", "--pod-selector=drover.dev/service")
        space.converged("shop", seconds=60)
        assert not space.on("shop", "node-b")
    finally:
        space.plane.kubectl("uncordon", "node-b")
    seen = load.more(3)
    assert seen.failed == (), f"{len(seen.failed)} of {seen.ok + len(seen.failed)}: {seen.failed[:5]}"


def test_a_restart_and_a_canary_by_their_verbs(space: RealSpace, operator: Operator, load: Load) -> None:
    """`kubectl drover restart` replaces all three; then a quarter of the requests goes to a new version, until `promote` gives it the rest."""
    space.create(service("shop", replicas=3))
    before = {each["metadata"]["uid"] for each in space.pods("shop")} if space.converged("shop", seconds=60) else set()
    load.start("shop")
    space.drover("restart", "shop")
    space.converged("shop", seconds=90)
    assert not before & {each["metadata"]["uid"] for each in space.pods("shop") if live(each)}
    space.patch("shop", {"spec": {"rollout": {"type": "Canary", "canary": {"steps": [{"weight": 25}, {"pause": {}}]}}}})
    space.version("shop", "1.1")
    space.until("shop", lambda item: item["status"]["summary"] == "WaitsForPromotion", "the pause", seconds=60)
    load.more(2)  # what was sent before that has been answered
    line = load.more(4).lines[-3:]
    answers = [sum(each["versions"].get(version, 0) for each in line) for version in ("1.0", "1.1")]
    assert 0.15 < answers[1] / sum(answers) < 0.35, answers
    space.drover("promote", "shop", "--reason", "looks good")
    assert space.converged("shop", seconds=90)["status"]["version"] == "1.1"
    seen = load.more(3)
    print(f"a canary of 25 %: {answers[1]} of {sum(answers)} requests")
    assert seen.failed == (), f"{len(seen.failed)} of {seen.ok + len(seen.failed)}: {seen.failed[:5]}"
