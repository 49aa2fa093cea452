"""Image files to arrays. Imports no torch, so that processes that decode start fast."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
from PIL import Image

Bytes = npt.NDArray[np.uint8]


@attrs.frozen(kw_only=True, eq=False)
class Job:
    """Image files to decode into rows from ``start`` of a split; size is (height, width)."""

    start: int
    paths: tuple[str, ...]
    size: tuple[int, int]

    @property
    def what(self) -> str:
        return f"{self.paths[0]} and the next {len(self.paths) - 1}"


@attrs.frozen(kw_only=True, eq=False)
class Decoded:
    """images: (n, 3, height, width), rows of damaged files undefined. damage: what is wrong, a line each."""

    start: int
    images: Bytes
    damage: tuple[str, ...]


def read_image(path: str | Path, size: tuple[int, int]) -> Bytes:
    """(3, height, width): the file in RGB, resized by ``fit``."""
    with Image.open(path) as file:
        return fit(
            file.convert("RGB"), size
        )  # official files have an alpha channel that is opaque everywhere


def fit(image: Image.Image, size: tuple[int, int]) -> Bytes:
    """(3, height, width): an RGB image, resized to (height, width) unless it has the size already.

    By Pillow's bicubic filter, whose support grows with the reduction, so that every source pixel counts
    by its distance. A box has no weights, and the 3.75 by 2.5 from 480x320 to 128x128 does not divide
    evenly; Lanczos costs more and rings more at the edges of objects.
    """
    height, width = size
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def decode(job: Job) -> Decoded:
    """Does a job; a damaged or missing file does not stop it."""
    images, damage = np.zeros((len(job.paths), 3, *job.size), np.uint8), []
    for row, path in enumerate(job.paths):
        try:
            images[row] = read_image(path, job.size)
        except FileNotFoundError:
            damage.append(f"{path}: the file is missing; unpack it again")
        except MemoryError:
            raise
        except Exception as error:  # Pillow's readers raise what their formats' parsers do
            damage.append(f"{path}: no image can be read ({error}); unpack it again")
    return Decoded(start=job.start, images=images, damage=tuple(damage))
