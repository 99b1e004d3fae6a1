# SPDX-License-Identifier: Apache-2.0
"""`kubectl_complete-drover`: what can stand next on a command line. kubectl runs it with the words typed so far, the last maybe "".

It answers one candidate a line, after a tab what it is, and last a directive of cobra: `:4` for no file names, `:0` for file names. It
never says anything else: whatever goes wrong, there are just no candidates. The verbs' own parsers know what can stand where; the
metavar of an argument says what it names. The cluster is asked only for names, in a thread that is left behind when it is late.
"""

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

NO_FILES, FILES = ":4", ":0"
PATIENCE = 2.0  # seconds for the cluster
MOST = 500  # names that are offered
KINDS = {"NAME": "services", "NAMESPACE": "namespaces", "CONTEXT": "contexts"}
FILE_WORDS = ("FILE", "DIR", "DIRECTORY", "PATH")


@dataclass(frozen=True)
class Answer:
    """Candidates as (word, what it is), and whether file names are meant instead."""

    words: tuple[tuple[str, str], ...] = ()
    files: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Print what can stand in place of the last word; always 0."""
    words = list(sys.argv[1:] if argv is None else argv) or [""]
    try:
        answer = complete(words)
    except BaseException:  # noqa: BLE001  a shell that waits for candidates can do nothing with an error
        answer = Answer()
    lines = [f"{word}\t{what}" if what else word for word, what in answer.words if word.startswith(words[-1])]
    print("\n".join([*lines, FILES if answer.files else NO_FILES]))
    if argv is None:
        sys.stdout.flush()
        os._exit(0)  # a thread may still wait for the cluster
    return 0


def complete(words: Sequence[str]) -> Answer:
    """What can stand in place of the last of these words."""
    if len(words) == 1:
        return Answer(_verbs())
    parser = _parser(words[0])
    if parser is None:
        return Answer()
    *before, word = words[1:]
    options = {name: each for each in _actions(parser) for name in each.option_strings}
    if "--" in before:
        return Answer(files=True)
    if before and (begun := options.get(before[-1])) is not None and _takes(begun):
        return _values(begun, before)
    if word.startswith("-"):
        return _assigned(options[name], name, before) if (name := word.partition("=")[0]) in options and "=" in word else Answer(_options(parser, before))
    positional = _positional(parser, options, before)
    return _values(positional, before) if positional is not None else Answer()


def _assigned(option: argparse.Action, name: str, before: Sequence[str]) -> Answer:
    """The values of an option that is given as --name=value."""
    found = _values(option, before)
    return Answer(tuple((f"{name}={value}", what) for value, what in found.words), found.files)


def _verbs() -> tuple[tuple[str, str], ...]:
    """Verbs with what they do; those of other packages by name, so that nothing of them is loaded."""
    from drover_operator.cli import extensions
    from drover_operator.cli.main import VERBS, Parser, add

    group: Any = Parser(prog="kubectl drover").add_subparsers()
    for verb in VERBS:
        add(verb, group)
    told = {each.dest: each.help or "" for each in group._choices_actions}  # noqa: SLF001  argparse tells nobody
    return tuple((verb, told.get(verb, "")) for verb in dict.fromkeys((*VERBS, *extensions.names())))


def _parser(verb: str) -> argparse.ArgumentParser | None:
    from drover_operator.cli import extensions
    from drover_operator.cli.main import VERBS, Parser, add

    group: Any = Parser(prog="kubectl drover").add_subparsers()
    if verb in VERBS:
        add(verb, group)
    elif verb in extensions.names():
        extensions.add(verb, group)
    found: argparse.ArgumentParser | None = group.choices.get(verb)
    return found


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [each for each in parser._actions if each.help != argparse.SUPPRESS]  # noqa: SLF001  argparse tells nobody


def _takes(action: argparse.Action) -> bool:
    """Whether an option has a value."""
    return action.nargs != 0


def _options(parser: argparse.ArgumentParser, before: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The options that are not given yet, each under its long name."""
    given = {each.partition("=")[0] for each in before}
    left = [each for each in _actions(parser) if each.option_strings and (_repeats(each) or not given & set(each.option_strings))]
    return tuple((each.option_strings[-1], (each.help or "").partition(";")[0]) for each in left)


def _repeats(action: argparse.Action) -> bool:
    return "Append" in type(action).__name__  # its class is private


def _positional(parser: argparse.ArgumentParser, options: dict[str, argparse.Action], before: Sequence[str]) -> argparse.Action | None:
    """The argument that the next plain word is for, None when there is none left."""
    count, skip = 0, False
    for each in before:
        if skip:
            skip = False
        elif each.startswith("-") and len(each) > 1:
            found = options.get(each)
            skip = found is not None and _takes(found)
        else:
            count += 1
    places = [each for each in _actions(parser) if not each.option_strings]
    if places and places[-1].nargs in ("*", "+") and count >= len(places):
        return places[-1]
    return places[count] if count < len(places) else None


def _values(action: argparse.Action, before: Sequence[str]) -> Answer:
    """What an option or an argument can be."""
    if action.choices is not None:
        return Answer(tuple((str(each), "") for each in action.choices))
    named = str(action.metavar or action.dest).upper()
    if named in FILE_WORDS:
        return Answer(files=True)
    if named == "REASON":
        return Answer(_reasons())
    if named == "STATE":
        return Answer(_states())
    kind = KINDS.get(named, "")
    return Answer(tuple((each, "") for each in _names(kind, before)[:MOST])) if kind else Answer()


def _reasons() -> tuple[tuple[str, str], ...]:
    from drover_operator.cli.explain_verb import pages
    from drover_operator.core.reasons import MEANING

    return (*((reason, meaning.what) for reason, meaning in MEANING.items()), *((name, "") for name in pages()))


def _states() -> tuple[tuple[str, str], ...]:
    from drover_operator.cli.goal import STATES

    return tuple((each, "") for each in STATES)


def _names(kind: str, before: Sequence[str]) -> list[str]:
    """Names from the cluster or the kubeconfig, none when they do not come in time."""
    found: list[str] = []

    def ask() -> None:
        import contextlib

        with contextlib.suppress(BaseException):  # whatever it is, there are no names
            from drover_operator.cli import names

            found.extend(names.read(kind, _option(before, "-n", "--namespace"), _option(before, "--kubeconfig"), _option(before, "--context"), MOST))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return sorted(found)


def _option(before: Sequence[str], *names: str) -> str:
    """The value that was given for an option."""
    value = ""
    for number, each in enumerate(before):
        if each in names and number + 1 < len(before):
            value = before[number + 1]
        elif each.partition("=")[0] in names and "=" in each:
            value = each.partition("=")[2]
    return value


if __name__ == "__main__":
    sys.exit(main())
