# SPDX-License-Identifier: Apache-2.0
"""Options that verbs share, under the names that kubectl has for them. Light: every start imports it."""

import argparse
import re
from dataclasses import dataclass
from typing import Any, Protocol

from drover_operator.cli.outcome import EXIT_CODES, Exit, Failure

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
KINDS = ("msvc", "managedservice", "managedservices", "managedservices.drover.dev")


class SubParsers(Protocol):
    """What argparse's add_subparsers() returns; its own name for it is private."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add one verb, with the options of an ArgumentParser and `help`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which cluster and namespace a verb is about; no namespace means that of the context."""

    namespace: str = ""
    all_namespaces: bool = False
    kubeconfig: str | None = None
    context: str | None = None


def add_verb(subparsers: SubParsers, name: str, *, summary: str, description: str, examples: str) -> argparse.ArgumentParser:
    """A parser with the text of its help laid out as written: `summary` for the list of verbs, examples and exit codes at the end."""
    return subparsers.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"examples:\n{examples}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_where(parser: argparse.ArgumentParser, *, everywhere: bool = False) -> None:
    """Add -n, --context and --kubeconfig, and -A where all namespaces can be meant."""
    place = parser.add_mutually_exclusive_group()
    place.add_argument("-n", "--namespace", default="", help="namespace to look in (default: that of the context)")
    if everywhere:
        place.add_argument("-A", "--all-namespaces", action="store_true", help="look in all namespaces")
    parser.add_argument("--context", help="context of the kubeconfig")
    parser.add_argument("--kubeconfig", metavar="FILE", help="kubeconfig file (default: $KUBECONFIG or ~/.kube/config)")


def where(args: argparse.Namespace) -> Where:
    """What `add_where` added, as it was given.

    Raises:
        Failure: the namespace is no name.
    """
    if args.namespace:
        _check("namespace", args.namespace)
    return Where(
        namespace=args.namespace,
        all_namespaces=getattr(args, "all_namespaces", False),
        kubeconfig=args.kubeconfig,
        context=args.context,
    )


def service_name(text: str) -> str:
    """The name in NAME or msvc/NAME; "" stays "".

    Raises:
        Failure: it is a name of something else, or none at all.
    """
    kind, _, name = text.rpartition("/")
    if kind and kind not in KINDS:
        raise Failure(f"'{text}' is not a service: give NAME or msvc/NAME", Exit.USAGE)
    if text:
        _check("service", name)
    return name


def seconds(text: str) -> float:
    """The seconds of a duration, as the type of an option.

    Raises:
        argparse.ArgumentTypeError: it is none, or no time at all.
    """
    from drover_operator.core.clock import parse_duration

    try:
        found = parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is no time to wait")
    return found


def _check(what: str, text: str) -> None:
    if not NAME.fullmatch(text):
        raise Failure(f"'{text}' is not a name of a {what}: small letters, digits and - only", Exit.USAGE)
