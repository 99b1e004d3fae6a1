# SPDX-License-Identifier: Apache-2.0
"""Where the API server is and who we are: kubeconfigs of all kinds, a pod's own account, and what is said when they are wrong."""

import asyncio
import base64
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from drover_operator.kube import auth
from drover_operator.kube.auth import TOKEN_LIFE, Connection, connect, from_kubeconfig, in_cluster
from drover_operator.kube.errors import ConfigurationError

SERVER = "https://10.0.0.1:6443"


def write(path: Path, *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, context: dict[str, Any] | None = None) -> Path:
    """A kubeconfig with one context `home`."""
    config = {
        "current-context": "home",
        "contexts": [{"name": "home", "context": {"cluster": "lab", "user": "me", **(context or {})}}],
        "clusters": [{"name": "lab", "cluster": {"server": SERVER, **(cluster or {})}}],
        "users": [{"name": "me", "user": user or {}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def proof(connection: Connection) -> str:
    return asyncio.run(connection.authorization())


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster around, and no home folder with a kubeconfig."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


USERS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"token": "abc"}, "Bearer abc", "a token"),
    ({"tokenFile": "token.txt"}, "Bearer from-file", "a token file, beside the kubeconfig"),
    ({"tokenFile": "token.txt", "token": "abc"}, "Bearer from-file", "of both the file is the newer"),
    ({}, "", "nobody at all"),
    ({"username": "u", "password": "p"}, "", "passwords are not spoken any more"),
)


@pytest.mark.parametrize("user, header, why", USERS, ids=[why for *_, why in USERS])
def test_how_users_prove_themselves(tmp_path: Path, user: dict[str, Any], header: str, why: str) -> None:
    (tmp_path / "token.txt").write_text("from-file\n")
    connection = from_kubeconfig(write(tmp_path / "config", user=user))
    assert proof(connection) == header, why
    assert (connection.server, connection.namespace) == (SERVER, "default")


def test_the_namespace_and_the_server_as_they_stand_there(tmp_path: Path) -> None:
    connection = from_kubeconfig(write(tmp_path / "config", cluster={"server": "http://localhost:8080/"}, context={"namespace": "shop"}))
    assert (connection.server, connection.namespace, connection.tls) == ("http://localhost:8080", "shop", None)


def test_a_token_file_is_read_again_after_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    file = tmp_path / "token.txt"
    file.write_text("first")
    connection = Connection(server=SERVER, token_file=file)

    def header() -> str:
        awaiting = connection.authorization()
        try:
            awaiting.send(None)
        except StopIteration as done:
            return str(done.value)
        raise AssertionError("reading a file needs no loop")

    assert header() == "Bearer first"
    file.write_text("second")
    now[0] += TOKEN_LIFE - 1
    assert header() == "Bearer first", "not at every request"
    now[0] += 2
    assert header() == "Bearer second"
    file.unlink()
    now[0] += TOKEN_LIFE + 1
    assert header() == "Bearer second", "the kubelet swaps the file: the last token is kept for as long as it is away"
    never = Connection(server=SERVER, token_file=file)
    with pytest.raises(ConfigurationError, match=f"cannot read the token {file}"):
        never.authorization().send(None)


def test_contexts_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "one",
                "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in ("one", "two")],
                "clusters": [{"name": name, "cluster": {"server": f"http://{name}"}} for name in ("one", "two")],
                "users": [{"name": name, "user": {"token": name}} for name in ("one", "two")],
            }
        )
    )
    assert from_kubeconfig(path).server == "http://one"
    two = from_kubeconfig(path, "two")
    assert (two.server, proof(two)) == ("http://two", "Bearer two")
    with pytest.raises(ConfigurationError, match=r"has no context 'three' \(it has: one, two\); choose one with --context"):
        from_kubeconfig(path, "three")


CA = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n").decode()
WRONG: tuple[tuple[Any, str, str], ...] = (
    ("a: [", "is not YAML", "no YAML"),
    ("just some words", "is not a kubeconfig", "YAML, and no mapping"),
    ("- a\n- b\n", "is not a kubeconfig", "a list"),
    ("contexts: 5\n", "is not a kubeconfig", "sections that are no lists"),
    ("contexts: [home]\ncurrent-context: home\n", "is not a kubeconfig", "entries that are no mappings"),
    ("", "has no context '' (it has: none)", "an empty file"),
    (b"\xff\xfe\x00\x01", "cannot read the kubeconfig", "no text at all"),
    ({"context": {"cluster": "gone"}}, "has no cluster 'gone' (it has: lab)", "a cluster that is not there"),
    ({"context": {"user": "gone"}}, "has no user 'gone' (it has: me)", "a user that is not there"),
    ({"cluster": {"server": None}}, "the cluster 'lab' has no server", "a cluster without an address"),
    ({"cluster": {"certificate-authority-data": "%%%"}}, "certificate-authority-data of the kubeconfig is not base64", "bad base64"),
    ({"cluster": {"certificate-authority-data": base64.b64encode(b"\xff\xfe").decode()}}, "is not base64 of a PEM text", "base64 of no text"),
    ({"cluster": {"certificate-authority-data": CA}}, "the certificate authority of the kubeconfig cannot be used", "a PEM with no certificate"),
    ({"cluster": {"certificate-authority": "gone.crt"}}, "cannot read the certificate-authority", "a CA file that is not there"),
    ({"user": {"client-certificate": "gone.crt"}}, "cannot read the client-certificate", "a certificate that is not there"),
    (
        {"user": {"client-certificate-data": CA, "client-key-data": CA}},
        "the client certificate of the kubeconfig cannot be used",
        "a certificate that is none",
    ),
)


@pytest.mark.parametrize("content, message, why", WRONG, ids=[why for *_, why in WRONG])
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, content: Any, message: str, why: str) -> None:
    path = tmp_path / "config"
    if isinstance(content, dict):
        write(path, **content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError) as caught:
        from_kubeconfig(path)
    assert message in str(caught.value), why
    assert "\n" not in str(caught.value), "in one line"


def test_a_kubeconfig_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match="cannot read the kubeconfig /nowhere: No such file or directory"):
        connect("/nowhere")


@pytest.mark.parametrize("user", [{"exec": {"command": "aws"}}, {"auth-provider": {"name": "oidc"}}], ids=["exec", "auth-provider"])
def test_an_exec_plugin_without_the_extra_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: dict[str, Any]) -> None:
    for name in ("kubernetes", "kubernetes.client", "kubernetes.config"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    with pytest.raises(ConfigurationError, match=r"uses an exec plugin: install the extra with `pip install drover-operator\[exec-auth\]`"):
        from_kubeconfig(write(tmp_path / "config", user=user))


def test_nothing_of_a_connection_goes_into_a_log() -> None:
    shown = repr(Connection(server=SERVER, token="secret-token", plugin="secret-plugin"))
    assert SERVER in shown
    assert "secret" not in shown


# -- which one is taken


def pod_account(monkeypatch: pytest.MonkeyPatch, folder: Path, host: str = "10.96.0.1") -> None:
    folder.mkdir()
    (folder / "token").write_text("pod-token\n")
    (folder / "namespace").write_text("drover-system\n")
    (folder / "ca.crt").write_text(ssl_authority())
    monkeypatch.setattr(auth, "SERVICE_ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")


def ssl_authority() -> str:
    """Any real certificate; this one is from certifi's bundle of public ones."""
    certifi = pytest.importorskip("certifi")
    text = Path(certifi.where()).read_text()
    start = text.index("-----BEGIN CERTIFICATE-----")
    return text[start : text.index("-----END CERTIFICATE-----", start)] + "-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("host, server", [("10.96.0.1", "https://10.96.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")])
def test_a_pod_uses_its_own_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, server: str) -> None:
    pod_account(monkeypatch, tmp_path / "account", host)
    home = tmp_path / "home" / ".kube"
    home.mkdir(parents=True)
    write(home / "config", cluster={"server": "http://elsewhere"})
    connection = connect()
    assert (connection.server, connection.namespace, proof(connection)) == (server, "drover-system", "Bearer pod-token")
    assert connection.tls is not None
    assert len(connection.tls.get_ca_certs()) == 1, "the cluster's CA and no public one"


def test_a_kubeconfig_that_is_asked_for_wins_over_the_pods_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pod_account(monkeypatch, tmp_path / "account")
    given, named = (write(tmp_path / name, cluster={"server": f"http://{name}"}) for name in ("given", "named"))
    monkeypatch.setenv("KUBECONFIG", str(named))
    assert connect().server == "http://named"
    assert connect(str(given)).server == "http://given"


def test_a_pod_whose_ca_is_missing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pod_account(monkeypatch, tmp_path / "account")
    (tmp_path / "account" / "ca.crt").unlink()
    with pytest.raises(ConfigurationError, match=r"cannot read the certificate-authority .*ca\.crt"):
        in_cluster()


def test_the_environment_then_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home" / ".kube"
    home.mkdir(parents=True)
    write(home / "config", cluster={"server": "http://home"})
    assert connect().server == "http://home"
    other = write(tmp_path / "other", cluster={"server": "http://other"})
    monkeypatch.setenv("KUBECONFIG", f"/nowhere:{other}")
    assert connect().server == "http://other", "the first of the list that is there"


def test_no_cluster_at_all_says_what_can_be_done() -> None:
    with pytest.raises(ConfigurationError, match="^no cluster to talk to: give --kubeconfig FILE, set KUBECONFIG, or start one with `make cluster`$"):
        connect()
