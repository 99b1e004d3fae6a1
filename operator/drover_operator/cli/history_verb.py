# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover history`: the options; what they lead to is in `lookback`, which is imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, add_verb, add_where, service_name, where

DESCRIPTION = """\
Show the past of a service: the revisions that are recorded, oldest first, and
the changes of phase that status remembers (the last 20), newest last.

A revision is target (wanted), stable (the last that served at full count),
blocked (it failed and is not tried again until the spec changes), failed (it
failed once, under another spec), or old.
"""
EXAMPLES = """\
  # what ran, and what happened
  kubectl drover history checkout -n shop

  # the revision before the one that is wanted
  kubectl drover history checkout -o json | jq -r '.revisions[-2].name'
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "history", summary="show revisions and changes of phase of a service", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("name", metavar="NAME", help="the service; msvc/NAME is taken too")
    add_where(parser)
    parser.add_argument("-o", "--output", choices=("json",), help="print both as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show; returns the exit code."""
    place, name = where(args), service_name(args.name)
    from drover_operator.cli import lookback

    return lookback.history(place, name, json=args.output == "json")
