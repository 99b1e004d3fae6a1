# SPDX-License-Identifier: Apache-2.0
"""What a cluster with real nodes needs in its API from the start: DNS, the way to the API from inside, and rights for both."""

from typing import Any

from tools.cluster.cells.addresses import API_PORT, DNS_SERVICE, DOMAIN, FABRIC

Body = dict[str, Any]
_DNS_PORTS = [{"name": name, "port": 53, "protocol": name.upper()} for name in ("udp", "tcp")]
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"


def objects() -> list[tuple[str, Body]]:
    """Paths and objects, in the order in which they are created."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    return [
        (f"{rbac}/clusterroles", _role()),
        (f"{rbac}/clusterrolebindings", _binding()),
        ("/api/v1/namespaces/kube-system/services", _dns()),
        (_SLICES.format("kube-system"), _slice("kube-dns", _DNS_PORTS)),
        (_SLICES.format("default"), _slice("kubernetes", [{"name": "https", "port": API_PORT, "protocol": "TCP"}])),
    ]


def corefile(kubeconfig: str) -> str:
    """CoreDNS' configuration: the cluster's names and no others, as there is no network outside."""
    return f".:53 {{\n bind {FABRIC}\n errors\n kubernetes {DOMAIN} in-addr.arpa {{\n  kubeconfig {kubeconfig}\n  ttl 2\n }}\n cache 2\n}}\n"


def egress(socket: str) -> Body:
    """How the API server reaches nodes: through the fabric's door."""
    connection = {"proxyProtocol": "HTTPConnect", "transport": {"uds": {"udsName": socket}}}
    return {
        "apiVersion": "apiserver.k8s.io/v1beta1",
        "kind": "EgressSelectorConfiguration",
        "egressSelections": [{"name": "cluster", "connection": connection}],
    }


def _role() -> Body:
    rules = [
        {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    return {"metadata": {"name": "system:coredns"}, "rules": rules}


def _binding() -> Body:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"}
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "system:coredns"}
    return {"metadata": {"name": "system:coredns"}, "roleRef": role, "subjects": [user]}


def _dns() -> Body:
    return {"metadata": {"name": "kube-dns", "namespace": "kube-system"}, "spec": {"clusterIP": DNS_SERVICE, "ports": _DNS_PORTS}}


def _slice(service: str, ports: list[Body]) -> Body:
    """Where a Service without a selector leads: the fabric."""
    return {
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [FABRIC], "conditions": {"ready": True}}],
    }
