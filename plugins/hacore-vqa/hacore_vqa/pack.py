"""Prepared data: a folder from which training reads without parsing or decoding anything.

    pack.json               image size, parts, splits, pixel statistics, files
    texts.json              words, answers, question types and answer types by number
    {part}.images.npy       (I, 3, height, width) uint8, opened memory-mapped
    {split}.questions.npz   columns of the split's Q questions, see ``Stored``

Photographs are packed once for all splits that ask about them. Of VQA v2 the parts are the folders of COCO.
Of VQA-CP v2, whose splits share most photographs, there is one, with those of the training questions in
front.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
import numpy as np
import numpy.typing as npt
from hacore_packing.packs import damaged, digest_of, open_images, read_description, require_sizes, wrong_files
from hacore_packing.writer import images_file

VERSION = 1
"""Of the layout: raised when older packs cannot be read."""

FORMAT, TEXTS = "hacore-vqa", "texts.json"


@attrs.frozen(kw_only=True, eq=False)
class Stored:
    """The questions of a packed split.

    words: (total,) int32 numbers of words. offsets: (Q + 1,) int64. image: (Q,) int64 rows of the split's
    part. ids: (Q,) int64. given: (Q, 10) int32, chosen: (Q,) int32, question_type: (Q,) int16, answer_type:
    (Q,) int8, as in ``columns.Columns``.
    """

    words: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    image: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
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
class Pack:
    """An opened pack.

    data: the name of the data set. size: (height, width). parts: images in each. mean, std: per channel,
    pixels in [0, 1], over the images of the training questions. source: what it was made from.
    fingerprint: names the content.
    """

    folder: Path
    data: str
    size: tuple[int, int]
    parts: Mapping[str, int]
    splits: Mapping[str, SplitInfo]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: Any
    fingerprint: str

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        """(I, 3, height, width), memory-mapped. DataError if the file is not what pack.json says."""
        info = self.splits[split]
        path = self.folder / images_file(info.part)
        return open_images(path, (self.parts[info.part], 3, *self.size))[: info.images]

    def questions(self, split: str) -> Stored:
        """The columns. DataError if the file is not what pack.json says."""
        path = self.folder / questions_file(split)
        try:
            with np.load(path) as file:
                stored = Stored(**{field.name: file[field.name] for field in attrs.fields(Stored)})
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise damaged(path, f"cannot be read ({error})") from error
        if len(stored) != self.splits[split].questions:
            raise damaged(path, f"holds {len(stored)} questions, expected {self.splits[split].questions}")
        return stored

    def texts(self) -> Texts:
        """The texts. DataError if the file is not what it should be."""
        path = self.folder / TEXTS
        try:
            return msgspec.json.decode(path.read_bytes(), type=Texts)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise damaged(path, f"cannot be read ({error})") from error


def questions_file(split: str) -> str:
    return f"{split}.questions.npz"


def open_pack(folder: Path) -> Pack:
    """The pack in a folder. Compares the sizes of its files, not their content: see ``check_pack``.

    DataError names the file that is missing, damaged or of another version, and the way out.
    """
    described = read_description(folder, FORMAT, VERSION, lambda found: _pack(folder, found))
    require_sizes(folder, described)
    return _pack(folder, described)


def check_pack(folder: Path) -> list[str]:
    """Everything that is wrong with the files of a pack, each one's whole content read; a line each."""
    return wrong_files(folder, read_description(folder, FORMAT, VERSION, lambda found: _pack(folder, found)))


def _pack(folder: Path, described: dict[str, Any]) -> Pack:
    height, width = described["size"]
    files = [f"{name} {entry['sha256']}" for name, entry in sorted(described["files"].items())]
    return Pack(
        folder=folder,
        data=described["data"],
        size=(height, width),
        parts=dict(described["parts"]),
        splits={split: SplitInfo(**info) for split, info in described["splits"].items()},
        mean=tuple(described["mean"]),
        std=tuple(described["std"]),
        source=described["source"],
        fingerprint=f"vqa-{digest_of([str((height, width)), *files])[:16]}",
    )
