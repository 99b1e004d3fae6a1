# SPDX-License-Identifier: Apache-2.0
"""What is known about a cluster between two commands: its settings and its processes, in one JSON file."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tools.cluster.processes import Process

_FORMAT = 1


@dataclass(frozen=True)
class Settings:
    """What a cluster is asked to be; it cannot be changed while the cluster runs."""

    kwok_nodes: int = 5
    pods_per_node: int = 110
    fast: bool = False
    fsync: bool = False
    stages: tuple[str, ...] = ()
    audit: str = ""
    nodes: int = 0  # real ones
    images: tuple[str, ...] = ()  # archives of images that real nodes have from the start
    api_servers: int = 1
    disk: str = ""  # size of the disk that each real node has for its kubelet; "": a folder of the host's
    router: bool = False  # Contour and Envoy, in the fabric of the real nodes

    def differences(self, wanted: "Settings") -> list[str]:
        """Return one line for each setting that is not as wanted."""
        have, want = asdict(self), asdict(wanted)
        return [f"{key.replace('_', '-')} is {have[key]}, not {want[key]}" for key in have if have[key] != want[key]]


@dataclass
class Record:
    """A cluster as it was started."""

    settings: Settings
    port: int
    etcd_port: int
    ready: bool = False
    processes: dict[str, Process] = field(default_factory=dict[str, Process])
    router_port: int = 0

    @property
    def dead(self) -> list[str]:
        """The names of processes that should run and do not."""
        return [name for name, process in self.processes.items() if not process.alive]

    def save(self, file: Path) -> None:
        """Write the record so that a reader sees either the old one or the new one, whole."""
        temporary = file.with_suffix(".partial")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            json.dump({"format": _FORMAT, **asdict(self)}, stream, indent=1)
        temporary.rename(file)


def _decode(raw: Mapping[str, Any]) -> Record:
    settings: dict[str, Any] = {**raw["settings"], **{each: tuple(raw["settings"][each]) for each in ("stages", "images")}}
    return Record(
        settings=Settings(**settings),
        port=int(raw["port"]),
        etcd_port=int(raw["etcd_port"]),
        ready=bool(raw["ready"]),
        processes={name: Process(int(one["pid"]), int(one["started"]), str(one["boot"]), tuple(one["argv"])) for name, one in raw["processes"].items()},
        router_port=int(raw.get("router_port", 0)),
    )


def load(file: Path) -> Record | None:
    """Read a record; None if there is none, or none that this version can read (the cluster is then made anew)."""
    try:
        raw = json.loads(file.read_text())
        return _decode(raw) if raw["format"] == _FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
