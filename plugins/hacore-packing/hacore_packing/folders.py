"""Folders that are made once, by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hacore.data_tools import Tell
from hacore.errors import DataError
from hacore_packing.locks import locked


@contextmanager
def only_one(folder: Path, tell: Tell) -> Iterator[None]:
    """Makes other processes that want to make ``folder`` wait; its parent is made if it is not there.

    DataError when something in the body or the lock raises OSError, as a full disk does.
    """

    def busy() -> None:
        tell.message(f"waiting for another process that makes {folder}")

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.with_name(f".{folder.name}.lock"), busy):
            yield
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be made ({error}); make room or choose another folder with --output, and run "
            "again to resume"
        ) from error
