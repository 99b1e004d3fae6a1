# SPDX-License-Identifier: Apache-2.0
"""Who may change something: the agent's pages asked from loopback and from elsewhere, with the token, without it, and with another one."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from drover_agent import admin
from drover_agent.access import ELSEWHERE, HEADER, QUIET, WRONG, Gate
from drover_agent.agent import Agent
from drover_agent.core import Event, Run
from drover_agent.process import Found
from drover_agent.server import Request, Response
from drover_agent.settings import TOKEN, read
from drover_operator.testing.virtualtime import run

SECRET = "5f1d-not-to-be-told-anywhere"
HERE, NODE = "127.0.0.1", "10.0.0.1"
READ = ("/livez", "/readyz", "/metrics", "/admin/health", "/admin/load", "/admin/identity", "/admin/config")
CHANGES = (("GET", "/drain"), ("POST", "/admin/reload"))


class Watch:
    """A process that lives."""

    def alive(self, each: Run) -> bool:
        return True

    def look(self, known: Found | None) -> Found | None:
        return Found(run=Run(pid=7, ticks=100, start_time=1_000), settled=True)


class Site:
    """The pages of an agent that was given this token, as the server asks them."""

    def __init__(self, token: str) -> None:
        settings = read(["--ip=10.0.0.7", "--probe-port=8080", "--settle=0"], {TOKEN: token})
        self.lines: list[Event] = []
        self.agent = Agent(settings, Watch(), self._probe, None, clock=asyncio.get_running_loop().time, log=self.lines.append)
        self.routes = admin.routes(self.agent, self.lines.append)

    async def _probe(self) -> str:
        return ""

    async def ask(self, path: str, peer: str, headers: Mapping[str, str], method: str = "GET") -> Response:
        return await self.routes[path][method](Request(method=method, path=path, peer=peer, headers=headers))


def shown(token: str) -> dict[str, str]:
    return {HEADER.lower(): token}


ASKED: tuple[tuple[str, str, Mapping[str, str], str, str], ...] = (
    # the agent's token, who asks, headers, refusal, why
    (SECRET, NODE, shown(SECRET), "", "the kubelet's hook"),
    (SECRET, "fd00::1", shown(SECRET), "", "the same over IPv6"),
    (SECRET, HERE, shown(SECRET), "", "somebody in the pod who knows it"),
    (SECRET, NODE, {}, WRONG, "whoever reaches the port"),
    (SECRET, HERE, {}, WRONG, "loopback is no token: a proxy in the pod hands everybody on from there"),
    (SECRET, NODE, shown(""), WRONG, "a header without a value"),
    (SECRET, NODE, shown(SECRET[:-1]), WRONG, "the beginning of it"),
    (SECRET, NODE, shown(SECRET + "x"), WRONG, "more than it"),
    (SECRET, NODE, shown(SECRET.upper()), WRONG, "in other letters"),
    (SECRET, NODE, shown(f"Bearer {SECRET}"), WRONG, "as another header has it"),
    (SECRET, NODE, shown("\xff" * 300), WRONG, "bytes beyond ASCII are compared like others"),
    (SECRET, NODE, {"authorization": SECRET}, WRONG, "another header"),
    ("", HERE, {}, "", "an agent that somebody runs by hand"),
    ("", "127.8.9.1", {}, "", "all of 127/8 is loopback"),
    ("", "::1", {}, "", "loopback in IPv6"),
    ("", NODE, {}, ELSEWHERE, "no token opens nothing to others"),
    ("", "10.0.0.7", {}, ELSEWHERE, "the agent's own address may be that of a proxy"),
    ("", "fe80::1%eth0", {}, ELSEWHERE, "an address with a zone"),
    ("", "", {}, ELSEWHERE, "who has gone already is from nowhere"),
    ("", NODE, shown(""), ELSEWHERE, "an empty header is not the token of an agent without one"),
    ("", NODE, shown(SECRET), ELSEWHERE, "nor is any other"),
)


@pytest.mark.parametrize("token, peer, headers, refusal, why", ASKED, ids=[row[-1] for row in ASKED])
@pytest.mark.parametrize("method, path", CHANGES)
def test_who_may_change_something(token: str, peer: str, headers: Mapping[str, str], refusal: str, why: str, method: str, path: str) -> None:
    async def main() -> None:
        site = Site(token)
        answer = await site.ask(path, peer, headers, method)
        body = answer.body.decode()
        if refusal:
            assert (answer.status, body) == (403, json.dumps({"error": refusal}) + "\n" if path.startswith("/admin/") else f"{refusal}\n"), why
        else:
            assert answer.status == (501 if path == "/admin/reload" else 200), why
        drained = path == "/drain" and not refusal
        assert site.agent.state.drains == drained
        assert (site.agent.why_not_ready() == "draining") == drained
        assert [each.name for each in site.lines if each.name == "refused"] == (["refused"] if refusal else [])

    run(main)


@pytest.mark.parametrize("token", [SECRET, ""], ids=["a token", "none"])
@pytest.mark.parametrize("headers", [{}, shown("wrong")], ids=["without a header", "with a wrong one"])
def test_what_is_only_read_is_open(token: str, headers: Mapping[str, str]) -> None:
    """The kubelet's probes carry no secret, nor does Prometheus."""

    async def main() -> None:
        site = Site(token)
        for path in READ:
            assert (await site.ask(path, NODE, headers)).status in (200, 503), path
        assert set(site.routes) == {*READ, *(path for _, path in CHANGES)}, "a new page belongs to the one or the other"

    run(main)


def test_the_token_is_told_nowhere() -> None:
    async def main() -> None:
        site = Site(SECRET)
        answers = [await site.ask(path, NODE, shown(given)) for path in (*READ, "/drain") for given in (SECRET, SECRET + "x")]
        assert not any(SECRET.encode() in each.body for each in answers)
        assert "refused" in [each.name for each in site.lines]
        assert SECRET not in repr((site.lines, site.agent.settings, Request(method="GET", path="/", peer=HERE, headers=shown(SECRET))))

    run(main)


def test_refusals_are_logged_but_do_not_fill_the_log() -> None:
    async def main() -> None:
        lines: list[Event] = []
        gate, request = Gate(SECRET, lines.append), Request(method="GET", path="/drain", peer=NODE, headers={})
        for pause in (0.0, QUIET - 1, 1.0, 1.0):
            await asyncio.sleep(pause)
            assert gate.refusal(request) == WRONG
        fields: dict[str, Any] = {"path": "/drain", "from": NODE, "why": WRONG}
        assert lines == [Event(name="refused", level="warning", fields=fields)] * 2

    run(main)
