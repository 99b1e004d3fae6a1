# SPDX-License-Identifier: Apache-2.0
"""Durations as Kubernetes writes them. Time itself is always an argument: nothing in `core` reads a clock."""

import re
from functools import lru_cache

_PART = re.compile(r"([0-9]+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> float:
    """Seconds of a duration string such as "1m30s".

    Raises:
        ValueError: the text is not a duration.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"'{text}' is not a duration such as '30s' or '5m'")
    return sum(int(number) * _SECONDS[unit] for number, unit in parts)
