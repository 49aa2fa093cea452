"""Pictures and questions of a data set, to begin with."""

from __future__ import annotations

import attrs
import numpy as np
from PIL import Image

from hacore.data import UNKNOWN, Dataset
from hacore.measure.reading import question_text
from hacore.pictures import open_picture
from hacore.runs.trained import Trained
from hacore_serve.uploads import as_png

_QUESTIONS = 4  # of each image


@attrs.frozen(kw_only=True, eq=False)
class Example:
    """An image of the data set. questions: (question, the data set's answer or None)."""

    picture: Image.Image
    png: bytes = attrs.field(repr=False)
    questions: tuple[tuple[str, str | None], ...]


def examples_of(trained: Trained, count: int) -> tuple[Example, ...]:
    """``count`` images of the split that a model is chosen by, from all over it.

    Opens the data, which may prepare or generate them. Raises HacoreError where they are not at hand.
    """
    dataset = trained.dataset
    split = trained.spec.eval.split
    asked, images = dataset.questions(split), dataset.images(split)
    used = np.unique(asked.image)
    chosen = used[np.unique(np.linspace(0, len(used) - 1, min(count, len(used))).round().astype(int))]
    found = []
    for image in chosen:
        picture = open_picture(np.asarray(images[image]))
        rows = np.flatnonzero(asked.image == image)
        found.append(
            Example(picture=picture, png=as_png(picture), questions=_questions(dataset, split, rows))
        )
    return tuple(found)


def _questions(
    dataset: Dataset[object], split: str, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> tuple[tuple[str, str | None], ...]:
    """Some questions about an image, of as many types as there are."""
    asked = dataset.questions(split)
    found: dict[str, str | None] = {}
    _, first = np.unique(asked.type[rows], return_index=True)
    for row in [*rows[first], *np.delete(rows, first)]:
        words = asked.words[asked.offsets[row] : asked.offsets[row + 1]]
        if len(found) == _QUESTIONS:
            break
        if UNKNOWN in words:
            continue
        text = question_text([dataset.vocabulary[word] for word in words])
        found[text] = dataset.answers[asked.answer[row]] if asked.answer[row] >= 0 else None
    return tuple(found.items())
