# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover import`: Deployments to ManagedServices on stdout, from files or a cluster; what was not carried over on stderr."""

import argparse
import sys
from typing import TYPE_CHECKING, cast

from drover_operator.cli.options import NAME, SubParsers, Where, add_verb, add_where, where
from drover_operator.cli.outcome import Exit, Failure
from drover_operator.kube.errors import ConfigurationError

if TYPE_CHECKING:
    from drover_operator.api.managedservice import Criticality
    from drover_operator.cli.importing import Imported

DESCRIPTION = """\
Print ManagedServices for the Deployments and StatefulSets in the given files, or for those of a cluster that are
named. Nothing is changed. From files all other objects are printed along as they are, before the ManagedServices, so
that the output takes the place of the input; from a cluster only ManagedServices are printed. What could not be
carried over is said on stderr, one line each.
"""
EXAMPLES = """\
  # the manifests that you have
  kubectl drover import -f manifests/ > shop.yaml
  kubectl kustomize overlays/prod | kubectl drover import -f - --criticality Important

  # what runs in a cluster: one workload, or all of the namespace
  kubectl drover import deployment/web -n shop
  kubectl drover import --all -n shop > shop.yaml

  # move a running service over to Drover, without downtime
  kubectl drover import deployment/web -n shop --adopt | kubectl apply -f -
"""
KINDS = {
    **dict.fromkeys(("deployment", "deployments", "deployment.apps", "deployments.apps", "deploy"), "Deployment"),
    **dict.fromkeys(("statefulset", "statefulsets", "statefulset.apps", "statefulsets.apps", "sts"), "StatefulSet"),
}


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "import", summary="turn Deployments and Services into ManagedServices", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="KIND/NAME", help="workload of the cluster: deployment/NAME or statefulset/NAME")
    parser.add_argument("--all", action="store_true", help="all Deployments and StatefulSets of the namespace")
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        default=[],
        metavar="FILE",
        help="file, directory (with all below it) or - for stdin, instead of the cluster; may be repeated",
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
    add_where(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Import and print; returns the exit code."""
    sources, names, place = cast(list[str], args.filename), cast(list[str], args.names), where(args)
    _check(sources, names, place, everything=bool(args.all))
    if sources:
        return _from_files(sources, args)
    return _from_cluster([_named(each) for each in names], place, args)


def _check(sources: list[str], names: list[str], place: Where, *, everything: bool) -> None:
    if not sources and not names and not everything:
        raise Failure("nothing to import: give -f FILE for manifests, deployment/NAME or --all for a cluster", Exit.USAGE)
    if (bool(sources), bool(names), everything).count(True) > 1:
        raise Failure("-f, names and --all exclude each other: import from files, or from a cluster", Exit.USAGE)
    if sources and (place.namespace or place.context or place.kubeconfig):
        raise Failure("-n, --context and --kubeconfig are for workloads of a cluster; with -f no cluster is asked", Exit.USAGE)
    if sources.count("-") > 1:
        raise Failure("stdin (-f -) can be read only once", Exit.USAGE)


def _named(text: str) -> tuple[str, str]:
    """Kind and name in deployment/web."""
    kind, _, name = text.partition("/")
    if kind.lower() not in KINDS or not NAME.fullmatch(name):
        raise Failure(f"'{text}' is no workload: give deployment/NAME or statefulset/NAME", Exit.USAGE)
    return KINDS[kind.lower()], name


def _from_files(sources: list[str], args: argparse.Namespace) -> int:
    # Not at the top: every other verb would pay for YAML and the models at its start.
    from drover_operator.cli import importing, manifests

    try:
        found = manifests.read(sources, sys.stdin.buffer)
    except ConfigurationError as error:
        raise Failure(str(error)) from error
    imported = importing.convert(found, criticality=_chosen(args), adopt=bool(args.adopt))
    return _print(imported, len(found), services_only=bool(args.services_only))


def _from_cluster(names: list[tuple[str, str]], place: Where, args: argparse.Namespace) -> int:
    from drover_operator.cli import import_cluster, importing

    found = import_cluster.read(names, place)
    for note in found.notes:
        print(note, file=sys.stderr)
    imported = importing.convert(found.asked, criticality=_chosen(args), adopt=bool(args.adopt), others=found.others)
    code = _print(imported, len(found.asked), services_only=True)
    for line in import_cluster.next_steps(imported.services, found.asked, place) if args.adopt else ():
        print(line, file=sys.stderr)
    return code


def _print(imported: "Imported", count: int, *, services_only: bool) -> int:
    from drover_operator.cli import manifests

    for note in imported.notes:
        print(note, file=sys.stderr)
    if not imported.services:
        raise Failure(f"nothing was imported: no Deployment or StatefulSet among {count} objects could become a ManagedService")
    # Accounts, configuration and namespaces first: kubectl applies in this order.
    sys.stdout.write(manifests.render(imported.services if services_only else imported.kept + imported.services))
    return Exit.ERROR if any(note.level == "error" for note in imported.notes) else Exit.DONE


def _chosen(args: argparse.Namespace) -> "Criticality | None":
    return cast("Criticality | None", args.criticality)


def _criticality(text: str) -> str:
    from drover_operator.cli.importing import CRITICALITIES

    if text not in CRITICALITIES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(CRITICALITIES)}")
    return text
