# SPDX-License-Identifier: Apache-2.0
"""Where the API server is and how to prove who we are: in-cluster, or from a kubeconfig.

Client certificates, tokens and token files are read here. Exec plugins go through the official `kubernetes` client, which is an
extra (126 MB). Rejected: using that client for everything (344 ms of import, and it cannot be asynchronous).
"""

import asyncio
import base64
import binascii
import os
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drover_operator.kube.errors import ConfigurationError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFE = 60.0  # seconds that a token file is believed; the kubelet renews it long before it expires


@dataclass(kw_only=True)
class Connection:
    """One API server and our credentials for it; nothing of it ever goes into a log."""

    server: str
    namespace: str = "default"
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    plugin: Any = field(default=None, repr=False)
    _read_at: float = field(default=-1e9, repr=False)

    async def authorization(self) -> str:
        """The Authorization header, or "" where the certificate is the proof."""
        if self.plugin is not None:
            return await asyncio.to_thread(self._from_plugin)
        if self.token_file is not None and time.monotonic() - self._read_at > TOKEN_LIFE:
            self._read_token(self.token_file)
        return f"Bearer {self.token}" if self.token else ""

    def _read_token(self, file: Path) -> None:
        """Read the token again; while it cannot be read the last one is kept, which the server may still take."""
        try:
            self.token = _read(file, "token").strip()
        except ConfigurationError:
            if not self.token:
                raise
        self._read_at = time.monotonic()

    def _from_plugin(self) -> str:
        if self.plugin.refresh_api_key_hook is not None:
            self.plugin.refresh_api_key_hook(self.plugin)
        return str(self.plugin.get_api_key_with_prefix("authorization") or "")


def connect(kubeconfig: str | None = None, context: str | None = None) -> Connection:
    """The connection that a process should use.

    It is the given kubeconfig, else the first file of $KUBECONFIG that exists, else the pod's own, else ~/.kube/config.

    Raises:
        ConfigurationError: none is found, or what is found is not usable.
    """
    if kubeconfig:
        return from_kubeconfig(Path(kubeconfig), context)
    named = [Path(each).expanduser() for each in os.environ.get("KUBECONFIG", "").split(os.pathsep) if each]
    if not named and os.environ.get("KUBERNETES_SERVICE_HOST") and (SERVICE_ACCOUNT / "token").exists():
        return in_cluster()
    for path in named or [Path("~/.kube/config").expanduser()]:
        if path.exists():
            return from_kubeconfig(path, context)
    raise ConfigurationError("no cluster to talk to: give --kubeconfig FILE, set KUBECONFIG, or start one with `make cluster`")


def in_cluster() -> Connection:
    """The connection of a pod, by its projected service account token."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return Connection(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=_read(SERVICE_ACCOUNT / "namespace", "namespace").strip(),
        tls=_context({"certificate-authority": "ca.crt"}, {}, SERVICE_ACCOUNT),
        token_file=SERVICE_ACCOUNT / "token",
    )


def from_kubeconfig(path: Path, context: str | None = None) -> Connection:
    """The connection that a kubeconfig describes.

    Raises:
        ConfigurationError: the file, the context or a credential is missing or unreadable.
    """
    try:
        config = yaml.safe_load(_read(path, "kubeconfig")) or {}
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {str(error).splitlines()[0]}") from error
    if not _well_formed(config):
        raise ConfigurationError(f"{path} is not a kubeconfig")
    name = context or config.get("current-context") or ""
    chosen = _named(config, "contexts", "context", name, path)
    cluster = _named(config, "clusters", "cluster", chosen.get("cluster", ""), path)
    user = _named(config, "users", "user", chosen.get("user", ""), path)
    if not cluster.get("server"):
        raise ConfigurationError(f"{path}: the cluster '{chosen.get('cluster', '')}' has no server")
    return Connection(
        server=str(cluster["server"]).rstrip("/"),
        namespace=chosen.get("namespace") or "default",
        tls=_context(cluster, user, path.parent) if str(cluster["server"]).startswith("https") else None,
        token=user.get("token", ""),
        token_file=path.parent / user["tokenFile"] if user.get("tokenFile") else None,
        plugin=_plugin(path, name) if "exec" in user or "auth-provider" in user else None,
    )


def _well_formed(config: Any) -> bool:
    """Whether it has the shape of a kubeconfig as far as it is read here: lists of named mappings."""
    if not isinstance(config, dict):
        return False
    found = [(config.get(section) or [], key) for section, key in (("contexts", "context"), ("clusters", "cluster"), ("users", "user"))]
    return all(
        isinstance(entries, list) and all(isinstance(each, dict) and isinstance(each.get(key) or {}, dict) for each in entries) for entries, key in found
    )


def _named(config: dict[str, Any], section: str, key: str, name: str, path: Path) -> dict[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            return dict(entry.get(key) or {})
    known = ", ".join(entry.get("name", "?") for entry in config.get(section) or ()) or "none"
    raise ConfigurationError(f"{path} has no {key} '{name}' (it has: {known}); choose one with --context or kubectl config use-context")


def _context(cluster: dict[str, Any], user: dict[str, Any], base: Path) -> ssl.SSLContext:
    authority = _material(cluster, "certificate-authority", base)
    try:
        context = ssl.create_default_context(cadata=authority or None)
    except ssl.SSLError as error:
        raise ConfigurationError(f"the certificate authority of the kubeconfig cannot be used: {error.reason or error}") from error
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _material(user, "client-certificate", base), _material(user, "client-key", base)
    if certificate and key:
        _load_pair(context, certificate, key)
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """The ssl module only reads pairs from files: write them readable by us alone, and remove them at once."""
    with tempfile.TemporaryDirectory(prefix="drover-") as folder:
        pair = Path(folder) / "pair.pem"
        pair.touch(mode=0o600)
        pair.write_text(certificate + "\n" + key)
        try:
            context.load_cert_chain(pair)
        except ssl.SSLError as error:
            raise ConfigurationError(f"the client certificate of the kubeconfig cannot be used: {error.reason or error}") from error


def _material(entry: dict[str, Any], name: str, base: Path) -> str:
    if data := entry.get(f"{name}-data"):
        try:
            return base64.b64decode("".join(str(data).split()), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{name}-data of the kubeconfig is not base64 of a PEM text") from error
    return _read(base / entry[name], name) if entry.get(name) else ""


def _plugin(path: Path, context: str) -> Any:
    try:
        from kubernetes.client import Configuration  # noqa: PLC0415  only where a plugin is used: 344 ms, 46 MB
        from kubernetes.config import load_kube_config  # noqa: PLC0415
    except ImportError as error:
        raise ConfigurationError("this kubeconfig uses an exec plugin: install the extra with `pip install drover-operator[exec-auth]`") from error
    configuration = Configuration()
    load_kube_config(str(path), context=context, client_configuration=configuration)  # type: ignore[no-untyped-call]  # it has no types
    return configuration


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigurationError(f"cannot read the {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"cannot read the {what} {path}: it is not text") from error
