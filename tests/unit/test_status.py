# SPDX-License-Identifier: Apache-2.0
"""Status: the smallest patch, on exactly the version that was read, and not too often."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from drover_operator.api.meta import Object, Wire
from drover_operator.api.resource import MANAGED_SERVICES
from drover_operator.kube.client import Client
from drover_operator.kube.errors import Conflict, OutcomeUnknown
from drover_operator.kube.transport import Request
from drover_operator.runtime.status import LONGEST, ROUTINE, URGENT, StatusWriter, merge_patch
from drover_operator.testing import SimulatedCluster, SimulatedTransport
from drover_operator.testing.virtualtime import run

NAMES = st.text("abcd", min_size=1, max_size=2)
PLAIN = st.integers(-3, 3) | st.text("xyz", max_size=2)
LISTS = st.lists(PLAIN | st.dictionaries(NAMES, PLAIN, max_size=2), max_size=3)


def tree(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(NAMES, st.recursive(leaves, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8), max_size=4)


FULL, WITH_NULLS = tree(PLAIN | LISTS), tree(PLAIN | LISTS | st.none())


def applied(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


def without_nulls(value: Any) -> Any:
    return {name: without_nulls(each) for name, each in value.items() if each is not None} if isinstance(value, dict) else value


@given(FULL, FULL)
def test_the_patch_applied_to_the_old_gives_the_new(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert applied(old, merge_patch(old, new)) == new


@given(FULL, WITH_NULLS)
@example({"a": {}}, {"a": {"b": None}})
@example({}, {"a": {"b": {"c": None}}})
@example({"a": [1]}, {"a": {"b": None}})
def test_null_members_of_the_new_count_as_missing(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = merge_patch(old, new)
    assert applied(old, patch) == without_nulls(new)
    assert bool(patch) == (old != without_nulls(new)), "and a difference in nulls alone is none"


@given(FULL)
def test_a_patch_is_empty_for_equals(value: dict[str, Any]) -> None:
    assert merge_patch(value, dict(reversed(value.items()))) == {}


@given(FULL, FULL)
def test_a_patch_names_no_member_that_stays(old: dict[str, Any], new: dict[str, Any]) -> None:
    patch = merge_patch(old, new)
    assert bool(patch) == (old != new)
    assert not [name for name in patch if old.get(name) == new.get(name)]


PATCHES = (
    ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": 3}, "only what changed"),
    ({"a": 1}, {}, {"a": None}, "what is missing is taken away"),
    ({"c": {"x": 1, "y": 2}}, {"c": {"x": 1, "y": 3}}, {"c": {"y": 3}}, "objects are descended into"),
    ({"c": [{"t": 1}]}, {"c": [{"t": 2}]}, {"c": [{"t": 2}]}, "lists go whole"),
    ({}, {"c": {"n": 1}}, {"c": {"n": 1}}, "from nothing"),
)


@pytest.mark.parametrize("old, new, patch, why", PATCHES, ids=[why for *_, why in PATCHES])
def test_patches_as_they_go_out(old: dict[str, Any], new: dict[str, Any], patch: dict[str, Any], why: str) -> None:
    assert merge_patch(old, new) == patch, why


# -- the writer


class Story(Wire, frozen=True):
    """A status for these tests."""

    summary: str = ""
    counts: dict[str, int] = {}


SERVICE = {
    "apiVersion": "drover.dev/v1alpha1",
    "kind": "ManagedService",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "criticality": "Normal",
        "replicas": 1,
        "ports": [{"name": "http", "port": 80}],
        "template": {"spec": {"containers": [{"name": "main", "image": "a"}]}},
    },
}
KEY = ("default", "web")


def with_writer(scenario: Callable[[StatusWriter, SimulatedCluster, SimulatedTransport], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = SimulatedCluster()
        cluster.apply(SERVICE)
        transport = cluster.transport()
        await scenario(StatusWriter(Client(transport), MANAGED_SERVICES, asyncio.get_running_loop().time), cluster, transport)
        await cluster.stop()

    run(main)


def current(cluster: SimulatedCluster) -> Object:
    return msgspec.convert(cluster.get("managedservices", *KEY), Object)


def test_a_status_is_written_as_the_difference_to_what_was_read() -> None:
    async def scenario(writer: StatusWriter, cluster: SimulatedCluster, transport: SimulatedTransport) -> None:
        bodies: list[Any] = []
        transport.faults.before = lambda request: bodies.append((request.path, msgspec.json.decode(request.body)))  # type: ignore[func-returns-value]
        item = current(cluster)
        written = await writer.write(item, None, Story(summary="one"))
        assert written is not None
        assert cluster.get("managedservices", *KEY)["status"]["summary"] == "one"
        assert current(cluster).metadata.version == written.version, "the guard is told what the server has"
        later = current(cluster)
        await writer.write(later, Story(summary="one"), Story(summary="two"))
        conditions = {"uid": later.metadata.uid, "resourceVersion": later.metadata.resource_version}
        assert bodies[-1] == (MANAGED_SERVICES.path(*KEY, "status"), {"metadata": conditions, "status": {"summary": "two"}})
        assert await writer.write(current(cluster), Story(summary="two"), Story(summary="two")) is None
        assert len(bodies) == 2, "nothing goes out when nothing differs"
        with pytest.raises(Conflict):
            await writer.write(item, Story(summary="one"), Story(summary="three"))
        assert cluster.get("managedservices", *KEY)["status"]["summary"] == "two", "nothing is written on a version that was not read"

    with_writer(scenario)


def test_the_pace_is_one_second_for_news_and_three_for_counts() -> None:
    async def scenario(writer: StatusWriter, cluster: SimulatedCluster, transport: SimulatedTransport) -> None:
        transport.faults.latency = 0.0
        assert writer.delay(KEY, urgent=True) == writer.delay(KEY, urgent=False) == 0.0, "the first goes out at once"
        await writer.write(current(cluster), None, Story(summary="one"))
        assert (writer.delay(KEY, urgent=True), writer.delay(KEY, urgent=False)) == (URGENT, ROUTINE)
        assert writer.delay(("default", "api"), urgent=False) == 0.0, "each service has its own pace"
        await asyncio.sleep(0.25)
        assert (writer.delay(KEY, urgent=True), writer.delay(KEY, urgent=False)) == (pytest.approx(0.75), pytest.approx(2.75))
        await asyncio.sleep(0.75)
        assert (writer.delay(KEY, urgent=True), writer.delay(KEY, urgent=False)) == (0.0, pytest.approx(2.0))
        await writer.write(current(cluster), Story(summary="one"), Story(summary="one"))
        assert writer.delay(KEY, urgent=True) == 0.0, "what was not written does not count"
        writer.forget(KEY)
        assert writer.delay(KEY, urgent=False) == 0.0

    with_writer(scenario)


def test_counts_wait_longer_where_a_write_takes_long() -> None:
    """A twentieth of the time at most, but they are never older than ten seconds; news keep their pace."""

    async def scenario(writer: StatusWriter, cluster: SimulatedCluster, transport: SimulatedTransport) -> None:
        for latency, pace in ((0.1, ROUTINE), (0.4, 8.0), (5.0, LONGEST), (0.1, ROUTINE)):
            transport.faults.latency = latency
            before = current(cluster)
            await writer.write(before, None, Story(summary=f"{latency} {before.metadata.version}"))
            took = transport.faults.latency
            assert writer.delay(KEY, urgent=False) == pytest.approx(max(0.0, pace - took), abs=0.1)
            assert writer.delay(KEY, urgent=True) == pytest.approx(max(0.0, URGENT - took), abs=0.1)

    with_writer(scenario)


def test_a_write_of_unknown_outcome_is_paced_too() -> None:
    async def scenario(writer: StatusWriter, cluster: SimulatedCluster, transport: SimulatedTransport) -> None:
        def lost(_: Request) -> OutcomeUnknown:
            return OutcomeUnknown("lost")

        transport.faults.before, transport.faults.latency = lost, 0.0
        with pytest.raises(OutcomeUnknown):
            await writer.write(current(cluster), None, Story(summary="one"))
        assert writer.delay(KEY, urgent=True) == URGENT, "a server in trouble is not hammered"

    with_writer(scenario)


def test_only_a_difference_is_worth_waiting_for() -> None:
    async def scenario(writer: StatusWriter, _: SimulatedCluster, __: SimulatedTransport) -> None:
        assert writer.differs(None, Story())
        assert writer.differs(Story(counts={"ready": 1}), Story(counts={"ready": 2}))
        assert not writer.differs(Story(counts={"ready": 1}), Story(counts={"ready": 1}))

    with_writer(scenario)
