# SPDX-License-Identifier: Apache-2.0
"""The first process of a node: starts what the node runs when what it needs is there, starts it again when it ends, and reaps the rest.

It runs inside, with the node's own Python and nothing but the standard library: `python3 supervisor.py SPEC`. A file of a program's name in
the folder `hold` keeps that program from being started; its pid, as it is inside, is in `hold/NAME.pid`.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

AGAIN = 2.0  # seconds between two starts of the same program
BUSY, CALM = 0.02, 0.5  # seconds between two looks: while something is awaited, and otherwise
PORT = "tcp:"
IGNORED = (signal.SIGTERM, signal.SIGINT)  # by the first process; programs are to heed them


def there(need: str) -> bool:
    """Return whether a file is there, or a port is open ("tcp:1234")."""
    if not need.startswith(PORT):
        return Path(need).exists()
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", int(need.removeprefix(PORT)))) == 0


class Supervisor:
    """All programs of one node; a program is {"name", "argv", "needs": [...], "once": bool}."""

    def __init__(self, programs: list[dict[str, Any]], hold: Path, logs: Path) -> None:
        self._programs, self._hold, self._logs = programs, hold, logs
        self._running: dict[str, int] = {}
        self._last: dict[str, float] = {}
        self._done: set[str] = set()

    def run(self) -> None:
        """Go on for ever; a node ends by a power cut."""
        while True:
            waiting = self._start()
            self._reap()
            time.sleep(BUSY if waiting else CALM)

    def _start(self) -> bool:
        """Start what may be started; return whether something waits for what it needs."""
        waiting = False
        for program in self._programs:
            name = program["name"]
            if name in self._running or name in self._done or (self._hold / name).exists():
                continue
            if time.monotonic() - self._last.get(name, -AGAIN) < AGAIN or not all(map(there, program["needs"])):
                waiting = True
                continue
            self._last[name] = time.monotonic()
            try:
                self._running[name] = self._spawn(name, program["argv"])
            except OSError as error:
                print(f"{time.strftime('%H:%M:%S')} {name} cannot be started: {error}", flush=True)
        return waiting

    def _spawn(self, name: str, argv: list[str]) -> int:
        log = str(self._logs / f"{name}.log")
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions, setsid=True, setsigdef=IGNORED)
        (self._hold / f"{name}.pid").write_text(str(pid))
        return pid

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for program in self._programs:
                if self._running.get(program["name"]) == pid:
                    self._ended(program, os.waitstatus_to_exitcode(status))

    def _ended(self, program: dict[str, Any], code: int) -> None:
        name = program["name"]
        del self._running[name]
        print(f"{time.strftime('%H:%M:%S')} {name} ended with {code}", flush=True)
        if program["once"] and code == 0:
            self._done.add(name)


def main() -> None:
    """Set the node up and run its programs."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    socket.sethostname(spec["hostname"])
    for path, text in spec["files"].items():
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    hold = Path(spec["hold"])
    for left in hold.glob("*"):
        left.unlink()  # of the life before
    Supervisor(spec["programs"], hold, Path(spec["logs"])).run()


if __name__ == "__main__":
    main()
