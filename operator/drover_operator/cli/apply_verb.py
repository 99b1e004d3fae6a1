# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover apply`: the options; what they lead to is in `applying`, which is imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, add_verb, add_where, seconds, where
from drover_operator.cli.outcome import Exit, Failure

PATIENCE = 300.0  # seconds that --wait waits if nothing else is said
DESCRIPTION = """\
Apply the objects in files, and with --wait return when the services run.

Objects of every kind are applied, as by kubectl apply --server-side: the server
merges them, and refuses fields that it does not know and fields that belong to
somebody else. Namespaces come first. --wait is for the ManagedServices among
them, as kubectl drover status --for=run; what it waits for is what was applied,
never an older state.
"""
EXAMPLES = """\
  # apply, and return when all of it runs or cannot
  kubectl drover apply -f shop.yaml --wait

  # in CI: what kubectl would render, with a deadline
  kubectl kustomize overlays/prod | kubectl drover apply -f - --wait --timeout=15m

  # only ask the server whether it would take it
  kubectl drover apply -f shop.yaml --dry-run=server
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "apply", summary="apply files and wait until the services run", description=DESCRIPTION, examples=EXAMPLES)
    parser.add_argument(
        "-f",
        "--filename",
        action="append",
        required=True,
        metavar="FILE",
        help="file, directory (with all below it) or - for stdin; may be repeated",
    )
    add_where(parser)
    parser.add_argument("--wait", action="store_true", help="wait until the services run")
    parser.add_argument("--timeout", type=seconds, metavar="DURATION", help="how long --wait waits, such as 30s or 10m (default: 5m)")
    parser.add_argument("--dry-run", choices=("server",), help="let the server check everything and store nothing")
    parser.add_argument("--force-conflicts", action="store_true", help="take over fields that belong to somebody else")
    parser.add_argument("-o", "--output", choices=("json",), help="with --wait: a JSON object for each change instead of a line")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Apply; returns the exit code."""
    place = where(args)
    if args.filename.count("-") > 1:
        raise Failure("stdin (-f -) can be read only once", Exit.USAGE)
    if args.timeout is not None and not args.wait:
        raise Failure("--timeout is for --wait", Exit.USAGE)
    if args.wait and args.dry_run:
        raise Failure("with --dry-run nothing is stored that could be waited for: leave --wait out", Exit.USAGE)
    if args.output and not args.wait:
        raise Failure("-o json is for --wait", Exit.USAGE)
    from drover_operator.cli import applying

    wish = applying.Wish(
        files=tuple(args.filename),
        where=place,
        dry_run=bool(args.dry_run),
        force=args.force_conflicts,
        seconds=(PATIENCE if args.timeout is None else args.timeout) if args.wait else 0.0,
        json=bool(args.output),
    )
    return applying.apply(wish)
