# SPDX-License-Identifier: Apache-2.0
"""What a router needs in the API: the rights of Contour's own user, and the one Gateway that it serves, open to routes of all namespaces."""

from typing import Any

Body = dict[str, Any]
USER = "drover:router"
CLASS, NAMESPACE, GATEWAY = "contour", "gateway", "drover"
PORT = 80  # of the Gateway's one listener
ENVOY_PORT = 8080  # Contour adds 8000 to ports below 1024, which need rights that Envoy has not everywhere
API = "/apis/gateway.networking.k8s.io/v1"
GATEWAY_PATH = f"{API}/namespaces/{NAMESPACE}/gateways/{GATEWAY}"
_READ = ["get", "list", "watch"]
_KINDS = ("gatewayclasses", "gateways", "httproutes", "grpcroutes")
# By group and version: all that Contour watches and nothing else in the API has served from the start.
WATCHED = {
    "gateway.networking.k8s.io/v1": _KINDS,
    "gateway.networking.k8s.io/v1beta1": ("referencegrants",),
    "projectcontour.io/v1": ("httpproxies", "tlscertificatedelegations"),
}


def watched() -> list[str]:
    """Return the paths of the collections that must be served before Contour is started: it ends when one is not."""
    return [f"/apis/{version}/{kind}" for version, kinds in WATCHED.items() for kind in kinds]


def objects() -> list[tuple[str, Body]]:
    """Paths and objects, in the order in which they are created."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    return [
        (f"{rbac}/clusterroles", _role()),
        (f"{rbac}/clusterrolebindings", _binding()),
        ("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}}),
        (f"{API}/gatewayclasses", _class()),
        (f"{API}/namespaces/{NAMESPACE}/gateways", _gateway()),
    ]


def _role() -> Body:
    rules = [
        {"apiGroups": [""], "resources": ["namespaces", "services", "secrets", "configmaps"], "verbs": _READ},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": _READ},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": _READ},
        *({"apiGroups": [version.partition("/")[0]], "resources": list(kinds), "verbs": _READ} for version, kinds in WATCHED.items()),
        {"apiGroups": ["gateway.networking.k8s.io"], "resources": [f"{kind}/status" for kind in _KINDS], "verbs": ["update"]},
    ]
    return {"metadata": {"name": USER}, "rules": rules}


def _binding() -> Body:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": USER}
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}
    return {"metadata": {"name": USER}, "roleRef": role, "subjects": [user]}


def _class() -> Body:
    spec = {"controllerName": "projectcontour.io/gateway-controller"}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": CLASS}, "spec": spec}


def _gateway() -> Body:
    listener = {"name": "http", "protocol": "HTTP", "port": PORT, "allowedRoutes": {"namespaces": {"from": "All"}}}
    spec = {"gatewayClassName": CLASS, "listeners": [listener]}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": GATEWAY}, "spec": spec}
