# SPDX-License-Identifier: Apache-2.0
"""Which rights the operator needs, as questions to the server: from the same rules that its roles are generated from."""

from collections.abc import Iterator

from drover_operator.cli.doctor.facts import Json, Right
from drover_operator.cli.doctor.wanted import SHARD
from drover_operator.runtime import rbac
from drover_operator.runtime.rbac import SYSTEM
from drover_operator.runtime.registry import Controller

ACCOUNT = f"system:serviceaccount:{SYSTEM}:drover-operator"
WRITER = f"drover:operator:{SHARD}"


def needed(controllers: tuple[Controller, ...], namespace: str) -> tuple[Right, ...]:
    """What the ServiceAccount reads, how it elects and impersonates, and what the impersonated user writes."""
    return (
        *_of(ACCOUNT, rbac.reader_rules(controllers), namespace),
        *_of(ACCOUNT, rbac.lease_rules(SHARD), SYSTEM),
        *_of(ACCOUNT, rbac.impersonation_rules(SHARD), ""),
        *_of(WRITER, rbac.writer_rules(controllers), namespace),
    )


def groups(who: str) -> list[str]:
    """The groups that an identity is in by its kind."""
    if who.startswith("system:serviceaccount:"):
        return ["system:serviceaccounts", f"system:serviceaccounts:{who.split(':')[2]}", "system:authenticated"]
    return ["system:authenticated"]


def _of(who: str, rules: list[Json], namespace: str) -> Iterator[Right]:
    for rule in rules:
        for full in rule["resources"]:
            resource, _, sub = full.partition("/")
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames", [""]):
                    yield Right(who=who, verb=verb, group=rule["apiGroups"][0], resource=resource, subresource=sub, name=name, namespace=namespace)
