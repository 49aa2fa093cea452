"""What a model makes of a few questions of a split, for observers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import numpy.typing as npt
import torch

from hacore.data import Dataset, Ints, Questions, make_batch
from hacore.measure.predict import evaluating, predict
from hacore.measure.predictions import state_of
from hacore.measure.reading import Seen, question_text, read_output
from hacore.model.network import VQAModel

if TYPE_CHECKING:
    from PIL.Image import Image


_COLOURS = {"right": "#1a7f37", "partly right": "#b35900", "wrong": "#c0392b"}


@attrs.frozen(kw_only=True, eq=False)
class Example:
    """A question of the evaluated split, and what the model makes of it now.

    image: (3, H, W) uint8. answer: the right one, None if the data set's answers do not include it. score: of
    the likeliest answer, in [0, 1].
    """

    image: npt.NDArray[np.uint8]
    question: str
    type: str
    answer: str | None
    score: float
    seen: Seen

    @property
    def state(self) -> str:
        """``right``, ``partly right`` or ``wrong``."""
        return state_of(self.score)

    def draw(self, side: int = 320) -> Image:
        """The image, its longer side of ``side`` pixels, kept cells bright and the rest darkened, with a
        caption. Needs Pillow.
        """
        from hacore.pictures import draw_kept, open_picture, with_caption

        picture = open_picture(self.image)
        scale = side / max(picture.size)
        width, height = (max(1, round(scale * length)) for length in picture.size)
        best, state = self.seen.answers[0], self.state
        verdict = f"{best.answer} ({best.probability:.0%}), {state}"
        if state != "right" and self.answer is not None:
            verdict += f": {self.answer}"
        kept = f"{len(self.seen.kept)} of {self.seen.presence.size} cells kept"
        lines = [(self.question, "black"), (verdict, _COLOURS[state]), (kept, "#555555")]
        return with_caption(draw_kept(picture.resize((width, height)), self.seen.brightness), lines)


@attrs.frozen(kw_only=True, eq=False)
class Look:
    """What the model makes of a sample of the evaluated split, the same questions at every evaluation.

    presence_QN: float32, how strongly each cell presents itself. kept_Q: int64, cells kept. examples: the
    first few of these questions, of different types.
    """

    presence_QN: npt.NDArray[np.float32]
    kept_Q: npt.NDArray[np.int64]
    examples: Sequence[Example]


QUESTIONS = 256
EXAMPLES = 16
_BATCH = 64
_TOP = 3  # answers of an example


def look_at(
    model: VQAModel,
    dataset: Dataset[Any],
    split: str,
    *,
    device: torch.device,
    precision: torch.dtype = torch.float32,
) -> Look:
    """A look at ``QUESTIONS`` of the split; the split has answers."""
    questions, images = dataset.questions(split), dataset.inputs(split)
    objects = dataset.objects(split) if model.oracle else None
    rows = sample(questions, QUESTIONS)
    presence, kept = [], []
    examples: list[Example] = []
    with evaluating(model):
        for start in [0, *range(EXAMPLES, len(rows), _BATCH)]:
            part = rows[start : start + _BATCH] if start else rows[:EXAMPLES]
            batch = make_batch(questions, images, part, objects).to(device)
            output = predict(model, batch, precision)
            presence.append(output.selection.presence_QN.float().cpu().numpy())
            kept.append(output.selection.counts_Q.cpu().numpy())
            if not start:
                scores = dataset.score(output.logits_QA, batch).tolist()
                examples = [
                    _example(dataset, questions, split, row, score, reading)
                    for row, score, reading in zip(
                        batch.row_Q.tolist(), scores, read_output(output, dataset.answers, _TOP), strict=True
                    )
                ]
    return Look(presence_QN=np.concatenate(presence), kept_Q=np.concatenate(kept), examples=examples)


def sample(questions: Questions, most: int, seed: int = 0) -> Ints:
    """Rows of at most ``most`` random questions, types in turn, the same ones at every call."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(questions))
    # The place of each among those of its type, in this order.
    turn = np.empty(len(order), np.int64)
    for kind in np.unique(questions.type):
        mine = np.flatnonzero(questions.type[order] == kind)
        turn[mine] = np.arange(len(mine))
    rows: Ints = order[np.lexsort((questions.type[order], turn))][:most]
    return rows


def _example(
    dataset: Dataset[Any], questions: Questions, split: str, row: int, score: float, reading: Seen
) -> Example:
    words = questions.words[questions.offsets[row] : questions.offsets[row + 1]].tolist()
    answer = int(questions.answer[row])
    return Example(
        image=np.asarray(dataset.images(split)[int(questions.image[row])]),
        question=question_text([dataset.vocabulary[word] for word in words]),
        type=dataset.question_types[int(questions.type[row])],
        answer=dataset.answers[answer] if answer >= 0 else None,
        score=score,
        seen=reading,
    )
