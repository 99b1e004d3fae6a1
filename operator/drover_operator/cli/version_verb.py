# SPDX-License-Identifier: Apache-2.0
"""`kubectl drover version`: of this command; the cluster is not asked."""

import argparse

from drover_operator.api.meta import API_VERSION
from drover_operator.cli.options import SubParsers, add_verb
from drover_operator.cli.outcome import Exit

DISTRIBUTION = "drover-operator"
DESCRIPTION = "Show the version of this command and of the API that it speaks. The cluster is not asked."


def add_parser(subparsers: SubParsers) -> None:
    """Add the verb; `run` of the parsed arguments carries it out."""
    parser = add_verb(subparsers, "version", summary="show the version of this command", description=DESCRIPTION, examples="  kubectl drover version\n")
    parser.set_defaults(run=run)


def run(_args: argparse.Namespace) -> int:
    """Print it."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        installed = version(DISTRIBUTION)
    except PackageNotFoundError:
        installed = "unknown (not installed as a package)"
    print(f"kubectl-drover {installed}, API {API_VERSION}")
    return Exit.DONE
