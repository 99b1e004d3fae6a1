# SPDX-License-Identifier: Apache-2.0
"""One demonstration: the cluster, the operator, and what is done to the services, with words for people."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.cluster import Cluster
from tools.cluster.paths import ROOT
from tools.cluster.processes import Process, marked, spawn, stop

DEADLINE = 180.0  # seconds for any one thing to come true
SERVICE_ACCOUNT = "drover-operator"


class DemoError(Exception):
    """The demonstration cannot go on; one line for a person."""


class Demo:
    """One demonstration in one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self._kubeconfig = cluster.folder / "operator.kubeconfig"
        self._log = cluster.folder / "logs" / "drover-operator.log"

    def kubectl(self, *words: str, stdin: str | None = None, show: bool = False) -> str:
        """Run kubectl as the cluster's admin; `show` prints the command and what it says."""
        command = [str(self.cluster.bin / "kubectl"), "--kubeconfig", str(self.cluster.kubeconfig), *words]
        if show:
            print(f"\n    kubectl {' '.join(words)}", flush=True)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise DemoError(f"kubectl {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
        if show:
            print("".join(f"    {line}\n" for line in done.stdout.splitlines()), flush=True)
        return done.stdout

    def drover(self, *words: str) -> list[str]:
        """The command line of `kubectl drover` in this cluster and namespace."""
        verb, *rest = words
        where = ["-n", self.namespace, "--kubeconfig", str(self.cluster.kubeconfig)]
        return [sys.executable, "-m", "drover_operator.cli.main", verb, *rest, *where]

    def install(self, measure: str = "") -> None:
        """Apply CRDs, rights and policies, and start the operator on this machine with its own account's rights.

        `measure` is an address that its gates may ask.
        """
        say("Installing: CRDs, RBAC, the fence and the other policies")
        self.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        for each in ("namespace", "priorityclasses", "rbac"):
            self.kubectl("apply", "--server-side", "-f", str(ROOT / f"manifests/base/{each}.yaml"))
        self.kubectl("apply", "--server-side", "-f", str(ROOT / "manifests/policies"))
        self.kubectl("wait", "--for=condition=Established", "crd/managedservices.drover.dev", "--timeout=30s")
        stop(self._operators(), 10.0)
        token = self.kubectl("create", "token", SERVICE_ACCOUNT, "-n", "drover-system", "--duration=24h").strip()
        self._write_kubeconfig(token)
        python = str(Path(sys.executable))
        arguments = ("run", "--kubeconfig", str(self._kubeconfig), "--health-address", "127.0.0.1:0", "--log-format", "json", "--lease-seconds", "5/3/1")
        asked = ("--measure", measure) if measure else ()
        spawn([python, "-m", "drover_operator", *arguments, *asked], self._log, self.cluster.folder)
        say("The operator runs as a process of this machine, with the rights of its ServiceAccount and no more")

    def _operators(self) -> list[Process]:
        return [each for each in marked(self.cluster.folder) if "drover_operator" in each.argv]

    def _write_kubeconfig(self, token: str) -> None:
        config = json.loads(self.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(json.dumps(config))

    def services(self) -> list[dict[str, Any]]:
        """The ManagedServices as they are now."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "managedservices", "-n", self.namespace, "-o", "json"))["items"]
        return found

    def wait(self, what: str, done: Callable[[], tuple[bool, str]]) -> None:
        """Wait until `done` says so, showing what it says whenever that changes."""
        begun, last = time.monotonic(), ""
        while True:
            good, words = done()
            if words != last:
                print(f"  {time.monotonic() - begun:5.1f} s  {words}", flush=True)
                last = words
            if good:
                return
            self.check()
            if time.monotonic() - begun > DEADLINE:
                raise DemoError(f"{what} took more than {DEADLINE:.0f} s; look at: kubectl get msvc -n {self.namespace} -o wide, and {self._log}")
            time.sleep(0.3)

    def check(self) -> None:
        """Raise DemoError if the operator does not run any more."""
        if not self._operators():
            raise DemoError(f"the operator ended; its log is {self._log}")

    def settled(self) -> None:
        """Wait until every service is in Run, healthy, and described as it is now."""

        def done() -> tuple[bool, str]:
            items = self.services()
            well = [each for each in items if is_well(each)]
            busy = [f"{each['metadata']['name']} {each.get('status', {}).get('ready', '?')}" for each in items if not is_well(each)]
            return bool(items) and len(well) == len(items), f"{len(well)} of {len(items)} in Run" + (f"; {', '.join(busy[:4])}" if busy else "")

        self.wait("reaching Run", done)

    def healthy(self) -> list[bool]:
        """Whether each service has all its instances in service."""
        return [is_well(each) and each["status"]["ready"] == f"{each['spec'].get('replicas', 1)}/{each['spec'].get('replicas', 1)}" for each in self.services()]

    def show(self) -> None:
        """Which services exist, at which version, in which state."""
        self.kubectl("get", "managedservices", "-n", self.namespace, show=True)

    def update(self, name: str, version: str) -> None:
        """Change the image of one service and watch the rolling update."""
        say(f"Rolling update of {name} to {version}: a new instance enters service before an old one leaves")
        template = self.service(name)["spec"]["template"]
        container = template["spec"]["containers"][0]
        container["image"] = container["image"].partition(":")[0] + f":{version}"
        patch = json.dumps({"spec": {"template": template}})
        self.kubectl("patch", f"managedservice/{name}", "-n", self.namespace, "--type=merge", "-p", patch)
        self.settled()

    def scale(self, name: str, by: int) -> None:
        """Scale one service out with plain kubectl."""
        wanted = self.service(name)["spec"].get("replicas", 1) + by
        say(f"Scaling {name} to {wanted}")
        self.kubectl("scale", f"managedservice/{name}", "-n", self.namespace, f"--replicas={wanted}", show=True)
        self.settled()

    def damage(self, count: int) -> None:
        """Delete pods behind the operator's back and see them replaced."""
        pods = json.loads(self.kubectl("get", "pods", "-n", self.namespace, "-l", "drover.dev/service", "-o", "json"))["items"]
        victims = [each["metadata"]["name"] for each in pods[:: max(1, len(pods) // count)]][:count]
        gone = {each["metadata"]["uid"] for each in pods if each["metadata"]["name"] in victims}
        say(f"Deleting {len(victims)} pods by hand: they are replaced, at the version that each should have")
        self.kubectl("delete", "pod", "-n", self.namespace, "--wait=false", *victims, show=True)

        def healed() -> tuple[bool, str]:
            now = json.loads(self.kubectl("get", "pods", "-n", self.namespace, "-l", "drover.dev/service", "-o", "json"))["items"]
            left = [each for each in now if each["metadata"]["uid"] in gone]
            return not left, f"{len(left)} of {len(victims)} still ending"

        self.wait("replacing the pods", healed)
        self.settled()

    def service(self, name: str) -> dict[str, Any]:
        """One ManagedService as it is now."""
        found: dict[str, Any] = json.loads(self.kubectl("get", "managedservice", name, "-n", self.namespace, "-o", "json"))
        return found


def say(text: str) -> None:
    """Announce a step."""
    print(f"\n==> {text}", flush=True)


def is_well(service: dict[str, Any]) -> bool:
    """Whether it is in Run and ready, as its status says of what was declared last."""
    status = service.get("status", {})
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
    return ready and status.get("phase") == "Run" and status.get("observedGeneration") == service["metadata"]["generation"]
