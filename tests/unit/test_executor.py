# SPDX-License-Identifier: Apache-2.0
"""The executor: each kind of action against each outcome, and the order of stages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from drover_operator.api.resource import CONFIG_MAPS, PODS
from drover_operator.core.plan import Action, Create, Delete, Patch, Plan, TryOut
from drover_operator.kube import errors
from drover_operator.kube.client import MUTATIONS_AT_ONCE, Client
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.election import LostLeadership
from drover_operator.runtime.executor import Result, carry_out, execute
from drover_operator.testing import SimulatedCluster, SimulatedTransport, refusal, times
from drover_operator.testing.virtualtime import run

NOW = 1000.0
OWNER = "uid-owner"
COMMON: dict[str, Any] = {"resource": CONFIG_MAPS, "namespace": "default", "step": "step", "reason": "Missing"}


class Bench:
    def __init__(self) -> None:
        self.cluster = SimulatedCluster()
        self.transport: SimulatedTransport = self.cluster.transport(user="operator")
        self.client = Client(self.transport, patience=0.0)

    def put(self, name: str, *, owner: str = "", labels: dict[str, str] | None = None, finalizer: str = "") -> dict[str, Any]:
        meta: dict[str, Any] = {"name": name, "namespace": "default", "labels": labels or {}}
        if owner:
            meta["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": owner, "controller": True}]
        if finalizer:
            meta["finalizers"] = [finalizer]
        return self.cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta})

    def seen(self, name: str) -> dict[str, Any]:
        """uid and version as an action carries them."""
        meta = self.cluster.get("configmaps", "default", name)["metadata"]
        return {"uid": meta["uid"], "version": meta["resourceVersion"]}

    async def do(self, action: Action) -> Result:
        return await carry_out(self.client, action, NOW)

    def names(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.cluster.objects("configmaps")]


def with_bench(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench()
        await scenario(bench)
        await bench.cluster.stop()

    run(main)


def create(name: str = "a", labels: tuple[tuple[str, str], ...] = ()) -> Create:
    meta = {"name": name, "namespace": "default", "labels": dict(labels)}
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": OWNER, "controller": True}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {**meta, "ownerReferences": [owner]}}
    return Create(name=name, body=body, owner_uid=OWNER, labels=labels, **COMMON)


def try_out(name: str = "a") -> TryOut:
    return TryOut(name=name, body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}, **COMMON)


def patch(bench: Bench, name: str = "a", body: dict[str, Any] | None = None) -> Patch:
    return Patch(name=name, body=body or {"data": {"x": "1"}}, **bench.seen(name), **COMMON)


def delete(bench: Bench, name: str = "a") -> Delete:
    return Delete(name=name, **bench.seen(name), **COMMON)


KINDS: dict[str, Callable[[Bench], Action]] = {
    "create": lambda _: create("new"),
    "patch": patch,
    "delete": delete,
    "try": lambda _: try_out("new"),
}
# What comes back: the reply or error, whether an error is reported, the reason of the verdict, whether a repeat may help.
OUTCOMES: tuple[tuple[Reply | BaseException, bool, str, bool, str], ...] = (
    (refusal(409, "Conflict"), True, "", True, "the cache was behind: look again, nobody is told"),
    (refusal(422, "Invalid"), False, "Invalid", False, "the object is wrong and stays wrong"),
    (refusal(400, "BadRequest"), False, "BadRequest", False, "the same"),
    (refusal(403, "Forbidden", "exceeded quota"), False, "Forbidden", True, "a quota may be raised"),
    (refusal(403, "Forbidden", "the namespace: because it is being terminated"), False, "NamespaceTerminating", True, "the namespace ends"),
    (refusal(403, "", "no"), False, "Refused", True, "a refusal without a reason has one all the same"),
    (refusal(403, "Forbidden", "ValidatingAdmissionPolicy 'drover-fence-0' denied request"), True, "", True, "we are deposed: not the object's fault"),
    (refusal(401, "Unauthorized"), False, "Unauthorized", True, "credentials may be renewed"),
    (refusal(429, "TooManyRequests", retry_after=30), True, "", True, "a busy server says nothing of the object: nobody is told of a refusal"),
    (refusal(500, "InternalError"), True, "", True, "nobody knows what became of it"),
    (errors.OutcomeUnknown("lost"), True, "", True, "the same"),
    (errors.Unsent("no way"), True, "", True, "it did not get there"),
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outcome, unknown, reason, retryable, why", OUTCOMES, ids=[f"{n} {row[-1]}" for n, row in enumerate(OUTCOMES)])
def test_every_action_against_every_outcome(kind: str, outcome: Reply | BaseException, unknown: bool, reason: str, retryable: bool, why: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a")
        action = KINDS[kind](bench)
        bench.transport.faults.before = times(1, lambda request: request.mutating, outcome)
        result = await bench.do(action)
        assert not result.ok, why
        assert (result.action, result.written) == (action, None)
        assert (result.error is not None) is unknown, why
        assert (result.verdict.reason if result.verdict else "") == reason, why
        if result.verdict:
            assert (result.verdict.at, result.verdict.retryable, result.verdict.refused) == (NOW, retryable, True), why
        assert bench.names() == ["a"]

    with_bench(scenario)


def test_a_busy_server_is_not_waited_for_and_says_when_to_come_again() -> None:
    async def scenario(bench: Bench) -> None:
        bench.transport.faults.before = lambda _: refusal(429, "TooManyRequests", retry_after=20)
        begun = asyncio.get_running_loop().time()
        result = await bench.do(create())
        assert asyncio.get_running_loop().time() - begun < 0.1
        assert (result.ok, result.verdict) == (False, None)
        assert isinstance(result.error, errors.TooManyRequests)
        assert result.error.pause == 20

    with_bench(scenario)


def test_actions_that_have_their_effect() -> None:
    async def scenario(bench: Bench) -> None:
        made = await bench.do(create("a", (("app", "web"),)))
        assert made.ok
        assert made.written is not None
        assert str(made.written.version) == bench.seen("a")["version"]
        changed = await bench.do(patch(bench))
        assert changed.ok
        assert bench.cluster.get("configmaps", "default", "a")["data"] == {"x": "1"}
        gone = await bench.do(delete(bench))
        assert gone.ok
        assert gone.written is not None
        assert gone.written.gone
        tried = await bench.do(try_out())
        assert tried.ok
        assert tried.verdict is not None
        assert (tried.verdict.refused, tried.written, bench.names()) == (False, None, []), "a dry run leaves a verdict and nothing else"

    with_bench(scenario)


def test_patches_and_deletes_hit_only_the_version_that_was_seen() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a")
        old = [patch(bench, body={"metadata": {"labels": {"mine": "1"}}}), delete(bench)]
        bench.cluster.patch("configmaps", "default", "a", {"data": {"by": "somebody"}})
        for action in old:
            result = await bench.do(action)
            assert isinstance(result.error, errors.Conflict), "somebody was faster"
        assert "mine" not in bench.cluster.get("configmaps", "default", "a")["metadata"].get("labels", {})
        assert (await bench.do(patch(bench, body={"metadata": {"labels": {"mine": "1"}}}))).ok
        assert bench.cluster.get("configmaps", "default", "a")["metadata"]["labels"]["mine"] == "1", "preconditions leave the metadata of the patch alone"
        bench.cluster.delete("configmaps", "default", "a")
        bench.put("a")
        for action in old:
            assert isinstance((await bench.do(action)).error, errors.Conflict), "another object of that name"
        assert bench.names() == ["a"]

    with_bench(scenario)


def test_what_is_not_there_any_more() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a")
        late_patch, late_delete = patch(bench), delete(bench)
        bench.cluster.delete("configmaps", "default", "a")
        for late in (late_delete, late_patch):
            done = await bench.do(late)
            assert isinstance(done.error, errors.NotFound), "the cache was behind, or the answer is wrong: nothing that rests on it may follow"

    with_bench(scenario)


LABELS = (("app", "web"), ("slot", "0"))
MET: tuple[tuple[dict[str, Any], bool, str, str], ...] = (
    ({"owner": OWNER, "labels": {"app": "web", "slot": "0"}}, True, "", "ours: a reply was lost before"),
    ({"owner": OWNER, "labels": {"app": "web", "slot": "0", "more": "x"}}, True, "", "ours, with labels of others besides"),
    ({"owner": OWNER, "labels": {"app": "web"}}, False, "LabelsChanged", "ours, without a label that the selector needs"),
    ({"owner": OWNER, "labels": {"app": "web", "slot": "1"}}, False, "LabelsChanged", "ours, with another value"),
    ({"owner": "uid-other", "labels": {"app": "web", "slot": "0"}}, False, "NameConflict", "another owner's, whatever its labels"),
    ({"labels": {"app": "web", "slot": "0"}}, False, "NameConflict", "nobody's: it is left alone"),
    ({"owner": "uid-other", "finalizer": "x.io/y"}, False, "NameConflict", "another owner's that is being deleted is another owner's"),
)


@pytest.mark.parametrize("there, ok, reason, why", MET, ids=[why for *_, why in MET])
def test_meeting_an_object_of_that_name(there: dict[str, Any], ok: bool, reason: str, why: str) -> None:
    async def scenario(bench: Bench) -> None:
        before = bench.put("a", **there)
        if "finalizer" in there:
            bench.cluster.delete("configmaps", "default", "a")
            before = bench.cluster.get("configmaps", "default", "a")
        result = await bench.do(create("a", LABELS))
        assert result.ok is ok, why
        assert (result.verdict.reason if result.verdict else "") == reason, why
        assert bench.cluster.get("configmaps", "default", "a") == before, "what is there is never touched"
        if ok:
            assert result.written is not None
            assert (result.written.uid, str(result.written.version)) == (before["metadata"]["uid"], before["metadata"]["resourceVersion"])
        else:
            assert result.verdict is not None
            found = result.verdict.found
            assert found is not None, "adoption needs to know what is there"
            assert (found.uid, found.version, found.owner_uid) == (
                before["metadata"]["uid"],
                before["metadata"]["resourceVersion"],
                there.get("owner", ""),
            )
            assert (dict(found.labels), found.deleting) == (there.get("labels", {}), "finalizer" in there)

    with_bench(scenario)


def test_the_message_about_a_taken_name_says_what_can_be_done() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a")
        bench.put("b", owner="uid-other")
        free, owned = await bench.do(create("a")), await bench.do(create("b"))
        assert free.verdict is not None
        assert owned.verdict is not None
        assert free.verdict.message == "ConfigMap 'a' exists and is controlled by nobody; rename one of them, or set spec.adopt"
        assert owned.verdict.message == "ConfigMap 'b' exists and is controlled by another owner; rename one of them", "what has an owner cannot be adopted"

    with_bench(scenario)


def test_a_name_that_is_being_freed_is_waited_for() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a", owner=OWNER, finalizer="x.io/y")
        bench.cluster.delete("configmaps", "default", "a")
        result = await bench.do(create())
        assert (result.ok, result.verdict) == (False, None), "nothing to tell anybody"
        assert isinstance(result.error, errors.AlreadyExists)
        bench.cluster.patch("configmaps", "default", "a", {"metadata": {"finalizers": None}})
        assert (await bench.do(create())).ok

    with_bench(scenario)


def test_an_object_that_goes_while_it_is_looked_at() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a", owner=OWNER)
        bench.transport.faults.before = times(1, lambda request: request.method == "GET", refusal(404, "NotFound"))
        result = await bench.do(create())
        assert (result.ok, result.verdict) == (False, None)
        assert isinstance(result.error, errors.NotFound)

    with_bench(scenario)


def test_what_is_made_gets_its_status_at_once() -> None:
    """The server drops the status of what it is given to create: it is patched into the very object that was made, in whatever version."""
    wish = {"conditions": [{"type": "x.io/gate", "status": "True"}]}

    async def scenario(bench: Bench) -> None:
        spec = {"containers": [{"name": "server", "image": "app:1"}]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "default"}, "spec": spec}
        made = await bench.do(replace(create(), resource=PODS, body=body, status=wish))
        found = bench.cluster.get("pods", "default", "a")
        assert made.ok
        assert made.written is not None
        assert str(made.written.version) == found["metadata"]["resourceVersion"]
        assert [each["type"] for each in found["status"]["conditions"]] == ["x.io/gate"]

    async def refused(bench: Bench) -> None:
        bench.transport.faults.before = times(1, lambda request: request.method == "PATCH", refusal(500, "InternalError"))
        made = await bench.do(replace(create(), status=wish))
        assert (made.ok, made.verdict, bench.names()) == (False, None, ["a"]), "made all the same; the next look sees what is missing"
        assert made.written is not None

    with_bench(scenario)
    with_bench(refused)


# -- stages


def test_stages_follow_each_other_and_the_actions_of_one_go_out_together() -> None:
    async def scenario(bench: Bench) -> None:
        bench.transport.faults.latency = 1.0
        plan = Plan(stages=((create("a"), create("b"), create("c")), (create("d"),)))
        results = await execute(bench.client, plan, NOW)
        assert [result.action for result in results] == list(plan.actions)
        assert all(result.ok for result in results)
        times_ = [write.time for write in bench.cluster.writes if write.user == "operator"]
        assert times_[0] == times_[1] == times_[2] == times_[3] - 1.0

    with_bench(scenario)


STOPS: tuple[tuple[Reply | BaseException, str], ...] = (
    (refusal(422, "Invalid"), "a refusal"),
    (refusal(409, "Conflict"), "a conflict"),
    (errors.OutcomeUnknown("lost"), "an unknown outcome"),
)


@pytest.mark.parametrize("outcome, why", STOPS, ids=[why for *_, why in STOPS])
def test_what_has_no_effect_keeps_later_stages_from_running(outcome: Reply | BaseException, why: str) -> None:
    async def scenario(bench: Bench) -> None:
        def hook(request: Request) -> Reply | BaseException | None:
            return outcome if request.mutating and msgspec.json.decode(request.body)["metadata"]["name"] == "b" else None

        bench.transport.faults.before = hook
        results = await execute(bench.client, Plan(stages=((create("a"), create("b"), create("c")), (create("d"),))), NOW)
        assert [result.ok for result in results] == [True, False, True], "the others of its stage are carried out"
        assert bench.names() == ["a", "c"], why

    with_bench(scenario)


def test_what_has_not_gone_out_when_the_server_is_busy_stays() -> None:
    """A scale-out is one stage of any size: all of it would be refused again with each pass."""

    async def scenario(bench: Bench) -> None:
        sent: list[str] = []

        def hook(request: Request) -> Reply | None:
            sent.append(msgspec.json.decode(request.body)["metadata"]["name"])
            return refusal(429, "TooManyRequests", retry_after=30) if sent[-1] == "n5" else None

        bench.transport.faults.before = hook
        names = [f"n{n}" for n in range(3 * MUTATIONS_AT_ONCE)]
        results = await execute(bench.client, Plan(stages=(tuple(map(create, names)), (create("later"),))), NOW)
        assert MUTATIONS_AT_ONCE <= len(sent) < 2 * MUTATIONS_AT_ONCE, "what is on its way when the answer comes, and hardly more"
        assert [result.action.name for result in results] == names[: len(sent)], "what was kept back has no result"
        assert [result.action.name for result in results if not result.ok] == ["n5"]
        assert sorted(bench.names()) == sorted(set(sent) - {"n5"})

    with_bench(scenario)


def test_a_stage_of_any_size_is_carried_out_whole() -> None:
    async def scenario(bench: Bench) -> None:
        names = [f"n{n:03}" for n in range(3 * MUTATIONS_AT_ONCE)]
        results = await execute(bench.client, Plan(stages=(tuple(map(create, names)), (create("later"),))), NOW)
        assert [result.action.name for result in results if result.ok] == [*names, "later"]
        assert bench.names() == ["later", *names]

    with_bench(scenario)


def test_a_refused_dry_run_guards_the_stages_behind_it() -> None:
    async def scenario(bench: Bench) -> None:
        bench.put("a")
        bench.transport.faults.before = lambda request: refusal(422, "Invalid", "image: required") if request.query.get("dryRun") else None
        results = await execute(bench.client, Plan(stages=((try_out("b"),), (delete(bench),))), NOW)
        assert (len(results), bench.names()) == (1, ["a"]), "nothing is taken down for a template that the server refuses"
        assert results[0].verdict is not None
        assert results[0].verdict.message == "image: required"

    with_bench(scenario)


def test_an_empty_plan_does_nothing() -> None:
    async def scenario(bench: Bench) -> None:
        assert await execute(bench.client, Plan(), NOW) == []
        assert bench.transport.requests == 0

    with_bench(scenario)


def test_the_loss_of_office_is_no_result() -> None:
    class Deposed:
        def headers(self) -> dict[str, str]:
            raise LostLeadership("over")

    async def scenario(bench: Bench) -> None:
        with pytest.raises(LostLeadership):
            await execute(Client(bench.transport, Deposed()), Plan(stages=((create(),),)), NOW)
        await asyncio.sleep(10)
        assert bench.names() == []

    with_bench(scenario)
