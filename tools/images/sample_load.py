# SPDX-License-Identifier: Apache-2.0
"""A steady load of requests on one address, each over a connection of its own: `sample_load.py URL WORKERS PER_SECOND`.

It prints a line of JSON each second: how many were answered with 200, by version and pod, and every failure with its reason and time. No
request is repeated: what a client would notice is what is counted, from the first answer on (this node's proxy may not know the address before).
"""

import json
import sys
import threading
import time
import urllib.request
from collections import Counter

TIMEOUT = 15.0  # seconds


class Tally:
    """What happened since the last line."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: Counter[str] = Counter()
        self._pods: Counter[str] = Counter()
        self._failures: list[str] = []

    def add(self, answer: dict[str, str] | None, why: str = "") -> None:
        """One request."""
        with self._lock:
            if answer is None:
                self._failures.append(why)
            else:
                self._versions[answer["version"]] += 1
                self._pods[answer["pod"]] += 1

    def line(self) -> str:
        """The line, and a new start."""
        with self._lock:
            said = {"at": round(time.time(), 3), "ok": self._versions.total(), "versions": self._versions, "pods": self._pods, "failed": self._failures}
            text = json.dumps(said)
            self._versions, self._pods, self._failures = Counter(), Counter(), []
        return text


def work(url: str, apart: float, tally: Tally) -> None:
    """Ask, again and again, so many seconds apart."""
    following = time.monotonic()
    while True:
        begun = time.time()
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:  # noqa: S310 the address is given by whoever runs this
                tally.add(json.load(answer))
        except (OSError, ValueError) as error:
            tally.add(None, f"{begun:.3f} {type(error).__name__}: {error}")
        following = max(following + apart, time.monotonic())
        time.sleep(max(0.0, following - time.monotonic()))


def await_answer(url: str) -> None:
    """Return when it answers for the first time."""
    while True:
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT):  # noqa: S310 as above
                return
        except OSError:
            time.sleep(0.05)


def main() -> None:
    """Ask until killed."""
    url, workers, rate, tally = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), Tally()
    await_answer(url)
    for _ in range(workers):
        threading.Thread(target=work, args=(url, workers / rate, tally), daemon=True).start()
    while True:
        time.sleep(1.0)
        print(tally.line(), flush=True)


if __name__ == "__main__":
    main()
