# SPDX-License-Identifier: Apache-2.0
"""What a node runs, and how it is configured: pure functions of its place and of what was asked for."""

import hashlib
import json
from typing import Any

from tools.cluster.cells import cgroups
from tools.cluster.cells.addresses import DNS_SERVICE, DOMAIN, POD_RANGE, Place

Spec = dict[str, Any]
PROGRAMS, IMAGES, INSIDE = "/opt/drover/bin", "/opt/drover/images", "/node"
API_READY, TAKEN = "api-ready", "imported"
SOCKET = "/run/containerd/containerd.sock"
_CRI = 'plugins."io.containerd.grpc.v1.cri"'


def spec(cluster: str, place: Place, *, fast: bool, disk: bool = False) -> Spec:
    """All that the supervisor of a node is told."""
    return {
        "hostname": place.name,
        "hold": f"{INSIDE}/hold",
        "logs": f"{INSIDE}/logs",
        "programs": programs(place),
        "files": {
            "/etc/containerd/config.toml": containerd(),
            "/etc/cni/net.d/10-drover.conflist": json.dumps(network(place)),
            "/run/drover/kubelet.json": json.dumps(kubelet(cluster, place, fast=fast, disk=disk)),
            "/run/drover/kube-proxy.json": json.dumps(kube_proxy(place)),
            "/etc/resolv.conf": f"nameserver {DNS_SERVICE}\n",
            "/etc/hostname": f"{place.name}\n",
            "/etc/hosts": f"127.0.0.1 localhost\n{place.address} {place.name}\n",
            "/etc/machine-id": hashlib.sha256(f"{cluster}/{place.name}".encode()).hexdigest()[:32] + "\n",
        },
    }


def programs(place: Place) -> list[dict[str, Any]]:
    """The programs, and what each of them needs before it is started."""
    taken = f"{INSIDE}/{TAKEN}"
    fill = f"for each in {IMAGES}/*.tar; do ctr --namespace k8s.io images import $each || exit 1; done; touch {taken}"
    labels = f"topology.kubernetes.io/zone={place.zone}"
    return [
        _program("containerd", ["containerd", "--config", "/etc/containerd/config.toml", "--log-level", "warn"]),
        _program("images", ["sh", "-ec", fill], SOCKET, once=True),
        _program(
            "kubelet",
            [
                f"{PROGRAMS}/kubelet",
                "--config=/run/drover/kubelet.json",
                f"--kubeconfig={INSIDE}/keys/kubelet.kubeconfig",
                f"--hostname-override={place.name}",
                f"--node-ip={place.address}",
                f"--node-labels={labels}",
            ],
            f"{INSIDE}/{API_READY}",
            taken,
        ),
        _program("kube-proxy", [f"{PROGRAMS}/kube-proxy", "--config=/run/drover/kube-proxy.json"], f"{INSIDE}/{API_READY}"),
    ]


def _program(name: str, argv: list[str], *needs: str, once: bool = False) -> dict[str, Any]:
    return {"name": name, "argv": argv, "needs": list(needs), "once": once}


def kubelet(cluster: str, place: Place, *, fast: bool, disk: bool = False) -> dict[str, Any]:
    """The kubelet's configuration; `fast` tells the control plane of itself each second, instead of each ten, and of pressure that is over soon.

    With a `disk` of its own its pods are evicted at a tenth of it, as by default; the host's may be nearly full.
    """
    keys = f"{INSIDE}/keys"
    quick = {"nodeStatusUpdateFrequency": "1s", "nodeStatusReportFrequency": "5s", "nodeLeaseDurationSeconds": 4, "evictionPressureTransitionPeriod": "5s"}
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroups.path_of(cluster, place.name),
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}, "x509": {"clientCAFile": f"{keys}/ca.crt"}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{keys}/kubelet.crt",
        "tlsPrivateKeyFile": f"{keys}/kubelet.key",
        # Images come from a file, once: one that is collected would never come back.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "10%" if disk else "1%", "imagefs.available": "1%"},
        **(quick if fast else {}),
    }


def kube_proxy(place: Place) -> dict[str, Any]:
    """kube-proxy by nftables; it leaves the machine's connection tracking as it is."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": place.name,
        "clientConnection": {"kubeconfig": f"{INSIDE}/keys/kube-proxy.kubeconfig"},
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"minSyncPeriod": "0s"},
    }


def network(place: Place) -> dict[str, Any]:
    """The network of pods: a cable each, an address out of the node's range, plain routes between nodes."""
    ipam = {"type": "host-local", "ranges": [[{"subnet": place.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
    cable = {"type": "ptp", "ipMasq": False, "mtu": 1500, "ipam": ipam}
    return {"cniVersion": "0.4.0", "name": "drover", "plugins": [cable, {"type": "portmap", "capabilities": {"portMappings": True}}]}


def containerd() -> str:
    """containerd's configuration, which is TOML."""
    return f"""version = 2
[grpc]
address = "{SOCKET}"
[{_CRI}]
sandbox_image = "localhost/pause:1"
disable_apparmor = true
restrict_oom_score_adj = true
[{_CRI}.cni]
bin_dir = "/usr/lib/cni"
conf_dir = "/etc/cni/net.d"
[{_CRI}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""
