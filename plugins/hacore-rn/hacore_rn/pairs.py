"""The sum of an MLP over all ordered pairs of cells, a block of pairs at a time.

A block's activations live in buffers that the next block uses again, and the backward pass computes
them again unless all of them, sum(k^2) x width numbers a layer, take little memory. On a CPU, where a
step over large tensors is bound by page faults and memory traffic, this is also faster.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hacore.selection import no_autocast
from hacore_rn.blocks import Block, automatic_pairs, blocks
from hacore_rn.relu import (
    by_bits,
    hidden_nan,
    linear_relu,
    relu_,
    relu_backward,
    relu_backward_,
    signs_of,
    spread_,
)

Recompute = Literal["auto", "always", "never"]

# Bytes of activations that are kept rather than computed again.
CPU_KEPT = 32 * 2**20
GPU_KEPT = 2**30


def pair_sum(
    a_TW: Tensor,
    b_TW: Tensor,
    groups: Sequence[tuple[int, int]],
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    factor_T: Tensor | None = None,
    pairs_per_block: int | None = None,
    recompute: Recompute = "auto",
) -> Tensor:
    """(Q, W): for each question the sum over its ordered pairs of cells (i, j), i = j included, of
    ``factor_i * factor_j * mlp(relu(a_i + b_j))``.

    a_TW, b_TW: the first layer's two halves for the T cells of all questions, question by question.
    groups: (number of questions, cells each) of consecutive questions; counts may be 0.
    weights, biases: Linear layers (W, W) and (W), each followed by a ReLU. factor_T: None for ones.
    pairs_per_block: an upper bound of the pairs evaluated at a time, rounded up to the pairs of one
    cell; None chooses it by device and width. recompute: whether the backward pass computes the layers
    after the first again; "auto": if keeping them takes more than 32 MiB, on a GPU 1 GiB.

    Half-precision numbers are summed in float32, which is also what is returned; gradients are summed in
    float32 over blocks, each block's sum rounded once, like the products beside it. On a CPU the result
    is the same each time for the same input and number of threads. Differentiable once.
    """
    if torch.compiler.is_compiling():  # blocks written in place are not for the compiler: a graph break
        eager: Callable[..., Tensor] = torch.compiler.disable(pair_sum)
        return eager(a_TW, b_TW, groups, weights, biases, factor_T, pairs_per_block, recompute)
    device = a_TW.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        a_TW, b_TW = a_TW.to(dtype), b_TW.to(dtype)
        weights, biases = [x.to(dtype) for x in weights], [x.to(dtype) for x in biases]
    layers = [tensor for pair in zip(weights, biases, strict=True) for tensor in pair]
    trains = torch.is_grad_enabled() and any(x.requires_grad for x in (a_TW, b_TW, *layers))
    plan = list(blocks(groups, pairs_per_block or automatic_pairs(a_TW.shape[1], len(weights), a_TW)))
    questions = sum(count for count, _ in groups)
    pairs = sum(count * k**2 for count, k in groups)
    kept_bytes = pairs * a_TW.shape[1] * a_TW.element_size() * (len(weights) - 1)
    limit = {"auto": CPU_KEPT if device == "cpu" else GPU_KEPT, "always": -1, "never": kept_bytes}[recompute]
    keeps = trains and kept_bytes <= limit
    with no_autocast(a_TW):
        out_QW: Tensor = _PairSum.apply(
            a_TW.contiguous(), b_TW.contiguous(), factor_T, questions, plan, trains, keeps, *layers
        )
    return out_QW


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        a_TW: Tensor,
        b_TW: Tensor,
        factor_T: Tensor | None,
        questions: int,
        plan: list[Block],
        trains: bool,
        keeps: bool,
        *layers: Tensor,
    ) -> Tensor:
        width, depth = a_TW.shape[1], len(layers) // 2
        exact = _exact(a_TW.dtype)
        out_QW = a_TW.new_zeros(questions, width, dtype=exact)
        # Of the last layer backward needs the signs; the gradient of a factor needs the numbers.
        wants_signs = trains and not (factor_T is not None and factor_T.requires_grad)
        kept: list[Tensor] = []
        signs: list[Tensor] = []
        *buffers, wide = _buffers(a_TW, plan, 3, last=exact)
        for block in plan:
            h_PW = a_TW
            for layer in range(depth + 1):
                keep = keeps and 0 < layer < depth
                own = keep or (wants_signs and layer == depth and by_bits(a_TW))
                place_PW = None if own else buffers[layer % 2][: block.pairs]
                if layer == 0:
                    h_PW = _first(block, a_TW, b_TW, place_PW)
                else:
                    h_PW = linear_relu(h_PW, layers[2 * layer - 2], layers[2 * layer - 1], place_PW)
                kept += [h_PW] * keep
            signs += [signs_of(h_PW)] * wants_signs
            exact_PW = h_PW if h_PW.dtype == exact else wide[: block.pairs].copy_(h_PW)
            exact_nPW = exact_PW.view(block.n, -1, width)
            if factor_T is None:
                summed_nW = exact_nPW.sum(1)
            else:
                factor_nP = _pair_factors(block, factor_T.to(exact)).flatten(1)
                summed_nW = torch.bmm(factor_nP.unsqueeze(1), exact_nPW).squeeze(1)
            block.per_question(out_QW).add_(summed_nW)
        if (zero := hidden_nan((a_TW, b_TW, *layers))) is not None:
            out_QW.add_(zero)
        ctx.save_for_backward(a_TW, b_TW, factor_T, *layers, *signs, *kept)
        ctx.plan, ctx.depth, ctx.wants_signs = plan, depth, wants_signs
        return out_QW

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_QW: Tensor) -> tuple[Tensor | None, ...]:
        a_TW, b_TW, factor_T, *rest = ctx.saved_tensors
        depth, count = ctx.depth, len(ctx.plan) * ctx.wants_signs
        layers, signs, kept = rest[: 2 * depth], rest[2 * depth :][:count], rest[2 * depth + count :]
        width = a_TW.shape[1]
        exact = _exact(a_TW.dtype)
        grad_a_TW = torch.zeros_like(a_TW, dtype=exact)
        grad_b_TW = torch.zeros_like(b_TW, dtype=exact)
        grad_factor_T = None if factor_T is None else torch.zeros_like(factor_T, dtype=exact)
        grad_layers = [torch.zeros_like(layer, dtype=exact) for layer in layers]
        row_QW = grad_QW.to(a_TW.dtype)
        *places, spare = _buffers(a_TW, ctx.plan, 3 if kept else depth + 2)
        with no_autocast(a_TW):
            for number, block in enumerate(ctx.plan):
                h = [_first(block, a_TW, b_TW, places[0][: block.pairs])]
                h += kept[number * (depth - 1) : (number + 1) * (depth - 1)]
                for layer in range(len(h), depth + (not signs)):
                    place_PW = places[layer - len(kept[: depth - 1])][: block.pairs]
                    h.append(linear_relu(h[-1], layers[2 * layer - 2], layers[2 * layer - 1], place_PW))
                # The last layer's place and the spare hold the gradients by turns.
                g_PW = places[-1][: block.pairs] if signs else h[depth]
                free_PW = spare[: block.pairs]
                g_nPW = g_PW.view(block.n, -1, width)
                row_n1W = block.per_question(row_QW).unsqueeze(1)
                if signs:
                    spread_(g_nPW, signs[number].view(g_nPW.shape), row_n1W)
                else:
                    assert factor_T is not None
                    assert grad_factor_T is not None
                    grad_P = torch.bmm(g_nPW.to(exact), row_n1W.mT.to(exact)).flatten()
                    _add_factor_grads(block, factor_T.to(exact), block.grid(grad_P), grad_factor_T)
                    relu_backward(row_n1W.expand_as(g_nPW), g_nPW, 0, grad_input=g_nPW)
                if factor_T is not None:
                    g_PW.mul_(_pair_factors(block, factor_T).view(-1, 1))
                for layer in reversed(range(depth)):
                    _add_product(grad_layers[2 * layer], g_PW, h[layer])
                    grad_layers[2 * layer + 1].add_(g_PW.sum(0))
                    torch.mm(g_PW, layers[2 * layer], out=free_PW)
                    relu_backward_(free_PW, h[layer])
                    g_PW, free_PW = free_PW, g_PW
                g_nRKW = block.grid(g_PW)
                block.first(grad_a_TW).add_(g_nRKW.sum(2))
                block.second(grad_b_TW).add_(g_nRKW.sum(1))
        return (
            grad_a_TW.to(a_TW.dtype),
            grad_b_TW.to(b_TW.dtype),
            None if factor_T is None or grad_factor_T is None else grad_factor_T.to(factor_T.dtype),
            *(None, None, None, None),
            *(grad.to(layer.dtype) for grad, layer in zip(grad_layers, layers, strict=True)),
        )


def _exact(dtype: torch.dtype) -> torch.dtype:
    """Sums over pairs of half-precision numbers are kept in float32."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def _buffers(like: Tensor, plan: list[Block], count: int, last: torch.dtype | None = None) -> list[Tensor]:
    """``count`` matrices (pairs of the largest block, width), the last one of that type."""
    pairs = max((block.pairs for block in plan), default=0)
    types = [like.dtype] * (count - 1) + [last or like.dtype]
    return [like.new_empty(pairs, like.shape[1], dtype=dtype) for dtype in types]


def _first(block: Block, a_TW: Tensor, b_TW: Tensor, place_PW: Tensor | None) -> Tensor:
    """relu(a_i + b_j) of a block's pairs, in their place or in memory of its own."""
    h_PW = a_TW.new_empty(block.pairs, a_TW.shape[1]) if place_PW is None else place_PW
    first_nR1W, second_n1KW = block.first(a_TW).unsqueeze(2), block.second(b_TW).unsqueeze(1)
    torch.add(first_nR1W, second_n1KW, out=block.grid(h_PW))
    relu_(h_PW)
    return h_PW


def _pair_factors(block: Block, factor_T: Tensor) -> Tensor:
    """(n, rows, k): factor_i * factor_j of the block's pairs."""
    return block.first(factor_T).unsqueeze(2) * block.second(factor_T).unsqueeze(1)


def _add_factor_grads(block: Block, factor_T: Tensor, grad_nRK: Tensor, grad_T: Tensor) -> None:
    block.first(grad_T).add_((grad_nRK * block.second(factor_T).unsqueeze(1)).sum(2))
    block.second(grad_T).add_((grad_nRK * block.first(factor_T).unsqueeze(2)).sum(1))


def _add_product(total: Tensor, g_PW: Tensor, h_PW: Tensor) -> None:
    """total += g^T h."""
    if total.dtype == g_PW.dtype:
        torch.addmm(total, g_PW.t(), h_PW, out=total)
    else:
        total.add_(g_PW.t() @ h_PW)
