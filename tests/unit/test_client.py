# SPDX-License-Identifier: Apache-2.0
"""The client: what goes out, what the answers mean, and how patient it is. Virtual time, a simulated server behind it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pytest

from drover_operator.api.resource import CONFIG_MAPS, EVENTS, LEASES, MANAGED_SERVICES, PODS
from drover_operator.kube import errors
from drover_operator.kube.client import LONGEST_PAUSE, MUTATIONS_AT_ONCE, PATIENCE, Client, Written
from drover_operator.kube.errors import api_error
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.election import LostLeadership
from drover_operator.testing import SimulatedCluster, SimulatedTransport, refusal, times
from drover_operator.testing.virtualtime import run


class Office:
    """A fence whose term can end."""

    def __init__(self) -> None:
        self.held, self.epoch = True, 7

    def headers(self) -> Mapping[str, str]:
        if not self.held:
            raise LostLeadership("the term is over")
        return {"Impersonate-Extra-epoch": str(self.epoch)}


class Bench:
    def __init__(self) -> None:
        self.cluster = SimulatedCluster()
        self.transport: SimulatedTransport = self.cluster.transport()
        self.sent: list[Request] = []
        self.fault(lambda _: None)
        self.office = Office()
        self.client = Client(self.transport, self.office)
        self.reader = Client(self.transport)

    def fault(self, hook: Callable[[Request], Reply | BaseException | None]) -> None:
        def noted(request: Request) -> Reply | BaseException | None:
            self.sent.append(request)
            return hook(request)

        self.transport.faults.before = noted


def item(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def with_bench(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench()
        await scenario(bench)
        await bench.cluster.stop()

    run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


WRITES: dict[str, Callable[[Client], Awaitable[Written]]] = {
    "POST": lambda client: client.create(CONFIG_MAPS, "default", item("new")),
    "PATCH": lambda client: client.patch(CONFIG_MAPS, "default", "a", {"data": {"x": "2"}}),
    "DELETE": lambda client: client.delete(CONFIG_MAPS, "default", "a", uid="u"),
}


def test_paths() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("shop", "web-0", "status") == "/api/v1/namespaces/shop/pods/web-0/status"
    assert LEASES.path("drover-system") == "/apis/coordination.k8s.io/v1/namespaces/drover-system/leases"
    assert MANAGED_SERVICES.path("", "") == "/apis/drover.dev/v1alpha1/managedservices"
    assert (PODS.api_version, LEASES.api_version, str(PODS), str(LEASES)) == ("v1", "coordination.k8s.io/v1", "pods", "leases.coordination.k8s.io")


def test_what_writes_leave_behind() -> None:
    async def scenario(bench: Bench) -> None:
        made = await bench.client.create(CONFIG_MAPS, "default", item("a", x="1"))
        stored = bench.cluster.get("configmaps", "default", "a")["metadata"]
        assert (made.uid, made.version, made.gone) == (stored["uid"], int(stored["resourceVersion"]), False)
        changed = await bench.client.patch(CONFIG_MAPS, "default", "a", {"data": {"x": "2"}})
        assert changed.version > made.version
        assert changed.version == (await bench.client.get(CONFIG_MAPS, "default", "a")).metadata.version
        assert await bench.client.delete(CONFIG_MAPS, "default", "a", uid=made.uid) == Written(made.uid, 0, gone=True)

    with_bench(scenario)


def test_a_delete_that_only_begins_is_not_gone() -> None:
    async def scenario(bench: Bench) -> None:
        held = item("a")
        held["metadata"]["finalizers"] = ["drover.dev/test"]
        uid = bench.cluster.apply(held)["metadata"]["uid"]
        written = await bench.client.delete(CONFIG_MAPS, "default", "a", uid=uid)
        assert written == Written(uid, int(bench.cluster.get("configmaps", "default", "a")["metadata"]["resourceVersion"]))

    with_bench(scenario)


def test_what_stands_in_the_requests() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.client.create(CONFIG_MAPS, "default", item("a"), dry_run=True)
        assert bench.cluster.find("configmaps", "default", "a") is None, "a dry run stores nothing"
        await bench.client.create(CONFIG_MAPS, "default", item("a"))
        await bench.client.patch(CONFIG_MAPS, "default", "a", {"data": {"x": "1"}})
        bench.fault(lambda _: Reply(status=200, body=b'{"kind":"Pod","metadata":{"uid":"u","resourceVersion":"5"}}'))
        await bench.client.patch(PODS, "default", "a", {}, subresource="status", strategic=True)
        await bench.client.delete(PODS, "default", "a", uid="u", version="4")
        await bench.client.delete(PODS, "default", "a", uid="u")
        tried, made, merged, strategic, exact, by_uid = bench.sent
        assert tried.query == {"fieldManager": "drover", "dryRun": "All", "fieldValidation": "Strict"}
        assert made.query == merged.query == strategic.query == {"fieldManager": "drover"}
        assert (merged.headers["Content-Type"], strategic.headers["Content-Type"]) == (
            "application/merge-patch+json",
            "application/strategic-merge-patch+json",
        )
        assert strategic.path == "/api/v1/namespaces/default/pods/a/status"
        assert msgspec.json.decode(exact.body)["preconditions"] == {"uid": "u", "resourceVersion": "4"}
        assert msgspec.json.decode(by_uid.body)["preconditions"] == {"uid": "u"}

    with_bench(scenario)


def test_a_broken_webhook_is_a_refusal_and_no_unknown_outcome() -> None:
    """Admission comes before storage, so that nothing was stored; 500 alone would not say so."""

    async def scenario(bench: Bench) -> None:
        bench.cluster.break_webhook("configmaps")
        with pytest.raises(errors.ServerError, match="failed calling webhook") as caught:
            await bench.client.create(CONFIG_MAPS, "default", item("a"))
        assert caught.value.retryable
        assert bench.cluster.find("configmaps", "default", "a") is None

    with_bench(scenario)


def test_deletes_and_patches_hit_only_what_was_meant() -> None:
    async def scenario(bench: Bench) -> None:
        meta = bench.cluster.apply(item("a"))["metadata"]
        with pytest.raises(errors.Conflict):
            await bench.client.delete(CONFIG_MAPS, "default", "a", uid="another")
        with pytest.raises(errors.Conflict):
            await bench.client.delete(CONFIG_MAPS, "default", "a", uid=meta["uid"], version="1")
        with pytest.raises(errors.Conflict):
            await bench.client.patch(CONFIG_MAPS, "default", "a", {"metadata": {"resourceVersion": "1"}, "data": {"x": "1"}})
        assert bench.cluster.get("configmaps", "default", "a")["metadata"] == meta
        assert (await bench.client.delete(CONFIG_MAPS, "default", "a", uid=meta["uid"], version=meta["resourceVersion"])).gone

    with_bench(scenario)


# -- the fence


@pytest.mark.parametrize("verb", WRITES)
def test_every_write_carries_the_proof_of_office(verb: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.cluster.apply(item("a"))
        bench.fault(times(1, lambda _: True, refusal(429, "TooManyRequests", retry_after=3)))
        bench.sent.clear()
        task = asyncio.ensure_future(WRITES[verb](bench.client))
        await asyncio.sleep(1)
        bench.office.epoch = 8
        await asyncio.wait({task})
        task.exception()  # a delete of another uid is refused; it is the request that counts
        assert [(each.method, each.headers["Impersonate-Extra-epoch"]) for each in bench.sent] == [(verb, "7"), (verb, "8")], (
            "a repeat carries the proof of now"
        )

    with_bench(scenario)


def test_reads_carry_no_proof_and_need_no_office() -> None:
    async def scenario(bench: Bench) -> None:
        bench.cluster.apply(item("a"))
        bench.office.held = False
        await bench.client.get(CONFIG_MAPS, "default", "a")
        await bench.client.page(CONFIG_MAPS, "default")
        await bench.reader.create(CONFIG_MAPS, "default", item("b"))
        assert not [each for each in bench.sent if "Impersonate-Extra-epoch" in each.headers], "nor does a client without a fence"

    with_bench(scenario)


@pytest.mark.parametrize("verb", WRITES)
def test_a_write_out_of_office_is_never_sent(verb: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.office.held = False
        with pytest.raises(LostLeadership):
            await WRITES[verb](bench.client)
        assert (bench.sent, bench.transport.requests) == ([], 0)

    with_bench(scenario)


@pytest.mark.parametrize("verb", WRITES)
def test_a_term_that_ends_while_a_busy_server_is_waited_for_stops_the_write(verb: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.fault(lambda _: refusal(429, "TooManyRequests", retry_after=5))
        task = asyncio.ensure_future(WRITES[verb](bench.client))
        await asyncio.sleep(1)
        bench.office.held = False
        with pytest.raises(LostLeadership):
            await task
        assert len(bench.sent) == 1

    with_bench(scenario)


# -- patience

PLAIN = Reply(status=429, body=b"Too many requests, please try again later.", headers={"Retry-After": "7"})
BUSY = (
    (refusal(429, "TooManyRequests", retry_after=4), 4.0, "as long as the Status asks for"),
    (PLAIN, 7.0, "priority and fairness answers in plain text: the header counts"),
    (refusal(429, "TooManyRequests"), 1.0, "a second when nothing is said"),
    (refusal(429, "TooManyRequests", retry_after=3600), LONGEST_PAUSE, "not for ever"),
    (Reply(status=429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}), 1.0, "a date is taken for nothing said"),
)


@pytest.mark.parametrize("busy, seconds, why", BUSY, ids=[why for *_, why in BUSY])
def test_a_busy_server_is_asked_again_after_as_long_as_it_says(busy: Reply, seconds: float, why: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.fault(times(1, lambda _: True, busy))
        await bench.client.create(CONFIG_MAPS, "default", item("a"))
        assert now() == pytest.approx(seconds, abs=0.1), why
        assert len(bench.sent) == 2

    with_bench(scenario)


@pytest.mark.parametrize("verb", ["GET", *WRITES])
def test_patience_with_a_busy_server_ends(verb: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.fault(lambda _: refusal(429, "TooManyRequests", retry_after=10))
        with pytest.raises(errors.TooManyRequests) as caught:
            await (bench.client.get(CONFIG_MAPS, "default", "a") if verb == "GET" else WRITES[verb](bench.client))
        assert caught.value.retryable
        assert PATIENCE - 11 < now() <= PATIENCE, "within the patience of one call"

    with_bench(scenario)


IMPATIENT = (
    (0.0, 1, 1, 0.0, "the engine's writer: the first answer counts"),
    (0.0, 30, 1, 0.0, "however long the server asks for"),
    (2.5, 1, 3, 2.0, "an election's attempt: again while there is time"),
    (2.5, 30, 1, 0.0, "and not at all when that is too long for it"),
)


@pytest.mark.parametrize("verb", ["GET", *WRITES])
@pytest.mark.parametrize("patience, asked, tries, seconds, why", IMPATIENT, ids=[why for *_, why in IMPATIENT])
def test_a_client_with_little_patience_gives_the_answer_of_a_busy_server(verb: str, patience: float, asked: int, tries: int, seconds: float, why: str) -> None:
    async def scenario(bench: Bench) -> None:
        client = Client(bench.transport, bench.office, patience=patience)
        bench.fault(lambda _: refusal(429, "TooManyRequests", retry_after=asked))
        with pytest.raises(errors.TooManyRequests) as caught:
            await (client.get(CONFIG_MAPS, "default", "a") if verb == "GET" else WRITES[verb](client))
        assert (caught.value.pause, len(bench.sent)) == (float(asked), tries), why
        assert now() == pytest.approx(seconds, abs=0.1), why

    with_bench(scenario)


def test_the_pause_that_a_busy_server_asks_for_is_bounded() -> None:
    async def scenario(bench: Bench) -> None:
        bench.fault(lambda _: refusal(429, "TooManyRequests", retry_after=3600))
        with pytest.raises(errors.TooManyRequests) as caught:
            await Client(bench.transport, patience=0.0).create(CONFIG_MAPS, "default", item("a"))
        assert caught.value.pause == LONGEST_PAUSE

    with_bench(scenario)


def test_refused_writes_hold_no_place_of_others() -> None:
    """More writes than may go out at once are told to wait half a minute; one that is not finds its place at once."""

    async def scenario(bench: Bench) -> None:
        client = Client(bench.transport, patience=0.0)
        bench.fault(lambda request: refusal(429, "TooManyRequests", retry_after=30) if b'"busy' in request.body else None)
        refused = [asyncio.ensure_future(client.create(CONFIG_MAPS, "default", item(f"busy{n}"))) for n in range(2 * MUTATIONS_AT_ONCE)]
        await client.create(CONFIG_MAPS, "default", item("a"))
        assert now() < 0.1
        assert all(isinstance(each, errors.TooManyRequests) for each in await asyncio.gather(*refused, return_exceptions=True))

    with_bench(scenario)


def test_so_many_writes_go_out_at_once_and_reads_are_not_held_up() -> None:
    async def scenario(bench: Bench) -> None:
        bench.transport.faults.latency = lambda request: 10.0 if request.mutating else 0.01
        writes = [asyncio.ensure_future(bench.client.create(CONFIG_MAPS, "default", item(f"n{n}"))) for n in range(MUTATIONS_AT_ONCE + 1)]
        await asyncio.sleep(5.5)
        await bench.client.page(CONFIG_MAPS, "default")
        assert now() < 6
        assert len([each for each in bench.sent if each.mutating]) == MUTATIONS_AT_ONCE
        await asyncio.gather(*writes)
        assert now() == pytest.approx(20, abs=0.1)

    with_bench(scenario)


# -- what answers mean

MEANINGS: tuple[tuple[int, str, type[errors.KubeError], type[errors.KubeError], str], ...] = (
    (400, "BadRequest", errors.Invalid, errors.Invalid, "an object that is wrong"),
    (401, "Unauthorized", errors.Unauthorized, errors.Unauthorized, "no credentials"),
    (403, "Forbidden", errors.Forbidden, errors.Forbidden, "no right"),
    (404, "NotFound", errors.NotFound, errors.NotFound, "no such object"),
    (409, "Conflict", errors.Conflict, errors.Conflict, "a precondition does not hold"),
    (409, "AlreadyExists", errors.AlreadyExists, errors.AlreadyExists, "the name is taken: the same code, another matter"),
    (410, "Expired", errors.Gone, errors.Gone, "too old"),
    (422, "Invalid", errors.Invalid, errors.Invalid, "an object that is wrong"),
    (418, "", errors.ApiError, errors.ApiError, "a code that nobody knows"),
    (302, "", errors.ApiError, errors.ApiError, "a redirection is not followed and is no answer"),
    (500, "InternalError", errors.OutcomeUnknown, errors.ServerError, "a write may have been carried out, a read not"),
    (503, "ServiceUnavailable", errors.OutcomeUnknown, errors.ServerError, "the same from a load balancer"),
    (504, "Timeout", errors.OutcomeUnknown, errors.ServerError, "a time-out inside the server"),
)


@pytest.mark.parametrize("code, reason, write, read, why", MEANINGS, ids=[f"{row[0]} {row[1]}" for row in MEANINGS])
def test_what_a_status_means(code: int, reason: str, write: type[errors.KubeError], read: type[errors.KubeError], why: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.fault(lambda _: refusal(code, reason, "the words of the server"))
        for verb in WRITES.values():
            with pytest.raises(errors.KubeError) as caught:
                await verb(bench.client)
            assert (type(caught.value), str(caught.value)) == (write, "the words of the server"), why
        for call in (bench.client.get(CONFIG_MAPS, "default", "a"), bench.client.page(CONFIG_MAPS)):
            with pytest.raises(errors.KubeError) as caught:
                await call
            assert type(caught.value) is read, why

    with_bench(scenario)


def test_which_errors_a_repeat_can_help() -> None:
    """Only these; everything else needs another request or a person."""
    helped = {errors.Unsent, errors.OutcomeUnknown, errors.Unreadable, errors.Conflict, errors.Gone, errors.TooManyRequests, errors.ServerError, errors.Fenced}
    every = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.DroverError)}
    assert {each for each in every if each.retryable} == helped


STATUSES = (
    (503, b"<html>upstream connect error</html>", "the API server answered 503: <html>upstream connect error</html>", "not JSON: the text itself"),
    (500, b"", "the API server answered 500: ", "no body"),
    (500, b"\xff\xfe", "the API server answered 500: \ufffd\ufffd", "not even text"),
    (403, b'{"kind":"Status","reason":"Forbidden","code":200}', "the API server answered 403 Forbidden", "without a message; the code of HTTP counts"),
    (404, b'{"message":"pods \\"a\\" not found","details":{"name":"a"}}', 'pods "a" not found', "the message"),
    (502, b"x" * 5000, "the API server answered 502: " + "x" * 200, "cut to what a person reads"),
)


@pytest.mark.parametrize("code, body, text, why", STATUSES, ids=[why for *_, why in STATUSES])
def test_errors_speak_in_one_sentence(code: int, body: bytes, text: str, why: str) -> None:
    error = api_error(code, body)
    assert (str(error), error.code) == (text, code), why


TERMINATING = (
    (refusal(403, "Forbidden", "unable to create new content in namespace x because it is being terminated"), True, "by the words"),
    (
        Reply(status=403, body=b'{"message":"no","details":{"causes":[{"reason":"NamespaceTerminating","field":"metadata.namespace"}]}}'),
        True,
        "by the cause",
    ),
    (refusal(403, "Forbidden", "exceeded quota: small"), False, "a quota"),
)


@pytest.mark.parametrize("reply, terminating, why", TERMINATING, ids=[why for *_, why in TERMINATING])
def test_a_namespace_that_ends_is_told_from_other_refusals(reply: Reply, terminating: bool, why: str) -> None:
    error = api_error(reply.status, reply.body)
    assert isinstance(error, errors.Forbidden)
    assert error.namespace_terminating is terminating, why


DENIED = "ValidatingAdmissionPolicy 'drover-fence-0' with binding 'drover-fence-0' denied request: no"
UNREADABLE = 'validatingadmissionpolicies.admissionregistration.k8s.io "drover-fence-0" is forbidden: User "jane" cannot get resource'
POLICIES: tuple[tuple[int, str, type[errors.KubeError], str], ...] = (
    (422, f'pods "a" is forbidden: {DENIED}', errors.Fenced, "the fence itself: nothing is wrong with the object"),
    (403, f'pods "a" is forbidden: {DENIED}', errors.Fenced, "policies may answer with 403 too"),
    (403, UNREADABLE, errors.Forbidden, "no right to read the policy is no refusal by it, and no repeat helps"),
    (422, 'ValidatingAdmissionPolicy.admissionregistration.k8s.io "drover-fence-0" is invalid: spec', errors.Invalid, "the policy itself is wrong"),
    (403, 'pods "drover-fence-0" is forbidden: exceeded quota', errors.Forbidden, "anything may bear that name"),
    (422, "ValidatingAdmissionPolicy 'team-rules' with binding 'drover-fence-0' denied request: no", errors.Invalid, "another policy, bound by that name"),
    (409, f'pods "a": {DENIED}', errors.Conflict, "it never answers with another code"),
)


@pytest.mark.parametrize("code, message, meant, why", POLICIES, ids=[why for *_, why in POLICIES])
def test_a_refusal_by_the_fence_is_told_from_others(code: int, message: str, meant: type[errors.KubeError], why: str) -> None:
    assert type(api_error(code, refusal(code, "Invalid", message).body)) is meant, why


def test_an_answer_that_cannot_be_read() -> None:
    """Half an answer to a read says nothing; to a write it says that something may have been done."""

    async def scenario(bench: Bench) -> None:
        bench.fault(lambda _: Reply(status=200, body=b'{"kind":"Config'))
        for call in (bench.client.get(CONFIG_MAPS, "default", "a"), bench.client.page(CONFIG_MAPS)):
            with pytest.raises(errors.Unreadable, match="could not be read"):
                await call
        for verb in WRITES.values():
            with pytest.raises(errors.OutcomeUnknown):
                await verb(bench.client)

    with_bench(scenario)


def test_pages_continue_where_the_one_before_ended() -> None:
    async def scenario(bench: Bench) -> None:
        for n in range(5):
            bench.cluster.apply(item(f"n{n}"))
        first = await bench.client.page(CONFIG_MAPS, "default", limit=3)
        bench.cluster.apply(item("n9"))
        second = await bench.client.page(CONFIG_MAPS, "default", limit=3, after=first.metadata.continue_)
        assert [len(page.items or ()) for page in (first, second)] == [3, 2], "of the version of the first"
        assert first.metadata.resource_version == second.metadata.resource_version
        assert not second.metadata.continue_
        only = await bench.client.page(CONFIG_MAPS, "default", metadata_only=True)
        assert all(b'"data"' not in bytes(each) for each in only.items or ())
        assert (await bench.client.page(EVENTS, "default")).items in ([], None)

    with_bench(scenario)
