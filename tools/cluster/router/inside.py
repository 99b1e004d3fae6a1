# SPDX-License-Identifier: Apache-2.0
"""Runs a program in the fabric, `python -m tools.cluster.router.inside FOLDER PROGRAM ARGUMENT...`, from where all pods can be reached.

The fabric is found when the program is started, not before: one that was started again is another namespace. Rejected: `nsenter`, which is
told a pid in its command line, and that of an ended fabric could be anybody's by then.
"""

import os
import sys
from pathlib import Path

from tools.cluster.cells import kernel
from tools.cluster.cells.fabric import READY


def join(folder: Path) -> None:
    """Go over into the network of the fabric with that folder.

    Raises:
        OSError: it does not run.

    """
    descriptor = os.open(f"/proc/{int((folder / READY).read_text())}/ns/net", os.O_RDONLY)
    try:
        kernel.join_network(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    join(Path(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
