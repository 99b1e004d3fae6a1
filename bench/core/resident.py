# SPDX-License-Identifier: Apache-2.0
"""The operator as it is installed, among ten thousand settled services: what it holds, and what its start takes."""

import json
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.core.processes import LOOK, Watched, server, writes
from bench.rows import NotMeasured

SERVICES = 10_000
CALM = 1.5  # seconds of next to no work after which all is decided
NEXT_TO_NONE = 0.02  # CPU seconds in that time: the lease is renewed meanwhile
HEALTH = "127.0.0.1:0"


@dataclass(frozen=True)
class Resident:
    """MB of memory, and CPU seconds from the start of the process until all was decided."""

    memory: float
    cpu: float


@cache
def resident(*, kopf: bool) -> Resident:
    """Start it, wait until it has nothing to do any more, and look.

    Raises:
        NotMeasured: it wrote something: then the services were not settled, and something else was measured.
    """
    url = server(SERVICES, 1)
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = _kubeconfig(Path(folder), url)
        operator = Watched("drover_operator", "run", "--kubeconfig", kubeconfig, "--kopf", "on" if kopf else "off", "--health-address", HEALTH)
        try:
            found = _when_calm(operator)
        finally:
            operator.stop()
    if made := writes(url):
        raise NotMeasured(f"settled services were written to {made} times")
    return found


def _when_calm(operator: Watched) -> Resident:
    looks: list[float] = []

    def calm() -> bool:
        looks.append(operator.cpu())
        before = looks[-1 - round(CALM / LOOK)] if len(looks) * LOOK > CALM + LOOK else 0.0
        return before > 1.0 and looks[-1] - before <= NEXT_TO_NONE

    operator.until(calm)
    return Resident(operator.resident(), looks[-1])


def _kubeconfig(folder: Path, url: str) -> Path:
    file = folder / "kubeconfig"
    named = {"clusters": [{"name": "bench", "cluster": {"server": url}}], "users": [{"name": "bench", "user": {"token": "bench"}}]}
    context = {"name": "bench", "context": {"cluster": "bench", "user": "bench"}}
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "bench", "contexts": [context], **named}))
    return file
