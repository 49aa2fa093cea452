"""Measure a model on a split, and the baselines that stand beside every accuracy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch

from hacore.data import Batch, Dataset, Ints, Questions, make_batch
from hacore.errors import NotFiniteError
from hacore.files import write_whole
from hacore.interfaces import Selection
from hacore.measure.metrics import Meter, Scores
from hacore.measure.predict import batches, evaluating, likeliest, predict
from hacore.model import Output, QuestionOnly, VQAModel
from hacore.train.distributed import World


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

    predictions: also write one JSON line per question there (with one process only): its id, image,
    type, answer, prediction, score, probability of the prediction, number of kept cells, their indices
    and, where the selector weighs them, their weights; and beside
    it, with the suffix ``.submission``, what the data set's official evaluation takes, if there is such.
    Without answers (``Dataset.unanswered``) the scores are zeros that mean nothing.
    Raises NotFiniteError when the loss is not finite.
    """
    meter = Meter(dataset, device)
    questions = dataset.questions(split)
    lines: list[str] = []
    answers_Q = np.zeros(len(questions), np.int64)
    with evaluating(model):
        for batch in batches(dataset, split, batch_images, oracle=model.oracle, world=world):
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
    """answered: whether scores mean something; a question with several answers may have none of the set."""
    several = batch.accepted_QS is not None
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
        record = {
            "id": int(questions.ids[row]),
            "image": int(questions.image[row]),
            "type": dataset.question_types[int(questions.type[row])],
            "answer": dataset.answers[answer] if answer >= 0 else None,
            "prediction": dataset.answers[prediction],
            "score": score if answered and (several or answer >= 0) else None,
            "probability": round(probability, 6),
            "kept": kept,
            "cells": cells,
        }
        if weights is not None:
            record["weights"] = [round(weight, 5) for weight in weights]
        lines.append(json.dumps(record) + "\n")
    return lines


def kept_cells(selection: Selection) -> list[tuple[list[int], list[float] | None]]:
    """Of each question the kept cells, in the selector's order, and their weights, None where all are one.

    Of mixtures the cells that have a share in them, the largest first, with their shares.
    """
    if selection.share_QKN is not None:
        used_QN = selection.used_QN.cpu()
        order_QN = used_QN.argsort(dim=1, descending=True, stable=True)
        counts_Q = (used_QN > 0).sum(1).tolist()
        return [
            (order_N[:count].tolist(), used_N[order_N[:count]].tolist())
            for used_N, order_N, count in zip(used_QN, order_QN, counts_Q, strict=True)
        ]
    index_QK = selection.index_QK.cpu().numpy()
    valid_QK = np.ones(index_QK.shape, np.bool_)
    if selection.valid_QK is not None:
        valid_QK = selection.valid_QK.cpu().numpy()
    if selection.weight_QK is None:
        return [
            (index_K[valid_K].tolist(), None) for index_K, valid_K in zip(index_QK, valid_QK, strict=True)
        ]
    weight_QK = selection.weight_QK.detach().float().cpu().numpy()
    return [
        (index_K[valid_K].tolist(), weight_K[valid_K].tolist())
        for index_K, valid_K, weight_K in zip(index_QK, valid_QK, weight_QK, strict=True)
    ]


@attrs.frozen(kw_only=True)
class Baseline:
    """Accuracies in [0, 1] of a baseline: overall, by type and by group."""

    accuracy: float
    by_type: dict[str, float]
    by_group: dict[str, float]


def _baseline(dataset: Dataset[Any], asked: Questions, score_Q: np.ndarray[Any, Any]) -> Baseline:
    names = dataset.question_types
    present = {name: asked.type == i for i, name in enumerate(names) if (asked.type == i).any()}
    groups = {
        group: np.isin(asked.type, [names.index(t) for t in types]) for group, types in dataset.groups.items()
    }
    return Baseline(
        accuracy=float(score_Q.mean()),
        by_type={name: float(score_Q[mask].mean()) for name, mask in present.items()},
        by_group={name: float(score_Q[mask].mean()) for name, mask in groups.items() if mask.any()},
    )


def majority_baseline(dataset: Dataset[Any], split: str) -> Baseline:
    """Answer each question with the most frequent training answer of its type."""
    asked = dataset.questions(split)
    return _baseline(dataset, asked, dataset.majority(dataset.questions("train"), asked))


def question_only_baseline(
    dataset: Dataset[Any], split: str, model: QuestionOnly, *, steps: int, seed: int, device: torch.device
) -> Baseline:
    """Train a model that sees no image on the training questions, and measure it.

    AdamW at 2e-3, 640 questions a step, ``steps`` steps: enough for a bag of short questions; it
    has converged when more steps do not raise it.
    """
    model.to(device).train()
    train, asked = dataset.questions("train"), dataset.questions(split)
    no_images = np.zeros((int(max(train.image.max(), asked.image.max())) + 1, 0), np.uint8)
    random = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        rows: Ints = random.choice(len(train), min(640, len(train)), replace=False)
        batch = make_batch(train, no_images, rows).to(device)
        loss = dataset.loss(model(batch.words_QT, batch.lengths_Q), batch) / len(batch)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()
    score_Q = np.empty(len(asked), np.float32)
    with torch.no_grad():
        for start in range(0, len(asked), 2000):
            rows = np.arange(start, min(start + 2000, len(asked)))
            batch = make_batch(asked, no_images, rows).to(device)
            score_Q[rows] = dataset.score(model(batch.words_QT, batch.lengths_Q), batch).cpu().numpy()
    return _baseline(dataset, asked, score_Q)
