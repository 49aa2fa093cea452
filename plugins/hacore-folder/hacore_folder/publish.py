"""Making a pack of what was read and packed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hacore_packing.ids import id_column
from hacore_packing.making import PackMaker, pixel_statistics, unfinished
from hacore_packing.packs import open_images
from hacore_packing.words import Numbering, WordColumn
from hacore_packing.writer import SHARD, PackedImages, images_file

from hacore_folder.pack import ALL, FORMAT, PICTURES, Pack, Stored
from hacore_folder.questions import SPLITS, Question


def publish(
    folder: Path,
    size: tuple[int, int],
    images: PackedImages,
    names: Sequence[str],
    questions: Sequence[Question],
    table: Path,
    source: Any,
) -> Pack:
    """Makes the pack ``folder`` of what is in ``unfinished(folder)``, where the images were written.

    names: of the pictures, by row. A pack that is there already is replaced. DataError if something else is
    there.
    """
    pixels = open_images(unfinished(folder) / images_file(PICTURES), (len(names), 3, *size))
    stored, texts = columns_of(names, questions, *_sums(pixels))
    maker = PackMaker(folder)
    maker.add_images(PICTURES, images)
    maker.add_questions(ALL, stored)
    mean, std = pixel_statistics(images, size)
    maker.finish(
        {
            "format": FORMAT.name,
            "version": FORMAT.version,
            "size": size,
            "mean": mean,
            "std": std,
            "table": str(table),
            "questions": len(questions),
            "pictures": list(names),
            **{name: list(each) for name, each in texts.items()},
            "files": maker.files,
            "source": source,
        }
    )
    return FORMAT.open(folder)


def columns_of(
    names: Sequence[str],
    questions: Sequence[Question],
    total: npt.NDArray[np.int64],
    squares: npt.NDArray[np.int64],
) -> tuple[Stored, dict[str, tuple[str, ...]]]:
    """The columns of some questions about the pictures ``names``, and the texts that their numbers stand for:
    words, answers and types. total, squares: as in ``Stored``.
    """
    words, answers, types = Numbering(), Numbering(), Numbering()
    rows = {name: row for row, name in enumerate(names)}
    column = WordColumn(words)
    given = np.full((len(questions), max(len(question.answers) for question in questions)), -1, np.int32)
    for row, question in enumerate(questions):
        column.add(question.words)
        given[row, : len(question.answers)] = [answers[text] for text in question.answers]
    numbers, offsets = column.columns()
    stored = Stored(
        words=numbers,
        offsets=offsets,
        image=np.array([rows[question.image] for question in questions], np.int64),
        ids=id_column([question.id for question in questions]),
        answers=given,
        type=np.array([types[question.type] if question.type else -1 for question in questions], np.int32),
        split=np.array([SPLITS.index(each.split) if each.split else -1 for each in questions], np.int8),
        total=total,
        squares=squares,
    )
    return stored, {"words": tuple(words), "answers": tuple(answers), "types": tuple(types)}


def _sums(images: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(I, 3) each: of every picture the sums of its pixels, and of their squares."""
    totals, squares = [], []
    for start in range(0, len(images), SHARD):
        part = images[start : start + SHARD].astype(np.int64)
        totals.append(part.sum((2, 3)))
        squares.append((part**2).sum((2, 3)))
    return np.concatenate(totals), np.concatenate(squares)
