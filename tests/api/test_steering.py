# SPDX-License-Identifier: Apache-2.0
"""Who may steer a rollout: the right to edit a service is not enough for the annotations of promote, abort and retry."""

from collections.abc import Callable

import pytest
from api.harness.kube import MERGE, Body, Refused, path
from api.harness.space import Space, image, service
from api.harness.waiting import until

RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/{}"
RIGHT = "may not steer shop: promote, abort, retry, freeze and unfreeze need the verb update on managedservices/steer"
Patch = Callable[[Body], Body]


def bind(space: Space, name: str, kind: str, role: str) -> None:
    body = {
        "metadata": {"name": name, "namespace": space.name},
        "subjects": [{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
    }
    space.kube.call("post", RBAC.format(space.name, "rolebindings"), body)


@pytest.fixture
def as_eve(space: Space) -> Patch:
    """A patch of the service by somebody who may edit services in this namespace, and nothing else."""
    rules = [{"apiGroups": ["drover.dev"], "resources": ["managedservices"], "verbs": ["get", "patch", "update"]}]
    space.kube.call("post", RBAC.format(space.name, "roles"), {"metadata": {"name": "editor", "namespace": space.name}, "rules": rules})
    bind(space, "editor", "Role", "editor")
    space.create(service("shop", replicas=0))

    def patch(body: Body) -> Body:
        where = path("managedservices", space.name, "shop")
        return space.kube.call("patch", where, body, content=MERGE, query={"dryRun": "All"}, headers={"Impersonate-User": "eve"})

    until(lambda: _accepted(lambda: patch(image("registry.example/app:2"))), "eve may edit")
    return patch


def _accepted(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except Refused:
        return False
    return True


def note(key: str, value: str) -> Body:
    return {"metadata": {"annotations": {f"drover.dev/{key}": value}}}


@pytest.mark.parametrize("key", ["promoted", "aborted", "retried"])
def test_whoever_may_edit_may_not_yet_steer(as_eve: Patch, key: str) -> None:
    """403, with the right that it takes; other annotations are hers."""
    with pytest.raises(Refused, match=RIGHT) as refusal:
        as_eve(note(key, "shop-aaaaaaaa/1/2026-01-01T00:00:00Z"))
    assert refusal.value.code == 403
    as_eve(note("something-else", "x"))


def test_whoever_was_given_the_right_may(space: Space, as_eve: Patch) -> None:
    """By the ClusterRole that comes with it; what is no promotion is refused to everybody."""
    bind(space, "steer", "ClusterRole", "drover-steer")
    until(lambda: _accepted(lambda: as_eve(note("aborted", "shop-aaaaaaaa"))), "eve may steer")
    as_eve(note("promoted", "shop-aaaaaaaa/2/2026-01-01T00:00:00Z"))
    with pytest.raises(Refused, match='is "everything", not REVISION/STEPS/BEGUN: use kubectl drover promote shop'):
        as_eve(note("promoted", "everything"))
