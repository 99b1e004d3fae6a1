# SPDX-License-Identifier: Apache-2.0
"""`decide` on anything: pods in every state and place, any budget, any memory. What must hold whatever the facts are."""

from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import HealthCheck, event, example, settings
from hypothesis import given as examples
from hypothesis import strategies as st
from tables.world import NAME, NOW, STATES, accepted, at, given, in_the_way, pod_name, refused, revision, spec_of

from drover_controllers.service import naming
from drover_controllers.service.decide import decide
from drover_controllers.service.drain import gated
from drover_controllers.service.failover.detect import population
from drover_controllers.service.gather import spec_digest, wanted_revision
from drover_controllers.service.lifecycle import EDGES
from drover_controllers.service.report import report
from drover_controllers.service.rollout.course import complete
from drover_controllers.service.values import Facts, ServicePlan
from drover_operator.core.plan import Create, Delete, Patch

LETTERS = "ABC"
PLACES = st.tuples(st.sampled_from(LETTERS), st.integers(0, 4))
POD = st.tuples(
    st.sampled_from([*STATES, "InService", "InService", "Draining"]),
    st.sampled_from([0, 1, 3, 15, 45, 400]),
    st.sampled_from(["", "", "", "", "!", "~", "=", "="]),
)
DURATIONS = st.sampled_from(["0s", "2s", "30s", "5m"])


@st.composite
def pods(draw: st.DrawFn) -> str:
    """Up to three pods to a place, each but the first a successor."""
    rows: list[str] = []
    for (letter, slot), chain in draw(st.dictionaries(PLACES, st.lists(POD, min_size=1, max_size=3), max_size=9)).items():
        for dashes, (state, age, mark) in enumerate(chain):
            rows.append(f"{letter}-{slot}{chr(39) * dashes}:{state}@{age}{mark}")
    return " ".join(rows)


@st.composite
def worlds(draw: st.DrawFn) -> Facts:
    surge, unavailable = draw(st.sampled_from([(1, 0), (0, 1), (2, 1), ("25%", 0), ("25%", "25%"), (0, "40%"), ("100%", 0), (4, 4)]))
    letters = draw(st.sampled_from(["", "A", "AB", "ABC", "AC", "BC"]))
    wanted = draw(st.sampled_from(LETTERS))
    memory: dict[str, Any] = {
        "target": draw(st.sampled_from([wanted, wanted, wanted, "A", ""])),
        "stable": draw(st.sampled_from(["A", "A", "B", "C", ""])),
        "progressed": draw(st.integers(0, 6)),
        "settledReplicas": draw(st.integers(-1, 6)),
        "startedAt": at(NOW - draw(st.sampled_from([0, 10, 700]))),
        "paused": draw(st.sampled_from([False, False, True])),
    }
    free = pod_name(f"{wanted}-{draw(st.integers(0, 3))}")
    verdicts = draw(
        st.sampled_from(
            [
                *[{}] * 6,
                accepted(wanted),
                refused(wanted),
                refused(wanted, age=400),
                refused(wanted, retryable=True),
                in_the_way(),
                in_the_way(f"pods/{free}"),
                in_the_way(f"pods/{free}", reason="LabelsChanged", owner="uid-of-web"),
            ]
        )
    )
    return given(
        draw(pods()),
        wanted=wanted,
        replicas=draw(st.integers(0, 5)),
        surge=surge,
        unavailable=unavailable,
        records=letters,
        blocked={wanted: draw(st.sampled_from(["", "", "now", "else"]))},
        before={"B": "A", "C": "B"},
        memory=memory,
        status={"phase": draw(st.sampled_from([None, "Provision", "Ready", "Run", "Update", "Rollback", "Scale", "Failed"]))},
        verdicts=verdicts,
        deleted=draw(st.sampled_from([None] * 5 + [5])),
        finalizers=draw(st.sampled_from([(naming.FINALIZER,), (naming.FINALIZER,), (), ("other.dev/keep",)])),
        front=draw(st.booleans()),
        budget=draw(st.booleans()),
        rolling={"minReady": draw(DURATIONS)},
        restart={"settle": draw(DURATIONS), "drainTimeout": draw(DURATIONS)},
        pin=draw(st.sampled_from([None] * 6 + ["A", "web-none"])),
        paused=draw(st.sampled_from([False, False, False, True])),
        adopt=draw(st.booleans()),
        revisionHistoryLimit=draw(st.integers(1, 3)),
        collide=draw(st.sampled_from(["", "", "", "", "B"])),
    )


def check(facts: Facts) -> ServicePlan:
    """All that must hold of the plan of these facts."""
    plan = decide(facts)
    assert decide(facts) == plan, "the same facts, another plan"
    assert plan.wake_after is None or plan.wake_after > 0
    assert not (plan.write_ahead and plan.stages)
    assert all(plan.stages), "an empty stage"
    pod_actions = [each for each in plan.actions if each.resource.plural == "pods"]
    by_uid = {each.pod.metadata.uid: each for each in plan.roster}
    _names(facts, plan)
    _victims(facts, plan, [(each, by_uid[each.uid]) for each in pod_actions if isinstance(each, Patch | Delete) and each.uid in by_uid])
    _told(facts, plan)
    return plan


def _names(facts: Facts, plan: ServicePlan) -> None:
    made = [each for each in plan.actions if isinstance(each, Create) and each.resource.plural == "pods"]
    names = [each.name for each in made]
    assert len(names) == len(set(names)), "two pods of one name"
    assert not set(names) & {pod.metadata.name for pod in facts.pods}, "the name of a pod that is there"
    recorded = {*facts.revisions, *(each.name for each in plan.actions if isinstance(each, Create) and each.resource.plural == "controllerrevisions")}
    for each in made:
        place = naming.place_of(each.name)
        assert place
        assert place[0] in recorded, "a pod of a revision that is not recorded"
        assert each.body["metadata"]["name"] == each.name
    assert not made or facts.service.metadata.deletion_timestamp is None
    ids = [each.id for each in plan.actions]
    assert [name for name, count in Counter(ids).items() if count > 1 and not name.startswith("patch pods/")] == []


def _victims(facts: Facts, plan: ServicePlan, acts: list[tuple[Any, Any]]) -> None:
    """Budgets, drains, and whom no act may touch."""
    deadline = {"0s": 0.0, "2s": 2.0, "30s": 30.0, "5m": 300.0}[facts.service.spec.restart.drain_timeout]
    leaving, entering = set(), set()
    for act, instance in acts:
        assert not instance.terminating, f"{act.id} on a pod that dies already"
        new = act.reason == "EntersService" and instance.pod.status.condition(naming.GATE) is None  # wanted in service in whatever version it has
        assert (act.uid, act.version) == (instance.pod.metadata.uid, "" if new else instance.pod.metadata.resource_version)
        if isinstance(act, Delete):
            late = not deadline or not gated(instance.pod) or (instance.state == "Draining" and facts.now >= instance.since + deadline)
            assert instance.state == "Lost" or not instance.listed or late, f"{act.id}: discovery still names it"
            assert instance.state != "InService" or not deadline or not gated(instance.pod), f"{act.id} without a drain"
            leaving |= {instance.name} if instance.live else set()
        elif act.subresource:
            assert gated(instance.pod), f"{act.id}: its kubelet asks nobody"
            opens = act.reason == "EntersService"
            (entering if opens else leaving).add(instance.name)
            assert not opens or new or instance.pod.status.is_true("ContainersReady")
    assert not leaving & entering
    live = {each.name for each in plan.roster if each.live}
    after = (live - leaving) | entering
    makes = [each for each in plan.actions if isinstance(each, Create) and each.resource.plural == "pods"]
    assert not makes or len(after) + len(makes) <= plan.demand.most, "beyond the surge"
    _slots(plan, live, after, makes)
    if facts.service.metadata.deletion_timestamp is None:
        available = {each.name for each in plan.roster if each.available}
        assert not (available & leaving) or len(available - leaving) >= plan.demand.fewest, "below the budget by our own act"


def _slots(plan: ServicePlan, live: set[str], after: set[str], makes: list[Create]) -> None:
    was = Counter((each.revision, each.slot) for each in plan.roster if each.name in live)
    will = Counter((each.revision, each.slot) for each in plan.roster if each.name in after)
    will.update(naming.place_of(each.name) for each in makes)
    twice = {place: count for place, count in will.items() if count > max(1, was[place])}
    assert not twice, f"a slot filled twice: {twice}"


def _told(facts: Facts, plan: ServicePlan) -> None:
    told = report(facts, plan)
    assert told == report(facts, plan)
    before = facts.service.status.phase
    for each in told.status.history:
        assert each.source == before
        assert each.to in EDGES[each.source]
        before = each.to
    assert sum(getattr(told.status.counts, field) for field in told.status.counts.__struct_fields__) == len(plan.roster)
    assert len(msgspec.json.encode(told.status)) < 128 * 1024
    idle = not plan.actions and not plan.write_ahead and plan.wake_after is None and not plan.doubt
    if idle and facts.service.metadata.deletion_timestamp is None and plan.course.problem is None and not facts.service.spec.paused:
        healing = [each for each in plan.roster if each.state != "InService"]
        done = complete(plan.course, plan.demand, population(plan.roster))
        assert done or healing, "it stands still with nothing to wait for"
        event("settled" if done else "waits for an event")


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@examples(facts=worlds())
@example(facts=given("A-0 A-1 A-2:Draining@1", replicas=4))
@example(facts=given("A-0:Failed@3", replicas=1))
@example(facts=given("", records="", pin="web-none", memory={"stable": ""}))
def test_whatever_the_facts_are(facts: Facts):
    check(facts)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@examples(facts=worlds())
def test_memory_settles_after_one_write(facts: Facts):
    """A pass that remembers is followed by one that acts: else the two would alternate for ever."""
    plan = decide(facts)
    if not plan.write_ahead:
        return
    kept = {each: verdict for each, verdict in facts.verdicts.items() if each in plan.held}
    service = msgspec.structs.replace(facts.service, status=msgspec.structs.replace(facts.service.status, rollout=plan.memory))
    again = decide(replace(facts, service=service, verdicts=kept))
    assert not again.write_ahead, (plan.memory, again.memory)


# -- names of revisions
SCALAR = st.none() | st.booleans() | st.integers(-9, 9) | st.text("abc", max_size=4)
TREE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", min_size=1, max_size=3), inner, max_size=4), max_leaves=8
)


def shuffled(node: Any, order: Any) -> Any:
    """The same value with its keys in another order."""
    if isinstance(node, dict):
        return {key: shuffled(node[key], order) for key in order(list(node))}
    return [shuffled(each, order) for each in node] if isinstance(node, list) else node


def named(template: Any, **spec: Any) -> str:
    return wanted_revision(spec_of(template=template, **spec), NAME).name


def whole(extra: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "server", "image": "app:1"}], "more": extra}}


@examples(extra=TREE, random=st.randoms(use_true_random=False))
def test_the_name_of_a_revision_does_not_hang_on_the_order_of_keys(extra: Any, random: Any):
    template = whole(extra)
    assert named(shuffled(template, lambda keys: random.sample(keys, len(keys)))) == named(template)


@examples(one=TREE, two=TREE)
def test_another_template_has_another_name(one: Any, two: Any):
    same = msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(two, order="deterministic")
    assert (named(whole(one)) == named(whole(two))) == same


@examples(replicas=st.integers(0, 50), surge=st.integers(1, 9), deadline=DURATIONS.filter(lambda each: each >= "2"), paused=st.booleans(), adopt=st.booleans())
def test_scaling_and_rollout_settings_make_no_revision(replicas: int, surge: int, deadline: str, paused: bool, adopt: bool):
    """A rollback never cuts the count, and a change of the settings replaces no pod."""
    plain = named(whole(1))
    rollout = {"progressDeadline": deadline, "rolling": {"maxSurge": surge}}
    more = {"restart": {"settle": deadline}, "criticality": "Vital", "version": "7", "ports": [], "pin": {"revision": "x"}}
    assert named(whole(1), replicas=replicas, rollout=rollout, paused=paused, adopt=adopt, scaling={"min": 0, "max": 60}, **more) == plain


def test_the_health_check_is_part_of_the_revision():
    names = {
        named(whole(1)),
        named(whole(1), healthCheck={"http": {"port": 80}}),
        named(whole(1), healthCheck={"tcp": {"port": 80}}),
        named(whole(1), healthCheck={"tcp": {"port": 80}, "interval": "7s"}),
    }
    assert len(names) == 4
    spelled = {"tcp": {"port": 80}, "interval": "5s", "unhealthyThreshold": 3}
    assert named(whole(1), healthCheck=spelled) == named(whole(1), healthCheck={"tcp": {"port": 80}}), "a default that is written out is no change"


def test_a_block_is_lifted_by_settings_and_not_by_scaling():
    plain = spec_digest(spec_of())
    assert spec_digest(spec_of(replicas=9, paused=True, revisionHistoryLimit=3)) == plain
    for change in ({"wanted": "B"}, {"rollout": {"progressDeadline": "1m"}}, {"restart": {"settle": "3s"}}, {"healthCheck": {"tcp": {"port": 1}}}):
        assert spec_digest(spec_of(**change)) != plain, change


@examples(slot=st.integers(0, 99_999), uid=st.text("0123456789abcdef-", max_size=36), service=st.from_regex(r"\A[a-z]([-a-z0-9]{0,38}[a-z0-9])?\Z"))
def test_pod_names_are_valid_and_can_be_read_back(slot: int, uid: str, service: str):
    name = naming.pod_name(wanted_revision(spec_of(), service).name, slot, uid)
    assert naming.place_of(name) == (wanted_revision(spec_of(), service).name, slot)
    assert len(name) <= 63
    assert name == name.lower()


def test_names_that_are_not_ours_are_no_instances():
    for name in ("web-0", "web-abcdefgh-x-abcde", "web-5d8f7c9b4-abcde", f"{revision('A')}-0", ""):
        assert naming.place_of(name) is None, name
