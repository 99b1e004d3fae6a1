# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover plan`: the options; what they lead to is in `planning`, which is imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, add_verb, add_where, service_name, where
from drover_operator.cli.outcome import Exit, Failure

DESCRIPTION = """\
Show what the operator would do next for a service, and why: what it would ask
the API server and remember first, then its actions in order, then what waits.
It is decided by the operator's own code. Nothing is changed.

With NAME: for the service as it is. With -f: for the services in the files, as
if they were applied; the API server checks them without storing anything. With
--offline the cluster is not asked at all.
"""
EXAMPLES = """\
  # what happens next
  kubectl drover plan checkout -n shop

  # what an apply would lead to
  kubectl drover plan -f shop.yaml

  # without a cluster, for example in a pipeline
  kubectl drover plan --offline -f shop.yaml -o json

  # what the operator would have done when a report was taken
  kubectl drover plan --from drover-report-shop-checkout-20260301T120000Z.json
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "plan", summary="show what the operator would do next, and why", description=DESCRIPTION, examples=EXAMPLES)
    add_what(parser)
    parser.add_argument("--offline", action="store_true", help="decide by the files alone; objects that the operator looks at, such as pods, may be in them")
    parser.add_argument("--from", dest="report", default="", metavar="REPORT", help="decide by a report of kubectl drover report")
    add_where(parser)
    parser.add_argument("-o", "--output", choices=("json",), help="print all stages and actions with their bodies")
    parser.set_defaults(run=run)


def add_what(parser: argparse.ArgumentParser) -> None:
    """Add NAME and -f, which say what is planned for."""
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="service; msvc/NAME is taken too")
    parser.add_argument("-f", "--filename", action="append", default=[], metavar="FILE", help="file, directory or - (stdin); repeatable")


def run(args: argparse.Namespace) -> int:
    """Show; returns the exit code."""
    place, name = where(args), service_name(args.name)
    check(args, name)
    from drover_operator.cli import planning

    files = tuple(args.filename)
    return planning.plan(planning.Asked(name=name, files=files, report=args.report, offline=args.offline, json=args.output == "json", where=place))


def check(args: argparse.Namespace, name: str) -> None:
    """Whether the options go together.

    Raises:
        Failure: they do not.
    """
    if args.filename and (name or args.report):
        raise Failure("the files of -f name the services: leave out " + ("NAME" if name else "--from"), Exit.USAGE)
    if not (name or args.filename or args.report):
        raise Failure("which service? give NAME or -f FILE; kubectl drover status lists what there is", Exit.USAGE)
    if args.offline and not args.filename:
        raise Failure("--offline decides by files: add -f FILE", Exit.USAGE)
    if args.filename.count("-") > 1:
        raise Failure("stdin (-f -) can be read only once", Exit.USAGE)
