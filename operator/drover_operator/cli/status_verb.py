# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover status`: the options; what they lead to is in `inventory`, which is imported only when the verb runs."""

import argparse
import re

from drover_operator.cli.import_verb import SubParsers
from drover_operator.cli.outcome import EXIT_CODES, Failure
from drover_operator.cli.outcome import Exit as Code

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
KINDS = ("msvc", "managedservice", "managedservices", "managedservices.drover.dev")

DESCRIPTION = """\
Show what runs, at which version, in which state.

Without NAME: a table of services with a total. With NAME: one service as a
tree of revisions and instances, then what is wrong with it and what to do
about it, what is being done, and what happened last.
"""
EXAMPLES = f"""\
examples:
  # all services of the namespace of the current context
  kubectl drover status

  # all services of the cluster
  kubectl drover status -A

  # one service with its instances
  kubectl drover status checkout -n shop

  # wait in a script until a service is whole again
  until kubectl drover status checkout -n shop; do sleep 5; done

  # for programs
  kubectl drover status checkout -o json | jq -r .status.phase

{EXIT_CODES}"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = subparsers.add_parser(
        "status",
        help="show services, or one service with its revisions and instances",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="service to show as a tree; msvc/NAME is taken too")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", default="", help="namespace to look in (default: that of the context)")
    where.add_argument("-A", "--all-namespaces", action="store_true", help="look in all namespaces")
    parser.add_argument("-o", "--output", choices=("json",), help="print the objects as the API server has them")
    parser.add_argument("--context", help="context of the kubeconfig")
    parser.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig file (default: $KUBECONFIG or ~/.kube/config)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show; returns the exit code."""
    kind, _, name = args.name.rpartition("/")
    if kind and kind not in KINDS:
        raise Failure(f"'{args.name}' is not a service: give NAME or msvc/NAME", Code.USAGE)
    if name and args.all_namespaces:
        raise Failure("a service has one namespace: give NAME with -n NAMESPACE, or -A without NAME", Code.USAGE)
    for what, text in (("service", name if args.name else ""), ("namespace", args.namespace)):
        if (text or (what == "service" and args.name)) and not NAME.fullmatch(text):
            raise Failure(f"'{text}' is not a name of a {what}: small letters, digits and - only", Code.USAGE)
    from drover_operator.cli import inventory

    asked = inventory.Asked(
        name=name,
        namespace=args.namespace,
        all_namespaces=args.all_namespaces,
        json=args.output == "json",
        kubeconfig=args.kubeconfig,
        context=args.context,
    )
    return inventory.status(asked)
