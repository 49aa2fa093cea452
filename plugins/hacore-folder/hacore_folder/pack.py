"""Prepared data: a folder from which training reads without parsing or decoding anything.

    pack.json               image size, names of pictures, words, answers and types by number, files
    pictures.images.npy     (I, 3, height, width) uint8, opened memory-mapped
    all.questions.npz       columns of the Q questions, see ``Stored``

Splits are drawn when the data are opened, so that one pack serves all of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing import packs
from hacore_packing.packs import (
    Format,
    common_fields,
    damage_error,
    open_images,
    open_questions,
    questions_file,
    require_named,
)
from hacore_packing.writer import images_file

PICTURES, ALL = "pictures", "all"
"""Names of the packed images and of the questions."""


@attrs.frozen(kw_only=True, eq=False)
class Stored:
    """The questions of a table, in its order, and sums of the pictures' pixels.

    words: (total,) int32 numbers of words. offsets: (Q + 1,) int64. image: (Q,) int64 rows. ids: (Q,), see
    ``hacore_packing.ids.id_column``. answers: (Q, S) int32 numbers of the right answers, -1 for none. type:
    (Q,) int32 number, -1 for none. split: (Q,) int8 place in ``questions.SPLITS``, -1 where the table has
    none. total, squares: (I, 3) int64, the sums of the pixels of each picture, and of their squares.
    """

    words: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    image: npt.NDArray[np.int64]
    ids: npt.NDArray[Any]
    answers: npt.NDArray[np.int32]
    type: npt.NDArray[np.int32]
    split: npt.NDArray[np.int8]
    total: npt.NDArray[np.int64]
    squares: npt.NDArray[np.int64]


class Content(Protocol):
    """What the dataset reads of a pack, or of examples in memory; see ``Pack``."""

    @property
    def table(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    @property
    def pictures(self) -> tuple[str, ...]: ...
    @property
    def words(self) -> tuple[str, ...]: ...
    @property
    def answers(self) -> tuple[str, ...]: ...
    @property
    def types(self) -> tuple[str, ...]: ...
    @property
    def fingerprint(self) -> str: ...
    def images(self) -> npt.NDArray[np.uint8]: ...
    def stored(self) -> Stored: ...


@attrs.frozen(kw_only=True)
class Pack(packs.Pack):
    """An opened pack; mean and std are over all pictures.

    table: path of the table that it was made from. pictures: their paths within the folder, by row. words,
    answers, types: texts by number. questions: how many.
    """

    table: str
    pictures: tuple[str, ...]
    words: tuple[str, ...]
    answers: tuple[str, ...]
    types: tuple[str, ...]
    questions: int

    def images(self) -> npt.NDArray[np.uint8]:
        """(I, 3, height, width), memory-mapped. DataError if the file is not what pack.json says."""
        return open_images(self.folder / images_file(PICTURES), (len(self.pictures), 3, *self.size))

    def stored(self) -> Stored:
        """The columns. DataError if the file is not what pack.json says."""
        path = self.folder / questions_file(ALL)
        stored = open_questions(path, Stored, self.questions)
        names = {"words": len(self.words), "answers": len(self.answers), "type": len(self.types), "split": 3}
        require_named(path, stored, image=len(self.pictures), **names)
        if stored.total.shape != stored.squares.shape or stored.total.shape != (len(self.pictures), 3):
            raise damage_error(path, "sums are not those of the pictures")
        return stored


def _pack(folder: Path, described: dict[str, Any]) -> Pack:
    pictures, words, answers, types = (
        tuple(described[name]) for name in ("pictures", "words", "answers", "types")
    )
    lines = [*pictures, *words, *answers, *types]
    if not all(isinstance(text, str) for text in [*lines, described["table"]]):
        raise ValueError("a text is none")
    return Pack(
        table=described["table"],
        questions=int(described["questions"]),
        pictures=pictures,
        words=words,
        answers=answers,
        types=types,
        **common_fields(folder, described, "folder", lines),
    )


FORMAT = Format(name="hacore-folder", version=1, build=_pack)
