# SPDX-License-Identifier: Apache-2.0
"""Who wrote what: the API server's audit log names the user."""

import json
from dataclasses import dataclass
from pathlib import Path

from bench.workloads import BUILT_IN, Side

WRITES = ("create", "update", "patch", "delete", "deletecollection")
NOT_COUNTED = ("events", "leases")
CONTROLLERS = tuple(f"system:serviceaccount:kube-system:{name}-controller" for name in ("deployment", "replicaset"))
OPERATOR = "system:serviceaccount:drover-system:drover-operator"
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [*CONTROLLERS, OPERATOR], "verbs": list(WRITES)}, {"level": "None"}],
}


@dataclass(frozen=True)
class Audit:
    """Counts writes of one side's controllers in the audit log, dry runs among them; Events and leases apart."""

    log: Path

    def mark(self) -> int:
        """Where the log ends now."""
        return self.log.stat().st_size if self.log.exists() else 0

    def writes(self, side: Side, since: int) -> int:
        """How many there were after the mark."""
        users = CONTROLLERS if side.resource is BUILT_IN.resource else (OPERATOR,)
        with self.log.open("rb") as stream:
            stream.seek(since)
            lines = stream.read().split(b"\n")[:-1]
        entries = [json.loads(line) for line in lines]
        return sum(entry["user"]["username"] in users and entry["objectRef"]["resource"] not in NOT_COUNTED for entry in entries)
