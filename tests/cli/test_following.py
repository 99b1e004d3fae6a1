# SPDX-License-Identifier: Apache-2.0
"""`status -w` and `--for` on a simulated API server in virtual time: what is told, when it ends, and that no trouble of the watch ends it."""

import asyncio
import json
import re
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import structlog
from cli.samples import condition, conditions

from drover_operator.cli.following import Aim, follow
from drover_operator.cli.goal import goal
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.cli.watching import Place
from drover_operator.kube.client import Client
from drover_operator.testing import SimulatedCluster, SimulatedTransport, times
from drover_operator.testing.refusal import Refused
from drover_operator.testing.virtualtime import run

HERE = (Place("default"),)
WEB = (Place("default", "web"),)


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    yield
    structlog.reset_defaults()


class World:
    """A cluster in which no operator runs: the test writes what one would, at the moments that it chooses."""

    def __init__(self) -> None:
        self.cluster = SimulatedCluster()
        self.transport: SimulatedTransport = self.cluster.transport(user="person")

    def apply(self, name: str = "web", image: str = "i:1", namespace: str = "default") -> None:
        spec = {"criticality": "Normal", "replicas": 3, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}}
        meta = {"name": name, "namespace": namespace}
        self.cluster.apply({"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "metadata": meta, "spec": spec})

    def tell(self, phase: str = "Run", summary: str = "Healthy", name: str = "web", generation: int | None = None, **status: Any) -> None:
        seen = self.cluster.get("managedservices", "default", name)["metadata"]["generation"] if generation is None else generation
        ready = condition("Ready", "True" if phase == "Run" else "False", summary)
        wire = {"phase": phase, "summary": summary, "observedGeneration": seen, "ready": "3/3", "conditions": conditions(Ready=ready), **status}
        self.cluster.patch("managedservices", "default", name, {"status": wire}, "status")

    def at(self, seconds: float, act: Callable[..., object], *args: Any, **settings: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, lambda: act(*args, **settings))

    async def follow(self, places: tuple[Place, ...] = WEB, wanted: str = "", seconds: float = 300.0, **settings: Any) -> Exit:
        name = places[0].name
        aim = Aim(places=places, name=name, goal=goal(wanted) if wanted else None, seconds=seconds if wanted else 0.0, **settings)
        return await follow(Client(self.transport), aim)


def play(scenario: Callable[[World], Coroutine[object, object, Any]]) -> Any:
    async def main() -> Any:
        return await scenario(World())

    return run(main)


def told(out: str) -> list[list[str]]:
    """Lines of the log without the time; the first are the headings."""
    return [line.split()[1:] for line in out.splitlines() if not line.startswith("managedservice")]


# --- what is told


def test_each_change_is_a_line_and_nothing_else_is(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(world: World) -> Exit:
        world.apply()
        world.at(1, world.tell, "Provision", "Provisioning", ready="0/3")
        world.at(2, world.tell, "Provision", "Provisioning", ready="0/3", replicas=2)  # nothing that has a column
        world.at(3, world.tell, "Provision", "Provisioning", ready="2/3")
        world.at(4, world.tell)
        return await world.follow(wanted="run")

    assert play(scenario) == Exit.DONE
    out, err = capsys.readouterr()
    assert told(out) == [
        ["NAME", "PHASE", "READY", "UP-TO-DATE", "VERSION", "STATUS"],
        ["web", "-", "-", "-", "-", "no", "status", "yet"],
        ["web", "Provision", "0/3", "-", "-", "Provisioning"],
        ["web", "Provision", "2/3", "-", "-", "Provisioning"],
        ["web", "Run", "3/3", "-", "-", "Healthy"],
    ]
    assert out.splitlines()[-1] == "managedservice.drover.dev/web: run reached after 4s"
    assert err == ""


def test_json_is_one_object_a_change_whole_as_the_server_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(world: World) -> Exit:
        world.apply()
        world.at(1, world.tell)
        world.at(2, world.cluster.delete, "managedservices", "default", "web")
        return await world.follow(wanted="deleted", json=True)

    assert play(scenario) == Exit.DONE
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["type"] for row in rows] == ["ADDED", "MODIFIED", "DELETED"]
    assert [row["object"].get("status", {}).get("phase") for row in rows] == [None, "Run", "Run"]
    assert rows[0]["object"]["apiVersion"] == "drover.dev/v1alpha1"
    assert rows[0]["object"]["spec"]["template"]["spec"]["containers"][0]["image"] == "i:1"
    assert "managedFields" not in rows[0]["object"]["metadata"]


def test_a_phase_that_is_over_in_a_moment_is_not_missed(capsys: pytest.CaptureFixture[str]) -> None:
    """Frames come ten times a second; the watch tells more."""

    async def scenario(world: World) -> Exit:
        world.apply()
        world.at(1, world.tell, "Update", "RollingOut")
        world.at(1.001, world.tell)
        return await world.follow(wanted="update")

    assert play(scenario) == Exit.DONE
    assert [row[1] for row in told(capsys.readouterr().out)] == ["PHASE", "-", "Update", "Run"]


def test_one_name_is_watched_alone(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(world: World) -> Exit:
        world.apply()
        world.apply("other")
        world.at(1, world.tell, name="other")
        world.at(2, world.tell)
        return await world.follow(wanted="run")

    assert play(scenario) == Exit.DONE
    assert {row[0] for row in told(capsys.readouterr().out)} == {"NAME", "web"}


# --- how a wait ends


def test_an_old_status_never_counts() -> None:
    """It ran before the apply, and the operator takes its time to look: only what it says then ends the wait."""

    async def scenario(world: World) -> float:
        world.apply()
        world.tell()
        world.apply(image="i:2")
        world.at(20, world.tell, "Update", "RollingOut")
        world.at(30, world.tell)
        assert await world.follow(wanted="run") == Exit.DONE
        return asyncio.get_running_loop().time()

    assert 30 <= play(scenario) < 31


def test_a_failure_of_the_spec_before_does_not_end_the_wait() -> None:
    stalled = {"conditions": conditions(Stalled=condition("Stalled", "True", "InvalidTemplate", "no such field"))}

    async def scenario(world: World) -> Exit:
        world.apply()
        world.tell("Failed", "InvalidTemplate", **stalled)
        world.apply(image="i:2")
        world.at(5, world.tell)
        return await world.follow(wanted="run")

    assert play(scenario) == Exit.DONE


def test_it_ends_with_2_as_soon_as_waiting_cannot_help() -> None:
    stalled = {"conditions": conditions(Stalled=condition("Stalled", "True", "NameConflict", "Service 'web' is not Drover's"))}

    async def scenario(world: World) -> float:
        world.apply()
        world.at(7, world.tell, "Provision", "NameConflict", **stalled)
        with pytest.raises(Failure, match=r"web cannot reach run: NameConflict: Service 'web' is not Drover's. Next: Rename one") as raised:
            await world.follow(wanted="run")
        assert raised.value.code == Exit.DEGRADED
        return asyncio.get_running_loop().time()

    assert 7 <= play(scenario) < 8


LATE = [
    ("no operator", lambda world: world.apply(), "no operator has looked at this service; is it running?"),
    ("it hangs", lambda world: (world.apply(), world.tell("Update", "RollingOut")), "phase Update, 3/3 in service, RollingOut"),
]


@pytest.mark.parametrize(("why", "prepare", "missing"), LATE, ids=[row[0] for row in LATE])
def test_it_ends_with_3_when_time_is_up_and_says_what_is_missing(why: str, prepare: Callable[[World], object], missing: str) -> None:
    async def scenario(world: World) -> float:
        prepare(world)
        with pytest.raises(Failure) as raised:
            await world.follow(wanted="run", seconds=90)
        assert str(raised.value) == f"web did not reach run in 90s: {missing}; kubectl drover why web -n default says more", why
        assert raised.value.code == Exit.TIMEOUT
        return asyncio.get_running_loop().time()

    assert play(scenario) == pytest.approx(90)


def test_all_of_a_namespace_must_reach_it() -> None:
    async def scenario(world: World) -> float:
        for name in ("a", "b", "c"):
            world.apply(name)
        for second, name in enumerate(("b", "c", "a"), 1):
            world.at(second, world.tell, name=name)
        world.apply("elsewhere", namespace="kube-system")
        assert await world.follow(HERE, wanted="run") == Exit.DONE
        return asyncio.get_running_loop().time()

    assert 3 <= play(scenario) < 4


def test_one_of_many_that_cannot_ends_it() -> None:
    async def scenario(world: World) -> None:
        world.apply("a")
        world.apply("b")
        world.tell(name="a")
        world.at(1, world.tell, "Failed", "ProgressDeadlineExceeded", "b")
        with pytest.raises(Failure, match="b cannot reach run: phase Failed") as raised:
            await world.follow(HERE, wanted="run")
        assert raised.value.code == Exit.DEGRADED

    play(scenario)


def test_only_what_was_applied_is_waited_for() -> None:
    async def scenario(world: World) -> Exit:
        for name in ("mine", "broken", "old"):
            world.apply(name)
        world.tell("Failed", "ProgressDeadlineExceeded", "broken")
        world.tell(name="mine", generation=1)
        return await follow(Client(world.transport), Aim(places=HERE, least={("default", "mine"): 1}, goal=goal("run"), seconds=60))

    assert play(scenario) == Exit.DONE


def test_the_generation_that_the_apply_answered_is_what_counts() -> None:
    async def scenario(world: World) -> None:
        world.apply()
        world.tell()
        with pytest.raises(Failure, match=r"generation 2, seen 1"):
            await follow(Client(world.transport), Aim(places=WEB, name="web", least={("default", "web"): 2}, goal=goal("run"), seconds=60))

    play(scenario)


ENDS = [
    ("deleted and not there: done", "deleted", Exit.DONE),
    ("deleted while it is waited for", "run", Exit.DEGRADED),
]


@pytest.mark.parametrize(("why", "wanted", "expected"), ENDS, ids=[row[0] for row in ENDS])
def test_a_service_that_goes(why: str, wanted: str, expected: Exit) -> None:
    async def scenario(world: World) -> Exit:
        world.apply()
        world.at(3, world.cluster.delete, "managedservices", "default", "web")
        try:
            return await world.follow(wanted=wanted)
        except Failure as failure:
            return failure.code

    assert play(scenario) == expected, why


def test_nothing_to_wait_for_is_an_error() -> None:
    async def scenario(world: World) -> None:
        with pytest.raises(Failure, match="no services to wait for"):
            await world.follow(HERE, wanted="run")
        assert await world.follow(HERE, wanted="deleted") == Exit.DONE

    play(scenario)


# --- trouble of the watch


def test_an_api_server_that_is_away_is_told_once_and_outlasted(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(world: World) -> Exit:
        world.apply()
        world.at(5, setattr, world.cluster, "api_down", True)
        world.at(20, world.tell)
        world.at(65, setattr, world.cluster, "api_down", False)
        return await world.follow(wanted="run")

    assert play(scenario) == Exit.DONE
    out, err = capsys.readouterr()
    assert [row[1] for row in told(out)] == ["PHASE", "-", "Run"]
    first, second = err.splitlines()
    assert re.fullmatch(r"warning: no news for [34]s: .*the API server is down; still trying", first)
    assert re.fullmatch(r"the API server answers again after (5[5-9]|6[0-5])s", second), "pauses between attempts are random"


def test_a_short_break_is_not_worth_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario(world: World) -> Exit:
        world.apply()
        world.at(5, world.transport.break_streams)
        world.at(8, world.tell)
        return await world.follow(wanted="run")

    assert play(scenario) == Exit.DONE
    assert capsys.readouterr().err == ""


def test_a_history_that_was_forgotten_is_listed_anew(capsys: pytest.CaptureFixture[str]) -> None:
    """410 for a watch that was cut: what changed meanwhile, and what went, is told from the new list."""

    async def scenario(world: World) -> Exit:
        world.apply()
        world.apply("doomed")
        world.at(5, setattr, world.cluster, "api_down", True)
        world.at(6, world.cluster.delete, "managedservices", "default", "doomed")
        world.at(6, world.tell, "Update", "RollingOut")
        world.at(7, world.cluster.compact)
        world.at(8, setattr, world.cluster, "api_down", False)
        world.at(60, world.tell)
        return await world.follow(HERE, wanted="condition=Ready", seconds=100)

    with pytest.raises(Failure, match="doomed cannot reach"):
        play(scenario)
    rows = told(capsys.readouterr().out)
    assert ["doomed", "-", "-", "-", "-", "Deleted"] in rows
    assert ["web", "Update", "3/3", "-", "-", "RollingOut"] in rows


def test_a_right_that_is_missing_ends_it_at_once() -> None:
    from drover_operator.kube.errors import Forbidden

    async def scenario(world: World) -> None:
        world.transport.faults.before = times(1, lambda request: True, Refused(403, "Forbidden", "User 'eve' cannot list").reply)
        with pytest.raises(Forbidden):
            await world.follow(HERE, wanted="run")

    play(scenario)


def test_a_right_that_is_lost_later_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A token that expires: the view says what the server says, and goes on when it is well again."""

    async def scenario(world: World) -> Exit:
        world.apply()

        def expire() -> None:
            world.transport.faults.before = times(8, lambda request: True, Refused(401, "Unauthorized", "token expired").reply)
            world.transport.break_streams()

        world.at(5, expire)
        world.at(6, world.tell)
        return await world.follow(wanted="run")

    assert play(scenario) == Exit.DONE
    assert "token expired; still trying" in capsys.readouterr().err


# --- what the server never says


def test_a_server_that_does_not_answer_is_not_waited_for_longer_than_asked() -> None:
    async def scenario(world: World) -> float:
        world.apply()
        world.transport.faults.latency = 25.0
        with pytest.raises(Failure, match="nothing was heard in 5s") as raised:
            await world.follow(wanted="run", seconds=5)
        assert raised.value.code == Exit.TIMEOUT
        return asyncio.get_running_loop().time()

    assert play(scenario) == pytest.approx(5)


def test_what_was_applied_and_is_gone_before_the_first_list() -> None:
    async def scenario(world: World) -> None:
        world.apply("a")
        world.tell(name="a")
        aim = Aim(places=HERE, least={("default", "a"): 1, ("default", "gone"): 1}, goal=goal("run"), seconds=60)
        with pytest.raises(Failure, match="gone cannot reach run: it was deleted"):
            await follow(Client(world.transport), aim)

    play(scenario)


def test_a_slip_in_the_name() -> None:
    async def scenario(world: World) -> None:
        world.apply()
        with pytest.raises(Failure, match="no service 'wbe' in namespace 'default'; did you mean web?"):
            await world.follow((Place("default", "wbe"),), wanted="run")

    play(scenario)
