# SPDX-License-Identifier: Apache-2.0
"""Where binaries, caches and the state of clusters live: outside the work tree, in the user's own folders."""

import os
from collections.abc import Mapping
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
ROOT = PACKAGE.parent.parent
MODULES = PACKAGE / "modules"
STAGES = PACKAGE / "kwok-stages.yaml"


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    value = Path(environ.get(variable, ""))
    return value if value.is_absolute() else Path.home() / fallback


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for what can be made again: binaries and, if need be, a Go toolchain."""
    return _xdg(environ, "XDG_CACHE_HOME", ".cache") / "drover"


def clusters_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder with one subfolder per cluster; DROVER_STATE, if set, replaces the user's state folder."""
    own = environ.get("DROVER_STATE")
    base = Path(own).absolute() if own else _xdg(environ, "XDG_STATE_HOME", ".local/state") / "drover"
    return base / "clusters"
