# SPDX-License-Identifier: Apache-2.0
"""Services with the agent beside each instance: exact probes, a new run is proved anew, and long requests are finished."""

import json

from api.harness.operators import Operator
from api.harness.space import condition, is_true
from api.harness.waiting import until
from real.harness.load import Load
from real.harness.space import RealSpace, service

CHECK = {"http": {"port": 8080, "path": "/healthz"}, "interval": "2s", "timeout": "5s"}


def declared(version: str = "1.0", **spec: object) -> dict:
    """A service whose health is the agent's word: the template has no probe of its own."""
    body = service("shop", version, healthCheck=CHECK, **spec)
    body["spec"]["template"]["spec"]["containers"][0].pop("readinessProbe")
    return body


def page(space: RealSpace, pod: str, path: str) -> dict:
    """A page of the agent, as the API server fetches it."""
    return dict(json.loads(space.plane.kubectl("get", "--raw", f"/api/v1/namespaces/{space.name}/pods/{pod}:9909/proxy{path}")))


def test_the_agent_probes_and_names_each_run(space: RealSpace, with_agent: Operator) -> None:
    """It serves; a program that calls itself sick leaves; one that ends comes back under another identity, proved anew."""
    space.create(declared(replicas=2))
    item = space.converged("shop", seconds=90)
    assert is_true(item, "ExactHealthCheck"), condition(item, "ExactHealthCheck")
    first, second = sorted(each["metadata"]["name"] for each in space.pods("shop"))
    before = page(space, first, "/admin/identity")
    address = space.kube.get("pods", space.name, first)["status"]["podIP"]
    assert before["identity"].startswith(f"{address}:8080:")
    assert before["ambiguous"] is False
    agent = next(each for each in space.kube.get("pods", space.name, first)["status"]["initContainerStatuses"] if each["name"] == "drover-agent")
    assert agent["ready"] and not agent["restartCount"]
    space.plane.kubectl("exec", "-n", space.name, second, "-c", "server", "--", "python3", "-c", ask("/sick"))
    space.until("shop", lambda item: item["status"]["ready"] == "1/2", "the sick one leaves", seconds=40)
    space.plane.cluster.node("node-a").run("python3", "-c", ask("/exit", address))  # not by exec: that would end with the program
    until(lambda: page(space, first, "/admin/identity")["identity"] not in (None, before["identity"]), "another run, another identity", seconds=40)
    until(lambda: page(space, first, "/admin/health")["healthy"], "it is proved anew", seconds=40)


def test_long_requests_are_finished(space: RealSpace, with_agent: Operator, load: Load) -> None:
    """Requests of four seconds during a rolling update: each instance waits until it answers none, and no request fails."""
    restart = {"settle": "2s", "drainTimeout": "20s", "activeRequests": {"port": 8080, "path": "/load"}}
    space.create(declared(replicas=3, restart=restart))
    space.converged("shop", seconds=90)
    load.start("shop", workers=24, rate=6, wait=4.0)
    patch = declared("1.1")["spec"]["template"]
    space.patch("shop", {"spec": {"template": patch}})
    assert space.converged("shop", seconds=150)["status"]["version"] == "1.1"
    seen = load.more(6)
    assert seen.failed == (), f"{len(seen.failed)} of {seen.ok + len(seen.failed)}: {seen.failed[:5]}"
    assert {version for line in seen.lines for version in line["versions"]} == {"1.0", "1.1"}


def ask(path: str, address: str = "127.0.0.1") -> str:
    """A program that asks the server, once, and does not mind the answer."""
    return f"import urllib.request as r, contextlib, http.client\nwith contextlib.suppress(OSError, http.client.HTTPException): r.urlopen('http://{address}:8080{path}', timeout=3)"
