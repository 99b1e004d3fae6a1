# SPDX-License-Identifier: Apache-2.0
"""System calls that Python 3.11 does not offer. Standard library only: parts of this run inside a node, where nothing else is."""

import ctypes
import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

NEW_NETWORK = 0x40000000  # CLONE_NEWNET
BIND, RECURSIVE, MOVE = 0x1000, 0x4000, 0x2000  # MS_BIND, MS_REC, MS_MOVE
READ_ONLY, REMOUNT = 0x1, 0x20  # MS_RDONLY, MS_REMOUNT
SHARED, PRIVATE = 1 << 20, 1 << 18  # MS_SHARED, MS_PRIVATE
DETACH = 2  # MNT_DETACH
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}  # glibc has no wrapper
_libc = ctypes.CDLL(None, use_errno=True)


def _call(what: str, result: int) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount(source: str | Path, target: str | Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount a file system.

    Raises:
        OSError: the kernel refused; the text names source and target.

    """
    words = (str(source), str(target), kind or None, flags, data or None)
    encoded = [word.encode() if isinstance(word, str) else word for word in words]
    _call(f"mount {source} on {target}", _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[4]))


def bind(source: str | Path, target: str | Path, *, read_only: bool = False) -> None:
    """Show a folder or file at another place too.

    Raises:
        OSError: the kernel refused.

    """
    mount(source, target, flags=BIND)
    if read_only:
        mount(source, target, flags=BIND | REMOUNT | READ_ONLY)


def change_root(new: Path) -> None:
    """Make a mount the root of everything in this mount namespace, and drop the old one.

    Raises:
        OSError: the kernel refused, or this kind of machine is not known.

    """
    if (number := _PIVOT_ROOT.get(platform.machine())) is None:
        raise OSError(f"pivot_root: its number is not known on {platform.machine()}")
    os.chdir(new)
    _call("pivot_root", _libc.syscall(number, b".", b"."))  # the old root is stacked on the new one, and goes with the next call
    _call("umount of the old root", _libc.umount2(b".", DETACH))
    os.chdir("/")


def unshare(flags: int) -> None:
    """Leave namespaces for new ones.

    Raises:
        OSError: the kernel refused.

    """
    _call("unshare", _libc.unshare(flags))


def join_network(descriptor: int) -> None:
    """Go over into another network namespace for good, with this thread and all that it starts; sockets that are open stay where they are.

    Raises:
        OSError: the kernel refused.

    """
    _call("setns", _libc.setns(descriptor, NEW_NETWORK))


@contextmanager
def inside_network(descriptor: int) -> Generator[None, None, None]:
    """Be in another network namespace for a moment, in this thread: sockets that are made meanwhile belong there for good.

    Raises:
        OSError: the kernel refused.

    """
    here = os.open("/proc/self/ns/net", os.O_RDONLY)
    try:
        join_network(descriptor)
        try:
            yield
        finally:
            join_network(here)
    finally:
        os.close(here)
