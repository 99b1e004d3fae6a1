# SPDX-License-Identifier: Apache-2.0
"""The real side: a kube-apiserver of the local cluster tool, spoken to through Drover's own HTTP transport."""

import asyncio
import secrets
import ssl
import time
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from drover_operator.kube.auth import from_kubeconfig
from drover_operator.kube.http import HttpTransport
from drover_operator.kube.transport import Request
from tests.conformance.case import every_case
from tests.conformance.playing import Record, all_in_namespaces
from tools.cluster.cluster import Cluster
from tools.cluster.record import load

Json = dict[str, Any]


class Real:
    """A running cluster; made inside a running loop."""

    has_accounts = True

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.transport = HttpTransport(from_kubeconfig(cluster.kubeconfig), agent="conformance")

    def now(self) -> float:
        return time.time()

    async def version(self) -> str:
        """The version of the server, such as v1.35.4."""
        reply = await self.transport.send(Request(method="GET", path="/version"))
        return str(msgspec.json.decode(reply.body)["gitVersion"])

    async def forget(self) -> None:
        """The API server compacts only every five minutes: ask etcd itself, through the JSON front of its own API."""
        record = load(self._cluster.folder / "cluster.json")
        if record is None:
            raise LookupError("the cluster has no record of its processes")
        url = f"https://127.0.0.1:{record.etcd_port}/v3"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=_tls(self._cluster.folder / "certificates"))) as session:
            async with session.post(f"{url}/kv/range", json={"key": "eA==", "count_only": True}) as answer:
                revision = (await answer.json())["header"]["revision"]
            async with session.post(f"{url}/kv/compaction", json={"revision": revision, "physical": True}) as answer:
                answer.raise_for_status()


def _tls(certificates: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificates / "etcd-ca.crt"))
    context.load_cert_chain(certificates / "etcd.crt", certificates / "etcd.key")
    return context


def played(cluster: Cluster, names: tuple[str, ...] = ()) -> tuple[str, list[Record]]:
    """Play all cases, or those whose id contains one of `names`; answers the server's version and the records."""

    async def main() -> tuple[str, list[Record]]:
        backend = Real(cluster)
        try:
            chosen = [case for case in every_case() if not names or any(name in case.id for name in names)]
            return await backend.version(), await all_in_namespaces(chosen, backend, f"conf-{secrets.token_hex(3)}")
        finally:
            await backend.transport.close()

    return asyncio.run(main())
