# SPDX-License-Identifier: Apache-2.0
"""The program in the page on testing controllers runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "test-a-controller.md"


def test_the_documented_program_runs():
    programs = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(programs) == 1
    done = subprocess.run([sys.executable, "-W", "error", "-c", programs[0]], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
