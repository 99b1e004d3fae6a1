# SPDX-License-Identifier: Apache-2.0
"""The disruption controller: keeps the status of PodDisruptionBudgets, which is all that evictions are judged by.

Upstream finds the scale of a pod's controller through the scale subresource; so does this, which is why pods that nobody controls do
not count but for a whole number in minAvailable.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from drover_operator.testing.actors import Actor
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.conditions import is_true, with_condition
from drover_operator.testing.eviction import CONDITION, SYNC_FAILED, selector_of, verdict
from drover_operator.testing.kinds import DISRUPTION_BUDGETS, KINDS, PODS
from drover_operator.testing.objects import Json, mapping
from drover_operator.testing.storage import Change, Storage, Version

# So long an evicted pod is believed to go; if it is still there then, it counts again.
DELETION_SECONDS = 120.0


class _Unknowable(Exception):
    """The number of pods that there should be cannot be found out."""


class _Counts(NamedTuple):
    expected: int
    desired: int


class DisruptionController(Actor):
    """Looks at a budget a little after something about its pods or about their controllers has changed."""

    user = "system:serviceaccount:kube-system:disruption-controller"
    kinds = (DISRUPTION_BUDGETS, PODS, *(kind for kind in KINDS if kind.scale))

    def __init__(self, server: ApiServer, delay: float = 0.1) -> None:
        super().__init__(server, delay)

    def observe(self, change: Change) -> None:
        """The budget itself, and those that select a pod or did."""
        version = change.current
        if version.kind is DISRUPTION_BUDGETS:
            self.mark(version.key)
            return
        both = [each.labels for each in (version, change.previous) if each]
        for budget in self.storage.items(DISRUPTION_BUDGETS, version.namespace):
            if version.kind is not PODS or any(map(selector_of(budget).matches, both)):
                self.mark(budget.key)

    def sync(self, key: str) -> None:
        """Count the pods of a budget, and tell what is new."""
        namespace, name = key.split("/")
        budget = self.storage.get(DISRUPTION_BUDGETS, namespace, name)
        if budget is None:
            return
        selector = selector_of(budget)
        pods = [pod for pod in self.storage.labelled(PODS, namespace, selector.equal) if selector.matches(pod.labels)]
        try:
            status = self._status(budget, pods, _counted(self.storage, budget, pods))
        except _Unknowable as why:
            failed: Json = {"type": CONDITION, "status": "False", "reason": SYNC_FAILED, "message": str(why)}
            status = self._with_condition({**budget.data["status"], "disruptionsAllowed": 0}, failed)
        if status != budget.data["status"]:
            self.server.patch(budget, lambda old: {**old, "status": status}, user=self.user, subresource="status")

    def _status(self, budget: Version, pods: list[Version], counts: _Counts) -> Json:
        disrupted = self._disrupted(budget, pods)
        healthy = sum(not pod.deleting and pod.name not in disrupted and is_true(pod.data["status"], "Ready") for pod in pods)
        allowed = max(healthy - counts.desired, 0) if counts.expected > 0 else 0
        status: Json = {
            **{field: value for field, value in budget.data["status"].items() if field == "conditions"},
            **({"disruptedPods": disrupted} if disrupted else {}),
            "currentHealthy": healthy,
            "desiredHealthy": counts.desired,
            "disruptionsAllowed": allowed,
            "expectedPods": counts.expected,
            "observedGeneration": budget.meta["generation"],
        }
        return self._with_condition(status, verdict(allowed))

    def _disrupted(self, budget: Version, pods: list[Version]) -> Json:
        """The evicted pods that have not gone yet, but must soon; looks again when the first of them should have."""
        noted = mapping(budget.data["status"], "disruptedPods")
        left: Json = {}
        for pod in pods:
            if pod.deleting or pod.name not in noted:
                continue
            until = datetime.fromisoformat(noted[pod.name]).timestamp() + DELETION_SECONDS - self._present()
            if until >= 0:
                left[pod.name] = noted[pod.name]
                self.later(until + 1.0, budget.key)
        return left

    def _present(self) -> float:
        return datetime.fromisoformat(self.server.registry.now()).astimezone(UTC).timestamp()

    def _with_condition(self, status: Json, condition: Json) -> Json:
        return with_condition(status, {**condition, "observedGeneration": status.get("observedGeneration", 0)}, self.server.registry.now())


def _counted(storage: Storage, budget: Version, pods: list[Version]) -> _Counts:
    """How many pods there should be, and how many of them healthy.

    Raises:
        _Unknowable: a controller has no scale.
    """
    spec: Json = budget.data["spec"]
    if (most := spec.get("maxUnavailable")) is not None:
        expected = _expected(storage, pods)
        return _Counts(expected, max(expected - _scaled(most, expected), 0))
    least = spec.get("minAvailable")
    if least is None:
        return _Counts(0, 0)
    if isinstance(least, int):
        return _Counts(len(pods), least)
    expected = _expected(storage, pods)
    return _Counts(expected, _scaled(least, expected))


def _expected(storage: Storage, pods: list[Version]) -> int:
    """The scales of all controllers of the pods together."""
    scales: dict[str, int] = {}
    for pod in pods:
        uid = next((owner["uid"] for owner in pod.meta.get("ownerReferences") or () if owner.get("controller")), None)
        if uid is None or uid in scales:
            continue
        owner = storage.by_uid(uid)
        if owner is None or not owner.kind.scale:
            raise _Unknowable(f'found no controllers for pod "{pod.name}"')
        scales[uid] = int(owner.data["spec"].get("replicas", 0))
    return sum(scales.values())


def _scaled(value: int | str, whole: int) -> int:
    """A number or a percentage of the whole, rounded up: 25% of 5 pods is 2."""
    return value if isinstance(value, int) else -(-int(value.rstrip("%")) * whole // 100)
