"""What a model says to a question about a picture, and what it looked at."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
import torch

from hacore.data import UNKNOWN, Batch, Dataset
from hacore.errors import HacoreError
from hacore.interfaces import Selector
from hacore.measure.evaluation import kept_cells
from hacore.measure.predict import evaluating, likeliest, predict
from hacore.model import Output

if TYPE_CHECKING:
    from PIL.Image import Image

    from hacore.trained import Trained

Floats = npt.NDArray[np.float32]
MOST_WORDS = 1000
_LONGEST_SIDE = 1024  # of the picture that a reply holds


@attrs.frozen(kw_only=True)
class Answer:
    """An answer and its probability, the softmax of the model's scores."""

    answer: str
    probability: float


@attrs.frozen(kw_only=True)
class KeptCell:
    """A cell that was kept.

    index, row, column: place in the grid, from the top left. x, y: position in [-1, 1]. presence: how
    strongly it presented itself. weight: the factor on it, or its share where the selector mixes cells; 1
    where the selector has none.
    """

    index: int
    row: int
    column: int
    x: float
    y: float
    presence: float
    weight: float


@attrs.frozen(kw_only=True, eq=False)
class Seen:
    """What came out for one question.

    answers: the likeliest first. kept: in the selector's order. presence: (rows, columns).
    brightness: (rows, columns) in [0, 1], for pictures: 0 where not kept, and of kept cells the weight
    as a share of the largest.
    """

    answers: tuple[Answer, ...]
    kept: tuple[KeptCell, ...]
    presence: Floats
    brightness: Floats


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
        from hacore.pictures import draw_kept, with_caption

        scale = side / max(self.picture.size)
        width, height = (max(1, round(scale * length)) for length in self.picture.size)
        drawn = draw_kept(self.picture.resize((width, height)), self.seen.brightness)
        if not caption:
            return drawn
        best, cells = self.answers[0], self.seen.presence.size
        said = f"{best.answer} ({best.probability:.0%}), {len(self.kept)} of {cells} cells kept"
        return with_caption(drawn, [(self.question, "black"), (said, "#0b4f8a")])

    def as_dict(self) -> dict[str, Any]:
        """As JSON holds it, without the picture."""
        return {
            "question": self.question,
            "unknown_words": list(self.unknown),
            "answers": [attrs.asdict(it) for it in self.answers],
            "grid": list(self.grid),
            "kept": [attrs.asdict(it) for it in self.kept],
        }


def ask(
    trained: Trained,
    pairs: Sequence[tuple[Any, str]],
    *,
    top: int,
    batch: int,
    selector: Selector[Any] | None = None,
) -> list[Reply]:
    """The replies to (image, question) pairs; an image that is the same object in several is encoded once.

    selector: in the place of the model's own.

    Raises HacoreError, all problems of the questions at once, DataError for an image that cannot be used.
    """
    needs_pillow()
    from hacore.pictures import fit, open_picture

    if trained.model.oracle:
        raise HacoreError(
            f"{trained.folder.path}: has an oracle, which is told the objects that a question is about; "
            "nobody tells them of another image, measure it with 'hacore eval'"
        )
    if top < 1 or batch < 1:
        raise HacoreError(f"top = {top}, batch = {batch}: must be at least 1")
    words, unknown, problems = [], [], []
    for number, (_, question) in enumerate(pairs):
        try:
            ids, strange = read_question(trained, question)
            words.append(ids)
            unknown.append(strange)
        except HacoreError as error:
            problems.append(str(error) if len(pairs) == 1 else f"question {number + 1}: {error}")
    if problems:
        raise HacoreError("\n".join(problems))
    replies = []
    size = trained.inputs.image_size[1:]
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        distinct = {_key(image): image for image, _ in part}
        pictures = {key: open_picture(image) for key, image in distinct.items()}
        rows = {key: row for row, key in enumerate(pictures)}
        images = torch.from_numpy(np.stack([fit(picture, size) for picture in pictures.values()]))
        index = [rows[_key(image)] for image, _ in part]
        seen = look(trained, images, words[start : start + batch], index, top, selector)
        for picture in pictures.values():
            picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        replies += [
            Reply(question=question, unknown=strange, seen=it, picture=pictures[_key(image)])
            for (image, question), strange, it in zip(part, unknown[start : start + batch], seen, strict=True)
        ]
    return replies


def needs_pillow() -> None:
    """Raise HacoreError where Pillow is not installed."""
    if importlib.util.find_spec("PIL") is None:
        raise HacoreError("a question about an image needs Pillow; run 'pip install hacore[report]'")


def _key(image: Any) -> Any:
    return str(image) if isinstance(image, (str, Path)) else id(image)


def read_question(trained: Trained, question: str) -> tuple[list[int], tuple[str, ...]]:
    """Vocabulary indices of the words, and the words that the model never saw.

    Raises HacoreError for a question without words, and for more than ``MOST_WORDS``.
    """
    if not isinstance(question, str):
        raise HacoreError(f"a question is a text, found {type(question).__name__}")
    if not question.strip():
        raise HacoreError('the question is empty; ask one as in "what color is the ball?"')
    if (rough := len(question.split())) > MOST_WORDS:
        raise HacoreError(f"the question has {rough:,} words; at most {MOST_WORDS:,} are read, shorten it")
    cls = trained.dataset_class
    if cls.tokenize is Dataset.tokenize:
        words = cls.split_words(question)
        ids = trained.inputs.number(words)
        unknown = [word for word, number in zip(words, ids, strict=True) if number == UNKNOWN]
    else:
        tokenize = trained.dataset.tokenize
        ids = tokenize(question)
        unknown = [word for word in question.split() if UNKNOWN in tokenize(word)]
    if not ids:
        raise HacoreError(f"the question {question.strip()!r} has no words")
    if len(ids) > MOST_WORDS:
        raise HacoreError(f"the question has {len(ids):,} words; at most {MOST_WORDS:,} are read, shorten it")
    return ids, tuple(dict.fromkeys(unknown))


def look(
    trained: Trained,
    images: torch.Tensor,
    words: Sequence[Sequence[int]],
    image_index: Sequence[int],
    top: int,
    selector: Selector[Any] | None = None,
) -> list[Seen]:
    """What the model makes of questions, given as vocabulary indices, about images (I, 3, H, W) uint8.

    selector: in the place of the model's own.
    """
    lengths = [len(it) for it in words]
    words_QT = torch.zeros(len(words), max(lengths), dtype=torch.int64)
    for row, ids in enumerate(words):
        words_QT[row, : len(ids)] = torch.tensor(ids)
    unknown_Q = torch.full((len(words),), -1)
    batch = Batch(
        images=images,
        words_QT=words_QT,
        lengths_Q=torch.tensor(lengths),
        image_index_Q=torch.tensor(image_index),
        answer_Q=unknown_Q,
        type_Q=unknown_Q,
        row_Q=np.arange(len(words)),
    )
    model = trained.model if selector is None else trained.model.with_selector(selector)
    with evaluating(model):
        output = predict(model, batch.to(trained.device), trained.precision)
    return read_output(output, trained.inputs.answers, top)


def read_output(output: Output, answers: Sequence[str], top: int) -> list[Seen]:
    """A model's output by question, in plain numbers."""
    probability_QA, answer_QA = likeliest(output.logits_QA, top)
    selection = output.selection
    grid = selection.grid
    presence_QN = selection.presence_QN.float().cpu().numpy()
    positions_N2 = selection.positions_N2.float().cpu().numpy()
    replies = []
    for presence_N, probabilities, indices, (cells, weights) in zip(
        presence_QN, probability_QA.tolist(), answer_QA.tolist(), kept_cells(selection), strict=True
    ):
        kept = tuple(
            KeptCell(
                index=cell,
                row=cell // grid[1],
                column=cell % grid[1],
                x=round(float(positions_N2[cell, 0]), 6),
                y=round(float(positions_N2[cell, 1]), 6),
                presence=float(presence_N[cell]),
                weight=weight,
            )
            for cell, weight in zip(cells, weights or [1.0] * len(cells), strict=True)
        )
        ranked = tuple(
            Answer(answer=answers[index], probability=probability)
            for index, probability in zip(indices, probabilities, strict=True)
        )
        replies.append(
            Seen(
                answers=ranked,
                kept=kept,
                presence=presence_N.reshape(grid),
                brightness=brightness(cells, weights, grid),
            )
        )
    return replies


def brightness(cells: Sequence[int], weights: Sequence[float] | None, grid: tuple[int, int]) -> Floats:
    """(rows, columns) in [0, 1], see ``Seen``; of the kept cells of one question and their weights."""
    bright_N = np.zeros(grid[0] * grid[1], np.float32)
    bright_N[list(cells)] = 1.0 if weights is None else np.abs(weights)
    largest = bright_N.max(initial=0.0)
    return (bright_N / largest if largest > 0 else bright_N).reshape(grid)


def question_text(words: Sequence[str]) -> str:
    """Words as one writes a question."""
    return re.sub(r" (?=[?;,.!])", "", " ".join(words))
