# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover import` of what runs: what is asked of the cluster, what is printed, and what is said when it may not be read."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from drover_operator.cli import import_cluster
from drover_operator.cli.main import main
from drover_operator.cli.manifests import parse

Body = dict[str, Any]
DEPLOYMENTS, STATEFULSETS, DAEMONSETS = "/apis/apps/v1/deployments", "/apis/apps/v1/statefulsets", "/apis/apps/v1/daemonsets"
SERVICES, BUDGETS = "/api/v1/services", "/apis/policy/v1/poddisruptionbudgets"
AUTOSCALERS = "/apis/autoscaling/v2/horizontalpodautoscalers"
ALL = [DEPLOYMENTS, STATEFULSETS, SERVICES, BUDGETS, AUTOSCALERS, DAEMONSETS]
MINE = {"apiVersion": "drover.dev/v1alpha1", "kind": "ManagedService", "name": "cart", "uid": "7", "controller": True}


def item(name: str, owner: Body | None = None, **spec: Any) -> Body:
    """As it stands in a list: without its kind."""
    meta = {"name": name, "namespace": "shop", "uid": f"uid-{name}", "resourceVersion": "5", "managedFields": [{"manager": "kubectl"}]}
    return {"metadata": {**meta, **({"ownerReferences": [owner]} if owner else {})}, "spec": spec, "status": {"replicas": 1}}


def workload(name: str, app: str = "", **spec: Any) -> Body:
    container = {"name": "main", "image": f"{name}:1", "imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}
    pod = {"containers": [container], "dnsPolicy": "ClusterFirst"}
    return item(name, template={"metadata": {"labels": {"app": app or name}, "creationTimestamp": None}, "spec": pod}, **spec)


def front(name: str, owner: Body | None = None) -> Body:
    ports = [{"name": "http", "port": 80, "targetPort": 80, "protocol": "TCP"}]
    return item(name, owner, selector={"app": name}, ports=ports, clusterIP="10.0.0.9", clusterIPs=["10.0.0.9"], type="ClusterIP")


def cluster() -> dict[str, list[Body] | int]:
    """What lists answer in namespace shop; a number is a refusal."""
    return {
        DEPLOYMENTS: [workload("web", replicas=3), workload("mail")],
        STATEFULSETS: [workload("search")],
        DAEMONSETS: [],
        SERVICES: [front("web"), front("mail"), front("cart", MINE)],
        BUDGETS: [item("cart", MINE, selector={"matchLabels": {"drover.dev/service": "cart"}})],
        AUTOSCALERS: [item("web", scaleTargetRef={"kind": "Deployment", "name": "web"})],
    }


class Api:
    """The answers, and what was asked."""

    def __init__(self) -> None:
        self.lists = cluster()
        self.asked: list[str] = []
        self.expired = False

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Body]:
        found = self.lists[path.replace("/namespaces/shop", "")]
        self.asked.append(path)
        if isinstance(found, int):
            return found, {"kind": "Status", "code": found, "reason": "Forbidden" if found == 403 else "NotFound", "message": f"no {path.rpartition('/')[2]}"}
        start, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0]) or len(found)
        if start and not self.expired:
            self.expired = True
            return 410, {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        after = str(start + limit) if start + limit < len(found) else ""
        return 200, {"metadata": {"continue": after}, "items": found[start : start + limit]}


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """A server that is the current context of $KUBECONFIG, with namespace shop."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            code, body = api.answer(url.path, parse_qs(url.query))
            self.send_response(code)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    here = {"cluster": "c", "user": "u", "namespace": "shop"}
    config = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": here}, {"name": "my cluster", "context": here}],
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    yield api
    server.shutdown()
    server.server_close()
    thread.join()


class Ran:
    """One run of the verb."""

    def __init__(self, capsys: pytest.CaptureFixture[str], *words: str) -> None:
        self.code = main(["import", "--criticality", "Normal", *words])
        printed = capsys.readouterr()
        self.out, self.err = printed.out, printed.err.splitlines()
        self.services = parse(self.out.encode(), "output")

    @property
    def names(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.services]


def test_one_workload_of_the_cluster(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole output: what the server filled in, status and what stands beside it are not in it."""
    ran = Ran(capsys, "deployment/web", "--adopt")
    assert ran.code == 0
    assert ran.out == (
        "apiVersion: drover.dev/v1alpha1\nkind: ManagedService\nmetadata:\n  name: web\n  namespace: shop\nspec:\n  criticality: Normal\n  adopt: true\n"
        "  replicas: 3\n  ports:\n  - name: http\n    port: 80\n  template:\n    metadata:\n      labels:\n        app: web\n"
        "    spec:\n      containers:\n      - name: main\n        image: web:1\n"
    )
    assert ran.err == [
        "warning: horizontalpodautoscaler/web: spec.scaleTargetRef is deployment/web, now a ManagedService; set apiVersion drover.dev/v1alpha1 and kind ManagedService in it",
        "next: kubectl -n shop wait --for=condition=Ready --timeout=10m managedservice/web",
        "next: kubectl -n shop delete deployment/web",
    ]
    assert sorted(api.asked) == sorted(each.replace("v1/", "v1/namespaces/shop/").replace("v2/", "v2/namespaces/shop/") for each in ALL)


CHOSEN: list[tuple[str, list[str], list[str]]] = [
    # why, words, names of the ManagedServices
    ("all of the namespace; what Drover made for its own is no workload and no trouble", ["--all"], ["web", "mail", "search"]),
    ("in the order of asking, each once", ["sts/search", "deploy/mail", "deployments.apps/mail"], ["search", "mail"]),
    ("kubectl takes kinds in any letters", ["Deployment/mail"], ["mail"]),
]


@pytest.mark.parametrize(("why", "words", "names"), CHOSEN, ids=[row[0] for row in CHOSEN])
def test_which_workloads(why: str, words: list[str], names: list[str], api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, *words)
    assert (ran.code, ran.names) == (0, names), why
    assert not [line for line in ran.err if "cart" in line or line.startswith("next:")], "nobody asked to move anything"


ABSENT: list[tuple[str, str, str]] = [
    ("a slip", "deployment/wbe", "no Deployment 'wbe' in namespace 'shop'; did you mean web?"),
    ("the other kind", "deployment/search", "no Deployment 'search' in namespace 'shop'; there is statefulset/search"),
    ("like nothing", "deployment/zzzzzz", "no Deployment 'zzzzzz' in namespace 'shop'; look with kubectl get deployments -A"),
]


@pytest.mark.parametrize(("why", "name", "message"), ABSENT, ids=[row[0] for row in ABSENT])
def test_what_is_not_there(why: str, name: str, message: str, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "deployment/mail", name)
    assert (ran.code, ran.out, ran.err) == (1, "", [f"error: {message}"]), why


REFUSED: list[tuple[str, str, int, int, str]] = [
    # why, list that is refused, how, exit code, beginning of the first line on stderr
    ("without the workloads there is nothing to import", DEPLOYMENTS, 403, 1, "error: no right to do this"),
    ("without Services it would be imported without its ports", SERVICES, 403, 1, "error: no right to do this"),
    ("the sandbox has none", DEPLOYMENTS, 404, 1, "error: this cluster has no deployments.apps: give the manifests with -f FILE"),
    ("a kind that nobody named", STATEFULSETS, 403, 0, "warning: statefulset/*: may not be read with your rights"),
    ("budgets", BUDGETS, 403, 0, "warning: poddisruptionbudget/*: may not be read with your rights; delete those of imported workloads yourself"),
    ("autoscalers", AUTOSCALERS, 403, 0, "warning: horizontalpodautoscaler/*: may not be read with your rights; those of imported workloads must point"),
    ("daemons", DAEMONSETS, 403, 0, "warning: daemonset/*: may not be read with your rights; a Service that selects their pods too"),
    ("a cluster without autoscalers has none in the way", AUTOSCALERS, 404, 0, "warning: service/web: metadata.name exists in the cluster"),
]


@pytest.mark.parametrize(("why", "path", "status", "code", "line"), REFUSED, ids=[row[0] for row in REFUSED])
def test_rights(why: str, path: str, status: int, code: int, line: str, api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.lists[path] = status
    ran = Ran(capsys, "deployment/web")
    assert (ran.code, ran.names) == (code, ["web"] if code == 0 else []), why
    assert ran.err[0].startswith(line), ran.err


def test_all_needs_both_kinds(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.lists[STATEFULSETS] = 403
    assert Ran(capsys, "--all").code == 1


def test_a_service_that_selects_pods_of_others_too_is_not_taken_over(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    """The DaemonSet was not named, and would be cut off."""
    api.lists[DAEMONSETS] = [workload("web-on-nodes", app="web")]
    ran = Ran(capsys, "deployment/web", "--adopt")
    assert "adopt" not in ran.services[0]["spec"] and "ports" not in ran.services[0]["spec"]
    assert ran.err[0].startswith("warning: service/web: spec.selector selects the pods of daemonset/web-on-nodes, deployment/web")


def test_a_service_that_another_controller_keeps_is_told(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.lists[SERVICES] = [front("web", {**MINE, "kind": "Shop"})]
    ran = Ran(capsys, "deployment/web")
    assert "ports" not in ran.services[0]["spec"] and "service/*: metadata.ownerReferences name a controller in 1" in "\n".join(ran.err)


def test_long_lists_come_in_chunks_and_begin_anew_when_they_expire(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.lists[DEPLOYMENTS] = [workload(f"web-{number}") for number in range(import_cluster.CHUNK + 1)]
    ran = Ran(capsys, "--all")
    assert len(ran.names) == import_cluster.CHUNK + 2 and api.expired


def test_the_next_commands_are_about_the_same_cluster(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    ran = Ran(capsys, "deployment/mail", "statefulset/search", "--adopt", "--context", "my cluster", "-n", "shop")
    assert ran.err[-1] == "next: kubectl --context 'my cluster' -n shop delete deployment/mail statefulset/search"


def test_an_empty_namespace(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    for path in ALL:
        api.lists[path] = []
    assert (Ran(capsys, "--all")).err == ["error: nothing was imported: no Deployment or StatefulSet among 0 objects could become a ManagedService"]
