"""Whether a training step fits the memory; Linux ends a process that takes more without a word."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from hacore.data import Batch
from hacore.errors import RunError
from hacore.machine.memory import free_memory
from hacore.measure.predict import predict
from hacore.spec import TrainConfig

FEW = 100
"""Questions that are tried; a step of no more is not looked at."""


def require_room(
    model: nn.Module, few: Batch, questions: int, config: TrainConfig, precision: torch.dtype, processes: int
) -> None:
    """RunError where a part of a step on the CPU would keep more for its backward pass than is free.

    few: some of the part's questions, from which its memory follows in proportion. It is the least that the
    step takes.
    """
    free = free_memory()
    if few.images.device.type != "cpu" or free is None or len(few) == questions:
        return
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model.eval()  # no random numbers are drawn and no statistics change
    with saved_tensors_hooks(note, lambda tensor: tensor):
        output = predict(model, few, precision)
    model.train()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    wanted = sum(size for place, size in kept.items() if place not in weights)
    wanted = round(wanted * questions / len(output.logits_QA)) * processes
    if wanted > free:
        parts = -(-2 * wanted // free) * config.accumulate
        raise RunError(
            f"train.batch_images = {config.batch_images}: a step of {questions:,} questions takes at least "
            f"{wanted / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; lower it, or compute the step in "
            f"parts with train.accumulate = {parts}"
        )
