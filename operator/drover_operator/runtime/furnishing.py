# SPDX-License-Identifier: Apache-2.0
"""What the operator needs in a cluster beside CRDs, rights and the fence: priority classes of its pods, and its place in the API server's queues."""

from drover_operator.runtime.rbac import SYSTEM, Body

PRIORITIES = (
    ("vital", 1_000_000, "Sacrificed last: what everything depends on."),
    ("important", 100_000, "Sacrificed after normal services."),
    ("normal", 10_000, "The default of the field."),
    ("expendable", 1_000, "Sacrificed first."),
)
FLOWS = "flowcontrol.apiserver.k8s.io/v1"


def priority_classes() -> list[Body]:
    """One for each criticality; pods name them, and a pod that names one that is missing is refused."""
    return [
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": f"drover-{name}"}, "value": value, "description": text}
        for name, value, text in PRIORITIES
    ]


def flow_schemas(shard: str = "0") -> list[Body]:
    """The operator writes as an impersonated user; without these it would share a queue with everybody's kubectl."""
    account = {"kind": "ServiceAccount", "serviceAccount": {"namespace": SYSTEM, "name": "drover-operator"}}
    user = {"kind": "User", "user": {"name": f"drover:operator:{shard}"}}
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    leases = {"verbs": ["get", "create", "update", "patch"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": [SYSTEM]}
    return [
        _flow("drover-operator", "workload-high", 800, [user, account], everything),
        _flow("drover-leases", "leader-election", 150, [account], leases),
    ]


def namespace() -> Body:
    """The operator's own namespace."""
    labels = {"app.kubernetes.io/part-of": "drover", "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM, "labels": labels}}


def _flow(name: str, level: str, precedence: int, subjects: list[Body], rule: Body) -> Body:
    return {
        "apiVersion": FLOWS,
        "kind": "FlowSchema",
        "metadata": {"name": name},
        "spec": {
            "priorityLevelConfiguration": {"name": level},
            "matchingPrecedence": precedence,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": subjects, "resourceRules": [rule]}],
        },
    }
