# SPDX-License-Identifier: Apache-2.0
"""How many instances are wanted: the arbiter of the replica number, and the arithmetic of surge and unavailability."""

from drover_controllers.service.values import Demand
from drover_operator.api.managedservice import ManagedServiceSpec


def demand(spec: ManagedServiceSpec) -> Demand:
    """The wanted number within its bounds, with surge rounded up and unavailability rounded down.

    10 replicas, surge 25%, unavailable 25%: at most 13, at least 8. When both come to 0 (1 replica, surge 0, unavailable 25%)
    one instance may be missing, as in a Deployment: otherwise nothing could ever be replaced.
    """
    replicas = spec.replicas
    if spec.scaling is not None:
        replicas = min(max(replicas, spec.scaling.min), spec.scaling.max)
    surge = resolve(spec.rollout.rolling.max_surge, replicas, up=True)
    unavailable = resolve(spec.rollout.rolling.max_unavailable, replicas, up=False)
    if spec.rollout.type == "BlueGreen" or (spec.rollout.type in ("Canary", "ABTest") and spec.traffic is not None):
        surge = max(surge, replicas)  # two sets of full size
    return Demand(replicas=replicas, surge=surge, unavailable=unavailable if surge or unavailable else 1, downtime=spec.rollout.type == "Recreate")


def resolve(value: int | str, replicas: int, *, up: bool) -> int:
    """A number, or a percentage of the replicas as a number.

    Raises:
        ValueError: neither a number nor a percentage.
    """
    if isinstance(value, int):
        return value
    share = int(value.removesuffix("%")) * replicas
    return -(-share // 100) if up else share // 100
