"""Locks between processes, as files."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock


@contextmanager
def locked(path: Path, busy: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file ``path``, which is created if it is missing and stays there.

    busy: called once when another process holds the lock; it raises to give up, or returns to wait.
    OSError when the file cannot be made or the file system has no locks.
    """
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        busy()
        lock.acquire()
    except NotImplementedError as error:
        raise OSError(errno.ENOSYS, f"the file system has no locks: {error}") from None
    try:
        yield
    finally:
        lock.release()
