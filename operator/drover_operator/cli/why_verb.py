# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover why`: the options; what they lead to is in `inquiry`, which is imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, add_verb, add_where, service_name, where

DESCRIPTION = """\
Say why a service is as it is: from its summary down to the revision, the
instance, the container or the node that is the cause, and what to do next.

It reads the service, its pods, and Events and Nodes of a few that are not well.
What you may not read is left out.
"""
EXAMPLES = """\
  # what keeps it from being ready
  kubectl drover why checkout -n shop

  # for programs
  kubectl drover why checkout -o json | jq -r '.chain[-1].message, .next[0]'

It ends with 0 when the service is well or only takes its time, and with 2 when
something is wrong: with the service, or with one of its instances.
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "why", summary="say why a service is not ready, and what to do", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("name", metavar="NAME", help="the service; msvc/NAME is taken too")
    add_where(parser)
    parser.add_argument("-o", "--output", choices=("json",), help="print the chain of reasons as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain; returns the exit code."""
    place, name = where(args), service_name(args.name)
    from drover_operator.cli import inquiry

    return inquiry.why(place, name, json=args.output == "json")
