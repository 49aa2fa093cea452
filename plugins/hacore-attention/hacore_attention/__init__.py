"""Attention over kept cells: few of them, weighted, and of another number for each question."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from hacore.interfaces import Selection

# Questions of similar count that are processed together on CPU.
_GROUP = 32


def attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, factor: float = 1.0) -> Tensor:
    """(..., S, E): softmax_j(factor query_i . key_j + bias_j), times value_j.

    query: (..., S, D). key: (..., K, D). value: (..., K, E). bias: broadcasts to (..., S, K); -inf for what
    is absent, but not for all of a row. To be exported to ONNX, (Q, heads, S, D) and the like.

    torch's attention in bfloat16 on a CPU takes up to thirty times as long as the formula for the few cells
    that a selector keeps. There, scores are rounded to bfloat16 and their softmax is in float32.
    """
    if query.dtype != torch.bfloat16 or query.device.type != "cpu":
        bias = None if bias is None else bias.to(query.dtype)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=factor)
    scores = (query @ key.mT).float() * factor
    if bias is not None:
        scores = scores + bias
    return scores.softmax(-1).to(value.dtype) @ value


def log_weight(weight_QK: Tensor) -> Tensor:
    """(Q, K): log of the weights, -inf for zero; all zeros where a question's weights are all zero.

    weight_QK: not negative, as ``Selection.masked_weight_QK``. A softmax over -inf alone would be NaN; what
    a question without cells gets is up to the aggregator. The clamp keeps the gradient of log finite where
    a weight is zero.
    """
    wide_QK = weight_QK.to(torch.promote_types(weight_QK.dtype, torch.float32))
    log_QK = wide_QK.clamp(min=torch.finfo(wide_QK.dtype).tiny).log()
    present_QK = wide_QK > 0
    log_QK = torch.where(present_QK, log_QK, -torch.inf)
    return torch.where(present_QK.any(1, keepdim=True), log_QK, 0.0)


def in_groups(selection: Selection, aggregate: Callable[..., Tensor], *of_questions: Tensor) -> Tensor:
    """(Q, C): ``aggregate(selection, *of_questions)``, on CPU of groups of questions with similar counts.

    aggregate: takes the selection of some questions, and of each tensor (Q, ...) their rows; what it makes of
    a question must not depend on the others. A group has no places that none of its questions uses, so that
    the work follows what is valid. Elsewhere, and in an exported program, there is one group, because
    grouping would make the host wait for the device.
    """
    valid_QK = selection.valid_QK
    if valid_QK is None or not valid_QK.is_cpu or torch.compiler.is_exporting():
        return aggregate(selection, *of_questions)
    order_Q = selection.counts_Q.argsort()
    groups = []
    for questions in order_Q.split(_GROUP):
        used = valid_QK[questions].any(0).nonzero().squeeze(1)
        groups.append(questions.unsqueeze(1) * valid_QK.shape[1] + used)
    # All groups are gathered at once: the gradient of each gather is as large as what it reads.
    rows = torch.cat([group.flatten() for group in groups])
    sizes = [group.numel() for group in groups]
    cells = {
        name: tensor.flatten(0, 1).index_select(0, rows).split(sizes)
        for name in ("features_QKC", "index_QK", "valid_QK", "weight_QK", "share_QKN")
        if (tensor := getattr(selection, name)) is not None
    }
    others = [
        tensor.index_select(0, order_Q).split(_GROUP) for tensor in (selection.presence_QN, *of_questions)
    ]
    parts = []
    for number, group in enumerate(groups):
        fields = {name: split[number].unflatten(0, group.shape) for name, split in cells.items()}
        presence_QN, *rest = (split[number] for split in others)
        parts.append(aggregate(attrs.evolve(selection, presence_QN=presence_QN, **fields), *rest))
    return torch.cat(parts).index_select(0, order_Q.argsort())
