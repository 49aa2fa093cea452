"""ReLU and its gradient in place; of bfloat16 on a CPU as operations on whole numbers, which are faster.

The bits of a bfloat16, read as an int16, are at least zero where the number is, and grow with it.
A NaN whose sign is set becomes zero there; ``hidden_nan`` brings it back.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

relu_backward = torch.ops.aten.threshold_backward.grad_input
"""relu_backward(g, h, 0, grad_input=out): out = g where h > 0, else 0."""


def relu_(x: Tensor) -> None:
    """x = max(x, 0)."""
    if _by_bits(x):
        x.view(torch.int16).clamp_min_(0)
    else:
        x.relu_()


def relu_backward_(g: Tensor, h: Tensor) -> None:
    """g = g where h > 0, else 0; h: what a ReLU gave, of the same shape."""
    if _by_bits(g):
        g.view(torch.int16).mul_(h.view(torch.int16).clamp_max(1))
    else:
        relu_backward(g, h, 0, grad_input=g)


def new_signs(like: Tensor, rows: int) -> Tensor:
    """An empty place for ``keep_signs``, of ``rows`` rows as wide as ``like``."""
    return like.new_empty(rows, like.shape[1], dtype=torch.int16 if _by_bits(like) else torch.bool)


def keep_signs(signs: Tensor, h: Tensor) -> None:
    """signs = h > 0; h: what a ReLU gave, of the same shape."""
    if _by_bits(h):
        torch.clamp_max(h.view(torch.int16), 1, out=signs)
    else:
        signs.copy_(h)


def spread_(g_nPW: Tensor, signs_nPW: Tensor, row_n1W: Tensor) -> None:
    """g = row where the signs are set, else 0."""
    if _by_bits(g_nPW):
        row_n1W = row_n1W.contiguous().view(torch.int16)
        torch.mul(signs_nPW, row_n1W, out=g_nPW.view(torch.int16))
    else:
        # As bytes, since bools convert to floats an element at a time.
        g_nPW.copy_(signs_nPW.view(torch.uint8)).mul_(row_n1W)


def hidden_nan(tensors: Iterable[Tensor]) -> Tensor | None:
    """Zero, or NaN where a tensor holds one or infinity; None where no NaN can be lost."""
    tensors = list(tensors)
    if not _by_bits(tensors[0]):
        return None
    return torch.stack([tensor.sum(dtype=torch.float32) for tensor in tensors]).sum() * 0


def _by_bits(x: Tensor) -> bool:
    return x.dtype == torch.bfloat16 and x.device.type == "cpu"
