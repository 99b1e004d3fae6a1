# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover history`: the options; what they lead to is in `lookback`, which is imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, add_verb, add_where, service_name, where
from drover_operator.cli.outcome import Exit, Failure

DESCRIPTION = """\
Show the past of a service: the revisions that are recorded, oldest first, and
the changes of phase that status remembers (the last 20), newest last.

A revision is target (wanted), stable (the last that served at full count),
blocked (it failed and is not tried again until the spec changes), failed (it
failed once, under another spec), or old.

With two revisions, by name or number: how the pods of the second differ from
those of the first. Values that look like secrets are not shown.
"""
EXAMPLES = """\
  # what ran, and what happened
  kubectl drover history checkout -n shop

  # what changed from revision 1 to revision 2
  kubectl drover history checkout 1 2

  # the revision before the one that is wanted
  kubectl drover history checkout -o json | jq -r '.revisions[-2].name'
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "history", summary="show revisions and changes of phase of a service", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument("name", metavar="NAME", help="the service; msvc/NAME is taken too")
    parser.add_argument("old", nargs="?", default="", metavar="OLD", help="revision to compare with, by name or number")
    parser.add_argument("new", nargs="?", default="", metavar="NEW", help="revision that is compared with it")
    add_where(parser)
    parser.add_argument("-o", "--output", choices=("json",), help="print the same as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show; returns the exit code."""
    place, name = where(args), service_name(args.name)
    if args.old and not args.new:
        raise Failure(f"one revision '{args.old}' to compare: give two, by name or number, or none to see all that are recorded", Exit.USAGE)
    from drover_operator.cli import lookback

    if args.new:
        return lookback.compare(place, name, args.old, args.new, json=args.output == "json")
    return lookback.history(place, name, json=args.output == "json")
