"""ReLU, after a linear layer too, and its gradient, on a CPU in the ways that are fastest there.

oneDNN applies bias and ReLU to a product before it leaves the cache. The rest is of bfloat16 done on whole
numbers: its bits, read as an int16, are at least zero where the number is, and grow with it. Both make zero
of some NaN; ``hidden_nan`` brings it back.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

relu_backward = torch.ops.aten.threshold_backward.grad_input
"""relu_backward(g, h, 0, grad_input=out): out = g where h > 0, else 0."""


_FUSED = (
    getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None
)


def linear_relu(x_PW: Tensor, weight: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    """relu(x W^T + b), in ``out``, (P, W) like the result, or in memory of its own.

    With ``torch.backends.mkldnn`` switched off it is a product that counters of operations know.
    """
    fits = x_PW.device.type == "cpu" and x_PW.dtype in (torch.float32, torch.bfloat16)
    if _FUSED is not None and fits and torch.backends.mkldnn.enabled:
        fused: Tensor = _FUSED(x_PW, weight, bias, "relu", [], "")
        return fused
    result = torch.addmm(bias, x_PW, weight.t(), out=out)
    relu_(result)
    return result


def relu_(x: Tensor) -> None:
    """x = max(x, 0)."""
    if by_bits(x):
        x.view(torch.int16).clamp_min_(0)
    else:
        x.relu_()


def relu_backward_(g: Tensor, h: Tensor) -> None:
    """g = g where h > 0, else 0; h: what a ReLU gave, of the same shape."""
    if by_bits(g):
        g, h = g.view(torch.int16), h.view(torch.int16)
    relu_backward(g, h, 0, grad_input=g)


def signs_of(h: Tensor) -> Tensor:
    """What ``spread_`` needs of the result of a ReLU: where it is above zero, in at most two bytes each."""
    return h if by_bits(h) else h > 0


def spread_(g_nPW: Tensor, signs_nPW: Tensor, row_n1W: Tensor) -> None:
    """g = row where the signs are set, else 0."""
    if by_bits(g_nPW):
        row_nPW = row_n1W.contiguous().view(torch.int16).expand(g_nPW.shape)
        relu_backward(row_nPW, signs_nPW.view(torch.int16), 0, grad_input=g_nPW.view(torch.int16))
    else:
        # As bytes, since bools convert to floats an element at a time.
        g_nPW.copy_(signs_nPW.view(torch.uint8)).mul_(row_n1W)


def hidden_nan(tensors: Iterable[Tensor]) -> Tensor | None:
    """Zero, or NaN where a tensor holds one or infinity; None where no NaN can be lost."""
    tensors = list(tensors)
    if tensors[0].device.type != "cpu":
        return None
    return torch.stack([tensor.sum(dtype=torch.float32) for tensor in tensors]).sum() * 0


def by_bits(x: Tensor) -> bool:
    """Whether its ReLUs are done on whole numbers."""
    return x.dtype == torch.bfloat16 and x.device.type == "cpu"
