"""One shard of a store: written from front to back, gone on with after an interruption.

A shard is a plain ``.npy``, (rows, N, C). Until it is whole it lies in a hidden ``.part`` beside its place,
with a journal that names a row only once the row is on the disk. So nothing that looks finished is not,
and whatever is killed at whatever moment loses only the batch at hand. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import DataError
from hacore.machine.files import npy_header, write_whole


@attrs.frozen(kw_only=True)
class Shard:
    """A finished shard. bytes, sha256: of the whole file. images: digests of its images, end to end."""

    bytes: int
    sha256: str
    images: str


def save_table(path: Path, table: dict[str, Any]) -> None:
    """Write JSON, whole. RunError when it cannot be written."""
    write_whole(path, (json.dumps(table) + "\n").encode(), "--output")


def image_digests(images: npt.NDArray[np.uint8]) -> list[str]:
    """16 hexadecimal digits for each of the images (I, 3, H, W)."""
    return [hashlib.blake2b(np.ascontiguousarray(it).data, digest_size=8).hexdigest() for it in images]


def shard_entry(path: Path) -> Path:
    """The file that says that the shard ``path`` is finished, and its checksum."""
    return path.with_suffix(".json")


class ShardWriter:
    """Appends rows to a shard until it has all of them; ``done`` of its ``shape[0]`` rows are written.

    DataError when another process is writing the same shard.
    """

    def __init__(self, path: Path, shape: tuple[int, int, int], dtype: str) -> None:
        self.path = path
        self.shape = shape
        self.done = 0
        self._dtype = np.dtype(dtype)
        self._row = shape[1] * shape[2] * self._dtype.itemsize
        self._header = npy_header(shape, dtype)
        self._part = path.with_name(f".{path.name}.part")
        self._journal = path.with_name(f".{path.name}.rows")
        self._images: list[str] = []
        self._digest = hashlib.sha256()
        self._file = os.fdopen(os.open(self._part, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
        try:
            self._lock()
            self._resume()
        except BaseException:
            self._file.close()
            raise

    def append(self, features: npt.NDArray[Any], images: list[str]) -> None:
        """The next rows, (n, N, C), and the digests of their images."""
        if features.dtype != self._dtype or features.shape[1:] != self.shape[1:]:
            raise ValueError(f"features are {features.dtype} {features.shape}; must be {self._dtype} rows")
        values = np.ascontiguousarray(features).view(np.uint8)
        # Written rather than mapped: on a full disk a write fails, a mapped page kills the process.
        self._file.write(values.data)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._digest.update(values.data)
        with open(self._journal, "ab") as journal:
            # A newline first: the last line may have been cut by an interruption.
            journal.write(b"\n" + json.dumps({"images": images}).encode() + b"\n")
        self._images += images
        self.done += len(images)

    def finish(self) -> None:
        """Give the shard its name, and say beside it that it is whole."""
        if self.done != self.shape[0]:
            raise ValueError(f"{self.path}: {self.done} of {self.shape[0]} rows are written")
        shard = Shard(
            bytes=len(self._header) + self.done * self._row,
            sha256=self._digest.hexdigest(),
            images="".join(self._images),
        )
        save_table(shard_entry(self.path), attrs.asdict(shard))
        os.replace(self._part, self.path)
        self._journal.unlink(missing_ok=True)
        self._file.close()

    def close(self) -> None:
        """Leave the shard as it is; another writer goes on from there."""
        self._file.close()

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # not on every system
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"{self.path}: another process is writing it; wait for it or stop it, or start both together "
                "by torchrun"
            ) from None

    def _resume(self) -> None:
        """Take over the rows that the journal vouches for, or begin anew."""
        images = _journalled(self._journal)
        whole = len(self._header) + len(images) * self._row
        if (
            not images
            or len(images) > self.shape[0]
            or os.fstat(self._file.fileno()).st_size < whole
            or self._file.read(len(self._header)) != self._header
        ):
            self._journal.unlink(missing_ok=True)
            self._file.seek(0)
            self._file.truncate()
            self._file.write(self._header)
            self._digest.update(self._header)
            return
        self._file.truncate(whole)
        self._file.seek(0)
        while piece := self._file.read(1 << 24):
            self._digest.update(piece)
        self._images, self.done = images, len(images)


def _journalled(path: Path) -> list[str]:
    """Digests of the images whose rows are on the disk; a line that was cut by an interruption is none."""
    images: list[str] = []
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        try:
            images += json.loads(line)["images"]
        except (ValueError, KeyError, TypeError):
            continue
    return images
