# SPDX-License-Identifier: Apache-2.0
"""The test kit: a simulated Kubernetes cluster in this process, under virtual time.

async def scenario() -> None:
    cluster = SimulatedCluster(seed=1)
    await cluster.start()
    ...

virtualtime.run(scenario)
"""

from drover_operator.testing.apiserver import Write
from drover_operator.testing.cluster import SimulatedCluster
from drover_operator.testing.connection import SimulatedTransport
from drover_operator.testing.faults import Deliver, Faults, Overtaken, Repeated, WatchEvent, times
from drover_operator.testing.kubelet import BEHAVIOUR_ANNOTATION, READY_AFTER_ANNOTATION, Behaviour
from drover_operator.testing.refusal import refusal
from drover_operator.testing.virtualtime import Host

__all__ = [
    "BEHAVIOUR_ANNOTATION",
    "READY_AFTER_ANNOTATION",
    "Behaviour",
    "Deliver",
    "Faults",
    "Host",
    "Overtaken",
    "Repeated",
    "SimulatedCluster",
    "SimulatedTransport",
    "WatchEvent",
    "Write",
    "refusal",
    "times",
]
