"""Prepared data: a folder from which training reads without parsing or decoding anything.

    pack.json               image size, parts, splits, pixel statistics, files
    texts.json              words, answers, question types and answer types by number
    {part}.images.npy       (I, 3, height, width) uint8, opened memory-mapped
    {split}.questions.npz   columns of the split's Q questions, see ``Stored``

Photographs are packed once for all splits that ask about them. The parts of VQA v2 are the folders of
COCO. VQA-CP v2, whose splits share most photographs, has one part, which begins with those of the training
questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
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

from hacore.errors import reason

TEXTS = "texts.json"


@attrs.frozen(kw_only=True, eq=False)
class Stored:
    """The questions of a packed split.

    words: (total,) int32 numbers of words. offsets: (Q + 1,) int64. image: (Q,) int64 rows of the split's
    part. ids, see ``hacore_packing.ids.id_column``, given: (Q, 10) int32, chosen: (Q,) int32, question_type:
    (Q,) int16, answer_type: (Q,) int8, as in ``columns.Columns``.
    """

    words: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    image: npt.NDArray[np.int64]
    ids: npt.NDArray[Any]
    given: npt.NDArray[np.int32]
    chosen: npt.NDArray[np.int32]
    question_type: npt.NDArray[np.int16]
    answer_type: npt.NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.ids)


class Texts(msgspec.Struct, kw_only=True, frozen=True):
    """Texts by number. normal: of each answer, the number of its normal form (``metric.normal``)."""

    words: list[str]
    answers: list[str]
    normal: list[int]
    question_types: list[str]
    answer_types: list[str]


@attrs.frozen(kw_only=True)
class SplitInfo:
    """part: where its images are. images: how many of the part, from the first. questions: how many."""

    part: str
    images: int
    questions: int
    answered: bool


@attrs.frozen(kw_only=True)
class Pack(packs.Pack):
    """An opened pack. data: the name of the data set. parts: images in each. splits: in order."""

    data: str
    parts: Mapping[str, int]
    splits: Mapping[str, SplitInfo]

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        """(I, 3, height, width), memory-mapped. DataError if the file is not what pack.json says."""
        info = self.splits[split]
        path = self.folder / images_file(info.part)
        return open_images(path, (self.parts[info.part], 3, *self.size))[: info.images]

    def questions(self, split: str) -> Stored:
        """The columns. DataError if the file is not what pack.json says."""
        return open_questions(self.folder / questions_file(split), Stored, self.splits[split].questions)

    def require_texts(self, split: str, stored: Stored, texts: Texts) -> None:
        """DataError unless the numbers in the columns of a split name texts and images."""
        names = {name: len(getattr(texts, f"{name}s")) for name in ("word", "question_type", "answer_type")}
        answers, words = len(texts.answers), names.pop("word")
        names |= {"words": words, "given": answers, "chosen": answers}
        path = self.folder / questions_file(split)
        require_named(path, stored, image=self.parts[self.splits[split].part], **names)

    def texts(self) -> Texts:
        """The texts. DataError if the file is not what it should be."""
        path = self.folder / TEXTS
        try:
            return msgspec.json.decode(path.read_bytes(), type=Texts)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise damage_error(path, f"cannot be read ({reason(error)})") from error


def _pack(folder: Path, described: dict[str, Any]) -> Pack:
    parts: dict[str, int] = dict(described["parts"])
    splits = {split: SplitInfo(**info) for split, info in described["splits"].items()}
    if any(not 0 <= info.images <= parts[info.part] for info in splits.values()):
        raise ValueError("images of a split")
    return Pack(
        data=described["data"],
        parts=parts,
        splits=splits,
        **common_fields(folder, described, "vqa", []),
    )


FORMAT = Format(name="hacore-vqa", version=1, build=_pack)
open_pack, check_pack = FORMAT.open, FORMAT.check
