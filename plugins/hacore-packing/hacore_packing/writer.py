"""The packed images of a split, written in any order and gone on with after an interruption.

The file is a plain ``.npy``. Beside it a journal says which rows are on the disk; a row is in the journal
only after its bytes were flushed, so that whatever is killed at whatever moment loses only work.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from hacore.machine.files import npy_header

Bytes = npt.NDArray[np.uint8]
SHARD = 64
"""Images written at once: a piece of work that an interruption can lose."""


@attrs.frozen(kw_only=True)
class PackedImages:
    """A finished file. count: images. bytes, sha256: of the whole file. measured: how many.

    of the first images the sums are over. total, squares: per channel, the sum of the pixels in [0, 255]
    and of their squares, exact.
    """

    count: int
    bytes: int
    sha256: str
    measured: int
    total: tuple[int, int, int]
    squares: tuple[int, int, int]


def images_file(split: str) -> str:
    return f"{split}.images.npy"


def journal_file(split: str) -> str:
    return f"{split}.rows.jsonl"


class PackWriter:
    """Writes ``{split}.images.npy``, (count, 3, height, width) uint8, in a folder that is not yet a pack.

    size: (height, width). stamp: of rows [start, stop), names what they are made from; rows that an
    earlier writer made from something else are missing again. measured: sums of pixels are over the
    first so many rows, all by default. OSError when the disk is full: the space
    of the whole file is claimed at once where the system can do that.
    """

    def __init__(
        self,
        folder: Path,
        split: str,
        count: int,
        size: tuple[int, int],
        stamp: Callable[[int, int], str] = lambda start, stop: "",
        measured: int | None = None,
    ) -> None:
        self.path = folder / images_file(split)
        self.shape = (count, 3, *size)
        self._row = 3 * size[0] * size[1]
        self._header = npy_header(self.shape, "uint8")
        self._stamp = stamp
        self._measured = count if measured is None else measured
        self._journal = folder / journal_file(split)
        self._done: dict[int, dict[str, Any]] = {}  # journal entries by first row
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def done(self) -> int:
        """Images written so far."""
        return sum(entry["stop"] - start for start, entry in self._done.items())

    def missing(self, shard: int = SHARD) -> list[tuple[int, int]]:
        """Ranges [start, stop) of the rows still to be written, of at most ``shard`` rows, in order.

        None holds both measured rows and others.
        """
        ranges, at = [], 0
        for start, stop in [
            *sorted((it, entry["stop"]) for it, entry in self._done.items()),
            (self.shape[0],) * 2,
        ]:
            for part in (min(max(self._measured, at), start), start):  # sums stop where the measured rows do
                ranges += [(first, min(first + shard, part)) for first in range(at, part, shard)]
                at = max(at, part)
            at = stop
        return ranges

    def write(self, start: int, images: Bytes) -> None:
        """Rows from ``start``, (n, 3, height, width) uint8; n rows that are all missing."""
        stop = start + len(images)
        if images.dtype != np.uint8 or images.shape[1:] != self.shape[1:]:
            wanted = ", ".join(map(str, self.shape[1:]))
            raise ValueError(f"images are {images.dtype} {images.shape}; must be uint8 (n, {wanted})")
        if not any(first <= start and stop <= last for first, last in self.missing(self.shape[0])):
            raise ValueError(f"rows [{start}, {stop}) are not all missing from {self.path}")
        values = np.ascontiguousarray(images)
        # Written rather than mapped: on a full disk a write fails, a mapped page kills the process.
        with open(self.path, "r+b") as file:
            file.seek(len(self._header) + start * self._row)
            file.write(values.data)
            file.flush()
            os.fsync(file.fileno())
        total, squares = _sums(values)
        entry: dict[str, Any] = {"start": start, "stop": stop, "stamp": self._stamp(start, stop)}
        entry.update(total=total, squares=squares)
        with open(self._journal, "ab") as journal:
            # A newline first: the last line may have been cut by an interruption.
            journal.write(b"\n" + json.dumps(entry).encode() + b"\n")
        self._done[start] = entry

    def finish(self, progress: Callable[[int], None] = lambda done: None) -> PackedImages:
        """Reads the file back for its checksum; ``progress`` is told the bytes read so far."""
        if missing := self.missing():
            raise ValueError(f"{self.path}: rows from {missing[0][0]} were not written")
        digest, read = hashlib.sha256(), 0
        with open(self.path, "rb") as file:
            while piece := file.read(1 << 24):
                digest.update(piece)
                read += len(piece)
                progress(read)
        summed = [entry for start, entry in self._done.items() if start < self._measured]
        channels = {
            name: tuple(sum(entry[name][channel] for entry in summed) for channel in range(3))
            for name in ("total", "squares")
        }
        return PackedImages(
            count=self.shape[0],
            bytes=read,
            sha256=digest.hexdigest(),
            measured=self._measured,
            **channels,
        )

    def _resume(self) -> None:
        """Takes over the rows that the journal vouches for, or starts the file anew."""
        length = len(self._header) + self.shape[0] * self._row
        if not _is_same(self.path, self._header, length):
            self._journal.unlink(missing_ok=True)
            _new_file(self.path, self._header, length)
        for entry in _read_journal(self._journal):
            start, stop = entry["start"], entry["stop"]
            # Rows that were written again are as the last entry says.
            self._done = {at: it for at, it in self._done.items() if it["stop"] <= start or stop <= at}
            whole = stop <= self.shape[0] and not start < self._measured < stop
            if whole and entry["stamp"] == self._stamp(start, stop):
                self._done[start] = entry


def _is_same(path: Path, header: bytes, length: int) -> bool:
    if not path.is_file() or path.stat().st_size != length:
        return False
    with open(path, "rb") as file:
        return file.read(len(header)) == header


def _new_file(path: Path, header: bytes, length: int) -> None:
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
    """The entries in order; a line that was cut by an interruption is none."""
    entries = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.keys() == {"start", "stop", "stamp", "total", "squares"}:
            entries.append(entry)
    return entries


def _sums(images: Bytes) -> tuple[list[int], list[int]]:
    """Of the values of each channel, and of their squares."""
    values = np.arange(256)
    counts = np.stack([np.bincount(images[:, channel].reshape(-1), minlength=256) for channel in range(3)])
    return (counts @ values).tolist(), (counts @ values**2).tolist()
