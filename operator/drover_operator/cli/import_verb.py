# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover import`: existing manifests to ManagedServices on stdout, what was not carried over on stderr."""

import argparse
import sys
from typing import TYPE_CHECKING, cast

from drover_operator.cli.options import SubParsers
from drover_operator.kube.errors import ConfigurationError

if TYPE_CHECKING:
    from drover_operator.api.managedservice import Criticality
    from drover_operator.cli.importing import Imported

OK, ERROR, USAGE = 0, 1, 4

DESCRIPTION = """\
Print ManagedServices for the Deployments, StatefulSets and Services in the given files. The cluster is not
asked and not changed. All other objects are printed along as they are, before the ManagedServices, so that the output
takes the place of the input. What could not be carried over is said on stderr, one line each.
"""
EXAMPLES = """\
examples:
  kubectl drover import -f manifests/ > shop.yaml
  kubectl kustomize overlays/prod | kubectl drover import -f - --criticality Important
  kubectl get deployments,services -o yaml | kubectl drover import -f - --services-only --adopt

exit codes: 0 done, 1 a file or a workload could not be imported, 4 wrong usage
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = subparsers.add_parser(
        "import",
        help="turn Deployments and Services into ManagedServices",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="file, directory (with all below it) or - for stdin; may be repeated",
    )
    parser.add_argument(
        "--criticality",
        type=_criticality,
        metavar="LEVEL",
        help="Vital, Important, Normal or Expendable, for workloads without the annotation drover.dev/criticality (default: Normal)",
    )
    parser.add_argument("--services-only", action="store_true", help="print ManagedServices only, not the objects that stay what they are")
    parser.add_argument(
        "--adopt",
        action="store_true",
        help="set adopt: true, so that Drover takes over a Service or PodDisruptionBudget of the same name in the cluster; "
        "without it Drover leaves that object alone and reports NameConflict",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Import and print; returns the exit code."""
    sources = cast(list[str], args.filename)
    if sources.count("-") > 1:
        return _fail("stdin (-f -) can be read only once", USAGE)
    # Not at the top: every other verb would pay for YAML and the models at its start.
    from drover_operator.cli import importing, manifests

    try:
        found = manifests.read(sources, sys.stdin.buffer)
    except ConfigurationError as error:
        return _fail(str(error), ERROR)
    imported = importing.convert(found, criticality=cast("Criticality | None", args.criticality), adopt=bool(args.adopt))
    for note in imported.notes:
        print(note, file=sys.stderr)
    if not imported.services:
        return _fail(f"nothing was imported: no Deployment or StatefulSet among {len(found)} objects could become a ManagedService", ERROR)
    # Accounts, configuration and namespaces first: kubectl applies in this order.
    sys.stdout.write(manifests.render(imported.services if args.services_only else imported.kept + imported.services))
    return _exit_code(imported)


def _exit_code(imported: "Imported") -> int:
    return ERROR if any(note.level == "error" for note in imported.notes) else OK


def _criticality(text: str) -> str:
    from drover_operator.cli.importing import CRITICALITIES

    if text not in CRITICALITIES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(CRITICALITIES)}")
    return text


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code
