# SPDX-License-Identifier: Apache-2.0
"""RBAC and the fence, generated from what controllers declare: nothing is granted that no controller uses.

Two identities. The process's own (ServiceAccount drover-operator) reads, keeps its Lease, and may impersonate; all writes are made as
the impersonated user drover:operator:<shard>, whom the fence's admission policy holds to the epoch of the Lease.
"""

from typing import Any

from drover_operator.api.meta import GROUP
from drover_operator.api.resource import CONFIG_MAPS, LEASES
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
        {**_rule(LEASES.group, [LEASES.plural], ("get", "patch")), "resourceNames": names},
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
    missing Lease would refuse every user's writes. A stale epoch is refused all the same.
    """
    rules = [
        {"apiGroups": [r["apiGroups"][0]], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE", "DELETE"], "resources": r["resources"]}
        for r in writer_rules(controllers)
        if not r["resources"][0].endswith("/finalizers")
    ]
    user, mine = "request.userInfo.username", f"drover:operator:{shard}"
    unknown = f"{user}.startsWith('drover:operator:') && {user} != '{mine}'"
    return [
        _policy(f"drover-fence-{shard}", rules, [f"{user} == '{mine}'"], _epoch_validations(), lease=True),
        _binding(f"drover-fence-{shard}", lease=f"drover-operator-{shard}"),
        _policy("drover-fence-unknown-shard", rules, [unknown], [_deny(f"'no shard of Drover is known by the name ' + {user}")]),
        _binding("drover-fence-unknown-shard"),
        _policy("drover-keep-leases", [_lease_rule()], _kept_leases(), [_deny(KEPT)]),
        _binding("drover-keep-leases"),
    ]


KEPT = "'the Lease ' + oldObject.metadata.name + ' fences the operator; delete the policy drover-keep-leases first if it must go'"


def _kept_leases() -> list[str]:
    """Our Leases, except for the controller that empties a namespace which is being deleted."""
    return [
        "oldObject.metadata.name.startsWith('drover-operator-')",
        f"request.namespace == '{SYSTEM}'",
        "request.userInfo.username != 'system:serviceaccount:kube-system:namespace-controller'",
    ]


def _epoch_validations() -> list[Body]:
    """Compared as text: an epoch that is no number would be an error in `int`, which failurePolicy Ignore lets pass."""
    extra = "request.userInfo.extra"
    has = f"has({extra}) && '{GROUP}/epoch' in {extra} && '{GROUP}/holder' in {extra}"
    return [
        {
            "expression": f"{has} && has(params.spec.leaseTransitions) && {extra}['{GROUP}/epoch'][0] == string(params.spec.leaseTransitions)",
            "messageExpression": f"'this write carries epoch ' + ({has} ? {extra}['{GROUP}/epoch'][0] : 'none') + ', not that of the Lease'",
        },
        {
            "expression": f"{has} && has(params.spec.holderIdentity) && {extra}['{GROUP}/holder'][0] == params.spec.holderIdentity",
            "messageExpression": f"'this write is by ' + ({has} ? {extra}['{GROUP}/holder'][0] : 'nobody') + ', who does not hold the Lease'",
        },
    ]


def _deny(message: str) -> Body:
    return {"expression": "false", "messageExpression": message}


def _lease_rule() -> Body:
    return {"apiGroups": [LEASES.group], "apiVersions": ["*"], "operations": ["DELETE"], "resources": [LEASES.plural]}


def _policy(name: str, rules: list[Body], conditions: list[str], validations: list[Body], *, lease: bool = False) -> Body:
    param = {"paramKind": {"apiVersion": LEASES.api_version, "kind": LEASES.kind}} if lease else {}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Ignore",
            **param,
            "matchConstraints": {"resourceRules": rules},
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
