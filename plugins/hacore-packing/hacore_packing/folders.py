"""Folders that are made once, by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from hacore.data_tools import Tell
from hacore.errors import DataError


def existing_parent(path: Path) -> Path:
    """The path itself, or the first folder above it that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


@contextmanager
def only_one(folder: Path, tell: Tell) -> Iterator[None]:
    """Makes other processes that want to make ``folder`` wait; its parent is made if it is not there.

    DataError when the parent cannot be written to.
    """
    lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            tell.message(f"waiting for another process that makes {folder}")
            lock.acquire()
    except OSError as error:
        found = error.strerror or error
        raise DataError(f"{folder}: cannot be made ({found}); choose another folder") from error
    try:
        yield
    finally:
        lock.release()
