# SPDX-License-Identifier: Apache-2.0
"""The main job on a real local control plane, in about a minute: run a shop, update, scale, damage and heal it.

On real nodes where they can be had, else on fake ones, and it says which. With --from DIR the user's own Deployments are imported and run
instead, on fake nodes, since nothing is pulled. With --damage the shop loses a node's power, and a node's cable. With --canary a good version and
a bad one are delivered through gates, on fake nodes. The cluster and the operator stay up at the end.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import images
from tools.cluster import Cluster, ClusterError, real_nodes_lack
from tools.cluster.paths import ROOT
from tools.demo import damage, delivery
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


def imported(demo: Demo, folder: Path) -> None:
    """Somebody's Deployments."""
    namespace = demo.namespace
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


def farewell(cluster: Cluster, commands: list[str]) -> None:
    """What to type next, and how to stop."""
    say("Done. The cluster and the operator are still running. Go on with:")
    kubectl = cluster.bin / "kubectl"
    lines = "".join(f"    {each}\n" for each in commands)
    print(f"""
    export KUBECONFIG={cluster.kubeconfig} PATH={ROOT / ".venv/bin"}:{kubectl.parent}:$PATH
{lines}
Stop everything and leave nothing behind:

    make demo-down
""")


def hints(namespace: str) -> list[str]:
    """Commands for services of any kind."""
    return [
        "kubectl get drover -A",
        f"kubectl drover status -n {namespace}",
        f"kubectl scale msvc/NAME -n {namespace} --replicas=5",
        f"kubectl get events -n {namespace}",
    ]


def play(cluster: Cluster, options: argparse.Namespace) -> list[str]:
    """The demonstration that was asked for; returns what to type next."""
    folder: Path | None = options.folder
    say("Starting a local control plane (built once, which takes some minutes; then seconds)")
    lacks = [delivery.WHY_FAKE] if options.canary else ["your own images cannot be pulled here"] if folder else real_nodes_lack()
    real = start(cluster, real=not lacks)
    mode(lacks, real=real)
    if options.canary:
        return delivery.run(Demo(cluster, delivery.NAMESPACE), real=real)
    demo = Demo(cluster, "imported" if folder else "shop")
    demo.install()
    if options.damage:
        damage.run(demo, real=real)
    else:
        imported(demo, folder) if folder else shop(demo)
    return hints(demo.namespace)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; exit codes: 0 done, 1 error, 130 interrupted."""
    options = _parser().parse_args(arguments)
    if options.folder is not None and not options.folder.exists():
        print(f"error: {options.folder} does not exist", file=sys.stderr)
        return 1
    cluster = Cluster(NAME)
    try:
        farewell(cluster, play(cluster, options))
    except (ClusterError, DemoError, subprocess.TimeoutExpired) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; stop what was started with: make demo-down", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--from", dest="folder", type=Path, help="a folder or file with Deployments and Services to import and run")
    what.add_argument("--damage", action="store_true", help="cut a node's power, then a node's cable, with the live view")
    what.add_argument("--canary", action="store_true", help="deliver a good version and a bad one through gates, with the live view")
    return parser


if __name__ == "__main__":
    sys.exit(main())
