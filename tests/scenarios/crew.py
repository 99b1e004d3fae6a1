# SPDX-License-Identifier: Apache-2.0
"""Operators as a Deployment keeps them: each life on a host of its own, and a new one half a second after the last has ended."""

import asyncio
from collections.abc import Callable
from random import Random

from drover_controllers.service import CONTROLLER
from drover_operator.kube.errors import DroverError
from drover_operator.kube.transport import Reply, Request
from drover_operator.runtime.election import Timing
from drover_operator.runtime.inquiries import Outside
from drover_operator.runtime.process import Process, Settings
from drover_operator.testing import Deliver, Host, SimulatedCluster, WatchEvent
from drover_operator.testing.faults import DEFAULT_LATENCY, Delivery

TIMING = Timing(duration=3.0, renew_deadline=2.0, retry=0.5)
REBIRTH = 0.5  # seconds


class Trouble:
    """Something on the way between operators and API server that may go wrong; a subclass says what."""

    def before(self, life: "Life", request: Request) -> Reply | BaseException | None:
        """An answer in place of the server's, or None."""

    def after(self, life: "Life", request: Request, reply: Reply) -> Reply | BaseException:
        """What becomes of an answer."""
        return reply

    def event(self, life: "Life", resource: str, event: WatchEvent) -> Delivery:
        """What becomes of an event."""
        return Deliver.NOW

    def latency(self, life: "Life", request: Request) -> float:
        """Seconds that a request takes."""
        return DEFAULT_LATENCY

    def rewind(self, life: "Life", request: Request) -> float:
        """How old the answer to a read is."""
        return 0.0


class Life:
    """One process of an operator, from its start to its end."""

    def __init__(self, cluster: SimulatedCluster, identity: str, random: Random, rate: float, outside: Outside) -> None:
        self.identity = identity
        self.host = Host(rate=rate)
        self.transport = cluster.transport(user="operator")
        self.process: Process | None = None
        self.over = asyncio.Event()
        self.died_of: BaseException | None = None
        self._cluster = cluster
        self._random = random
        self._outside = outside
        self.task = self.host.run(self._run())

    @property
    def leading(self) -> bool:
        """Whether it believes that it leads."""
        return self.process is not None and self.process.election.leading

    def kill(self) -> None:
        """SIGKILL, or the power of its machine. The dead cannot be killed."""
        if self.over.is_set():
            return
        self.host.freeze()
        self.transport.cut()
        self.over.set()

    async def bury(self) -> None:
        """End its tasks, after the last that can be seen of it."""
        self.transport.cut()
        self.host.thaw()
        self.task.cancel()
        await asyncio.wait({self.task})

    async def _run(self) -> None:
        settings = Settings(identity=self.identity, timing=TIMING, workers=4, shell=False)
        try:
            self.process = Process(self.transport, (CONTROLLER,), settings, clock=self._cluster.now, random=self._random, outside=self._outside)
            await self.process.run()
        except (DroverError, BaseExceptionGroup) as error:
            self.died_of = error
        finally:
            self.over.set()


class Operator:
    """One replica of the operator's Deployment."""

    def __init__(
        self, cluster: SimulatedCluster, identity: str, random: Random, *, rate: float = 1.0, connect: Callable[[Life], None], outside: Outside
    ) -> None:
        self.lives: list[Life] = []
        self._born: Callable[[], Life] = lambda: Life(cluster, f"{identity}-{len(self.lives) + 1}", Random(random.random()), rate, outside)
        self._connect = connect
        self._wanted = True
        self._keeper = asyncio.create_task(self._keep())

    @property
    def life(self) -> Life:
        """The present life, or the last."""
        return self.lives[-1]

    def kill(self) -> None:
        """End the present life; another begins."""
        if self.lives:
            self.life.kill()

    def freeze(self) -> None:
        """SIGSTOP."""
        if self.lives:
            self.life.host.freeze()

    def thaw(self) -> None:
        """SIGCONT; the dead stay dead."""
        if self.lives and not self.life.over.is_set():
            self.life.host.thaw()

    def stop(self) -> None:
        """SIGTERM, and no life after it."""
        self._wanted = False
        if self.lives and self.life.process is not None:
            self.life.process.stop()

    def remove(self) -> None:
        """SIGKILL, and no life after it."""
        self._wanted = False
        self.kill()

    async def end(self) -> None:
        """Bury everything."""
        self._keeper.cancel()
        await asyncio.wait({self._keeper})
        for life in self.lives:
            await life.bury()

    async def _keep(self) -> None:
        while self._wanted:
            life = self._born()
            self.lives.append(life)
            self._connect(life)
            await life.over.wait()
            await asyncio.sleep(REBIRTH)
