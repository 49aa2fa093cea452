"""Questions of a split, put again to the models of finished runs: for what their records do not say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import numpy as np

from hacore.errors import DataError
from hacore.runs import RunFolder

if TYPE_CHECKING:
    from hacore.data import Batch
    from hacore.model.network import Output
    from hacore.runs.trained import Trained

T = TypeVar("T")
_BATCH = 64


def open_models(runs: Sequence[RunFolder | Trained], device: str) -> list[Trained]:
    """The models of runs on the same data, which they share, read as when they were measured.

    runs: folders, or models that are loaded already. Raises HacoreError where one cannot be opened.
    """
    from hacore.runs.trained import load

    opened: list[Trained] = []
    for run in runs:
        trained = load(run, device=device) if isinstance(run, RunFolder) else run
        if opened and trained.opened is None:  # the data have the same fingerprint
            trained = attrs.evolve(trained, opened=opened[0].dataset.reading(None))
        opened.append(_with_features(trained))
    return opened


def ask(
    trained: Trained, split: str, rows: np.ndarray[Any, Any], read: Callable[[Batch, Output], T]
) -> list[T]:
    """What ``read`` says of every batch of questions, the rows (Q,) of a split in their order."""
    from hacore.data import make_batch
    from hacore.measure.predict import evaluating, predict

    dataset, model = trained.dataset, trained.model
    questions, inputs = dataset.questions(split), dataset.inputs(split)
    objects = dataset.objects(split) if model.oracle else None
    parts: list[T] = []
    with evaluating(model):
        for start in range(0, len(rows), _BATCH):
            batch = make_batch(questions, inputs, rows[start : start + _BATCH], objects).to(trained.device)
            parts.append(read(batch, predict(model, batch, trained.precision)))
    return parts


def _with_features(trained: Trained) -> Trained:
    """The model with its data read as when it was measured: from a store of features, if any."""
    from hacore.model.stored import with_features

    if trained.opened is not None and trained.opened.store is not None:
        return trained
    try:
        return attrs.evolve(trained, opened=with_features(trained.dataset, trained.spec, trained.model))
    except DataError:  # without the store: the images give the same up to rounding
        return trained
