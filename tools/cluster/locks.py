# SPDX-License-Identifier: Apache-2.0
"""Locks between processes; the kernel frees them when their holder ends, however it ends."""

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path


def _lock(descriptor: int, busy: Callable[[], object]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        busy()
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def locked_file(path: Path, busy: Callable[[], object]) -> Generator[None, None, None]:
    """Hold the lock of a file, making it if need be; `busy` is called once if somebody else holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, busy)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def locked_folder(path: Path, busy: Callable[[], object]) -> Generator[None, None, None]:
    """Hold the lock of a folder, making it if need be; the holder may remove the folder, and waiters make a new one."""
    while True:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:  # removed by its holder a moment ago
            continue
        try:
            _lock(descriptor, busy)
            if _is_still(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)
