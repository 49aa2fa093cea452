"""Whether a training step fits the memory: Linux ends a process that takes more without a word."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from hacore.data import Batch
from hacore.errors import RunError
from hacore.measure.predict import predict

FEW = 100  # questions that are tried; a step of no more is not looked at


def require_room(
    model: nn.Module, few: Batch, precision: torch.dtype, times: float, free: float, parts: int
) -> None:
    """RunError where a step of ``times`` as much as ``few`` keeps more for its backward pass than is free.

    free: bytes of memory. parts: that the step is computed in already.
    """
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    model.eval()  # no random numbers are drawn, and no statistics change
    with saved_tensors_hooks(note, lambda tensor: tensor):
        _output = predict(model, few, precision)  # holds what is kept
    model.train()
    for weight in model.parameters():
        kept.pop(weight.untyped_storage().data_ptr(), None)
    wanted = sum(kept.values()) * times
    if wanted > free:
        raise RunError(
            f"a training step takes at least {wanted / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; "
            f"lower train.batch_images, or give train.accumulate = {1 + round(2 * parts * wanted / free)}"
        )
