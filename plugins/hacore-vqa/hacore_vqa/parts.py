"""Which images the splits ask about, in which row of which packed array each is, and which are missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing.packs import file_stamp
from hacore_packing.prepare import ImageFiles

from hacore_vqa.columns import Columns
from hacore_vqa.official import COCO, IMAGE_IDS, Layout, image_file


@attrs.frozen(kw_only=True, eq=False)
class Part(ImageFiles):
    """Images that are packed together, in rows.

    keys: (I,) int64, one for each image, see ``keys_of``. A stamp is "" when the file is missing. measured:
    how many of the first rows training questions are about.
    """

    keys: npt.NDArray[np.int64]
    measured: int

    def rows(self, columns: Columns) -> npt.NDArray[np.int64]:
        """(Q,) the row of each question's image."""
        order = np.argsort(self.keys)
        rows: npt.NDArray[np.int64] = order[np.searchsorted(self.keys, keys_of(columns), sorter=order)]
        return rows


def keys_of(columns: Columns) -> npt.NDArray[np.int64]:
    """(Q,) a number for each question's image: ids are those of a folder."""
    return columns.coco.astype(np.int64) * IMAGE_IDS + columns.image


def find_parts(layout: Layout, columns: Mapping[str, Columns], images: Path) -> dict[str, Part]:
    """The parts that the splits need.

    Rows are in the order of folders and ids; in a part that training questions ask about, those images
    come first. An image that is missing has an empty stamp.
    """
    asked: dict[str, list[npt.NDArray[np.int64]]] = {}
    for split, questions in columns.items():
        asked.setdefault(layout.splits[split].part, []).append(np.unique(keys_of(questions)))
    parts = {}
    for name, by_split in asked.items():
        first = by_split[0] if name == layout.splits["train"].part else by_split[0][:0]
        keys = np.concatenate([first, np.setdiff1d(np.concatenate(by_split), first)])
        paths = [image_file(images, COCO[key // IMAGE_IDS], key % IMAGE_IDS) for key in keys.tolist()]
        parts[name] = Part(
            name=name,
            keys=keys,
            paths=[str(path) for path in paths],
            stamps=[_stamp(path) for path in paths],
            measured=len(first) or len(keys),
        )
    return parts


def picture_files(images: Path, parts: Iterable[str]) -> Iterator[Path]:
    """All files in the folders of some parts; a part that is no folder is of photographs from all of them."""
    names = {*parts}
    for folder in COCO:
        if folder in names or not names <= {*COCO}:
            yield from (images / folder).glob("*.jpg")


def missing_folders(columns: Mapping[str, Columns], images: Path) -> list[str]:
    """A line for each folder of images that is needed and missing."""
    needed = sorted(
        {number for questions in columns.values() for number in np.unique(questions.coco).tolist()}
    )
    return [
        f"{images / COCO[number]}: the folder is missing; unpack it, or say with --images where it is"
        for number in needed
        if not (images / COCO[number]).is_dir()
    ]


def _stamp(path: Path) -> str:
    try:
        return f"{path.name} {' '.join(map(str, file_stamp(path)))}"
    except OSError:
        return ""
