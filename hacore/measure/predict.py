"""The one place in which a model is run: training, evaluation, costs, reports and questions call it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hacore.data import Batch, Dataset, make_batch
from hacore.machine.device import multiplies_bfloat16
from hacore.machine.processes import World
from hacore.model.network import Output
from hacore.model.network import evaluating as evaluating
from hacore.selection import strongest_first
from hacore.spec import TrainConfig


def predict(model: nn.Module, batch: Batch, precision: torch.dtype = torch.float32) -> Output:
    """What a VQAModel, compiled or not, makes of a batch on its device; logits in float32.

    precision: of autocast, as ``precision_of`` tells; float32 stands for none. The batch holds pixels or
    stored features, see ``Dataset.inputs``.
    """
    with torch.autocast(batch.images.device.type, precision, enabled=precision != torch.float32):
        output: Output = model(*batch.inputs(model.grid))  # type: ignore[arg-type]
    return Output(output.logits_QA.float(), output.selection)


def likeliest(logits_QA: Tensor, top: int = 1) -> tuple[Tensor, Tensor]:
    """Probabilities (Q, top) and answers (Q, top), the likeliest first; of equal ones the lower index first.

    In bfloat16 two answers are often equal, and everything that names an answer must name the same one.
    """
    answer_QA = strongest_first(logits_QA)[:, :top]
    return logits_QA.softmax(-1).gather(1, answer_QA), answer_QA


def precision_of(config: TrainConfig, device: torch.device) -> torch.dtype:
    """The dtype of autocast of a training that begins on a device; float32 stands for none."""
    fast = multiplies_bfloat16(device) if config.precision == "auto" else config.precision == "bfloat16"
    return torch.bfloat16 if fast else torch.float32


def saved_precision(name: str | None, config: TrainConfig, device: torch.device) -> torch.dtype:
    """That of a training whose checkpoint says ``name``, as ``Position.precision``.

    Earlier versions said nothing, and took "auto" for bfloat16 on CUDA only, wherever a model was used.
    """
    earlier = {"auto": "bfloat16" if device.type == "cuda" else "float32"}
    dtype: torch.dtype = getattr(torch, name or earlier.get(config.precision, config.precision))
    return dtype


def precision_name(precision: torch.dtype) -> str:
    """As records and specs say it."""
    return str(precision).removeprefix("torch.")


def batches(
    dataset: Dataset[Any], split: str, batch_images: int, *, oracle: bool = False, world: World | None = None
) -> Iterator[Batch]:
    """Every question of a split once, ``batch_images`` images at a time, shared among processes.

    oracle: whether the batches tell which objects the questions are about, see ``Dataset.objects``.
    """
    world = world or World()
    questions, images = dataset.questions(split), dataset.inputs(split)
    objects = dataset.objects(split) if oracle else None
    order = np.argsort(questions.image, kind="stable")
    firsts = np.flatnonzero(np.diff(questions.image[order], prepend=-1))[::batch_images]
    for rows in np.split(order, firsts[1:])[world.rank :: world.processes] if len(order) else []:
        yield make_batch(questions, images, rows, objects)
