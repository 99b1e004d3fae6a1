# SPDX-License-Identifier: Apache-2.0
"""The main job on a real local control plane, in about a minute: run a shop, update, scale, damage and heal it.

On real nodes where they can be had, else on fake ones, and it says which. With --from DIR the user's own Deployments are imported and run
instead, on fake nodes, since nothing is pulled. With --damage the shop loses a node's power, and a node's cable. The cluster and the operator
stay up at the end.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from tools import images
from tools.cluster import Cluster, ClusterError, real_nodes_lack
from tools.cluster.paths import ROOT
from tools.demo import damage
from tools.demo.stage import Demo, DemoError, say

NAME = "demo"
REAL_NODES = 3  # so that a second loss does not meet all that the first one moved


def start(cluster: Cluster, *, real: bool) -> bool:
    """Bring the cluster up; return whether it has real nodes."""
    if real:
        try:
            cluster.up(nodes=REAL_NODES, kwok_nodes=0, fast=True, images=[images.shop(_indented)], log=_indented)
        except ClusterError as error:
            say(f"Real nodes did not come up ({error}); going on with fake ones")
            cluster.down()
        else:
            return bool(cluster.status().real)
    cluster.up(kwok_nodes=5, log=_indented)
    return bool(cluster.status().real)


def _indented(line: str) -> None:
    print(f"  {line}", flush=True)


def mode(lacks: list[str], *, real: bool) -> None:
    """Say what the pods run on."""
    if real:
        say("Real nodes: each pod is a container with a network of its own, started by a kubelet")
        return
    say("Fake nodes: everything is real but kubelets and containers, which kwok plays")
    for each in lacks:
        print(f"  no real ones: {each}", flush=True)


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
    parser.add_argument("--damage", action="store_true", help="cut a node's power, then a node's cable, with the live view")
    options = parser.parse_args()
    folder: Path | None = options.folder
    cluster, namespace = Cluster(NAME), "imported" if folder else "shop"
    if folder is not None and not folder.exists():
        print(f"error: {folder} does not exist", file=sys.stderr)
        return 1
    try:
        say("Starting a local control plane (built once, which takes some minutes; then seconds)")
        lacks = ["your own images cannot be pulled here"] if folder else real_nodes_lack()
        real = start(cluster, real=not lacks)
        mode(lacks, real=real)
        demo = Demo(cluster, namespace)
        demo.install()
        if options.damage:
            damage.run(demo, real=real)
        else:
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
