# SPDX-License-Identifier: Apache-2.0
"""What stands in a sandbox from the start: nodes whose names say what they are, and the CustomResourceDefinitions of Drover."""

from drover_operator.api.crd import DEFINITIONS, Definition, crd
from drover_operator.testing.cluster import SimulatedCluster
from drover_operator.testing.kinds import CRDS
from drover_operator.testing.objects import Json

USER = "system:admin"
ZONES = "abc"


def put_in(cluster: SimulatedCluster, nodes: int) -> None:
    """Nodes spread over three zones, and the CRDs."""
    for number in range(1, nodes + 1):
        cluster.add_node(f"simulated-{number}", zone=f"zone-{ZONES[(number - 1) % len(ZONES)]}")
    for definition in DEFINITIONS:
        version = cluster.server.create(CRDS, crd(definition), user=USER)
        cluster.server.patch(version, {"status": _established(definition, cluster.server.registry.now())}, user=USER, subresource="status")


def _established(definition: Definition, now: str) -> Json:
    spec = crd(definition)["spec"]
    true = {"status": "True", "lastTransitionTime": now}
    return {
        "acceptedNames": spec["names"],
        "storedVersions": [each["name"] for each in spec["versions"]],
        "conditions": [
            {"type": "NamesAccepted", "reason": "NoConflicts", "message": "no conflicts found", **true},
            {"type": "Established", "reason": "InitialNamesAccepted", "message": "the initial names have been accepted", **true},
        ],
    }
