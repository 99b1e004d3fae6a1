# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover status`: the options; what they lead to is in `inventory`, which is imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, add_verb, add_where, service_name, where
from drover_operator.cli.outcome import Exit, Failure

DESCRIPTION = """\
Show what runs, at which version, in which state.

Without NAME: a table of services with a total. With NAME: one service as a
tree of revisions and instances, then what is wrong with it and what to do
about it, what is being done, and what happened last.
"""
EXAMPLES = """\
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
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(
        subparsers, "status", summary="show services, or one service with its revisions and instances", description=DESCRIPTION, examples=EXAMPLES
    )
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="service to show as a tree; msvc/NAME is taken too")
    add_where(parser, everywhere=True)
    parser.add_argument("-o", "--output", choices=("json",), help="print the objects as the API server has them")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show; returns the exit code."""
    place, name = where(args), service_name(args.name)
    if name and place.all_namespaces:
        raise Failure("a service has one namespace: give NAME with -n NAMESPACE, or -A without NAME", Exit.USAGE)
    from drover_operator.cli import inventory

    return inventory.status(inventory.Asked(name=name, json=args.output == "json", where=place))
