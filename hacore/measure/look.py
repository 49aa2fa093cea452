"""What a model makes of a few questions of a split, for observers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hacore.asking import Seen, question_text, read_output
from hacore.data import Dataset, Ints, Questions, make_batch
from hacore.measure.predict import evaluating, predict
from hacore.model import VQAModel
from hacore.observers import Example, Look

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
                    _example(dataset, questions, split, row, score, seen)
                    for row, score, seen in zip(
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
    dataset: Dataset[Any], questions: Questions, split: str, row: int, score: float, seen: Seen
) -> Example:
    words = questions.words[questions.offsets[row] : questions.offsets[row + 1]].tolist()
    answer = int(questions.answer[row])
    return Example(
        image=np.asarray(dataset.images(split)[int(questions.image[row])]),
        question=question_text([dataset.vocabulary[word] for word in words]),
        type=dataset.question_types[int(questions.type[row])],
        answer=dataset.answers[answer] if answer >= 0 else None,
        score=score,
        seen=seen,
    )
