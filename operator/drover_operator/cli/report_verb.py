# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover report`: the options; what they lead to is in `reporting`, which is imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, add_verb, add_where, service_name, where

DESCRIPTION = """\
Write one file for whoever is to help: services, their pods and revisions, events,
nodes, the operator and its lease, and what the operator would do next. Values that
may be secret are replaced by ***: read the file all the same before you send it.

Without NAME: all services of the namespace. What you have no right to read is left
out, and the file says so. kubectl drover plan --from FILE decides by it again.
"""
EXAMPLES = """\
  # one service
  kubectl drover report checkout -n shop

  # all services of a namespace, to a file of that name
  kubectl drover report -n shop -O shop.json

  # to look at it
  kubectl drover report checkout -n shop -O - | less
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "report", summary="write a file for support, without secrets", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="service; msvc/NAME is taken too")
    add_where(parser)
    parser.add_argument(
        "-O", "--output-file", default="", metavar="FILE", help="where to write it, - for stdout (default: drover-report-NAMESPACE-NAME-TIME.json)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the report; returns the exit code."""
    place, name = where(args), service_name(args.name)
    from drover_operator.cli import reporting

    return reporting.report(reporting.Asked(name=name, file=args.output_file, where=place))
