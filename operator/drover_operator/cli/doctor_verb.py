# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover doctor`: the options; what they lead to is in `doctor`, which is imported only when the verb runs."""

import argparse

from drover_operator.cli.options import SubParsers, add_verb, add_where, where
from drover_operator.cli.outcome import Exit, Failure

DESCRIPTION = """\
Look whether Drover is well in this cluster: CRDs, priority classes, rights, the
fence, who leads, which operators run, services that nobody looked at, leftovers.

Nothing is changed without --fix. That applies what is missing or different of
CRDs, priority classes, roles, FlowSchemas and the fence, after asking; it never
takes anything back, and touches no service and no pod. What you may not read is
skipped, and said. Exit code 2: there are problems; warnings do not count.
"""
EXAMPLES = """\
  # how it is
  kubectl drover doctor

  # put right what can be, after asking
  kubectl drover doctor --fix

  # in a script
  kubectl drover doctor --fix --yes

  # an operator that looks after one namespace only
  kubectl drover doctor -n shop

  # for programs
  kubectl drover doctor -o json | jq '.findings[] | select(.level == "problem")'
"""


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "doctor", summary="check the installation, and put it right", description=DESCRIPTION, examples=EXAMPLES)
    add_where(parser)
    parser.add_argument("--fix", action="store_true", help="apply what is missing or different, after asking")
    parser.add_argument("--yes", action="store_true", help="with --fix: do not ask")
    parser.add_argument("-o", "--output", choices=("json",), help="print all findings for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Look, and mend if asked to; returns the exit code."""
    if args.yes and not args.fix:
        raise Failure("--yes answers what --fix asks: give both", Exit.USAGE)
    from drover_operator.cli.doctor import program

    return program.visit(program.Asked(fix=args.fix, yes=args.yes, json=args.output == "json", where=where(args)))
