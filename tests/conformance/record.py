# SPDX-License-Identifier: Apache-2.0
"""Writes the golden files from a running local control plane: `python -m tests.conformance.record --name CLUSTER`.

    python -m tools.cluster up --name CLUSTER
    python -m tests.conformance.record --name CLUSTER
    python -m tools.cluster down --name CLUSTER

With words as arguments only the cases with such a word in their id are played, and nothing is written: what differs is shown.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from tests.conformance import golden, real
from tests.conformance.playing import Record, simulated
from tools.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]


def install(cluster: Cluster) -> None:
    """Our kinds and priorities; the controller manager would notice a new kind only after 30 s, so it is started again."""
    kubectl = [str(cluster.bin / "kubectl"), f"--kubeconfig={cluster.kubeconfig}"]
    files = ("crds", "manifests/base/priorityclasses.yaml")
    words = [word for each in files for word in ("-f", str(ROOT / each))]
    said = subprocess.run([*kubectl, "apply", *words], check=True, capture_output=True, text=True).stdout
    subprocess.run([*kubectl, "wait", "--for=condition=Established", "crd/managedservices.drover.dev", "--timeout=30s"], check=True, capture_output=True)
    if "managedservices.drover.dev created" in said:
        cluster.restart("kube-controller-manager")


def compare(record: Record) -> int:
    """Show where the simulated server differs from this record of the real one; answers in how many places."""
    found = golden.differences(simulated(record.case), record.entries)
    if record.broke or found:
        print("\n".join([f"=== {record.case.id} {record.broke}", *(f"  {each}" for each in found)]))
    return len(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="default", help="the cluster (default)")
    parser.add_argument("--show", action="store_true", help="print the records")
    parser.add_argument("cases", nargs="*", help="only cases with one of these words in their id; nothing is written")
    options = parser.parse_args()
    cluster = Cluster(options.name)
    install(cluster)
    begin = time.monotonic()
    server, records = real.played(cluster, tuple(options.cases))
    print(f"{len(records)} cases, {sum(record.requests for record in records)} requests on {server}: {time.monotonic() - begin:.1f} s")
    for record in records if options.show else []:
        print(record.case.id, golden.laid_out(record.entries))
    places = sum(compare(record) for record in records)
    print(f"the simulated server differs in {places} places")
    broken = [record.case.id for record in records if record.broke]
    if options.cases or broken:
        print(f"nothing written{'; broken: ' + ', '.join(broken) if broken else ''}")
        return 1 if broken else 0
    golden.write(server, records)
    return 0


if __name__ == "__main__":
    sys.exit(main())
