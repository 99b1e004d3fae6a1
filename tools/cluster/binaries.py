# SPDX-License-Identifier: Apache-2.0
"""Builds the programs of the control plane from their Go modules, once per version, into the user's cache folder."""

import hashlib
import os
import platform
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tools.cluster.errors import ClusterError
from tools.cluster.locks import locked_file
from tools.cluster.paths import MODULES, cache_folder
from tools.cluster.toolchain import environment, find_go, needed_version

Log = Callable[[str], object]
_EVERY = 15.0  # seconds between two lines about the same binary
_PARTIAL = ".partial"


@dataclass(frozen=True)
class Binary:
    """One program: its file name, the folder of its Go module, and its main package."""

    name: str
    module: str
    package: str


BINARIES = (
    *(Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}") for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")),
    Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    Binary("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
)


NODE_BINARIES = (
    *(Binary(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}") for name in ("kubelet", "kube-proxy")),
    Binary("coredns", "coredns", "."),
)
ROUTER_BINARIES = (Binary("contour", "contour", "github.com/projectcontour/contour/cmd/contour"),)
Binaries = tuple[Binary, ...]


def kubernetes_version(modules: Path = MODULES) -> str:
    """Return the version of Kubernetes that go.mod asks for, such as v1.35.4.

    Raises:
        ClusterError: go.mod does not ask for Kubernetes.

    """
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", (modules / "kubernetes/go.mod").read_text(), re.MULTILINE)
    if not found:
        message = f"{modules}/kubernetes/go.mod does not require k8s.io/kubernetes"
        raise ClusterError(message)
    return found.group(1)


def linker_flags(module: str, version: str) -> str:
    """Return the linker flags: no debug tables, and for Kubernetes the version that a plain build would leave out."""
    if module != "kubernetes":
        return "-s -w"
    major, minor, _ = version.removeprefix("v").split(".", 2)
    base, client = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
    stamps = {
        f"{base}.gitVersion": version,
        f"{base}.gitMajor": major,
        f"{base}.gitMinor": minor,
        f"{client}.gitVersion": version,
    }
    return " ".join(["-s", "-w", *(f"-X {key}={value}" for key, value in stamps.items())])


def version_key(modules: Path = MODULES, binaries: Binaries = BINARIES) -> str:
    """Return a short name for everything the binaries are made from, so that any change makes new ones."""
    digest, used = hashlib.sha256(), {binary.module for binary in binaries}
    for file in sorted(file for name in used for file in [*(modules / name).glob("go.*"), *(modules / name).glob("*.go")]):
        digest.update(f"{file.relative_to(modules)}\n".encode() + file.read_bytes())
    version = kubernetes_version(modules)
    flags = [linker_flags(binary.module, version) for binary in binaries]
    digest.update(f"{flags}\n{binaries}\n{platform.machine()}".encode())
    return digest.hexdigest()[:16]


def _missing(folder: Path, binaries: Binaries) -> list[Binary]:
    return [binary for binary in binaries if not os.access(folder / binary.name, os.X_OK)]


def _wait(build: "subprocess.Popen[bytes]", label: str, log: Log) -> int:
    begin = time.monotonic()
    while True:
        try:
            return build.wait(_EVERY)
        except subprocess.TimeoutExpired:
            log(f"{label}: {time.monotonic() - begin:.0f} s so far")


def _end(build: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(build.pid, signal.SIGKILL)
    build.wait()


def _run_build(argv: list[str], cwd: Path, label: str, log: Log) -> None:
    # Go leaves its temporary files behind when it is ended, so they get a folder that is removed in any case
    with tempfile.TemporaryDirectory(prefix="drover-build-", ignore_cleanup_errors=True) as work:
        output, env = Path(work) / "output", {**environment(), "GOTMPDIR": work}
        with output.open("wb") as stream:
            build = subprocess.Popen(argv, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True)
        try:
            code = _wait(build, label, log)
        except BaseException:
            _end(build)
            raise
        if code:
            tail = "\n".join(output.read_text(errors="replace").splitlines()[-10:])
            message = f"{label}: `go build` failed\n{tail}"
            raise ClusterError(message)


def _build(binary: Binary, go: Path, folder: Path, label: str, log: Log) -> None:
    log(label)
    begin, partial = time.monotonic(), folder / f".{binary.name}{_PARTIAL}"
    flags = ["-trimpath", "-ldflags", linker_flags(binary.module, kubernetes_version())]
    try:
        _run_build(
            [str(go), "build", *flags, "-o", str(partial), binary.package],
            MODULES / binary.module,
            label,
            log,
        )
        partial.rename(folder / binary.name)
    finally:
        partial.unlink(missing_ok=True)
    log(f"{label}: done in {time.monotonic() - begin:.0f} s")


def _build_missing(folder: Path, binaries: Binaries, log: Log) -> None:
    missing = _missing(folder, binaries)
    if not missing:  # somebody else built them while we waited for the lock
        return
    go = find_go(needed_version(MODULES), log)
    log(f"building {len(missing)} program{'s' * (len(missing) > 1)} with {go} into {folder}: minutes the first time, kept afterwards")
    for index, binary in enumerate(missing, 1):
        _build(binary, go, folder, f"building {binary.name} ({index} of {len(missing)})", log)


def bin_folder(environ: Mapping[str, str] = os.environ, binaries: Binaries = BINARIES) -> Path:
    """Return where the binaries of this version belong, built or not."""
    return cache_folder(environ) / "bin" / version_key(binaries=binaries)


def ensure(log: Log, binaries: Binaries = BINARIES) -> Path:
    """Return the folder with all the binaries, building those that are missing.

    Raises:
        ClusterError: there is no Go to be had, or a build failed.

    """
    folder = bin_folder(binaries=binaries)
    if _missing(folder, binaries):
        folder.mkdir(parents=True, exist_ok=True)
        with locked_file(folder / ".lock", lambda: log("another build is under way: waiting for it")):
            _build_missing(folder, binaries, log)
    return folder
