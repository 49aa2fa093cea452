"""Making a pack: in a folder beside its place, which gets its name when everything is on the disk.

Nothing that looks finished is unfinished.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import attrs
import numpy as np

from hacore.errors import DataError
from hacore.pictures import READER
from hacore_packing.files import require_room
from hacore_packing.packs import PACK, file_entry, is_pack, questions_file
from hacore_packing.writer import PackedImages, images_file, journal_file


def unfinished(folder: Path) -> Path:
    """The folder in which the pack ``folder`` is made."""
    return folder.with_name(f".{folder.name}.unfinished")


def require_place(folder: Path) -> None:
    """DataError if the pack ``folder`` would take the place of something that is not a pack."""
    if folder.is_dir() and (is_pack(folder) or not any(folder.iterdir())):
        return
    if folder.exists():
        raise DataError(f"{folder}: holds other files than prepared data; choose another output folder")


def require_images_room(folder: Path, images: int, size: tuple[int, int]) -> None:
    """DataError if the disk has no room for the images that are not packed for ``folder`` yet."""
    needed = images * 3 * size[0] * size[1]
    needed -= sum(path.stat().st_size for path in unfinished(folder).glob("*.npy"))
    way_out = "make room, choose another folder with --output or smaller images with --size"
    require_room(folder.parent, needed, way_out)


class PackMaker:
    """Makes the pack ``folder`` of what is in ``unfinished(folder)``, where the images were written.

    files: what pack.json says under ``files``, in the order in which they were added. A pack that is there
    already is replaced. DataError if something else is there.
    """

    def __init__(self, folder: Path) -> None:
        require_place(folder)
        self.files: dict[str, dict[str, Any]] = {}
        self._folder, self._work = folder, unfinished(folder)
        self._journals: list[str] = []

    def add_images(self, name: str, images: PackedImages) -> None:
        """The finished array of ``PackWriter``."""
        self.files[images_file(name)] = {"bytes": images.bytes, "sha256": images.sha256}
        self._journals.append(journal_file(name))

    def add_questions(self, split: str, columns: attrs.AttrsInstance) -> None:
        """The columns of a split, for ``open_questions``; Python's integers are written as text."""
        with self._added(questions_file(split)) as file:
            np.savez(
                file,
                **{
                    name: column.astype(str) if column.dtype == object else column
                    for name, column in attrs.asdict(columns).items()
                },
            )

    def add_bytes(self, name: str, data: bytes) -> None:
        """Any other file."""
        with self._added(name) as file:
            file.write(data)

    def finish(self, described: Mapping[str, Any]) -> None:
        """Writes pack.json, with the reader's version, and gives the folder its name; an older pack goes."""
        with _flushed(self._work / PACK) as file:
            file.write(json.dumps({**described, "reader": READER}, indent=1).encode() + b"\n")
        old = self._folder.with_name(f".{self._folder.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if is_pack(self._folder):
            os.rename(self._folder, old)
        elif self._folder.is_dir():
            self._folder.rmdir()
        os.rename(self._work, self._folder)
        shutil.rmtree(old, ignore_errors=True)
        for journal in self._journals:
            (self._folder / journal).unlink(missing_ok=True)

    @contextmanager
    def _added(self, name: str) -> Iterator[IO[bytes]]:
        with _flushed(self._work / name) as file:
            yield file
        self.files[name] = file_entry(self._work / name)


def pixel_statistics(images: PackedImages, size: tuple[int, int]) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel, pixels in [0, 1], of the measured images."""
    return channel_statistics(images.measured * size[0] * size[1], images.total, images.squares)


def channel_statistics(
    pixels: int, total: Sequence[int], squares: Sequence[int]
) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel, pixels in [0, 1].

    total, squares: exact sums over so many pixels of the values in [0, 255], and of their squares.
    """
    mean = [value / pixels for value in total]
    # In integers: the difference of two large numbers that are almost the same keeps its digits.
    spread = [pixels * square - value**2 for value, square in zip(total, squares, strict=True)]
    return [value / 255 for value in mean], [math.sqrt(value) / pixels / 255 for value in spread]


@contextmanager
def _flushed(path: Path) -> Iterator[IO[bytes]]:
    """A new file that is on the disk afterwards."""
    with open(path, "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
