# SPDX-License-Identifier: Apache-2.0
"""Root filesystems of Debian packages, in the user's cache folder: apt finds and fetches them, dpkg-deb unpacks them, nothing is installed.

The system's own package database is neither asked nor changed; its list of sources and its keys are used. No script of a package runs, so
that what packages set up themselves (alternatives, users) is not there: ask for programs that need none of it.
Rejected: debootstrap, which runs the scripts (half a minute more); mmdebstrap, whose extract variant does the same, but must be installed first.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tools.cluster.commands import run
from tools.cluster.errors import ClusterError
from tools.cluster.locks import locked_file
from tools.cluster.paths import cache_folder

Log = Callable[[str], object]
_MERGED = ("bin", "sbin", "lib", "lib64")  # links into /usr, which must be there before the first package
_FORMAT = 1


def _release() -> str:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return ""
    words = dict(line.split("=", 1) for line in lines if "=" in line)
    return f"{words.get('ID', '')}-{words.get('VERSION_ID', '')}".replace('"', "")


def folder_of(name: str, packages: Sequence[str], files: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the root filesystem of these packages belongs, built or not."""
    key = hashlib.sha256(repr((_FORMAT, _release(), sorted(packages), sorted(files.items()))).encode()).hexdigest()[:12]
    return cache_folder(environ) / "roots" / f"{name}-{key}"


def root_filesystem(name: str, packages: Sequence[str], files: Mapping[str, str], log: Log) -> Path:
    """Return a folder with these packages and all they depend on, made the first time, and with these text files by their paths.

    Raises:
        ClusterError: this is no Debian-like system, or the packages cannot be had.

    """
    folder = folder_of(name, packages, files)
    if folder.is_dir():
        return folder
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise ClusterError(f"{tool} is not here: nodes are made of Debian packages, so this needs Debian, Ubuntu or one of their kind")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked_file(folder.with_suffix(".lock"), lambda: log(f"another process makes {name}: waiting for it")):
        if not folder.is_dir():
            log(f"fetching and unpacking Debian packages for {name} into {folder}: once")
            _make(folder, packages, files)
    return folder


def _make(folder: Path, packages: Sequence[str], files: Mapping[str, str]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as temporary:
        work, root = Path(temporary), Path(temporary) / "root"
        root.mkdir(mode=0o755)
        for entry in _MERGED:
            (root / "usr" / entry).mkdir(parents=True)
            (root / entry).symlink_to(f"usr/{entry}")
        for package in _fetch(work, packages):
            _unpack(package, root)
        for path, text in files.items():
            target = root / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        root.rename(folder)


def _fetch(work: Path, packages: Sequence[str]) -> list[Path]:
    """Fetch packages with all they depend on, as if for a machine that has nothing."""
    for path in ("state/lists/partial", "cache/archives/partial"):
        (work / path).mkdir(parents=True)
    (work / "status").touch()
    options = {
        "Dir::State": work / "state",
        "Dir::State::status": work / "status",
        "Dir::Cache": work / "cache",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # its own user could not write into this folder
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Debug::NoLocking": "true",
    }
    words = ["apt-get", "-qq", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]
    run([*words, "update"])
    run([*words, "--yes", "--download-only", "install", *packages])
    return sorted((work / "cache/archives").glob("*.deb"))


def _unpack(package: Path, root: Path) -> None:
    tree = package.with_suffix(".tar")
    # not --extract: it would put a folder in the place of a link into /usr
    run(["sh", "-c", 'dpkg-deb --fsys-tarfile "$1" > "$2"', "sh", package, tree])
    run(["tar", "-x", "--keep-directory-symlink", "-C", root, "-f", tree])
    tree.unlink()
