# SPDX-License-Identifier: Apache-2.0
"""A router in the making: its files before anything runs, its objects when the API is there, and whether it routes."""

import json
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from tools.cluster import certificates
from tools.cluster.api import Api
from tools.cluster.arguments import CONTOUR, STATS_PORT, XDS_PORT, Layout
from tools.cluster.cells import yard
from tools.cluster.commands import run
from tools.cluster.router import objects, programs

Wait = Callable[[str, Callable[[], object]], None]
_PATIENCE = 2.0  # seconds
_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def prepare(cluster: str, layout: Layout) -> None:
    """Write the settings of Contour and Envoy, and the credentials of Contour's own user.

    Raises:
        ClusterError: openssl or Contour failed.

    """
    layout.router.mkdir()
    certificates.sign(layout.certificates, CONTOUR, f"/CN={objects.USER}")
    certificates.write_kubeconfig(layout.component_kubeconfig(CONTOUR), layout.certificates, CONTOUR, yard.API, cluster)
    gateway = {"gatewayRef": {"namespace": objects.NAMESPACE, "name": objects.GATEWAY}}
    layout.contour_settings.write_text(json.dumps({"gateway": gateway}))
    bootstrap(layout)


def bootstrap(layout: Layout, number: int = 1, port: int = XDS_PORT) -> None:
    """Write the settings of an Envoy that hears from Contour by that port.

    Raises:
        ClusterError: Contour failed.

    """
    way = ["--xds-address=127.0.0.1", f"--xds-port={port}", "--dns-lookup-family=v4", f"--namespace={objects.NAMESPACE}"]
    run([layout.contour, "bootstrap", layout.envoy_settings(number), f"--admin-address={layout.envoy_admin(number)}", *way])


def fill(servers: Sequence[Api], wait: Wait) -> None:
    """Create what must be in the API before Contour is started, and wait until every server of it serves the kinds.

    Raises:
        ClusterError: it took too long, or a process ended.

    """
    first = servers[0]
    for file in sorted(programs.crds().iterdir()):
        wait(f"the CRD {file.stem}", partial(first.create, _CRDS, file.read_text()))
    for api in servers:
        for path in objects.watched():
            wait(f"{path} to be served", partial(api.has, path))
    for path, body in objects.objects():
        wait(path, partial(first.create, path, body))


def ready(layout: Layout, api: Api) -> bool:
    """Return whether Contour has taken the Gateway, and Envoy has heard from Contour."""
    return told(layout) and _programmed(api)


def told(layout: Layout, number: int = 1) -> bool:
    """Return whether an Envoy has heard from Contour: it listens then where it tells its figures, which is Contour's wish."""
    said = b""
    with suppress(OSError), socket.socket(socket.AF_UNIX) as one:
        one.settimeout(_PATIENCE)
        one.connect(str(layout.envoy_admin(number)))
        one.sendall(b"GET /listeners HTTP/1.1\r\nHost: envoy\r\nConnection: close\r\n\r\n")
        while part := one.recv(4096):
            said += part
    return f":{STATS_PORT}\n".encode() in said


def _programmed(api: Api) -> bool:
    _, gateway = api.call("GET", objects.GATEWAY_PATH)
    conditions = (gateway or {}).get("status", {}).get("conditions", [])
    return any(each["type"] == "Programmed" and each["status"] == "True" for each in conditions)
