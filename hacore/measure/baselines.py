"""The baselines next to which every accuracy stands."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from hacore.data import Dataset, Ints, Questions, make_batch
from hacore.measure.scores import Baseline
from hacore.model.network import QuestionOnly, evaluating


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
        loss.backward()
        optimizer.step()
    score_Q = np.empty(len(asked), np.float32)
    with evaluating(model):
        for start in range(0, len(asked), 2000):
            rows = np.arange(start, min(start + 2000, len(asked)))
            batch = make_batch(asked, no_images, rows).to(device)
            score_Q[rows] = dataset.score(model(batch.words_QT, batch.lengths_Q), batch).cpu().numpy()
    return _baseline(dataset, asked, score_Q)
