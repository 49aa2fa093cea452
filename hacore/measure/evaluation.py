"""Measure a model on a split."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hacore.data import Batch, Dataset, Questions
from hacore.errors import NotFiniteError
from hacore.machine.files import write_whole
from hacore.machine.memory import enough_memory
from hacore.machine.processes import World
from hacore.measure.metrics import Meter
from hacore.measure.predict import batches, evaluating, likeliest, predict
from hacore.measure.predictions import Prediction
from hacore.measure.reading import kept_cells
from hacore.measure.scores import Scores
from hacore.model.network import Output, VQAModel


def evaluate(
    model: VQAModel,
    dataset: Dataset[Any],
    split: str,
    *,
    device: torch.device,
    batch_images: int = 50,
    precision: torch.dtype = torch.float32,
    world: World | None = None,
    predictions: Path | None = None,
) -> Scores:
    """Scores of the model on a split; over several processes every one gets the whole.

    predictions: also write a line for each question there (with one process only), see
    ``hacore.measure.predictions``; and beside it, with the suffix ``.submission``, what the data set's
    official evaluation takes, if there is such.
    Without answers (``Dataset.unanswered``) the scores are zeros that mean nothing.
    Raises NotFiniteError when the loss is not finite, RunError when the memory does not suffice.
    """
    meter = Meter(dataset, device)
    questions = dataset.questions(split)
    lines: list[str] = []
    answers_Q = np.zeros(len(questions), np.int64)
    with evaluating(model):
        for batch in batches(dataset, split, batch_images, oracle=model.oracle, world=world):
            way_out = "lower eval.batch_images, or measure elsewhere, as with --device cpu"
            size = f"eval.batch_images = {batch_images} with {len(batch):,} questions"
            with enough_memory(f"split {split}: {size} on {device}", way_out):
                moved = batch.to(device)
                output = predict(model, moved, precision)
                meter.add(output, dataset.loss(output.logits_QA, moved), moved)
            if predictions is not None:
                answers_Q[batch.row_Q] = output.logits_QA.argmax(-1).cpu().numpy()
                answered = split not in dataset.unanswered
                lines += _prediction_lines(output, moved, dataset, questions, answered)
    scores = meter.read()
    if not math.isfinite(scores.loss):
        raise NotFiniteError(
            f"the loss on split '{split}' is not finite; lower train.lr or check the images of the split"
        )
    if predictions is not None:
        write_whole(predictions, "".join(lines).encode())
        submission = dataset.submission(split, [dataset.answers[answer] for answer in answers_Q.tolist()])
        if submission is not None:
            write_whole(predictions.with_suffix(".submission"), submission.encode())
    return scores


def _prediction_lines(
    output: Output, batch: Batch, dataset: Dataset[Any], questions: Questions, answered: bool
) -> list[str]:
    """answered: whether scores mean something; an answer that is not in the set is worth nothing."""
    probability_Q1, prediction_Q1 = likeliest(output.logits_QA)
    columns = zip(
        batch.row_Q.tolist(),
        batch.answer_Q.tolist(),
        prediction_Q1[:, 0].tolist(),
        probability_Q1[:, 0].tolist(),
        dataset.score(output.logits_QA, batch).tolist(),
        output.selection.counts_Q.tolist(),
        kept_cells(output.selection),
        strict=True,
    )
    lines = []
    for row, answer, prediction, probability, score, kept, (cells, weights) in columns:
        line = Prediction(
            id=int(questions.ids[row]),
            image=int(questions.image[row]),
            type=dataset.question_types[int(questions.type[row])],
            answer=dataset.answers[answer] if answer >= 0 else None,
            prediction=dataset.answers[prediction],
            score=score if answered else None,
            probability=round(probability, 6),
            kept=kept,
            cells=cells,
            weights=None if weights is None else [round(weight, 5) for weight in weights],
        )
        lines.append(json.dumps(line.as_dict()) + "\n")
    return lines
