"""Prepared data: a folder from which training reads images and questions without decoding anything.

pack.json               format, image size, vocabulary, question types, pixel statistics, files
{split}.images.npy      (I, 3, height, width) uint8, opened memory-mapped
{split}.questions.npz   columns of the split's Q questions, see ``Stored``
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing import packs
from hacore_packing.packs import (
    Format,
    common_fields,
    open_images,
    open_questions,
    questions_file,
    require_named,
)
from hacore_packing.writer import images_file

from hacore_clevr.domain import ANSWERS


@attrs.frozen(kw_only=True, eq=False)
class Stored:
    """The questions of a packed split.

    words: (total,) uint16 numbers in the pack's vocabulary. offsets: (Q + 1,) int64. image: (Q,) int32
    rows. answer: (Q,) int8 index into ``domain.ANSWERS`` or -1. type: (Q,) int16 index into the pack's
    question types. ids: (Q,), see ``hacore_packing.ids.id_column``. steps: (Q,) int16, the functions of the
    question's program, 0 without one. relevant: (Q,) int32, the objects that a question is about, one bit an
    object, -1 where that is not known. boxes: (I, O, 4) float32 of the images' objects, see
    ``hacore.objects``, and attributes: (I, O, 4) int8, see ``Scenes.attributes``; O = 0 where no scenes are
    known. Older packs do not have the last four.
    """

    words: npt.NDArray[np.uint16]
    offsets: npt.NDArray[np.int64]
    image: npt.NDArray[np.int32]
    answer: npt.NDArray[np.int8]
    type: npt.NDArray[np.int16]
    ids: npt.NDArray[Any]
    steps: npt.NDArray[np.int16] | None = None
    relevant: npt.NDArray[np.int32] | None = None
    boxes: npt.NDArray[np.float32] | None = None
    attributes: npt.NDArray[np.int8] | None = None


@attrs.frozen(kw_only=True)
class SplitInfo:
    """images, questions: how many. answered: whether the answers are known. names: digest of file names."""

    images: int
    questions: int
    answered: bool
    names: str


@attrs.frozen(kw_only=True)
class Pack(packs.Pack):
    """An opened pack.

    splits: in order. vocabulary: ``<pad>``, ``<unk>``, then the training words. types: name of each question
    type; functions: the last function of its programs, "" for none.
    """

    splits: Mapping[str, SplitInfo]
    vocabulary: tuple[str, ...]
    types: tuple[str, ...]
    functions: tuple[str, ...]

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        """(I, 3, height, width), memory-mapped. DataError if the file is not what pack.json says."""
        return open_images(self.folder / images_file(split), (self.splits[split].images, 3, *self.size))

    def questions(self, split: str) -> Stored:
        """The columns. DataError if the file is not what pack.json says."""
        path, info = self.folder / questions_file(split), self.splits[split]
        stored = open_questions(path, Stored, info.questions)
        names = {"words": len(self.vocabulary), "answer": len(ANSWERS), "type": len(self.types)}
        require_named(path, stored, image=info.images, **names)
        return stored


def _pack(folder: Path, described: dict[str, Any]) -> Pack:
    texts = [*described["vocabulary"], *described["types"]]
    if not all(isinstance(text, str) for text in [*texts, *described["functions"]]):
        raise ValueError("a text is none")
    if len(described["types"]) != len(described["functions"]):
        raise ValueError("types and functions")
    return Pack(
        splits={split: SplitInfo(**info) for split, info in described["splits"].items()},
        vocabulary=tuple(described["vocabulary"]),
        types=tuple(described["types"]),
        functions=tuple(described["functions"]),
        **common_fields(folder, described, "clevr", texts),
    )


FORMAT = Format(name="hacore-clevr", version=1, build=_pack)
open_pack, check_pack = FORMAT.open, FORMAT.check
