"""Image files to arrays. Imports no torch, so that processes that decode start fast."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt

from hacore.errors import DataError
from hacore.pictures import DamagedPictureError, fit, open_picture

Bytes = npt.NDArray[np.uint8]


@attrs.frozen(kw_only=True, eq=False)
class Job:
    """Image files to decode into rows from ``start`` of a split; size is (height, width).

    way_out: what to do about a damaged or missing file.
    """

    start: int
    paths: tuple[str, ...]
    size: tuple[int, int]
    way_out: str = "unpack it again"

    @property
    def what(self) -> str:
        return f"{self.paths[0]} and the next {len(self.paths) - 1}"


@attrs.frozen(kw_only=True, eq=False)
class Decoded:
    """images: (n, 3, height, width), rows of damaged files undefined.

    damage: (row in the split, what is wrong in a line) of each file that cannot be used.
    """

    start: int
    images: Bytes
    damage: tuple[tuple[int, str], ...]


def read_image(path: str | Path, size: tuple[int, int]) -> Bytes:
    """(3, height, width): the file as ``hacore ask`` would read it, resized by ``fit``."""
    return fit(open_picture(path), size)


def decode(job: Job) -> Decoded:
    """Does a job; a damaged or missing file does not stop it."""
    images, damage = np.zeros((len(job.paths), 3, *job.size), np.uint8), []
    for row, path in enumerate(job.paths):
        try:
            images[row] = read_image(path, job.size)
        except DamagedPictureError as error:
            damage.append((job.start + row, f"{error}; {job.way_out}"))
        except DataError as error:
            damage.append((job.start + row, str(error)))
    return Decoded(start=job.start, images=images, damage=tuple(damage))
