"""Pictures and questions of a data set, to begin with."""

from __future__ import annotations

import attrs
import numpy as np
from PIL import Image

from hacore.data import UNKNOWN, Dataset
from hacore.errors import HacoreError
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
    """``count`` images of the split that chooses the weights, evenly spread over it.

    Opens the data, which may prepare or generate them. Raises HacoreError where they are not at hand.
    """
    dataset = trained.dataset
    split = trained.spec.eval.split
    if split not in dataset.splits:
        raise HacoreError(
            f"{trained.folder.path}: eval.split: the data have no split '{split}'; they have "
            f"{', '.join(dataset.splits)}"
        )
    questions, images = dataset.questions(split), dataset.images(split)
    used = np.unique(questions.image)
    chosen = used[np.unique(np.linspace(0, len(used) - 1, min(count, len(used))).round().astype(int))]
    examples = []
    for image in chosen:
        picture = open_picture(np.asarray(images[image]))
        rows = np.flatnonzero(questions.image == image)
        examples.append(
            Example(picture=picture, png=as_png(picture), questions=_questions(dataset, split, rows))
        )
    return tuple(examples)


def _questions(
    dataset: Dataset[object], split: str, rows: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
) -> tuple[tuple[str, str | None], ...]:
    """Some questions about an image, of different types first."""
    questions = dataset.questions(split)
    answers: dict[str, str | None] = {}
    _, first = np.unique(questions.type[rows], return_index=True)
    for row in [*rows[first], *np.delete(rows, first)]:
        words = questions.words[questions.offsets[row] : questions.offsets[row + 1]]
        if len(answers) == _QUESTIONS:
            break
        if UNKNOWN in words:
            continue
        text = question_text([dataset.vocabulary[word] for word in words])
        answer = questions.answer[row]
        answers[text] = dataset.answers[answer] if answer >= 0 else None
    return tuple(answers.items())
