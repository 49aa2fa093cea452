"""What a model says to a question about a picture, and what it looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import attrs
import numpy as np
import numpy.typing as npt
import torch
from PIL.Image import Image

from hacore.data import UNKNOWN, Batch, Dataset
from hacore.errors import HacoreError
from hacore.machine.texts import composed
from hacore.measure.predict import evaluating, predict
from hacore.measure.reading import Answer, KeptCell, Seen, read_output
from hacore.notebooks import html_of
from hacore.pictures import draw_kept, fit, open_picture, with_caption
from hacore.runs.trained import Trained

MOST_WORDS = 1000
_LONGEST_SIDE = 1024  # of the picture that a reply holds


@attrs.frozen(kw_only=True, eq=False)
class Reply:
    """The answer to a question, see ``Seen``, with the question itself.

    unknown: words that the model never saw, in their order. picture: the image as it was given, at most
    1024 pixels high and wide.
    """

    question: str
    unknown: tuple[str, ...]
    seen: Seen
    picture: Image = attrs.field(repr=False)
    _repr_html_ = html_of

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The likeliest answers first."""
        return self.seen.answers

    @property
    def answer(self) -> str:
        """The likeliest answer."""
        return self.seen.answers[0].answer

    @property
    def kept(self) -> tuple[KeptCell, ...]:
        """The cells that were kept."""
        return self.seen.kept

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, columns) of all cells."""
        rows, columns = self.seen.presence.shape
        return rows, columns

    def draw(self, side: int = 480, *, caption: bool = True) -> Image:
        """The picture, its longer side of ``side`` pixels, with the kept cells bright and the rest darkened.

        caption: the question and the answer below it.
        """
        scale = side / max(self.picture.size)
        width, height = (max(1, round(scale * length)) for length in self.picture.size)
        drawn = draw_kept(self.picture.resize((width, height)), self.seen.brightness)
        if not caption:
            return drawn
        best, cells = self.answers[0], self.seen.presence.size
        verdict = f"{best.answer} ({best.probability:.0%}), {len(self.kept)} of {cells} cells kept"
        return with_caption(drawn, [(self.question, "black"), (verdict, "#0b4f8a")])

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it, without the picture."""
        return {
            "question": self.question,
            "unknown_words": list(self.unknown),
            "answers": [attrs.asdict(item) for item in self.answers],
            "grid": list(self.grid),
            "kept": [attrs.asdict(item) for item in self.kept],
        }


@overload
def ask(
    trained: Trained,
    image: Any,
    question: str,
    *,
    top: int = 5,
    selector: Mapping[str, Any] | None = None,
) -> Reply: ...
@overload
def ask(
    trained: Trained,
    image: Any,
    question: Sequence[str],
    *,
    top: int = 5,
    selector: Mapping[str, Any] | None = None,
) -> list[Reply]: ...
def ask(
    trained: Trained,
    image: Any,
    question: str | Sequence[str],
    *,
    top: int = 5,
    selector: Mapping[str, Any] | None = None,
) -> Reply | list[Reply]:
    """The answer to a question about an image, or the answers to several about the same one.

    image: a path, a Pillow image, or an array, see ``hacore.pictures.open_picture``; of any size, as it
    is resized as the data sets' images are. top: how many answers a reply holds. selector: other
    options of the selector for this call, as ``{"k": 4}``, or another selector, see
    ``Trained.with_selector``. Does not need the data. Raises HacoreError for questions without words,
    DataError for what is no image.
    """
    if isinstance(question, str):
        return ask_many(trained, [(image, question)], top=top, selector=selector)[0]
    return ask_many(trained, [(image, value) for value in question], top=top, selector=selector)


def ask_many(
    trained: Trained,
    pairs: Sequence[tuple[Any, str]],
    *,
    top: int = 5,
    batch: int = 64,
    selector: Mapping[str, Any] | None = None,
) -> list[Reply]:
    """The answers to (image, question) pairs, ``batch`` at a time; otherwise as ``ask``.

    An image that is the same path or object in several pairs of a batch is read and encoded once. Raises
    HacoreError, all problems of the questions at once, DataError for an image that cannot be used.
    """
    if top < 1 or batch < 1:
        raise HacoreError(f"top = {top}, batch = {batch}: must be at least 1")
    model, summary = trained.with_selector(**selector).model if selector else trained.model, trained.summary
    if model.oracle:
        raise HacoreError(
            f"{trained.folder.path}: has an oracle, which is told the objects that a question is about; "
            "they are unknown for other images, so measure it with 'hacore eval'"
        )
    questions = _read_questions(trained, [question for _, question in pairs])
    replies = []
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        distinct = {_key(image): image for image, _ in part}
        pictures = {key: open_picture(image) for key, image in distinct.items()}
        rows = {key: row for row, key in enumerate(pictures)}
        images = np.stack([fit(picture, summary.image_size[1:]) for picture in pictures.values()])
        asked = questions[start : start + batch]
        example = _batch(images, [ids for ids, _ in asked], [rows[_key(image)] for image, _ in part])
        with evaluating(model):
            output = predict(model, example.to(trained.device), trained.precision)
        for picture in pictures.values():
            picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        replies += [
            Reply(question=question, unknown=unknown, seen=reading, picture=pictures[_key(image)])
            for (image, question), (_, unknown), reading in zip(
                part, asked, read_output(output, summary.answers, top), strict=True
            )
        ]
    return replies


def _key(image: Any) -> Any:
    return str(image) if isinstance(image, (str, Path)) else id(image)


def read_question(trained: Trained, question: str) -> tuple[list[int], tuple[str, ...]]:
    """Vocabulary indices of the words, and the words that the model never saw, each once.

    Raises HacoreError for a question without words, and for more than ``MOST_WORDS``.
    """
    if not isinstance(question, str):
        raise HacoreError(f"a question is a text, found {type(question).__name__}")
    if not question.strip():
        raise HacoreError('the question is empty; ask one as in "what color is the ball?"')
    if (rough := len(question.split())) > MOST_WORDS:
        raise HacoreError(f"the question has {rough:,} words; at most {MOST_WORDS:,} are read, shorten it")
    ids, unknown = _words(trained, question)
    if not ids:
        raise HacoreError(f"the question {question.strip()!r} has no words")
    if len(ids) > MOST_WORDS:
        raise HacoreError(f"the question has {len(ids):,} words; at most {MOST_WORDS:,} are read, shorten it")
    return ids, tuple(dict.fromkeys(unknown))


def _words(trained: Trained, question: str) -> tuple[list[int], list[str]]:
    """Vocabulary indices of a question's words, and the words that the model never saw."""
    cls, question = trained.dataset_class, composed(question)
    if trained.summary.own_words and cls.split_words is Dataset.split_words:  # an object's, to give again
        cls = type(trained.dataset)
    if cls.tokenize is Dataset.tokenize:
        words = cls.split_words(question)
        ids = trained.summary.number(words)
        return ids, [word for word, number in zip(words, ids, strict=True) if number == UNKNOWN]
    tokenize = trained.dataset.tokenize
    return tokenize(question), [word for word in question.split() if UNKNOWN in tokenize(word)]


def _read_questions(trained: Trained, questions: Sequence[str]) -> list[tuple[list[int], tuple[str, ...]]]:
    """Every question as ``read_question`` gives it. Raises HacoreError with the problems of all."""
    read, problems = [], []
    for number, question in enumerate(questions, start=1):
        try:
            read.append(read_question(trained, question))
        except HacoreError as error:
            problems.append(str(error) if len(questions) == 1 else f"question {number}: {error}")
    if problems:
        raise HacoreError("\n".join(problems))
    return read


def _batch(
    images: npt.NDArray[np.uint8], words: Sequence[Sequence[int]], image_index: Sequence[int]
) -> Batch:
    """Questions, given as vocabulary indices, about images (I, 3, H, W)."""
    lengths = [len(ids) for ids in words]
    words_QT = torch.zeros(len(words), max(lengths), dtype=torch.int64)
    for row, ids in enumerate(words):
        words_QT[row, : len(ids)] = torch.tensor(ids)
    unknown_Q = torch.full((len(words),), -1)
    return Batch(
        images=torch.from_numpy(images),
        words_QT=words_QT,
        lengths_Q=torch.tensor(lengths),
        image_index_Q=torch.tensor(image_index),
        answer_Q=unknown_Q,
        type_Q=unknown_Q,
        row_Q=np.arange(len(words)),
    )
