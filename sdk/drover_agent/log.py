# SPDX-License-Identifier: Apache-2.0
"""One line of JSON on stderr for each event; nothing that the application sends is in it."""

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from drover_agent.core import Event

Log = Callable[[Event], None]


def utc(at: float) -> str:
    """Seconds since the epoch as people and machines read them."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write(event: Event) -> None:
    """Write one line; a reader of the log that has gone must not end the agent."""
    line = json.dumps({"timestamp": utc(time.time()), "level": event.level, "event": event.name, **event.fields})
    with suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
