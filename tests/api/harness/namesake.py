# SPDX-License-Identifier: Apache-2.0
"""The operator under a name that is given to it: `namesake.py NAME run ...`. By itself every process makes one up that nobody else has."""

import sys
from functools import partial
from importlib import import_module

from drover_operator.__main__ import main
from drover_operator.runtime.process import Settings

if __name__ == "__main__":
    vars(import_module("drover_operator.__main__"))["Settings"] = partial(Settings, identity=sys.argv.pop(1))
    sys.exit(main())
