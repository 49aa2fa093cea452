"""The shards of a split as one array that is read from disk as it is used. Imports no torch."""

from __future__ import annotations

import io
import mmap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_PIECE = 1 << 17
"""Bytes asked for at once: of a longer range, Linux reads only the beginning ahead."""


class MappedFeatures:
    """Features of images, (I, N, C), in files that are mapped into memory; read only.

    paths: the shards in order, each of ``rows`` rows but the last. Indexed by a slice or by row numbers,
    in any order; what comes out is a copy.
    """

    def __init__(self, paths: Sequence[Path], rows: int, shape: tuple[int, int, int], dtype: str) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._rows = rows
        self._maps: list[mmap.mmap] = []
        self._starts: list[int] = []
        self._shards: list[npt.NDArray[Any]] = []
        self._asked: frozenset[tuple[int, int]] = frozenset()
        for path, first in zip(paths, range(0, shape[0], rows), strict=True):
            own = (min(rows, shape[0] - first), *shape[1:])
            start = len(npy_header(own, dtype))
            with open(path, "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            values: npt.NDArray[Any] = np.frombuffer(mapped, self.dtype, int(np.prod(own)), start)
            self._maps.append(mapped)
            self._starts.append(start)
            self._shards.append(values.reshape(own))

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, rows: slice | npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        out = np.empty((len(rows), *self.shape[1:]), self.dtype)
        if not len(rows):
            return out
        if rows.min() < 0 or rows.max() >= len(self):
            raise IndexError(f"rows from {rows.min()} to {rows.max()} of {len(self)}")
        shard, row = np.divmod(rows, self._rows)
        starts = np.flatnonzero(np.diff(shard, prepend=-1))
        for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
            shard_rows, wanted = self._shards[shard[start]], row[start:stop]
            if (np.diff(wanted) == 1).all():
                out[start:stop] = shard_rows[wanted[0] : wanted[-1] + 1]
            else:
                # All rows are inside; with another mode NumPy would copy twice.
                np.take(shard_rows, wanted, axis=0, out=out[start:stop], mode="clip")
        return out

    def will_need(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Ask the system to read these ranges of rows, in order, while other work is done.

        Ranges that the last call named are not asked for again. Does nothing where the system cannot.
        """
        new = [range_ for range_ in ranges if range_ not in self._asked]
        self._asked = frozenset(ranges)
        if new and hasattr(mmap.mmap, "madvise"):
            threading.Thread(target=self._read_ahead, args=(new,), daemon=True).start()

    def _read_ahead(self, ranges: list[tuple[int, int]]) -> None:
        size = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        for first, last in ranges:
            first, last = max(first, 0), min(last, len(self))
            while first < last:
                shard, row = divmod(first, self._rows)
                count = min(last - first, len(self._shards[shard]) - row)
                begin = self._starts[shard] + row * size
                end = begin + count * size
                for at in range(begin - begin % mmap.PAGESIZE, end, _PIECE):
                    self._maps[shard].madvise(mmap.MADV_WILLNEED, at, min(_PIECE, end - at))
                first += count


def npy_header(shape: tuple[int, ...], dtype: str) -> bytes:
    """What stands before the values in a ``.npy`` file."""
    header = io.BytesIO()
    described = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()
