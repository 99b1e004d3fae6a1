# SPDX-License-Identifier: Apache-2.0
"""The Job controller, as far as a test of a release sees it: a Job ends well, ends badly, or runs into its deadline. It makes no pods."""

from collections.abc import Callable

from drover_operator.testing.actors import Actor
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.kinds import JOBS
from drover_operator.testing.objects import Json, mapping
from drover_operator.testing.storage import Change, Version

ENDS: dict[str, tuple[str, str]] = {"normal": ("Complete", "CompletionsReached"), "fail": ("Failed", "BackoffLimitExceeded")}
LATE = ("Failed", "DeadlineExceeded")


class JobController(Actor):
    """Ends Jobs as the behaviour of their image says: normal and fail in `seconds`, every other one at its deadline."""

    user = "system:serviceaccount:kube-system:job-controller"
    kinds = (JOBS,)

    def __init__(self, server: ApiServer, mode_of: Callable[[str], str], *, delay: float = 0.1, seconds: float = 3.0) -> None:
        super().__init__(server, delay)
        self._mode_of = mode_of
        self._seconds = seconds
        self._ends: dict[str, float] = {}

    def observe(self, change: Change) -> None:
        """Every Job that is new."""
        if not change.deleted and change.previous is None:
            self._ends[change.current.uid] = self.now() + self._lasts(change.current)
            self.later(self._lasts(change.current), change.current.key)

    def sync(self, key: str) -> None:
        """End the Job whose time has come."""
        namespace, name = key.split("/")
        job = self.storage.get(JOBS, namespace, name)
        if job is None or job.deleting or job.data.get("status", {}).get("conditions") or self.now() < self._ends.get(job.uid, 0.0):
            return
        kind, reason = ENDS.get(self._mode(job), LATE)
        ended: Json = {"type": kind, "status": "True", "reason": reason, "lastTransitionTime": self.server.registry.now()}
        self.server.patch(job, {"status": {"conditions": [ended]}}, user=self.user, subresource="status")

    def _mode(self, job: Version) -> str:
        containers = mapping(mapping(mapping(job.data, "spec"), "template"), "spec").get("containers") or [{}]
        return self._mode_of(containers[0].get("image", ""))

    def _lasts(self, job: Version) -> float:
        limit = float(mapping(job.data, "spec").get("activeDeadlineSeconds", 1e9))
        return min(self._seconds, limit) if self._mode(job) in ENDS else limit
