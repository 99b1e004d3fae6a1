# SPDX-License-Identifier: Apache-2.0
"""Short commands: run to the end, and one clear error when they fail."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.cluster.errors import ClusterError


def run(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a command and return what it wrote to stdout.

    Raises:
        ClusterError: the command is missing or failed; the text has the last line of its own explanation.

    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    except OSError as error:
        message = f"cannot run {words[0]}: {error.strerror}"
        raise ClusterError(message) from error
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        message = f"`{' '.join(words[:3])} ...` failed: {why}"
        raise ClusterError(message)
    return done.stdout
