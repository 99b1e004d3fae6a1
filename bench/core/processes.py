# SPDX-License-Identifier: Apache-2.0
"""Servers and operators as processes of their own: started, asked, ended."""

import atexit
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from urllib.request import urlopen

from bench.rows import NotMeasured

ROOT = Path(__file__).parents[2]
LONGEST = 60.0  # seconds of any process but the servers
LOOK = 0.1  # seconds
TICK = os.sysconf("SC_CLK_TCK")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # installed programs are compiled


@cache
def server(services: int, pods: int) -> str:
    """The URL of a server with so many settled services of so many pods; it ends with this process."""
    process = subprocess.Popen(
        _python("bench.core.server", services, pods), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    atexit.register(process.kill)
    port = process.stdout.readline().strip() if process.stdout else ""
    if not port:
        raise NotMeasured("the server did not start")
    return f"http://127.0.0.1:{port}"


def told(module: str, *arguments: object) -> str:
    """What the module prints when it is run; it has a minute.

    Raises:
        NotMeasured: it fails, or takes longer.
    """
    try:
        done = subprocess.run(_python(module, *arguments), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=LONGEST, check=True)
    except subprocess.TimeoutExpired as error:
        raise NotMeasured(f"{module} took longer than {LONGEST:.0f} s") from error
    except subprocess.CalledProcessError as error:
        raise NotMeasured(f"{module} failed: {error.stderr.strip()[-500:]}") from error
    return done.stdout


def writes(url: str) -> int:
    """How many writes the server took, but to what operators keep there for themselves."""
    with urlopen(f"{url}/bench/writes", timeout=LONGEST) as answer:  # noqa: S310  a server of ours
        return int(answer.read())


class Watched:
    """A process, looked at from outside."""

    def __init__(self, module: str, *arguments: object) -> None:
        self._process = subprocess.Popen(_python(module, *arguments), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cpu(self) -> float:
        """CPU seconds since its start, in steps of 10 ms."""
        fields = self._file("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def resident(self) -> float:
        """MB of memory that it holds now."""
        line = next(each for each in self._file("status").splitlines() if each.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024 / 1e6

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for that.

        Raises:
            NotMeasured: it did not come to be in a minute, or the process ended.
        """
        end = time.monotonic() + LONGEST
        while not done():
            if time.monotonic() > end or self._process.poll() is not None:
                raise NotMeasured("the operator ended" if self._process.poll() is not None else "the operator was not done in time")
            time.sleep(LOOK)

    def stop(self) -> None:
        """End it, in order if it can."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _file(self, name: str) -> str:
        return Path(f"/proc/{self._process.pid}/{name}").read_text()


def _python(module: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", module, *map(str, arguments)]
