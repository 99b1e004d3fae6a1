# SPDX-License-Identifier: Apache-2.0
"""The command lines of all processes: pure functions of where things are and what was asked for."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.cluster.cells.addresses import FABRIC as FABRIC_ADDRESS
from tools.cluster.cells.addresses import places
from tools.cluster.paths import ROOT
from tools.cluster.record import Settings

SERVICE_RANGE = "10.96.0.0/16"
POD_RANGE = "10.250.0.0/16"
NODE_LABEL = "type=kwok"
XDS_PORT, STATS_PORT, DETOUR_PORT = 8001, 8002, 8011  # in the fabric: of Contour for Envoy, of Envoy for its figures, and of another way to Contour
_LEASE, _FAST_LEASE = 40, 4


@dataclass(frozen=True)
class Ports:
    """The ports of one cluster, all on 127.0.0.1; `servers` are those of the API servers, behind `api` where there are several.

    `router` leads to Envoy, which has ports in the fabric only, as Contour has.
    """

    api: int
    etcd: int
    peer: int
    servers: tuple[int, ...] = ()
    router: int = 0


@dataclass(frozen=True)
class Layout:
    """Where the files of one cluster are."""

    folder: Path
    binaries: Path
    node_binaries: Path = Path()
    contour: Path = Path()
    envoy: Path = Path()

    @property
    def fabric(self) -> Path:
        """The folder of what connects real nodes."""
        return self.folder / "fabric"

    @property
    def egress(self) -> Path:
        """The API server's configuration of its way to real nodes."""
        return self.fabric / "egress.json"

    @property
    def router(self) -> Path:
        """The folder with the settings of the router."""
        return self.folder / "router"

    @property
    def contour_settings(self) -> Path:
        """Which Gateway Contour serves."""
        return self.router / "contour.json"

    def envoy_settings(self, number: int = 1) -> Path:
        """Where an Envoy finds Contour."""
        return self.router / f"envoy-{number}.json"

    def envoy_admin(self, number: int = 1) -> Path:
        """The socket on which an Envoy tells of itself."""
        return self.router / f"envoy-{number}.sock"

    @property
    def images(self) -> Path:
        """The folder with the archives of images that real nodes take."""
        return self.folder / "images"

    def node(self, name: str) -> Path:
        """Return the folder of a real node."""
        return self.folder / "nodes" / name

    @property
    def certificates(self) -> Path:
        """The folder with keys, certificates and the kubeconfigs of the components."""
        return self.folder / "certificates"

    @property
    def logs(self) -> Path:
        """The folder with one log per process."""
        return self.folder / "logs"

    @property
    def stages(self) -> Path:
        """The folder with the copies of the kwok stages that this cluster runs with."""
        return self.folder / "stages"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig for people."""
        return self.folder / "admin.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, where it keeps one."""
        return self.logs / "audit.log"

    @property
    def record(self) -> Path:
        """The record of settings and processes."""
        return self.folder / "cluster.json"

    def binary(self, name: str) -> str:
        """Return the path of a program."""
        return str(self.binaries / name)

    def crt(self, name: str) -> str:
        """Return the path of a certificate."""
        return str(self.certificates / f"{name}.crt")

    def key(self, name: str) -> str:
        """Return the path of a private key."""
        return str(self.certificates / f"{name}.key")

    def component_kubeconfig(self, user: str) -> Path:
        """Return the path of a component's own kubeconfig."""
        return self.certificates / f"{user}.kubeconfig"


def etcd(layout: Layout, ports: Ports, settings: Settings) -> list[str]:
    """Return the command line of the datastore; only holders of a certificate of its own authority can talk to it."""
    client, peer = f"https://127.0.0.1:{ports.etcd}", f"https://127.0.0.1:{ports.peer}"
    return [
        layout.binary("etcd"),
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--log-level=warn",
        "--client-cert-auth",
        "--peer-client-cert-auth",
        *(
            f"--{prefix}{flag}={path}"
            for prefix in ("", "peer-")
            for flag, path in (
                ("trusted-ca-file", layout.crt("etcd-ca")),
                ("cert-file", layout.crt("etcd")),
                ("key-file", layout.key("etcd")),
            )
        ),
        *([] if settings.fsync else ["--unsafe-no-fsync"]),
    ]


def kube_apiserver(index: int, layout: Layout, ports: Ports, settings: Settings) -> list[str]:
    """Return the command line of the API server: TLS, RBAC, the default admission plugins and NodeRestriction."""
    log = layout.audit_log if not index else layout.audit_log.with_stem(f"audit-{index + 1}")
    audit = [f"--audit-policy-file={settings.audit}", f"--audit-log-path={log}"] if settings.audit else []
    tolerations = ["--default-not-ready-toleration-seconds=2", "--default-unreachable-toleration-seconds=2"]
    return [
        layout.binary("kube-apiserver"),
        "--bind-address=127.0.0.1",
        f"--secure-port={(ports.servers or (ports.api,))[index]}",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",  # a loopback address cannot be an endpoint
        f"--tls-cert-file={layout.crt('kube-apiserver')}",
        f"--tls-private-key-file={layout.key('kube-apiserver')}",
        f"--client-ca-file={layout.crt('ca')}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--service-account-key-file={layout.certificates / 'service-accounts.pub'}",
        f"--service-account-signing-key-file={layout.key('service-accounts')}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--etcd-servers=https://127.0.0.1:{ports.etcd}",
        f"--etcd-cafile={layout.crt('etcd-ca')}",
        f"--etcd-certfile={layout.crt('etcd')}",
        f"--etcd-keyfile={layout.key('etcd')}",
        "--profiling=false",
        *audit,
        *(tolerations if settings.fast else []),
        *(_to_nodes(layout) if settings.nodes else []),
    ]


def _to_nodes(layout: Layout) -> list[str]:
    """How the API server reaches the kubelets of real nodes, for logs, exec and port-forward."""
    return [
        f"--egress-selector-config-file={layout.egress}",
        f"--kubelet-certificate-authority={layout.crt('ca')}",
        f"--kubelet-client-certificate={layout.crt('kube-apiserver-kubelet-client')}",
        f"--kubelet-client-key={layout.key('kube-apiserver-kubelet-client')}",
        "--kubelet-preferred-address-types=InternalIP",
    ]


def _client(layout: Layout, name: str) -> list[str]:
    return [
        layout.binary(name),
        f"--kubeconfig={layout.component_kubeconfig(name)}",
        "--leader-elect=false",
        "--kube-api-qps=500",
        "--kube-api-burst=500",
        "--secure-port=0",  # serves nothing, so needs no port
        "--profiling=false",
    ]


def kube_controller_manager(layout: Layout, _ports: Ports, settings: Settings) -> list[str]:
    """Return the command line of the controller manager; `fast` makes it notice a lost node in 5 s instead of 50 s."""
    quick = ["--node-monitor-period=500ms", "--node-monitor-grace-period=5s"]
    return [
        *_client(layout, "kube-controller-manager"),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={layout.key('service-accounts')}",
        f"--root-ca-file={layout.crt('ca')}",
        f"--cluster-signing-cert-file={layout.crt('ca')}",
        f"--cluster-signing-key-file={layout.key('ca')}",
        *(quick if settings.fast else []),
    ]


def kube_scheduler(layout: Layout, _ports: Ports, _settings: Settings) -> list[str]:
    """Return the command line of the scheduler."""
    return _client(layout, "kube-scheduler")


def kwok(layout: Layout, _ports: Ports, settings: Settings) -> list[str]:
    """Return the command line of kwok, which plays the kubelets of all nodes with its label."""
    files = [f"--config={layout.stages / f'{index}.yaml'}" for index in range(1 + len(settings.stages))]
    return [
        layout.binary("kwok"),
        f"--kubeconfig={layout.component_kubeconfig('kwok')}",
        *files,
        "--manage-all-nodes=false",
        f"--manage-nodes-with-label-selector={NODE_LABEL}",
        f"--node-lease-duration-seconds={_FAST_LEASE if settings.fast else _LEASE}",
        f"--cidr={POD_RANGE}",
    ]


def relay(_layout: Layout, ports: Ports, _settings: Settings) -> list[str]:
    """Return the command line of the one address of several API servers."""
    return [*_python("tools.cluster.relay"), str(ports.api), *map(str, ports.servers)]


def fabric(layout: Layout, ports: Ports, _settings: Settings) -> list[str]:
    """Return the command line of what connects real nodes with each other and with the API servers."""
    resolver = str(layout.node_binaries / "coredns")
    return [*_python("tools.cluster.cells.fabric"), str(layout.fabric), resolver, *map(str, ports.servers or (ports.api,))]


def node(name: str, layout: Layout, _ports: Ports, _settings: Settings) -> list[str]:
    """Return the command line of a real node. Its first process goes with the one that is started here: ending that is a power cut."""
    namespaces = ("--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private")
    return ["/usr/bin/unshare", *namespaces, *_python("tools.cluster.cells.room"), str(layout.node(name))]


def contour(layout: Layout, _ports: Ports, _settings: Settings) -> list[str]:
    """Return the command line of Contour, which tells Envoy what the API says; all its ports are in the fabric, where nobody else has any."""
    addresses = [f"--{name}-address=127.0.0.1" for name in ("xds", "http", "health", "stats")]
    # Kinds of the experimental channel, and one of Contour's own that costs a CRD: without their CRDs Contour waits for them for ever.
    unwanted = [f"--disable-feature={kind}" for kind in ("extensionservices", "tlsroutes", "tcproutes", "backendtlspolicies")]
    return [
        *_in_fabric(layout, layout.contour),
        "serve",
        f"--config-path={layout.contour_settings}",
        f"--kubeconfig={layout.component_kubeconfig(CONTOUR)}",
        "--insecure",  # between Contour and Envoy, on the fabric's loopback
        *addresses,
        f"--xds-port={XDS_PORT}",
        f"--stats-port={STATS_PORT}",
        f"--ingress-status-address={FABRIC_ADDRESS}",
        "--disable-leader-election",
        *unwanted,
    ]


def envoy(layout: Layout, number: int = 1) -> list[str]:
    """Return the command line of an Envoy, which carries the requests; several share their ports."""
    name = ["--service-cluster", "gateway", "--service-node", f"envoy-{number}"]
    more = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
    return [*_in_fabric(layout, layout.envoy), "-c", str(layout.envoy_settings(number)), *name, *more]


def detour(layout: Layout) -> list[str]:
    """Return the command line of another way to Contour, which can be held."""
    return [*_python("tools.cluster.router.inside"), str(layout.fabric), *_python("tools.cluster.relay"), str(DETOUR_PORT), str(XDS_PORT)]


def door(layout: Layout, ports: Ports, _settings: Settings) -> list[str]:
    """Return the command line of the way from the host to Envoy."""
    return [*_python("tools.cluster.router.door"), str(layout.fabric), str(ports.router)]


def _in_fabric(layout: Layout, program: Path) -> list[str]:
    return [*_python("tools.cluster.router.inside"), str(layout.fabric), str(program)]


def _python(module: str) -> list[str]:
    return ["/usr/bin/env", f"PYTHONPATH={ROOT}", sys.executable, "-m", module]


Builder = Callable[[Layout, Ports, Settings], list[str]]
DATASTORE = "etcd"
API_SERVER = "kube-apiserver"
FABRIC, RELAY = "fabric", "relay"
CONTOUR, ENVOY, ROUTER = "contour", "envoy", "router"


def api_servers(settings: Settings) -> list[str]:
    """Return the names of the API servers' processes."""
    return [API_SERVER, *(f"{API_SERVER}-{index + 1}" for index in range(1, settings.api_servers))]


def on_fabric(settings: Settings) -> list[str]:
    """Return the names of the processes whose network is the fabric's."""
    return [*(place.name for place in places(settings.nodes)), *((CONTOUR, ENVOY, ROUTER) if settings.router else ())]


def builders(settings: Settings) -> dict[str, Builder]:
    """Return what makes the command line of each process, in the order in which they are started: nodes early, they take longest."""
    found: dict[str, Builder] = {DATASTORE: etcd}
    if settings.nodes:
        found |= {FABRIC: fabric} | {place.name: partial(node, place.name) for place in places(settings.nodes)}
    found |= {name: partial(kube_apiserver, index) for index, name in enumerate(api_servers(settings))}
    found |= {RELAY: relay} if settings.api_servers > 1 else {}
    found |= {"kube-controller-manager": kube_controller_manager, "kube-scheduler": kube_scheduler}
    found |= {"kwok": kwok} if settings.kwok_nodes else {}
    return found | ({CONTOUR: contour, ENVOY: lambda layout, *_: envoy(layout), ROUTER: door} if settings.router else {})


def command_lines(layout: Layout, ports: Ports, settings: Settings) -> dict[str, list[str]]:
    """Return the command line of each process, in the order in which they are started."""
    return {name: build(layout, ports, settings) for name, build in builders(settings).items()}
