# SPDX-License-Identifier: Apache-2.0
"""One sandbox from start to end: cluster, operator, server, a kubeconfig, and the three lines that say how to go on.

Time is real here: the simulated cluster runs on an ordinary event loop. Whatever breaks down ends the sandbox with a sentence; it
never goes on half alive.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import structlog

from drover_operator.cli import manifests
from drover_operator.cli.main import DEBUG
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.kube.errors import DroverError
from drover_operator.observe.logs import configure
from drover_operator.runtime.process import Process, Settings
from drover_operator.runtime.registry import Controller, discover
from drover_operator.testing.cluster import SimulatedCluster
from drover_operator.testing.sandbox import files, furniture
from drover_operator.testing.sandbox.front import Front
from drover_operator.testing.sandbox.machines import Machines
from drover_operator.testing.sandbox.server import Server

T = TypeVar("T")
log = structlog.get_logger()
PAUSE = 1.0  # seconds before a process that lost its lease is started again
COMPACTION = 600.0  # seconds
NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128  # exit codes, as `env` and shells have them
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GOODBYE = "Stopped: the simulated cluster is gone, and everything in it."


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user asked for; port 0 is any that is free, no kubeconfig a temporary one, no command to serve until a signal."""

    port: int = 0
    nodes: int = 3
    seed: int = 1
    kubeconfig: str = ""
    files: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


def run(wish: Wish) -> int:
    """Run a sandbox to its end; returns the exit code.

    Raises:
        Failure: it cannot start, or something in it broke down.
    """
    configure("auto", "info" if os.environ.get(DEBUG) else "error")
    objects = manifests.read(wish.files, sys.stdin.buffer)
    return asyncio.run(_run(wish, objects))


async def _run(wish: Wish, objects: list[manifests.Manifest]) -> int:
    stop = _signalled()
    async with AsyncExitStack() as stack:
        sandbox = Sandbox(wish)
        stack.push_async_callback(sandbox.stop)
        port = await sandbox.start()
        files.apply(sandbox.front, objects)
        place = stack.enter_context(files.place(wish.kubeconfig, port))
        if wish.command and not stop.is_set():
            return await sandbox.alive(_command(wish.command, place.kubeconfig))
        sys.stdout.write(files.welcome(place, objects))
        sys.stdout.flush()
        await sandbox.alive(stop.wait())
    sys.stdout.write(f"\n{GOODBYE}\n")
    return Exit.DONE


class Sandbox:
    """A cluster, an operator and a server; made inside a running loop."""

    def __init__(self, wish: Wish) -> None:
        loop = asyncio.get_running_loop()
        self.cluster = SimulatedCluster(seed=wish.seed, nodes=0, start=time.time() - loop.time())
        self._machines = Machines(self.cluster)
        self._unfollow = self._machines.follow()
        furniture.put_in(self.cluster, wish.nodes)
        self.front = Front(self.cluster.server, self.cluster.now)
        self._server = Server(self.front, wish.port)
        self._random = Random(wish.seed)
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> int:
        """Start everything and return the port.

        Raises:
            Failure: the port cannot be used.
        """
        controllers = discover()
        port = await self._server.start()
        before = asyncio.all_tasks()
        await self.cluster.start()
        self._tasks = [
            *(asyncio.all_tasks() - before),  # the cluster's own actors
            asyncio.create_task(self._machines.run(), name=type(self._machines).__name__),
            asyncio.create_task(self._operate(controllers), name="operator"),
            asyncio.create_task(self._forget(), name="compaction"),
        ]
        return port

    async def stop(self) -> None:
        """End everything; nothing of it is left."""
        await self._server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._unfollow()

    async def alive(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` comes to, as long as nothing breaks down meanwhile.

        Raises:
            Failure: an actor of the cluster or the operator has ended.
        """
        working = asyncio.create_task(work)
        done, _ = await asyncio.wait({working, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
        if working in done:
            return working.result()
        working.cancel()
        broken = done.pop()
        log.error("broken down", part=broken.get_name(), exc_info=broken.exception())
        raise Failure(f"a fault of the sandbox, not yours: its {broken.get_name()} broke down: {broken.exception()!r}")

    async def _operate(self, controllers: tuple[Controller, ...]) -> None:
        """Run the operator; one that lost its lease is started again, as a kubelet would."""
        life = 0
        while True:
            life += 1
            settings = Settings(identity=f"sandbox-{life}", shell=False)
            transport = self.cluster.transport(user="operator")
            transport.faults.before = self.front.process("operator")
            process = Process(transport, controllers, settings, clock=self.cluster.now, random=Random(self._random.random()))
            try:
                await process.run()
            except DroverError as error:
                log.info("operator ended", reason=str(error))
            except Exception:  # a bug of ours: told, and started again as well
                log.exception("the operator crashed and is started again")
            await asyncio.sleep(PAUSE)

    async def _forget(self) -> None:
        """Forget the history now and then, as etcd does, so that a sandbox can stay up for days."""
        while True:
            await asyncio.sleep(COMPACTION)
            self.cluster.compact()
            self.cluster.writes.clear()


def _signalled() -> asyncio.Event:
    """Set by the first signal that asks for an end."""
    stop = asyncio.Event()
    for number in SIGNALS:
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # started with nohup
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _command(command: tuple[str, ...], kubeconfig: Path) -> int:
    """Run a command with KUBECONFIG set; returns its exit code, 128 and the signal's number when one ended it.

    Ctrl-C reaches it directly, as it is in the same group; SIGTERM and SIGHUP are passed on.
    """
    loop = asyncio.get_running_loop()
    begun: asyncio.Future[asyncio.subprocess.Process] = loop.create_future()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _pass_on, begun, number)
    try:
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, "KUBECONFIG": str(kubeconfig)})
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        sys.stderr.write(f"error: cannot run '{command[0]}': {'there is no such command' if missing else error.strerror}\n")
        return NOT_FOUND if missing else NOT_EXECUTABLE
    begun.set_result(process)
    try:
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.terminate()  # the sandbox broke down under it
    return code if code >= 0 else SIGNALLED - code


def _pass_on(begun: "asyncio.Future[asyncio.subprocess.Process]", number: signal.Signals) -> None:
    """Send the signal on, as soon as there is somebody to send it to."""

    def send(found: "asyncio.Future[asyncio.subprocess.Process]") -> None:
        with suppress(ProcessLookupError):  # it has ended on its own
            found.result().send_signal(number)

    begun.add_done_callback(send)
