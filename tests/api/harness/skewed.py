# SPDX-License-Identifier: Apache-2.0
"""The operator on a machine whose clock is so many seconds wrong: `skewed.py SECONDS run ...`."""

import sys
import time
from functools import partial
from importlib import import_module

from drover_operator.__main__ import main
from drover_operator.runtime.process import Process

if __name__ == "__main__":
    wrong = float(sys.argv.pop(1))
    vars(import_module("drover_operator.__main__"))["Process"] = partial(Process, clock=lambda: time.time() + wrong)
    sys.exit(main())
