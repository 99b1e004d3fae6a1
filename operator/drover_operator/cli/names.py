# SPDX-License-Identifier: Apache-2.0
"""Names for completion: of services and namespaces from the cluster, of contexts from the kubeconfig. Only what one page of a list holds."""

import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
import yaml

from drover_operator.api.meta import Object
from drover_operator.api.resource import MANAGED_SERVICES, Resource
from drover_operator.cli.cluster import connected
from drover_operator.cli.options import Where

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", Object)


def read(kind: str, namespace: str, kubeconfig: str, context: str, most: int) -> list[str]:
    """Names of services, namespaces or contexts; raises whatever keeps it from reading them."""
    if kind == "contexts":
        return _contexts(kubeconfig)
    where = Where(namespace=namespace, kubeconfig=kubeconfig or None, context=context or None)
    return asyncio.run(_listed(MANAGED_SERVICES if kind == "services" else NAMESPACES, where, most))


async def _listed(resource: Resource[Any], where: Where, most: int) -> list[str]:
    async with connected(where) as (client, namespace):
        page = await client.page(resource, namespace if resource is MANAGED_SERVICES else "", limit=most, metadata_only=True)
    return [msgspec.json.decode(each, type=Object).metadata.name for each in page.items or ()]


def _contexts(kubeconfig: str) -> list[str]:
    files = [kubeconfig] if kubeconfig else [each for each in os.environ.get("KUBECONFIG", "").split(os.pathsep) if each] or ["~/.kube/config"]
    file = next(each for each in map(Path, files) if each.expanduser().exists())
    content: Any = yaml.safe_load(file.expanduser().read_text(encoding="utf-8"))
    return [str(each["name"]) for each in content.get("contexts") or ()]
