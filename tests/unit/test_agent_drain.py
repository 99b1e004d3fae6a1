# SPDX-License-Identifier: Apache-2.0
"""Drains as the kubelet and an application see them: GET /drain over HTTP, active requests over HTTP, the process in a folder like /proc."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from drover_agent import admin, probe
from drover_agent.agent import Agent
from drover_agent.core import Event
from drover_agent.process import ProcFolder, Watch
from drover_agent.server import Server
from drover_agent.settings import read

PID = 7


class Application:
    """Tells how many requests are active: each number once, the last one for ever; an Exception is an answer that is no number."""

    def __init__(self, active: Sequence[int | str]) -> None:
        self._active = list(active)
        self.asked = 0
        self.asked_twice = asyncio.Event()
        self.runner = web.ServerRunner(web.Server(self._tell, access_log=None), shutdown_timeout=0.1)

    async def _tell(self, request: web.BaseRequest) -> web.Response:
        if request.path != "/active":
            return web.Response(text="healthy")
        self.asked += 1
        if self.asked == 2:
            self.asked_twice.set()
        said = self._active.pop(0) if len(self._active) > 1 else self._active[0]
        return web.Response(text=json.dumps({"activeRequests": said}) if self.asked % 2 else str(said))

    async def start(self) -> str:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        return str(self.runner.addresses[0][1])


class Story:
    """An agent beside an application, and a client that asks it."""

    def __init__(self, agent: Agent, application: Application, session: ClientSession, url: str, proc: Path, lines: list[Event]) -> None:
        self.agent, self.application, self.session, self.url, self.proc, self.lines = agent, application, session, url, proc, lines

    async def ask(self, path: str) -> tuple[int, Any]:
        async with self.session.get(f"{self.url}{path}") as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    def process(self, ticks: int, pid: int = PID) -> None:
        folder = self.proc / str(pid)
        folder.mkdir(parents=True, exist_ok=True)
        folder.joinpath("stat").write_text(f"{pid} (web) S 0 {'1 ' * 17}{ticks} 0\n")

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.lines]


@asynccontextmanager
async def told(tmp_path: Path, active: Sequence[int | str], *flags: str) -> AsyncIterator[Story]:
    application, lines = Application(active), list[Event]()
    port = await application.start()
    counting = [] if "--no-count" in flags else [f"--active-requests=http://127.0.0.1:{port}/active"]
    settings = read(["--ip=127.0.0.1", "--probe-host=127.0.0.1", f"--probe-port={port}", "--settle=0", "--healthy-threshold=1", *counting, *(set(flags) - {"--no-count"})], {})  # fmt: skip
    (tmp_path / "stat").write_text("btime 1700000000\n")
    watch = Watch(ProcFolder(tmp_path, hertz=100), own=1, port=settings.probe_port)
    load = probe.load(settings.active_requests) if settings.active_requests else None
    agent = Agent(settings, watch, probe.http(settings.probed), load, clock=time.time, log=lines.append)
    server = Server(admin.routes(agent, lines.append), lines.append)
    url = f"http://127.0.0.1:{await server.start('127.0.0.1', 0)}"
    async with ClientSession() as session:
        story = Story(agent, application, session, url, tmp_path, lines)
        story.process(100)
        probing = asyncio.create_task(agent.probe_forever())
        try:
            yield story
        finally:
            probing.cancel()
            await server.stop()
            await application.runner.cleanup()


def play(tmp_path: Path, story: Callable[[Story], Awaitable[None]], active: Sequence[int | str], *flags: str) -> None:
    async def main() -> None:
        async with told(tmp_path, active, *flags) as scene, asyncio.timeout(60):
            await story(scene)

    asyncio.run(main())


def test_active_requests_fall_to_zero(tmp_path: Path) -> None:
    async def story(scene: Story) -> None:
        status, answer = await scene.ask("/drain")
        assert (status, answer["drained"], answer["activeRequests"], set(answer)) == (200, True, 0, {"drained", "activeRequests", "waited"})
        assert scene.application.asked == 5, "one zero is no end, two in a row are"
        assert 0.8 <= answer["waited"] < 20
        assert await scene.ask("/readyz") == (503, "draining\n")
        assert await scene.ask("/drain") == (200, answer), "it is over, and asked for again: the same answer at once"

    play(tmp_path, story, [1, 0, 1, 0, 0])


def test_active_requests_never_fall(tmp_path: Path) -> None:
    async def story(scene: Story) -> None:
        status, answer = await scene.ask("/drain")
        assert (status, answer) == (200, {"drained": False, "activeRequests": 4, "waited": pytest.approx(1.0, abs=5), "why": "1 s have passed"})
        assert answer["waited"] >= 0.99
        assert await scene.ask("/admin/load") == (200, {"activeRequests": 4})

    play(tmp_path, story, [4], "--drain-timeout=1s")


def test_the_endpoint_goes(tmp_path: Path) -> None:
    async def story(scene: Story) -> None:
        draining = asyncio.create_task(scene.ask("/drain"))
        await scene.application.asked_twice.wait()
        await scene.application.runner.cleanup()
        _, answer = await draining
        assert (answer["drained"], answer["activeRequests"]) == (False, None)
        assert "cannot connect: Connection refused" in answer["unreadable"]
        assert await scene.ask("/admin/load") == (200, {"activeRequests": None, "error": "cannot connect: Connection refused"})

    play(tmp_path, story, [4], "--drain-timeout=1s")


def test_what_is_no_number_is_not_drained_and_named(tmp_path: Path) -> None:
    async def story(scene: Story) -> None:
        _, answer = await scene.ask("/drain")
        assert (answer["drained"], answer["activeRequests"]) == (False, None)
        assert answer["unreadable"] == ["no whole number of active requests", "neither a whole number nor JSON"]

    play(tmp_path, story, ["many"], "--drain-timeout=1s")


def test_nobody_counts(tmp_path: Path) -> None:
    async def story(scene: Story) -> None:
        _, answer = await scene.ask("/drain")
        assert answer == {"drained": True, "activeRequests": None, "waited": pytest.approx(0.3, abs=5)}
        assert answer["waited"] >= 0.29
        assert scene.application.asked == 0

    play(tmp_path, story, [4], "--no-count", "--settle=300ms")


def test_it_is_not_ready_from_the_first_drain_on_and_answers_all_the_while(tmp_path: Path) -> None:
    async def story(scene: Story) -> None:
        while (await scene.ask("/readyz"))[0] != 200:  # the first probe is under way
            pass
        draining = asyncio.create_task(scene.ask("/drain"))
        await scene.application.asked_twice.wait()
        assert await scene.ask("/readyz") == (503, "draining\n")
        assert await scene.ask("/livez") == (200, "ok\n")
        assert (await scene.ask("/admin/health"))[1]["healthy"] is True
        assert "drover_agent_drains_total 1" in (await scene.ask("/metrics"))[1]
        assert not draining.done()
        draining.cancel()

    play(tmp_path, story, [1])


@pytest.mark.parametrize(
    "ticks, pid, line",
    [(200, PID, "not proved yet"), (300, 9, "not proved yet"), (0, 0, "no process to watch")],
    ids=["the same pid", "another pid", "it has gone"],
)
def test_a_restart_in_mid_drain(tmp_path: Path, ticks: int, pid: int, line: str) -> None:
    async def story(scene: Story) -> None:
        before = (await scene.ask("/admin/identity"))[1]
        draining = asyncio.create_task(scene.ask("/drain"))
        joined = asyncio.create_task(scene.ask("/drain"))
        await scene.application.asked_twice.wait()
        (tmp_path / str(PID) / "stat").unlink()
        if pid:
            scene.process(ticks, pid)
        status, answer = await draining
        assert (status, answer["drained"], answer["why"]) == (200, False, "the process has ended")
        assert await joined == (status, answer)
        code, why = await scene.ask("/readyz")
        assert (code, why[: len(line)]) == (503, line)
        after = (await scene.ask("/admin/identity"))[1]
        assert before["identity"] == f"127.0.0.1:{scene.agent.settings.probe_port}:1700000001000:{PID}"
        assert after["identity"] == (f"127.0.0.1:{scene.agent.settings.probe_port}:{1700000000000 + ticks * 10}:{pid}" if pid else None)
        assert after["runs"] == (2 if pid else 1)
        lines = ["gone", "restarted", "drained"] if pid else ["gone", "drained"]
        assert scene.names[-len(lines) :] == lines

    play(tmp_path, story, [1])
