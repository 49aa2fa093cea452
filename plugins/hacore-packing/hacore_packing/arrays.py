"""One array on disk, written in ranges of rows in any order and resumed after an interruption.

The file is a plain ``.npy``. A journal names a range of rows only once their bytes are on the disk, so
whatever is killed at whatever moment loses only the rows at hand. Imports no torch.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hacore.features.mapped import npy_header
from hacore_packing.files import Content, content_of


class ArrayWriter:
    """Writes the array ``path``, taking over the rows that ``journal`` names.

    shape: of the whole array, rows first. stamp: of rows [start, stop), names what they are made from; rows
    that an earlier writer made from something else are missing again. The space of the whole file is
    claimed at once where the system can do that. OSError when the disk is full.
    """

    def __init__(
        self,
        path: Path,
        journal: Path,
        shape: tuple[int, ...],
        dtype: str,
        stamp: Callable[[int, int], str] = lambda start, stop: "",
    ) -> None:
        self.path, self.journal, self.shape = path, journal, shape
        self._dtype = np.dtype(dtype)
        self._header = npy_header(shape, dtype)
        self._row = math.prod(shape[1:]) * self._dtype.itemsize
        self._stamp = stamp
        self._entries: dict[int, dict[str, Any]] = {}  # of the journal, by first row
        self._resume()

    @property
    def done(self) -> int:
        """Rows written so far."""
        return sum(entry["stop"] - start for start, entry in self._entries.items())

    @property
    def extras(self) -> list[Any]:
        """What was given with each range of rows, in the order of the rows."""
        return [entry["extra"] for _, entry in sorted(self._entries.items())]

    def missing(self, rows: int) -> list[tuple[int, int]]:
        """Ranges [start, stop) still to be written, of at most ``rows`` rows each, in order."""
        count = self.shape[0]
        ranges, at = [], 0
        for start, stop in [
            *sorted((first, entry["stop"]) for first, entry in self._entries.items()),
            (count, count),
        ]:
            ranges += [(first, min(first + rows, start)) for first in range(at, start, rows)]
            at = stop
        return ranges

    def check(self, start: int, values: npt.NDArray[Any]) -> None:
        """ValueError unless ``values`` are rows of this array that are all missing from ``start`` on."""
        stop = start + len(values)
        if values.dtype != self._dtype or values.shape[1:] != self.shape[1:]:
            wanted = ", ".join(map(str, self.shape[1:]))
            raise ValueError(f"rows are {values.dtype} {values.shape}; must be {self._dtype} (n, {wanted})")
        if not any(first <= start and stop <= last for first, last in self.missing(self.shape[0])):
            raise ValueError(f"rows [{start}, {stop}) are not all missing from {self.path}")

    def write(self, start: int, values: npt.NDArray[Any], extra: Any = None) -> None:
        """Rows from ``start``, as ``check`` wants them. extra: a JSON value to keep with them."""
        self.check(start, values)
        stop = start + len(values)
        # Written rather than mapped: on a full disk a write fails, a mapped page kills the process.
        with open(self.path, "r+b") as file:
            file.seek(len(self._header) + start * self._row)
            file.write(np.ascontiguousarray(values).data)
            file.flush()
            os.fsync(file.fileno())
        entry = {"start": start, "stop": stop, "stamp": self._stamp(start, stop), "extra": extra}
        with open(self.journal, "ab") as journal:
            # A newline first: the last line may have been cut by an interruption.
            journal.write(b"\n" + json.dumps(entry).encode() + b"\n")
        self._entries[start] = entry

    def finish(self, progress: Callable[[int], None] = lambda done: None) -> Content:
        """Reads the file back for its checksum; the journal stays. progress: told the bytes read so far."""
        if missing := self.missing(self.shape[0]):
            raise ValueError(f"{self.path}: rows from {missing[0][0]} were not written")
        return content_of(self.path, progress)

    def _resume(self) -> None:
        """Takes over the rows that the journal names, or starts the file anew."""
        length = len(self._header) + self.shape[0] * self._row
        if not self.path.is_file() or not _is_begun(self.path, self._header, length):
            self.journal.unlink(missing_ok=True)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            _begin(self.path, self._header, length)
        for entry in _read_journal(self.journal):
            start, stop = entry["start"], entry["stop"]
            # Rows that were written again are as the last entry says.
            self._entries = {
                at: other for at, other in self._entries.items() if other["stop"] <= start or stop <= at
            }
            if stop <= self.shape[0] and entry["stamp"] == self._stamp(start, stop):
                self._entries[start] = entry


def _is_begun(path: Path, header: bytes, length: int) -> bool:
    with open(path, "rb") as file:
        return path.stat().st_size == length and file.read(len(header)) == header


def _begin(path: Path, header: bytes, length: int) -> None:
    """Writes the header and claims the space of the whole file where the system can do that."""
    try:
        with open(path, "wb") as file:
            file.write(header)
            file.flush()
            if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
                os.posix_fallocate(file.fileno(), 0, length)
            else:
                file.truncate(length)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _read_journal(path: Path) -> list[dict[str, Any]]:
    """The entries in order, without lines that an interruption cut."""
    entries = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if (
            isinstance(entry, dict)
            and entry.keys() == {"start", "stop", "stamp", "extra"}
            and type(entry["start"]) is type(entry["stop"]) is int
            and 0 <= entry["start"] < entry["stop"]
        ):
            entries.append(entry)
    return entries
