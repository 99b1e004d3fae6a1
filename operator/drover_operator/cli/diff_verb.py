# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover diff`: the options; what they lead to is in `comparing`, which is imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, add_verb, add_where, service_name, where
from drover_operator.cli.plan_verb import add_what, check

DESCRIPTION = """\
Show what the next step of the operator would change, object by object and field by
field: what it creates, patches and deletes. It is the plan of kubectl drover plan.

With -f, first what an apply of the files would change in the services themselves.
Values of variables that go by the name of a password, token, secret or key are not
shown. The exit code is 0 with and without differences, unlike that of kubectl diff:
here 1 means that something went wrong. In scripts, count the objects in -o json.
"""
EXAMPLES = """\
  # what is changed next
  kubectl drover diff checkout -n shop

  # what an apply would change
  kubectl drover diff -f shop.yaml

  # for programs
  kubectl drover diff -f shop.yaml -o json | jq '.objects | length'
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "diff", summary="show what the next step changes, field by field", description=DESCRIPTION, examples=EXAMPLES)
    add_what(parser)
    add_where(parser)
    parser.add_argument("-o", "--output", choices=("json",), help="print all objects and fields")
    parser.set_defaults(run=run, report="", offline=False)


def run(args: argparse.Namespace) -> int:
    """Show; returns the exit code."""
    place, name = where(args), service_name(args.name)
    check(args, name)
    from drover_operator.cli import comparing
    from drover_operator.cli.planning import Asked

    return comparing.diff(Asked(name=name, files=tuple(args.filename), json=args.output == "json", where=place))
