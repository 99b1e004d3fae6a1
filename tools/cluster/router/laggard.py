# SPDX-License-Identifier: Apache-2.0
"""A second Envoy that can be kept from hearing news: half of the connections go by it, as in a fleet whose proxies do not change at once.

It shares the port of the first one, and what Contour says comes to it by a detour that can be held. Neither of its processes is in the
cluster's record, as both live for one test only; `down` finds them by their marker if that test is killed.
"""

import signal
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from tools.cluster.arguments import DETOUR_PORT, Layout, detour, envoy
from tools.cluster.cluster import Cluster
from tools.cluster.errors import ClusterError
from tools.cluster.processes import Process, spawn, stop
from tools.cluster.router import lane, programs

_NUMBER = 2
_DEADLINE = 30.0  # seconds


@dataclass(frozen=True)
class Laggard:
    """The second Envoy, while it serves."""

    way: Process

    def hold(self) -> None:
        """Let no news come to it: it goes on as it was told last."""
        self.way.send(signal.SIGSTOP)

    def release(self) -> None:
        """Let it hear all that it missed."""
        self.way.send(signal.SIGCONT)


@contextmanager
def laggard(cluster: Cluster) -> Generator[Laggard, None, None]:
    """Let a second Envoy serve beside the first one of a cluster with a router, for as long as the context lasts.

    Raises:
        ClusterError: the cluster has no router, or Envoy did not come up.

    """
    address = cluster.router
    layout = Layout(cluster.folder, cluster.bin, contour=programs.contour(), envoy=programs.envoy())
    lane.bootstrap(layout, _NUMBER, DETOUR_PORT)
    started: list[Process] = []
    try:
        for name, argv in (("detour", detour(layout)), (f"envoy-{_NUMBER}", envoy(layout, _NUMBER))):
            started.append(spawn(argv, layout.logs / f"{name}.log", layout.folder))
        _await(layout, f"a second Envoy behind {address}", started)
        yield Laggard(started[0])
    finally:
        stop(started, 0)


def _await(layout: Layout, what: str, started: list[Process]) -> None:
    deadline = time.monotonic() + _DEADLINE
    while not lane.told(layout, _NUMBER):
        if time.monotonic() > deadline or not all(each.alive for each in started):
            raise ClusterError(f"{what} did not come up; see envoy-{_NUMBER}.log and detour.log in {layout.logs}")
        time.sleep(0.05)
