"""The packed images of a split: one array on disk, with the sums of its pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from hacore_packing.arrays import ArrayWriter

Bytes = npt.NDArray[np.uint8]
SHARD = 64
"""Images written at once: a piece of work that an interruption can lose."""


@attrs.frozen(kw_only=True)
class PackedImages:
    """A finished file.

    count: images. bytes, sha256: of the whole file. measured: how many of the first images the sums are
    over. total, squares: per channel, the sum of the pixels in [0, 255] and of their squares, exact.
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
    first rows up to this number, all by default. OSError when the disk is full, as ``ArrayWriter``.
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
        self._measured = count if measured is None else measured

        def whole_stamp(start: int, stop: int) -> str:
            return f"{stamp(start, stop)} {self._measured_rows(start, stop)}"

        self._array = ArrayWriter(self.path, folder / journal_file(split), self.shape, "uint8", whole_stamp)

    @property
    def done(self) -> int:
        """Images written so far."""
        return self._array.done

    def missing(self, images: int = SHARD) -> list[tuple[int, int]]:
        """Ranges [start, stop) of the rows still to be written, of at most this many images, in order."""
        return self._array.missing(images)

    def write(self, start: int, images: Bytes) -> None:
        """Rows from ``start``, (n, 3, height, width) uint8; n rows that are all missing."""
        self._array.check(start, images)
        self._array.write(start, images, _sums(images[: self._measured_rows(start, start + len(images))]))

    def finish(self, progress: Callable[[int], None] = lambda done: None) -> PackedImages:
        """Reads the file back for its checksum; ``progress`` is told the bytes read so far."""
        written = self._array.finish(progress)
        # Of Python's integers, which do not overflow; a row of zeros for an array without images.
        total, squares = np.sum([[[0] * 3] * 2, *self._array.extras], axis=0, dtype=object).tolist()
        return PackedImages(
            count=self.shape[0],
            bytes=written.bytes,
            sha256=written.sha256,
            measured=self._measured,
            total=tuple(total),
            squares=tuple(squares),
        )

    def _measured_rows(self, start: int, stop: int) -> int:
        """How many of these rows the sums are over: the first ones."""
        return max(0, min(stop, self._measured) - start)


def _sums(images: Bytes) -> list[list[int]]:
    """Of the values of each channel, and of their squares."""
    values = np.arange(256)
    counts = np.stack([np.bincount(images[:, channel].reshape(-1), minlength=256) for channel in range(3)])
    return [(counts @ values).tolist(), (counts @ values**2).tolist()]
