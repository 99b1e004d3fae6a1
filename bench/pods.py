# SPDX-License-Identifier: Apache-2.0
"""Pods as the bench reads them: which image, which gates, ready or not."""

from drover_operator.api.builtin import PodStatus
from drover_operator.api.meta import Object, Wire
from drover_operator.api.resource import PODS, Resource


class Gate(Wire, frozen=True):
    """One readiness gate."""

    condition_type: str


class Container(Wire, frozen=True):
    """One container."""

    image: str


class Spec(Wire, frozen=True):
    """What a pod is of, and what its readiness depends on."""

    containers: tuple[Container, ...] = ()
    readiness_gates: tuple[Gate, ...] = ()


class Pod(Object, frozen=True):
    """A pod."""

    spec: Spec = Spec()
    status: PodStatus = PodStatus()

    @property
    def leaving(self) -> bool:
        """Whether it is being deleted, or has ended."""
        return self.metadata.deletion_timestamp is not None or self.status.phase in ("Failed", "Succeeded")

    def serves(self, image: str) -> bool:
        """Whether it is ready, of that image."""
        return not self.leaving and self.status.is_true("Ready") and self.spec.containers[0].image == image


SEEN = Resource(PODS.group, PODS.version, PODS.plural, PODS.kind, Pod)
