# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover sandbox`: the options. What they lead to is in `testing.sandbox`, which is imported only when the verb runs."""

import argparse
from collections.abc import Callable

from drover_operator.cli.options import SubParsers

DESCRIPTION = """\
Serve a simulated cluster with Drover in it on 127.0.0.1, to try things out: apply,
update, scale, break and delete services with kubectl. Nothing really runs, nothing
is stored, no other cluster is touched, and ~/.kube/config stays as it is.
"""
EXAMPLES = """\
examples:
  # until Ctrl-C; it says how to reach it
  kubectl drover sandbox

  # with services in it from the start
  kubectl drover sandbox -f shop.yaml

  # only as long as a command or a shell runs; the exit code is that of the command
  kubectl drover sandbox -f shop.yaml -- kubectl wait msvc/cart --for=condition=Ready
  kubectl drover sandbox -- bash

trouble on demand:
  kubectl delete pod NAME, kubectl drain NODE, kubectl delete node NODE
  kubectl annotate node NODE drover.dev/simulate=down      (the node stops answering)
  kubectl annotate pod NAME drover.dev/simulate=crash      (or never-ready, fail, flap,
    pull-error; in the pod template it is for all instances)

exit codes: 0 ended by Ctrl-C or SIGTERM, 1 error, 4 wrong usage; with COMMAND: those
  of the command, 126 it cannot be run, 127 it is not found, 128+N ended by signal N
"""
MOST_NODES = 1000
LAST_PORT = 65535
MOST_SEED = 2**32 - 1


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = subparsers.add_parser(
        "sandbox",
        help="try Drover in a simulated cluster on this machine",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-f", "--filename", action="append", default=[], metavar="FILE", help="apply this file, directory or - (stdin) at the start; repeatable"
    )
    parser.add_argument("--nodes", type=_number(0, MOST_NODES), default=3, metavar="N", help="simulated nodes (default: 3)")
    parser.add_argument("--port", type=_number(0, LAST_PORT), default=0, metavar="N", help="port on 127.0.0.1 (default: any that is free)")
    parser.add_argument(
        "--kubeconfig", default="", metavar="FILE", help="write the kubeconfig here, to a new file (default: a temporary one); removed at the end"
    )
    parser.add_argument("--seed", type=_number(0, MOST_SEED), default=1, metavar="N", help="seed of generated names and uids (default: 1)")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="after --: run this with KUBECONFIG set and end with it")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run a sandbox; returns the exit code."""
    # Not at the top: `kubectl drover --help` would pay for the simulator, the operator and the HTTP server.
    from drover_operator.testing.sandbox import program  # noqa: PLC0415

    return program.run(
        program.Wish(port=args.port, nodes=args.nodes, seed=args.seed, kubeconfig=args.kubeconfig, files=tuple(args.filename), command=tuple(args.command))
    )


def _number(least: int, most: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"'{text}' must be a number from {least} to {most}")
        return int(text)

    return number
