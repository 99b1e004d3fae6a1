# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover status`: the options; what they lead to is in `inventory` and `following`, imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, Where, add_verb, add_where, seconds, service_name, where
from drover_operator.cli.outcome import Exit, Failure

PATIENCE = 300.0  # seconds that --for waits if nothing else is said
DESCRIPTION = """\
Show what runs, at which version, in which state.

Without NAME: a table of services with a total. With NAME: one service as a
tree of revisions and instances, then what is wrong with it and what to do
about it, what is being done, and what happened last.

With -w it is kept current until Ctrl-C, with --for until a state is reached:
in place on a terminal, a line for each change elsewhere, and a JSON object
for each change with -o json.
"""
EXAMPLES = """\
  # all services of the namespace of the current context
  kubectl drover status

  # all services of the cluster
  kubectl drover status -A

  # one service with its instances
  kubectl drover status checkout -n shop

  # look on while it rolls out
  kubectl drover status checkout -w

  # wait in a script until it runs, whole and as it was last declared
  kubectl drover status checkout --for=run --timeout=10m

  # wait until all services of a namespace are ready
  kubectl drover status -n shop --for=ready

  # for programs
  kubectl drover status checkout -o json | jq -r .status.phase

what --for can name:
  run                      phase Run, and nothing is wrong or missing
  ready                    condition Ready is True
  deleted                  the service is gone
  provision, update, ...   it is in that phase
  condition=TYPE[=STATUS]  as with kubectl wait; STATUS is True if not given
  The status must be that of the last declared state. It ends with 2 as soon as
  waiting cannot help (condition Stalled, phase Failed, or deleted).
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(
        subparsers, "status", summary="show services, or one service with its revisions and instances", description=DESCRIPTION, examples=EXAMPLES
    )
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="service to show as a tree; msvc/NAME is taken too")
    add_where(parser, everywhere=True)
    parser.add_argument("-o", "--output", choices=("json",), help="print the objects as the API server has them")
    parser.add_argument("-w", "--watch", action="store_true", help="keep it current until Ctrl-C")
    parser.add_argument("--for", dest="goal", metavar="STATE", help="wait until this state is reached: run, ready, deleted, a phase, condition=TYPE")
    parser.add_argument("--timeout", type=seconds, metavar="DURATION", help="how long --for waits, such as 30s or 10m (default: 5m)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Show; returns the exit code."""
    place, name = where(args), service_name(args.name)
    if name and place.all_namespaces:
        raise Failure("a service has one namespace: give NAME with -n NAMESPACE, or -A without NAME", Exit.USAGE)
    if args.timeout is not None and not args.goal:
        raise Failure("--timeout is for --for: say what to wait for, as in --for=run", Exit.USAGE)
    if args.watch or args.goal:
        return _follow(args, place, name)
    from drover_operator.cli import inventory

    return inventory.status(inventory.Asked(name=name, json=args.output == "json", where=place))


def _follow(args: argparse.Namespace, place: Where, name: str) -> int:
    from drover_operator.cli import following
    from drover_operator.cli.goal import goal

    wanted = goal(args.goal) if args.goal else None
    patience = (PATIENCE if args.timeout is None else args.timeout) if wanted else 0.0
    return following.status(place, name, goal=wanted, seconds=patience, json=args.output == "json")
