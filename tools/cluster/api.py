# SPDX-License-Identifier: Apache-2.0
"""A client for the few calls that bringing a cluster up takes; everything else uses kubectl or a real client."""

import json
import ssl
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

_NOT_READY_TAINT = "node.kubernetes.io/not-ready"
_OK, _CREATED, _CONFLICT = 200, 201, 409
_TIMEOUT = 10.0


@dataclass(frozen=True)
class Api:
    """The API server of one cluster, called as its administrator."""

    port: int
    certificates: Path

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Make one call, with a body of JSON, or of YAML if it is text; return the status, 0 if there was no answer, and the JSON, None if it was none."""
        try:
            return self._call(method, path, body)
        except (OSError, HTTPException):
            return 0, None

    def _call(self, method: str, path: str, body: object) -> tuple[int, Any]:
        context = ssl.create_default_context(cafile=self.certificates / "ca.crt")
        context.load_cert_chain(self.certificates / "admin.crt", self.certificates / "admin.key")
        connection = HTTPSConnection("127.0.0.1", self.port, context=context, timeout=_TIMEOUT)
        try:
            data = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
            kind = "application/yaml" if isinstance(body, str) else "application/json"
            connection.request(method, path, data, {"Content-Type": kind})
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        return response.status, json.loads(text) if text.startswith(b"{") else None

    def ready(self) -> bool:
        """Return whether the API server says that it is ready."""
        return self.call("GET", "/readyz")[0] == _OK

    def has(self, path: str) -> bool:
        """Return whether an object exists."""
        return self.call("GET", path)[0] == _OK

    def create(self, path: str, body: object) -> bool:
        """Create an object; return whether it is there now."""
        return self.call("POST", path, body)[0] in (_CREATED, _CONFLICT)

    def ready_nodes(self) -> tuple[int, int] | None:
        """Return how many nodes are ready for pods, and how many there are; None if there is no answer."""
        status, answer = self.call("GET", "/api/v1/nodes")
        if status != _OK:
            return None
        nodes: list[dict[str, Any]] = answer["items"]
        return sum(map(is_ready, nodes)), len(nodes)


def is_ready(node: dict[str, Any]) -> bool:
    """Return whether a node is Ready and the taint that it was born with is gone."""
    conditions = node["status"].get("conditions", [])
    taints = node["spec"].get("taints", [])
    tainted = any(taint["key"] == _NOT_READY_TAINT for taint in taints)
    return not tainted and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
