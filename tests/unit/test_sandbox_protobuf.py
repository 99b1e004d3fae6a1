# SPDX-License-Identifier: Apache-2.0
"""Bodies as kubectl 1.35 sends them in binary; recorded from the real one."""

import base64
from typing import Any

import pytest

from drover_operator.testing.sandbox.protobuf import Undecodable, decoded

PORTS = [{"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http"}, {"name": "90-9090", "protocol": "TCP", "port": 90, "targetPort": 9090}]
EXPRESSIONS = [{"key": "a", "operator": "In", "values": ["b", "c"]}, {"key": "d", "operator": "DoesNotExist"}]
RECORDED: list[tuple[str, str, dict[str, Any]]] = [
    (
        "create namespace shop",
        "azhzAAoPCgJ2MRIJTmFtZXNwYWNlEhwKFAoEc2hvcBIAGgAiACoAMgA4AEIAEgAaAgoAGgAiAA==",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
    ),
    (
        "create configmap c --from-literal=a=b --from-file=bin, which is no text",
        "azhzAAoPCgJ2MRIJQ29uZmlnTWFwEiYKEQoBYxIAGgAiACoAMgA4AEIAEgYKAWESAWIaCQoDYmluEgL/ABoAIgA=",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "b"}, "binaryData": {"bin": "/wA="}},
    ),
    (
        "create service clusterip s --tcp=80:http --tcp=90:9090: a port by name and one by number",
        (
            "azhzAAoNCgJ2MRIHU2VydmljZRKDAQobCgFzEgAaACIAKgAyADgAQgBaCAoDYXBwEgFzEmAKHgoHODAtaHR0cBIDVENQGFAiCggBEAAaBGh0dHAoAAobCgc5MC05MDkwEgNU"
            "Q1AYWiIHCAAQgkcaACgAEggKA2FwcBIBcxoAIglDbHVzdGVySVA6AEIAUgBaAGAAaAAaAgoAGgAiAA=="
        ),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s", "labels": {"app": "s"}},
            "spec": {"ports": PORTS, "selector": {"app": "s"}, "type": "ClusterIP"},
        },
    ),
    (
        "create pdb none --max-unavailable=0 --selector='a in (b,c),!d,e=f': a zero that means something",
        (
            "azhzAAogCglwb2xpY3kvdjESE1BvZERpc3J1cHRpb25CdWRnZXQSWAoUCgRub25lEgAaACIAKgAyADgAQgASNBIqCgYKAWUSAWYSDQoBYRICSW4aAWIaAWMSEQoBZBIMRG9l"
            "c05vdEV4aXN0GgYIABAAGgAaCggAGAAgACgAMAAaACIA"
        ),
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "none"},
            "spec": {"maxUnavailable": 0, "selector": {"matchLabels": {"e": "f"}, "matchExpressions": EXPRESSIONS}},
        },
    ),
    (
        "create pdb half --min-available=50%: a percentage",
        "azhzAAogCglwb2xpY3kvdjESE1BvZERpc3J1cHRpb25CdWRnZXQSOQoUCgRoYWxmEgAaACIAKgAyADgAQgASFQoJCAEQABoDNTAlEggKBgoBYRIBYhoKCAAYACAAKAAwABoAIgA=",
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "half"},
            "spec": {"minAvailable": "50%", "selector": {"matchLabels": {"a": "b"}}},
        },
    ),
    (
        "create quota q --hard=pods=3,requests.cpu=2 --scopes=BestEffort",
        "azhzAAoTCgJ2MRINUmVzb3VyY2VRdW90YRJFChEKAXESABoAIgAqADIAOABCABIuCgsKBHBvZHMSAwoBMwoTCgxyZXF1ZXN0cy5jcHUSAwoBMhIKQmVzdEVmZm9ydBoAGgAiAA==",
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "q"},
            "spec": {"hard": {"pods": "3", "requests.cpu": "2"}, "scopes": ["BestEffort"]},
        },
    ),
]


@pytest.mark.parametrize(("why", "body", "wanted"), RECORDED, ids=[row[0] for row in RECORDED])
def test_recorded_bodies(why: str, body: str, wanted: dict[str, Any]):
    assert decoded(base64.b64decode(body)) == wanted, why


SPOILED = [
    ("an object of another kind", "azhzAAoMCgJ2MRIGU2VjcmV0EhUKEQoBcRIAGgAiACoAMgA4AEIAGgAaACIA", "a Secret is taken as JSON or YAML only"),
    ("no protobuf of Kubernetes", base64.b64encode(b"{}").decode(), "does not begin as protobuf"),
    ("an end in the middle of a field", base64.b64encode(b"k8s\0\x0a\x0f\x0a").decode(), "ends in the middle of a field"),
    ("an end in the middle of a number", base64.b64encode(b"k8s\0\x0a\xff").decode(), "ends in the middle of a number"),
    ("a number that never ends", base64.b64encode(b"k8s\0" + b"\xff" * 20).decode(), "ends in the middle of a number"),
    ("a number for a text", base64.b64encode(b"k8s\0\x0a\x02\x10\x05").decode(), "another type"),
    ("a field that nobody knows", base64.b64encode(b"k8s\0\x2a\x01x").decode(), "field 5 is not known"),
]


@pytest.mark.parametrize(("why", "body", "words"), SPOILED, ids=[row[0] for row in SPOILED])
def test_what_cannot_be_read_is_never_half_read(why: str, body: str, words: str):
    with pytest.raises(Undecodable, match=words):
        decoded(base64.b64decode(body))


def test_every_cut_of_a_recorded_body_is_refused_or_read_without_a_crash():
    """Whatever arrives, the answer is a sentence: no other exception may come out."""
    whole = base64.b64decode(RECORDED[2][1])
    for length in range(len(whole)):
        try:
            found = decoded(whole[:length])
        except Undecodable:
            continue
        assert found["kind"] == "Service"
