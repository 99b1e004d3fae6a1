# SPDX-License-Identifier: Apache-2.0
"""The quota controller: counts what is really there, late."""

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta

from drover_operator.testing.actors import Actor
from drover_operator.testing.apiserver import ApiServer
from drover_operator.testing.kinds import KINDS, PODS, RESOURCE_QUOTAS
from drover_operator.testing.objects import Json, mapping
from drover_operator.testing.quota import NOTHING, measured, total, usage
from drover_operator.testing.storage import Change, Version

RESYNC_SECONDS = 300.0
_ENDED = ("Succeeded", "Failed")


class QuotaController(Actor):
    """Keeps the status of each ResourceQuota: soon after it was made or changed, `release` seconds after something went, every 5 minutes.

    It follows other resources only once there is a quota, so that clusters without one do not pay for it.
    """

    user = "system:serviceaccount:kube-system:resourcequota-controller"
    kinds = (RESOURCE_QUOTAS,)

    def __init__(self, server: ApiServer, delay: float = 0.1, release: float = 5.0) -> None:
        super().__init__(server, delay)
        self.release = release
        self._stops = ExitStack()
        self._follows_all = False
        self._resyncing: dict[str, None] = {}

    def follow(self) -> Callable[[], None]:
        """Subscribe to the quotas; answers how to stop."""
        self._stops.callback(super().follow())
        return self._stops.close

    def observe(self, change: Change) -> None:
        """Quotas that are new or want something else, and what went from a namespace that has one."""
        version = change.current
        if version.kind is RESOURCE_QUOTAS:
            self._follow_all()
            if change.previous is None or change.previous.data["spec"] != version.data["spec"]:
                self.mark(version.key)
        if change.deleted or _ends(change):
            for quota in self.storage.items(RESOURCE_QUOTAS, version.namespace):
                self.later(self.release, quota.key)

    def sync(self, key: str) -> None:
        """Count all that is there, and tell."""
        namespace, name = key.split("/")
        quota = self.storage.get(RESOURCE_QUOTAS, namespace, name)
        if quota is None:
            return
        hard = mapping(quota.data["spec"], "hard")
        kinds = [kind for kind in KINDS if kind.namespaced and not measured(kind).isdisjoint(hard)]
        used = total(usage(kind, each.data) for kind in kinds for each in self.storage.items(kind, namespace) if self._counts(each))
        status: Json = {"hard": hard, "used": {each: str(used.get(each, NOTHING)) for each in sorted(hard)}}
        if status != quota.data.get("status"):
            self.server.patch(quota, lambda old: {**old, "status": status}, user=self.user, subresource="status")
        if quota.uid not in self._resyncing:
            self._resyncing[quota.uid] = None
            self._loop.call_later(RESYNC_SECONDS, self._resync, quota.uid)

    def _resync(self, uid: str) -> None:
        """Count anew, again and again while there is that quota."""
        quota = self.storage.by_uid(uid)
        if quota is None:
            del self._resyncing[uid]
            return
        self.mark(quota.key)
        self._loop.call_later(RESYNC_SECONDS, self._resync, uid)

    def _follow_all(self) -> None:
        if not self._follows_all:
            self._follows_all = True
            for kind in KINDS:
                if kind.namespaced and kind is not RESOURCE_QUOTAS:
                    self._stops.callback(self.storage.subscribe(kind, self.observe))

    def _counts(self, version: Version) -> bool:
        """All but pods that should have ended long ago, on a node that does not answer."""
        if version.kind is not PODS or not version.deleting:
            return True
        grace = timedelta(seconds=version.meta.get("deletionGracePeriodSeconds") or 0)
        return datetime.fromisoformat(version.meta["deletionTimestamp"]) + grace > datetime.fromisoformat(self.server.registry.now())


def _ends(change: Change) -> bool:
    """Whether a pod has ended by this change."""
    if change.current.kind is not PODS or change.previous is None:
        return False
    before, after = (mapping(each.data, "status").get("phase") for each in (change.previous, change.current))
    return after in _ENDED and before not in _ENDED
