# SPDX-License-Identifier: Apache-2.0
"""Container images without a container engine: one OCI archive each, of plain tar layers, in a form that any runtime can import.

https://github.com/opencontainers/image-spec: an image is a manifest of digests, of its configuration and of its layers.
"""

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_MEDIA = "application/vnd.oci.image."
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """One image: its name with tag, its layers from below as tar files, and how it is started: the entry point, then the command."""

    name: str
    layers: tuple[Path, ...]
    command: tuple[str, ...] = ("/bin/sh",)
    entry: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    user: str = ""  # such as "65532:65532"; root without it


def layer(target: Path, files: Mapping[str, bytes | Path], *, links: Mapping[str, str] | None = None, programs: Iterable[str] = ()) -> Path:
    """Write a layer of files by their paths inside, links, and which of the files are programs; return where it is."""
    runnable = set(programs)
    with tarfile.open(target, "w") as tar:
        for folder in _folders([*files, *(links or {})]):
            _add(tar, folder, mode=0o1777 if folder == "tmp" else 0o755, kind=tarfile.DIRTYPE)
        for path, content in sorted(files.items()):
            _add(tar, path, content if isinstance(content, bytes) else content.read_bytes(), mode=0o755 if path in runnable else 0o644)
        for path, to in sorted((links or {}).items()):
            _add(tar, path, kind=tarfile.SYMTYPE, link=to)
    return target


def layer_of(target: Path, folder: Path, *, under: str = "") -> Path:
    """Write a layer of all that a folder holds, owned by root, under a path inside; return where it is."""

    def mine(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(target, "w") as tar:
        for path in _folders([f"{under}/x"]) if under else ():
            _add(tar, path, mode=0o755, kind=tarfile.DIRTYPE)
        tar.add(folder, arcname=under or ".", filter=mine)
    return target


def busybox(target: Path, program: Path) -> Path:
    """Write a layer of a static busybox with all its names, and what any program expects of a system; return where it is."""
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    files: dict[str, bytes | Path] = {
        "bin/busybox": program,
        "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n",
        "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
        "tmp/.keep": b"",
    }
    return layer(target, files, links={f"bin/{name}": "busybox" for name in names if name != "busybox"}, programs=["bin/busybox"])


def base(folder: Path, program: Path) -> Path:
    """Write the images that every node needs: the one that holds a pod's namespaces, and a shell; return where the archive is."""
    bottom = busybox(folder / "busybox.layer", program)
    pause = Image("localhost/pause:1", (bottom,), ("/bin/busybox", "sleep", "2147483647"))
    return archive(folder / "base.tar", [pause, Image("localhost/busybox:1", (bottom,))])


def _folders(paths: Iterable[str]) -> list[str]:
    found = {str(parent) for path in paths for parent in Path(path).parents}
    return sorted(found - {"."})


def _add(tar: tarfile.TarFile, path: str, data: bytes = b"", *, mode: int = 0o777, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    entry = tarfile.TarInfo(path)
    entry.mode, entry.type, entry.linkname, entry.size = mode, kind, link, len(data)
    tar.addfile(entry, io.BytesIO(data))


def archive(target: Path, images: Iterable[Image]) -> Path:
    """Write one archive of several images, sharing the layers that they share; return where it is."""
    manifests: list[dict[str, Any]] = []
    with tarfile.open(target, "w") as tar:
        blobs = _Blobs(tar)
        for image in images:
            manifest = blobs.add_json(blobs.manifest(image), "manifest.v1+json")
            manifests.append({**manifest, "annotations": {"io.containerd.image.name": image.name}})
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": manifests}), mode=0o644)
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}), mode=0o644)
    return target


class _Blobs:
    """The content of an archive, each by its digest, once."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._written: set[str] = set()

    def manifest(self, image: Image) -> dict[str, Any]:
        layers = [self.add_file(each, "layer.v1.tar") for each in image.layers]
        config = {
            "architecture": _MACHINES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in layers]},
            "config": {
                "Entrypoint": list(image.entry),
                "Cmd": list(image.command),
                "Env": [f"{key}={value}" for key, value in {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **image.environment}.items()],
                **({"User": image.user} if image.user else {}),
            },
        }
        return {"schemaVersion": 2, "config": self.add_json(config, "config.v1+json"), "layers": layers}

    def add_json(self, value: object, kind: str) -> dict[str, Any]:
        data = _json(value)
        return self._add(hashlib.sha256(data).hexdigest(), len(data), io.BytesIO(data), kind)

    def add_file(self, file: Path, kind: str) -> dict[str, Any]:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            return self._add(digest, file.stat().st_size, stream, kind)

    def _add(self, digest: str, size: int, stream: Any, kind: str) -> dict[str, Any]:
        if digest not in self._written:
            entry = tarfile.TarInfo(f"blobs/sha256/{digest}")
            entry.size, entry.mode = size, 0o644
            self._tar.addfile(entry, stream)
            self._written.add(digest)
        return {"mediaType": f"{_MEDIA}{kind}", "digest": f"sha256:{digest}", "size": size}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
