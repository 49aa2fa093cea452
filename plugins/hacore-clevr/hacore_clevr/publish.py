"""Making a pack: the questions of all splits get one vocabulary and one list of types, then it is named."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from hacore_packing.making import PackMaker, pixel_statistics
from hacore_packing.packs import digest_of
from hacore_packing.writer import PackedImages

from hacore.errors import DataError
from hacore_clevr.columns import Columns
from hacore_clevr.domain import QUESTION_TYPES
from hacore_clevr.objects import Scenes
from hacore_clevr.official import TRAIN
from hacore_clevr.pack import FORMAT, Pack, SplitInfo, Stored
from hacore_clevr.words import build_vocabulary, renumber

UNKNOWN_TYPE = "unknown"
"""The type of questions whose last function is not known."""

_Type = tuple[int, int]  # family, function; (-1, -1) without a function


def train_split(splits: Mapping[str, Any]) -> str:
    """The training split among these. DataError if there is none."""
    for name in TRAIN:
        if name in splits:
            return name
    raise DataError(
        f"no split {' or '.join(TRAIN)} among {', '.join(splits)}; vocabulary and pixel statistics are "
        "those of the training split, add it"
    )


def publish(
    folder: Path,
    *,
    size: tuple[int, int],
    images: Mapping[str, PackedImages],
    questions: Mapping[str, Columns],
    names: Mapping[str, list[str]],
    scenes: Mapping[str, Scenes | None] | None = None,
    source: Any = None,
) -> Pack:
    """Makes the pack ``folder`` of what is in ``unfinished(folder)``, where the images were written.

    images, questions, names of image files, and scenes where there are any: by split, in the order of the
    splits, one of which is the training split. source: JSON value that says what the pack was made from. A
    pack that is there already is replaced. DataError if something else is there, ValueError if a question
    has no image.
    """
    maker, train = PackMaker(folder), train_split(images)
    vocabulary = build_vocabulary(questions[train].vocabulary)
    types = _types(questions)
    mean, std = pixel_statistics(images[train], size)
    splits = {}
    for split, columns in questions.items():
        its_scenes = (scenes or {}).get(split) or Scenes.read(())
        stored = _stored(columns, vocabulary, types, images[split].count)
        boxes, attributes = its_scenes.boxes_of(names[split]), its_scenes.attributes_of(names[split])
        maker.add_images(split, images[split])
        maker.add_questions(split, attrs.evolve(stored, boxes=boxes, attributes=attributes))
        splits[split] = SplitInfo(
            images=images[split].count,
            questions=len(columns),
            answered=bool((columns.answer >= 0).any()),
            names=digest_of(names[split]),
        )
    described = {
        "format": FORMAT.name,
        "version": FORMAT.version,
        "size": size,
        "splits": {split: attrs.asdict(info) for split, info in splits.items()},
        "mean": mean,
        "std": std,
        "types": [_type_name(family, function) for family, function in types],
        "functions": [QUESTION_TYPES[function] if function >= 0 else "" for _, function in types],
        "vocabulary": vocabulary,
        "files": maker.files,
        "source": source,
    }
    maker.finish(described)
    return FORMAT.open(folder)


def _pairs(columns: Columns) -> tuple[list[_Type], npt.NDArray[np.int64]]:
    """The different (family, function) of a split, and (Q,) which of them each question has."""
    family = np.where(columns.function < 0, -1, columns.family)
    pairs, which = np.unique(np.stack([family, columns.function], 1), axis=0, return_inverse=True)
    return [(int(family), int(function)) for family, function in pairs], which.reshape(-1)


def _types(questions: Mapping[str, Columns]) -> list[_Type]:
    """Every (family, function) that is asked in any split, in order; without a function comes last."""
    asked = {pair for columns in questions.values() for pair in _pairs(columns)[0]}
    return sorted(asked, key=lambda pair: (pair[1] < 0, pair))


def _type_name(family: int, function: int) -> str:
    if function < 0:
        return UNKNOWN_TYPE
    return f"{family} {QUESTION_TYPES[function]}" if family >= 0 else QUESTION_TYPES[function]


def _stored(
    columns: Columns,
    vocabulary: tuple[str, ...],
    types: list[_Type],
    images: int,
) -> Stored:
    if len(columns) and not 0 <= columns.image.min() <= columns.image.max() < images:
        raise ValueError(f"questions are about images up to {columns.image.max()}; there are {images}")
    index = {word: number for number, word in enumerate(vocabulary)}
    pairs, which = _pairs(columns)
    return Stored(
        words=renumber(columns.vocabulary, index)[columns.words],
        offsets=columns.offsets,
        image=columns.image,
        answer=columns.answer,
        type=np.array([types.index(pair) for pair in pairs], np.int16)[which],
        ids=columns.ids,
        steps=columns.steps,
        relevant=columns.relevant,
    )
