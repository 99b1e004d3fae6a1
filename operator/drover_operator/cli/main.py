# SPDX-License-Identifier: Apache-2.0
"""The entry of `kubectl drover`: verbs, usage, and the last word on every error.

Nothing heavy is imported here: a verb imports what it needs when it runs. Rejected: typer (170 to 220 ms to start, argparse 30 ms).
"""

import argparse
import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from drover_operator.cli.options import SubParsers
from drover_operator.cli.outcome import EXIT_CODES, Exit, Failure, exit_code, sentence
from drover_operator.kube.errors import DroverError

DEBUG = "DROVER_DEBUG"
HELP = ("-h", "--help")
# The operator's hand: all of them are in `steer_verb`.
STEERING = ("pause", "resume", "restart", "rollback", "unpin", "promote", "abort", "retry", "freeze", "unfreeze")
# Each other has a module `VERB_verb` with `add_parser`; only that of the verb that was asked for is imported.
VERBS = ("status", "why", "history", "apply", "plan", "diff", *STEERING, "report", "import", "explain", "completion", "doctor", "version")
DESCRIPTION = "Look at the services that Drover runs, steer them, and bring in existing ones."
EXAMPLES = f"""\
examples:
  # what runs, in all namespaces
  kubectl drover status -A

  # one service with its revisions, instances and reasons
  kubectl drover status checkout -n shop

  # back to the revision before
  kubectl drover rollback checkout -n shop

  # existing Deployments and Services as ManagedServices
  kubectl drover import -f manifests/ > shop.yaml

More on a verb: kubectl drover VERB --help

{EXIT_CODES}"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `kubectl-drover`; returns the exit code and lets no exception out."""
    if getattr(sys, "stdout", None) is None:
        # Started with stdout closed: nobody wants the output, the exit code still counts.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  open until the process ends
    try:
        code = _run(sys.argv[1:] if argv is None else argv)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader has what it wanted, as with `| head`.
        code = Exit.DONE
    except DroverError as error:
        code = _fail(sentence(error), exit_code(error))
    except OSError as error:
        code = _fail(f"cannot read or write: {error.strerror or error}", Exit.ERROR)
    except SystemExit as asked:
        # argparse ends this way, after help and after wrong usage.
        code = asked.code if isinstance(asked.code, int) else Exit.DONE
    except Exception as error:  # noqa: BLE001  the last resort: no traceback reaches a user
        code = _unexpected(error)
    return _flushed(int(code))


class Parser(argparse.ArgumentParser):
    """A parser with our exit code and one line for an error; verbs get it too."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Wrong usage."""
        raise Failure(f"{message}; see {self.prog} --help", Exit.USAGE)


def _run(argv: Sequence[str]) -> int:
    parser = Parser(prog="kubectl drover", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(metavar="VERB", title="verbs", required=True)
    if not argv or argv[0] in HELP:
        return _help(parser, verbs)
    if argv[0] in VERBS:
        add(argv[0], verbs)
    else:
        _add_verb(argv[0], verbs)
    args = parser.parse_args(argv)
    return int(args.run(args))


def add(verb: str, subparsers: SubParsers) -> None:
    """Add the parser of one of `VERBS`."""
    if verb in STEERING:
        from drover_operator.cli import steer_verb

        steer_verb.add_parser(subparsers, verb)
        return
    import_module(f"drover_operator.cli.{verb}_verb").add_parser(subparsers)


def _help(parser: Parser, subparsers: Any) -> Exit:
    """The help with all verbs; one of another package that cannot be loaded takes nothing away from the rest."""
    from drover_operator.cli import extensions

    for verb in VERBS:
        add(verb, subparsers)
    broken = list(extensions.add_all(VERBS, subparsers))
    parser.print_help()
    for each in broken:
        print(f"warning: {each}", file=sys.stderr)
    return Exit.DONE


def _add_verb(first: str, subparsers: Any) -> None:
    """Add the verb of another package, or say what is wrong with the first word."""
    if first.startswith("-"):
        raise Failure(f"option {first} before the verb; options come after it, as in kubectl drover status -n NAMESPACE", Exit.USAGE)
    from drover_operator.cli import extensions

    offered = extensions.names()
    if first in offered:
        extensions.add(first, subparsers)
        return
    known = list(dict.fromkeys((*VERBS, *offered)))
    close = difflib.get_close_matches(first, known, n=1)
    raise Failure(f"unknown verb '{first}'; " + (f"did you mean {close[0]}?" if close else f"verbs are {', '.join(known)}"), Exit.USAGE)


def _fail(message: str, code: Exit) -> Exit:
    print(f"error: {message}", file=sys.stderr)
    return code


def _unexpected(error: Exception) -> Exit:
    if os.environ.get(DEBUG):
        traceback.print_exc()
    words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _fail(f"unexpected: {' '.join(words.split())}; run with {DEBUG}=1 for details", Exit.ERROR)


def _flushed(code: int) -> int:
    """The same code, with everything written; a reader that went away is no reason for Python to complain at exit."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code if isinstance(error, BrokenPipeError) else _fail(f"cannot write the output: {error.strerror}", Exit.ERROR)
    return code


if __name__ == "__main__":
    sys.exit(main())
