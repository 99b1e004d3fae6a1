# SPDX-License-Identifier: Apache-2.0
"""The main job on a real local control plane, in about a minute: run a shop, update, scale, damage and heal it.

With --from DIR the user's own Deployments are imported and run instead. The cluster and the operator stay up at the end.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.cluster import Cluster, ClusterError
from tools.cluster.processes import Process, marked, spawn, stop

ROOT = Path(__file__).resolve().parent.parent
NAME = "demo"
DEADLINE = 180.0  # seconds for any one thing to come true
SERVICE_ACCOUNT = "drover-operator"


class DemoError(Exception):
    """The demonstration cannot go on; one line for a person."""


class Demo:
    """One demonstration in one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._kubeconfig = cluster.folder / "operator.kubeconfig"
        self._log = cluster.folder / "logs" / "drover-operator.log"

    def kubectl(self, *words: str, stdin: str | None = None, show: bool = False) -> str:
        """Run kubectl as the cluster's admin; `show` prints the command and what it says."""
        command = [str(self._cluster.bin / "kubectl"), "--kubeconfig", str(self._cluster.kubeconfig), *words]
        if show:
            print(f"\n    kubectl {' '.join(words)}", flush=True)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise DemoError(f"kubectl {words[0]}: {done.stderr.strip() or done.stdout.strip()}")
        if show:
            print("".join(f"    {line}\n" for line in done.stdout.splitlines()), flush=True)
        return done.stdout

    def install(self) -> None:
        """Apply CRDs, rights and policies, and start the operator on this machine with its own account's rights."""
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
        spawn([python, "-m", "drover_operator", *arguments], self._log, self._cluster.folder)
        say("The operator runs as a process of this machine, with the rights of its ServiceAccount and no more")

    def _operators(self) -> list[Process]:
        return [each for each in marked(self._cluster.folder) if "drover_operator" in each.argv]

    def _write_kubeconfig(self, token: str) -> None:
        config = json.loads(self.kubectl("config", "view", "--raw", "--minify", "-o", "json"))
        config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
        self._kubeconfig.touch(mode=0o600)
        self._kubeconfig.write_text(json.dumps(config))

    def services(self) -> list[dict[str, Any]]:
        """The ManagedServices as they are now."""
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", "managedservices", "-n", self._namespace, "-o", "json"))["items"]
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
            if not self._operators():
                raise DemoError(f"the operator ended; its log is {self._log}")
            if time.monotonic() - begun > DEADLINE:
                raise DemoError(f"{what} took more than {DEADLINE:.0f} s; look at: kubectl get msvc -n {self._namespace} -o wide, and {self._log}")
            time.sleep(0.3)

    def settled(self) -> None:
        """Wait until every service is in Run, healthy, and described as it is now."""

        def done() -> tuple[bool, str]:
            items = self.services()
            well = [each for each in items if _well(each)]
            busy = [f"{each['metadata']['name']} {each.get('status', {}).get('ready', '?')}" for each in items if not _well(each)]
            return bool(items) and len(well) == len(items), f"{len(well)} of {len(items)} in Run" + (f"; {', '.join(busy[:4])}" if busy else "")

        self.wait("reaching Run", done)

    def show(self) -> None:
        """Which services exist, at which version, in which state."""
        self.kubectl("get", "managedservices", "-n", self._namespace, show=True)

    def update(self, name: str, version: str) -> None:
        """Change the image of one service and watch the rolling update."""
        say(f"Rolling update of {name} to {version}: a new instance enters service before an old one leaves")
        template = self._service(name)["spec"]["template"]
        container = template["spec"]["containers"][0]
        container["image"] = container["image"].partition(":")[0] + f":{version}"
        patch = json.dumps({"spec": {"template": template}})
        self.kubectl("patch", f"managedservice/{name}", "-n", self._namespace, "--type=merge", "-p", patch)
        self.settled()

    def scale(self, name: str, by: int) -> None:
        """Scale one service out with plain kubectl."""
        wanted = self._service(name)["spec"].get("replicas", 1) + by
        say(f"Scaling {name} to {wanted}")
        self.kubectl("scale", f"managedservice/{name}", "-n", self._namespace, f"--replicas={wanted}", show=True)
        self.settled()

    def damage(self, count: int) -> None:
        """Delete pods behind the operator's back and see them replaced."""
        pods = json.loads(self.kubectl("get", "pods", "-n", self._namespace, "-l", "drover.dev/service", "-o", "json"))["items"]
        victims = [each["metadata"]["name"] for each in pods[:: max(1, len(pods) // count)]][:count]
        gone = {each["metadata"]["uid"] for each in pods if each["metadata"]["name"] in victims}
        say(f"Deleting {len(victims)} pods by hand: they are replaced, at the version that each should have")
        self.kubectl("delete", "pod", "-n", self._namespace, "--wait=false", *victims, show=True)

        def healed() -> tuple[bool, str]:
            now = json.loads(self.kubectl("get", "pods", "-n", self._namespace, "-l", "drover.dev/service", "-o", "json"))["items"]
            left = [each for each in now if each["metadata"]["uid"] in gone]
            return not left, f"{len(left)} of {len(victims)} still ending"

        self.wait("replacing the pods", healed)
        self.settled()

    def _service(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", "managedservice", name, "-n", self._namespace, "-o", "json"))
        return found


def say(text: str) -> None:
    """Announce a step."""
    print(f"\n==> {text}", flush=True)


def _well(service: dict[str, Any]) -> bool:
    status = service.get("status", {})
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
    return ready and status.get("phase") == "Run" and status.get("observedGeneration") == service["metadata"]["generation"]


def shop(demo: Demo) -> None:
    """Our own sample shop."""
    say("Applying the sample shop: twelve services, manifests/samples/shop")
    demo.kubectl("apply", "-f", str(ROOT / "manifests/samples/shop"))
    demo.settled()
    demo.show()
    demo.update("storefront", "1.1.0")
    demo.show()
    demo.scale("checkout", 2)
    demo.damage(3)
    demo.show()


def imported(demo: Demo, folder: Path, namespace: str) -> None:
    """Somebody's Deployments."""
    say(f"Importing {folder}")
    command = [sys.executable, "-m", "drover_operator.cli.main", "import", "-f", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    print("".join(f"  {line}\n" for line in done.stderr.splitlines()), end="", flush=True)
    if done.returncode:
        raise DemoError(f"nothing of {folder} could be imported")
    demo.kubectl("create", "namespace", namespace) if namespace not in demo.kubectl("get", "namespaces", "-o", "name") else None
    demo.kubectl("apply", "-n", namespace, "-f", "-", stdin=done.stdout)
    demo.settled()
    demo.show()
    first = min(each["metadata"]["name"] for each in demo.services())
    demo.update(first, "demo-2")
    demo.scale(first, 1)
    demo.damage(3)
    demo.show()


def farewell(namespace: str, cluster: Cluster) -> None:
    """What to type next, and how to stop."""
    say("Done. The cluster and the operator are still running. Go on with:")
    kubectl = cluster.bin / "kubectl"
    print(f"""
    export KUBECONFIG={cluster.kubeconfig} PATH={ROOT / ".venv/bin"}:{kubectl.parent}:$PATH
    kubectl get drover -A
    kubectl drover status -n {namespace}
    kubectl scale msvc/NAME -n {namespace} --replicas=5
    kubectl get events -n {namespace}

Stop everything and leave nothing behind:

    make demo-down
""")


def main() -> int:
    """Run the demonstration; exit codes: 0 done, 1 error, 130 interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="folder", type=Path, help="a folder or file with Deployments and Services to import and run")
    folder: Path | None = parser.parse_args().folder
    cluster, namespace = Cluster(NAME), "imported" if folder else "shop"
    if folder is not None and not folder.exists():
        print(f"error: {folder} does not exist", file=sys.stderr)
        return 1
    try:
        say("Starting a local control plane (built once, which takes some minutes; then seconds)")
        cluster.up(kwok_nodes=5, log=lambda line: print(f"  {line}", flush=True))
        demo = Demo(cluster, namespace)
        demo.install()
        imported(demo, folder, namespace) if folder else shop(demo)
        farewell(namespace, cluster)
    except (ClusterError, DemoError, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; stop what was started with: make demo-down", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
