# SPDX-License-Identifier: Apache-2.0
"""Keys, certificates and kubeconfigs of one cluster, made with the `openssl` command line (EC P-256)."""

import base64
import json
import os
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.cluster.cells.addresses import FABRIC
from tools.cluster.commands import run
from tools.cluster.errors import ClusterError

_OPENSSL_MAJOR = 3
_DAYS = "3650"
_API_NAMES = (
    "IP:127.0.0.1",
    f"IP:{FABRIC}",
    "IP:10.96.0.1",
    "DNS:localhost",
    "DNS:kubernetes",
    "DNS:kubernetes.default",
    "DNS:kubernetes.default.svc",
    "DNS:kubernetes.default.svc.cluster.local",
)


@dataclass(frozen=True)
class _Certificate:
    name: str
    subject: str
    authority: str = "ca"
    names: tuple[str, ...] = ()


_CERTIFICATES = (
    _Certificate("etcd", "/CN=etcd", "etcd-ca", ("IP:127.0.0.1", "DNS:localhost")),
    _Certificate("kube-apiserver", "/CN=kube-apiserver", names=_API_NAMES),
    _Certificate("kube-controller-manager", "/CN=system:kube-controller-manager"),
    _Certificate("kube-scheduler", "/CN=system:kube-scheduler"),
    _Certificate("kwok", "/O=system:masters/CN=kwok"),
    _Certificate("admin", "/O=system:masters/CN=admin"),
)
_FOR_NODES = (
    _Certificate("kube-apiserver-kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client"),
    _Certificate("kube-proxy", "/CN=system:kube-proxy"),
    _Certificate("coredns", "/CN=system:coredns"),
)
USERS = ("kube-controller-manager", "kube-scheduler", "kwok")


def check_openssl() -> None:
    """Make sure that there is an `openssl` that can sign with `req -x509 -CA`.

    Raises:
        ClusterError: it is missing, older than version 3, or something else of that name.

    """
    if not shutil.which("openssl"):
        message = "the local cluster needs the openssl command, version 3 or newer; it is not on the PATH"
        raise ClusterError(message)
    version = run(["openssl", "version"]).strip()
    found = re.match(r"OpenSSL (\d+)\.", version)
    if not found or int(found.group(1)) < _OPENSSL_MAJOR:
        message = f"the local cluster needs OpenSSL 3 or newer; the openssl command here is: {version}"
        raise ClusterError(message)


def _extensions(certificate: _Certificate | None) -> list[str]:
    if certificate is None:
        return ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,digitalSignature,keyCertSign,cRLSign"]
    names = [f"subjectAltName={','.join(certificate.names)}"] if certificate.names else []
    return [
        "basicConstraints=critical,CA:FALSE",
        "keyUsage=critical,digitalSignature",
        "extendedKeyUsage=serverAuth,clientAuth",
        *names,
    ]


def _request(folder: Path, name: str, subject: str, extensions: list[str], signer: list[str]) -> None:
    key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-keyout",
        str(folder / f"{name}.key"),
    ]
    added = [word for extension in extensions for word in ("-addext", extension)]
    config = ["-config", str(folder / "empty.cnf"), "-subj", subject, "-days", _DAYS, *added]
    run(["openssl", "req", "-x509", *key, *config, *signer, "-out", folder / f"{name}.crt"])


def _authority(folder: Path, name: str) -> None:
    _request(folder, name, f"/CN=drover-{name}", _extensions(None), [])


def _signed(folder: Path, one: _Certificate) -> None:
    signer = ["-CA", str(folder / f"{one.authority}.crt"), "-CAkey", str(folder / f"{one.authority}.key")]
    _request(folder, one.name, one.subject, _extensions(one), signer)


def _account_keys(folder: Path) -> None:
    key = folder / "service-accounts.key"
    run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key])
    run(["openssl", "pkey", "-in", key, "-pubout", "-out", folder / "service-accounts.pub"])


def sign(folder: Path, name: str, subject: str, names: tuple[str, ...] = ()) -> None:
    """Make one more key and certificate of the cluster's authority.

    Raises:
        ClusterError: openssl failed.

    """
    _signed(folder, _Certificate(name, subject, names=names))


def make(folder: Path, *, nodes: bool = False) -> None:
    """Make all keys and certificates of a cluster in a folder that only its user can read; those for real nodes if there will be any.

    Raises:
        ClusterError: openssl is missing, too old, or failed.

    """
    check_openssl()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "empty.cnf").write_text("[req]\ndistinguished_name=name\n[name]\n")  # the system's own adds extensions
    with ThreadPoolExecutor(4) as pool:
        accounts = pool.submit(_account_keys, folder)
        list(pool.map(partial(_authority, folder), ("ca", "etcd-ca")))
        list(pool.map(partial(_signed, folder), [*_CERTIFICATES, *(_FOR_NODES if nodes else ())]))
        accounts.result()


def _inline(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def write_kubeconfig(file: Path, certificates: Path, user: str, server: str, context: str) -> None:
    """Write a kubeconfig that needs no other file, readable by its owner alone (JSON, which is YAML too)."""
    cluster = {"server": server, "certificate-authority-data": _inline(certificates / "ca.crt")}
    keys = {
        "client-certificate-data": _inline(certificates / f"{user}.crt"),
        "client-key-data": _inline(certificates / f"{user}.key"),
    }
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{"name": context, "cluster": cluster}],
        "users": [{"name": f"{context}-{user}", "user": keys}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": f"{context}-{user}"}}],
    }
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(config, stream, indent=1)
