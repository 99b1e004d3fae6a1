# SPDX-License-Identifier: Apache-2.0
"""RBAC and the fence, generated from what controllers declare: nothing is granted that no controller uses.

Two identities. The process's own (ServiceAccount drover-operator) reads, keeps its Lease, and may impersonate; all writes are made as
the impersonated user drover:operator:<shard>, whom the fence's admission policy holds to the epoch of the Lease.
"""

from typing import Any

from drover_operator.api.meta import GROUP
from drover_operator.api.resource import CONFIG_MAPS, EVENTS, LEASES
from drover_operator.kube.events import EVENT_LABEL
from drover_operator.runtime.registry import Controller

Body = dict[str, Any]
READ = ("get", "list", "watch")
SYSTEM = "drover-system"
RBAC = "rbac.authorization.k8s.io"


def reader_rules(controllers: tuple[Controller, ...]) -> list[Body]:
    """What the process's own identity reads."""
    wanted = {(r.group, r.plural) for c in controllers for r in (c.resource, *(w.resource for w in c.watches))}
    return [_rule(group, [plural], READ) for group, plural in sorted(wanted)]


def writer_rules(controllers: tuple[Controller, ...]) -> list[Body]:
    """What the impersonated identity writes."""
    verbs: dict[tuple[str, str], set[str]] = {}
    for controller in controllers:
        for access in controller.access:
            name = access.resource.plural + (f"/{access.subresource}" if access.subresource else "")
            verbs.setdefault((access.resource.group, name), set()).update(access.verbs)
    return [_rule(group, [name], sorted(each)) for (group, name), each in sorted(verbs.items())]


def lease_rules(shard: str) -> list[Body]:
    """What election needs, in the operator's own namespace only. A create cannot be held to a name."""
    names = [f"drover-operator-{shard}"]
    return [
        _rule(LEASES.group, [LEASES.plural], ("create",)),
        {**_rule(LEASES.group, [LEASES.plural], ("get", "list", "watch", "patch")), "resourceNames": names},
        _rule(CONFIG_MAPS.group, [CONFIG_MAPS.plural], ("create",)),
        {**_rule(CONFIG_MAPS.group, [CONFIG_MAPS.plural], ("get", "patch")), "resourceNames": names},
    ]


def impersonation_rules(shard: str) -> list[Body]:
    """Whom the process may write as, and with which proof."""
    return [
        {**_rule("", ["users"], ("impersonate",)), "resourceNames": [f"drover:operator:{shard}"]},
        _rule("authentication.k8s.io", [f"userextras/{GROUP}/epoch", f"userextras/{GROUP}/holder"], ("impersonate",)),
    ]


def manifests(controllers: tuple[Controller, ...], shard: str = "0", namespace: str = "") -> list[Body]:
    """ServiceAccount, roles and bindings.

    With a namespace the rights over objects are Roles there, and nothing is cluster-wide but the right to impersonate.
    """
    kind = "Role" if namespace else "ClusterRole"
    user = {"kind": "User", "name": f"drover:operator:{shard}", "apiGroup": RBAC}
    account = {"kind": "ServiceAccount", "name": "drover-operator", "namespace": SYSTEM}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "drover-operator", "namespace": SYSTEM}},
        *_granted("drover-operator-reader", kind, reader_rules(controllers), account, namespace),
        *_granted("drover-operator-writer", kind, writer_rules(controllers), user, namespace),
        *_granted("drover-operator-lease", "Role", lease_rules(shard), account, SYSTEM),
        *_granted("drover-operator-impersonator", "ClusterRole", impersonation_rules(shard), account, ""),
    ]


def fence(controllers: tuple[Controller, ...], shard: str = "0") -> list[Body]:
    """The admission policies that make the epoch count, for exactly the resources of the writer's role.

    failurePolicy Ignore and a finite list of resources: parameters are resolved before match conditions, so with Fail and */* a
    missing Lease would refuse every user's writes. A stale epoch is refused all the same. Resources that carry a label of ours have a
    policy of their own that selects by it, so that pods and Events of others are not even looked at: the API server converts an object
    for CEL before it reads the first condition, 0.3 ms for a pod. For the same reason the epoch is compared in the match condition: a
    policy that matches is converted for three times more, even if it has nothing to say. A user of another shard has no role, and needs no
    policy.
    """
    late = [f"request.userInfo.username == 'drover:operator:{shard}' && !({IN_OFFICE})"]
    bodies: list[Body] = []
    for label, rules in sorted(_fenced(controllers).items()):
        name = f"drover-fence-{shard}" + (f"-{label.rpartition('/')[2]}" if label else "")
        bodies += [_policy(name, rules, late, [_deny(LATE)], label=label, lease=True), _binding(name, lease=f"drover-operator-{shard}")]
    keep = _policy("drover-keep-leases", [_lease_rule()], _kept_leases(), [_deny(KEPT)])
    return [*bodies, keep, _binding("drover-keep-leases")]


def _fenced(controllers: tuple[Controller, ...]) -> dict[str, list[Body]]:
    """Rules of admission by the label that objects of them carry, "" for those that are all ours."""
    labels = {(w.resource.group, w.resource.plural): w.selector for c in controllers for w in c.watches} | {(EVENTS.group, EVENTS.plural): EVENT_LABEL}
    fenced: dict[str, list[Body]] = {}
    for group, name in ((rule["apiGroups"][0], rule["resources"][0]) for rule in writer_rules(controllers)):
        plural, _, subresource = name.partition("/")
        if subresource != "finalizers":
            rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": [name]}
            fenced.setdefault(labels.get((group, plural), ""), []).append(rule)
    return fenced


EXTRA = "request.userInfo.extra"
# Compared as text: an epoch that is no number would be an error in `int`, which failurePolicy Ignore lets pass.
IN_OFFICE = (
    f"has({EXTRA}) && '{GROUP}/epoch' in {EXTRA} && '{GROUP}/holder' in {EXTRA} && has(params.spec.leaseTransitions) && has(params.spec.holderIdentity)"
    f" && {EXTRA}['{GROUP}/epoch'][0] == string(params.spec.leaseTransitions) && {EXTRA}['{GROUP}/holder'][0] == params.spec.holderIdentity"
)
LATE = (
    f"'this write carries epoch ' + (has({EXTRA}) && '{GROUP}/epoch' in {EXTRA} ? {EXTRA}['{GROUP}/epoch'][0] : 'none') + ' of '"
    f" + (has({EXTRA}) && '{GROUP}/holder' in {EXTRA} ? {EXTRA}['{GROUP}/holder'][0] : 'nobody') + ', not those of the Lease'"
)
KEPT = "'the Lease ' + oldObject.metadata.name + ' fences the operator; delete the policy drover-keep-leases first if it must go'"


def _kept_leases() -> list[str]:
    """Our Leases, except for the controller that empties a namespace which is being deleted."""
    return [
        "oldObject.metadata.name.startsWith('drover-operator-')",
        f"request.namespace == '{SYSTEM}'",
        "request.userInfo.username != 'system:serviceaccount:kube-system:namespace-controller'",
    ]


def _deny(message: str) -> Body:
    return {"expression": "false", "messageExpression": message}


def _lease_rule() -> Body:
    return {"apiGroups": [LEASES.group], "apiVersions": ["*"], "operations": ["DELETE"], "resources": [LEASES.plural]}


def _policy(name: str, rules: list[Body], conditions: list[str], validations: list[Body], *, label: str = "", lease: bool = False) -> Body:
    selected = {"objectSelector": {"matchExpressions": [{"key": label, "operator": "Exists"}]}} if label else {}
    param = {"paramKind": {"apiVersion": LEASES.api_version, "kind": LEASES.kind}} if lease else {}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Ignore",
            **param,
            "matchConstraints": {"resourceRules": rules, **selected},
            "matchConditions": [{"name": f"condition-{i}", "expression": each} for i, each in enumerate(conditions)],
            "validations": validations,
        },
    }


def _binding(name: str, *, lease: str = "") -> Body:
    ref = {"paramRef": {"name": lease, "namespace": SYSTEM, "parameterNotFoundAction": "Deny"}} if lease else {}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], **ref},
    }


def _rule(group: str, resources: list[str], verbs: tuple[str, ...] | list[str]) -> Body:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}


def _granted(name: str, kind: str, rules: list[Body], subject: Body, namespace: str) -> list[Body]:
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    ref = {"apiGroup": RBAC, "kind": kind, "name": name}
    return [
        {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": meta, "rules": rules},
        {"apiVersion": f"{RBAC}/v1", "kind": f"{kind}Binding", "metadata": meta, "roleRef": ref, "subjects": [subject]},
    ]
