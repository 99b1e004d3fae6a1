# SPDX-License-Identifier: Apache-2.0
"""Builds images: a Python of Debian's below, the program above."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tools.cluster.cells import debian, images
from tools.cluster.commands import run
from tools.cluster.locks import locked_file
from tools.cluster.paths import ROOT, cache_folder
from tools.cluster.toolchain import installer

Log = Callable[[str], object]
SAMPLE = "localhost/drover-sample"
AGENT = "localhost/drover-agent:0.1.0"
OPERATOR = "docker.io/library/drover-operator:0.1.0"  # what `drover-operator:0.1.0` in a manifest means
SHOP, SHOP_VERSIONS = ROOT / "manifests/samples/shop", ("1.0.0", "1.1.0")
SAMPLE_VERSIONS = ("1.0", "1.1", "2.0", "broken", "faulty", "crashing")
PYTHON = ("python3", "ca-certificates")  # no shell
FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "/etc/nsswitch.conf": "hosts: files dns\n",
}
_NOBODY = "65534:65534"
DAY = 86400.0  # seconds
_HERE = Path(__file__).resolve().parent


def _kept(name: str, key: str, make: Callable[[Path], object], log: Log) -> Path:
    """Return a file of the cache, made the first time; whoever is ended in the middle leaves none."""
    target = cache_folder() / "images" / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.tar"
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked_file(target.with_suffix(".lock"), lambda: log(f"another process builds {name}: waiting for it")):
        if not target.exists():
            log(f"building the image {name}: once")
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=".making-") as work:
                made = Path(work) / "made.tar"
                make(made)
                made.rename(target)
            _forget_old(name, target)
    return target


def _forget_old(name: str, kept: Path) -> None:
    """Remove what was built of older sources, once nobody can be using it any more: each is 70 to 90 MB."""
    for old in kept.parent.glob(f"{name}-*.tar"):
        if old != kept and time.time() - old.stat().st_mtime > DAY:
            old.unlink(missing_ok=True)


def python(log: Log) -> Path:
    """Return a layer with Python and certificates, 60 MB."""
    root = debian.root_filesystem("python", PYTHON, FILES, log)

    def make(target: Path) -> None:
        images.layer_of(target, root)

    return _kept("python", root.name, make, log)


def sample(log: Log) -> Path:
    """Return the archive of the sample server in all its versions; the load that is put on it is in there too."""
    below = python(log)
    files = {f"srv/{name}": (_HERE / f"sample_{name}").read_bytes() for name in ("server.py", "load.py")}

    def make(target: Path) -> None:
        above = images.layer(target.with_suffix(".layer"), files)
        images.archive(target, [_served(SAMPLE, version, 8080, below, above) for version in SAMPLE_VERSIONS])

    return _kept("sample", repr((below.name, sorted(files.items()), SAMPLE_VERSIONS)), make, log)


def shop(log: Log) -> Path:
    """Return the archive of all images that the sample shop names, and of the next version of each: the sample server in many names."""
    below = python(log)
    files = {"srv/server.py": (_HERE / "sample_server.py").read_bytes()}
    containers = [each["spec"]["template"]["spec"]["containers"][0] for each in _manifests(SHOP) if each["kind"] == "ManagedService"]
    ports = {each["image"].partition(":")[0]: each["ports"][0]["containerPort"] for each in containers}

    def make(target: Path) -> None:
        above = images.layer(target.with_suffix(".layer"), files)
        images.archive(target, [_served(name, version, port, below, above) for name, port in ports.items() for version in SHOP_VERSIONS])

    return _kept("shop", repr((below.name, files, ports, SHOP_VERSIONS)), make, log)


def _manifests(folder: Path) -> list[dict[str, Any]]:
    return [body for file in sorted(folder.glob("*.yaml")) for body in yaml.safe_load_all(file.read_text())]


def _served(name: str, version: str, port: int, *layers: Path) -> images.Image:
    environment = {"VERSION": version, "PORT": str(port), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return images.Image(f"{name}:{version}", layers, ("python3", "/srv/server.py"), environment=environment, user=_NOBODY)


def operator(log: Log) -> Path:
    """Return the archive of the operator, as the Dockerfile builds it: the package and what it needs, not root, nothing written.

    Raises:
        ClusterError: the packages cannot be had.

    """
    below, version = python(log), _python_version()
    sources = [ROOT / "pyproject.toml", *sorted((ROOT / "operator").rglob("*.*")), *sorted((ROOT / "controllers").rglob("*.py"))]
    key = hashlib.sha256(b"".join(file.read_bytes() for file in sources if file.is_file() and "__pycache__" not in file.parts)).hexdigest()

    def make(target: Path) -> None:
        site = target.parent / "site"
        run([*installer(), "--python-version", version, "--only-binary", ":all:", "--no-binary", "drover-operator", "--target", str(site), str(ROOT)])
        above = images.layer_of(target.with_suffix(".layer"), site, under="app")
        environment = {"PYTHONPATH": "/app", "PYTHONDONTWRITEBYTECODE": "1"}
        entry = ("python3", "-m", "drover_operator")
        images.archive(target, [images.Image(OPERATOR, (below, above), ("run",), entry, environment, "65532:65532")])

    return _kept("operator", f"{below.name} {version} {key}", make, log)


def agent(log: Log) -> Path:
    """Return the archive of the agent: the program alone on Python, not root, nothing written."""
    below = python(log)
    sources = sorted((ROOT / "sdk/drover_agent").glob("*.py"))
    key = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()

    def make(target: Path) -> None:
        package = target.parent / "site" / "drover_agent"
        package.mkdir(parents=True)
        for file in sources:
            shutil.copyfile(file, package / file.name)
        above = images.layer_of(target.with_suffix(".layer"), package.parent, under="app")
        environment = {"PYTHONPATH": "/app", "PYTHONDONTWRITEBYTECODE": "1"}
        entry = ("python3", "-m", "drover_agent")
        images.archive(target, [images.Image(AGENT, (below, above), (), entry, environment, "65532:65532")])

    return _kept("agent", f"{below.name} {key}", make, log)


def _python_version() -> str:
    """The Python of the images, such as 3.11."""
    return (debian.folder_of("python", PYTHON, FILES) / "usr/bin/python3").readlink().name.removeprefix("python")
