# SPDX-License-Identifier: Apache-2.0
"""How a verb ends: exit codes, and every error as one line that says what to do."""

import os
from enum import IntEnum

from drover_operator.kube.errors import DroverError, Forbidden, Unauthorized, Unsent

EXIT_CODES = """\
exit codes: 0 done, 1 error, 2 the named service is degraded (condition Stalled or
  Degraded, or phase Failed), 3 not reached in time, 4 wrong usage, 130 interrupted
"""


class Exit(IntEnum):
    """Exit codes; the same for every verb."""

    DONE = 0
    ERROR = 1
    DEGRADED = 2
    TIMEOUT = 3
    USAGE = 4
    INTERRUPTED = 130


class Failure(DroverError):
    """A verb cannot do what was asked; its text is the line that the user sees."""

    def __init__(self, message: str, code: Exit = Exit.ERROR) -> None:
        super().__init__(message)
        self.code = code


def exit_code(error: DroverError) -> Exit:
    """The exit code that an error leads to."""
    return error.code if isinstance(error, Failure) else Exit.ERROR


def sentence(error: BaseException) -> str:
    """The error as one line, with the next step where it is known."""
    text = " ".join(str(error).split())
    if isinstance(error, Unauthorized):
        return f"the cluster does not accept these credentials ({text}): log in again, or choose another context with --context"
    if isinstance(error, Forbidden):
        return f"no right to do this: {text}"
    if isinstance(error, Unsent):
        # The words of asyncio name the address a second time; those of the system say what is wrong.
        cause = getattr(error.__cause__, "os_error", None)
        number = cause.errno if isinstance(cause, ConnectionError | TimeoutError) else None
        words = f"{text.split(': ', maxsplit=1)[0]}: {os.strerror(number)}" if number else text
        return f"{words}; is the cluster running, and is it the right context?"
    return text
