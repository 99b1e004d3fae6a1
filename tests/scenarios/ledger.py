# SPDX-License-Identifier: Apache-2.0
"""What the suites have covered in this session, in numbers: printed at the end and written to tests/out/scenarios.json."""

import json
from collections import Counter
from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "out" / "scenarios.json"
FIELDS = ("write_points", "write_points_covered", "schedules", "states", "violations", "rival_bugs_passed", "rival_bugs_pending")
_counts: Counter[str] = Counter()


def tally(**counts: int) -> None:
    """Add to the counts; see `FIELDS` for those that everybody knows, others are written too."""
    _counts.update(counts)


def counts(*, but: str) -> dict[str, int]:
    """All counts but one."""
    return {name: count for name, count in _counts.items() if name != but}


def counted() -> bool:
    """Whether anything was."""
    return bool(_counts)


def close(seconds: float) -> dict[str, float]:
    """Write the file; answers what is in it."""
    record: dict[str, float] = {**dict.fromkeys(FIELDS, 0), **_counts, "seconds": round(seconds, 1)}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(record, indent=2) + "\n")
    return record
