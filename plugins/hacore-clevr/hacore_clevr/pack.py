"""Prepared data: a folder from which training reads images and questions without decoding anything.

    pack.json               format, image size, vocabulary, question types, pixel statistics, files
    {split}.images.npy      (I, 3, height, width) uint8, opened memory-mapped
    {split}.questions.npz   columns of the split's Q questions, see ``Stored``

A pack is made in a folder beside its own, which gets its name when everything is on the disk. Nothing
that looks finished is unfinished.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing.packs import damaged, digest_of, open_images, read_description, require_sizes, wrong_files
from hacore_packing.writer import images_file

from hacore.errors import DataError

VERSION = 1
"""Of the layout: raised when older packs cannot be read."""

FORMAT = "hacore-clevr"


@attrs.frozen(kw_only=True, eq=False)
class Stored:
    """The questions of a packed split.

    words: (total,) uint16 numbers in the pack's vocabulary. offsets: (Q + 1,) int64. image: (Q,) int32
    rows. answer: (Q,) int8 index into ``domain.ANSWERS`` or -1. type: (Q,) int16 index into the pack's
    question types. ids: (Q,) int64. relevant: (Q,) int32, the objects that a question is about, one bit an
    object, -1 where that is not known. boxes: (I, O, 4) float32 of the images' objects, see
    ``hacore.objects``; O = 0 where no scenes are known. Packs of before have neither.
    """

    words: npt.NDArray[np.uint16]
    offsets: npt.NDArray[np.int64]
    image: npt.NDArray[np.int32]
    answer: npt.NDArray[np.int8]
    type: npt.NDArray[np.int16]
    ids: npt.NDArray[np.int64]
    relevant: npt.NDArray[np.int32] | None = None
    boxes: npt.NDArray[np.float32] | None = None


@attrs.frozen(kw_only=True)
class SplitInfo:
    """images, questions: how many. answered: whether the answers are known. names: digest of file names."""

    images: int
    questions: int
    answered: bool
    names: str


@attrs.frozen(kw_only=True)
class Pack:
    """An opened pack.

    size: (height, width). splits: in order. vocabulary: ``<pad>``, ``<unk>``, then the training words.
    types: name of each question type; functions: the last function of its programs, "" for none.
    mean, std: per channel, pixels in [0, 1], over the training images. source: what it was made from,
    as its maker put it. fingerprint: names the content.
    """

    folder: Path
    size: tuple[int, int]
    splits: Mapping[str, SplitInfo]
    vocabulary: tuple[str, ...]
    types: tuple[str, ...]
    functions: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: Any
    fingerprint: str

    def images(self, split: str) -> npt.NDArray[np.uint8]:
        """(I, 3, height, width), memory-mapped. DataError if the file is not what pack.json says."""
        return open_images(self.folder / images_file(split), (self.splits[split].images, 3, *self.size))

    def questions(self, split: str) -> Stored:
        """The columns. DataError if the file is not what pack.json says."""
        path = self.folder / questions_file(split)
        try:
            with np.load(path) as file:
                stored = Stored(
                    **{
                        field.name: file[field.name]
                        for field in attrs.fields(Stored)
                        if field.default is attrs.NOTHING or field.name in file
                    }
                )
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            raise damaged(path, f"cannot be read ({error})") from error
        if len(stored.image) != self.splits[split].questions:
            expected = self.splits[split].questions
            raise damaged(path, f"holds {len(stored.image)} questions, expected {expected}")
        return stored


def questions_file(split: str) -> str:
    return f"{split}.questions.npz"


def open_pack(folder: Path) -> Pack:
    """The pack in a folder. Compares the sizes of its files, not their content: see ``check_pack``.

    DataError names the file that is missing, damaged or of another version, and the way out.
    """
    described = _described(folder)
    require_sizes(folder, described)
    return _pack(folder, described)


def check_pack(folder: Path) -> list[str]:
    """Everything that is wrong with a pack, each file's whole content read; a line each."""
    try:
        described = _described(folder)
    except DataError as error:
        return [str(error)]
    return wrong_files(folder, described)


def _described(folder: Path) -> dict[str, Any]:
    """The content of pack.json, with all fields that ``_pack`` reads."""
    described = read_description(folder, FORMAT, VERSION, lambda found: _pack(folder, found))
    return dict(described)


def _pack(folder: Path, described: dict[str, Any]) -> Pack:
    height, width = described["size"]
    files = [f"{name} {entry['sha256']}" for name, entry in sorted(described["files"].items())]
    content = [str((height, width)), *files, *described["vocabulary"], *described["types"]]
    return Pack(
        folder=folder,
        size=(height, width),
        splits={split: SplitInfo(**info) for split, info in described["splits"].items()},
        vocabulary=tuple(described["vocabulary"]),
        types=tuple(described["types"]),
        functions=tuple(described["functions"]),
        mean=tuple(described["mean"]),
        std=tuple(described["std"]),
        source=described["source"],
        fingerprint=f"clevr-{digest_of(content)[:16]}",
    )
