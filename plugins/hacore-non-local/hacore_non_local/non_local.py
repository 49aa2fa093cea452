"""The non-local pairwise aggregator: embedded-Gaussian self-attention over the kept cells, then a sum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from hacore_attention import attention, in_groups, log_weight
from torch import Tensor, nn

from hacore.interfaces import Aggregator, Question, Selection, Sizes

from . import Config


class NonLocal(Aggregator[Config]):
    """Each kept cell is compared with every other, then all are summed; (Q, C), C as it comes in.

    With x_i a kept vector, c_i its coordinates and w_i its weight (1 without soft attention)::

        a_ij = softmax_j(theta([x_i, c_i]) . phi([x_j, c_j]) / sqrt(d) + log w_j)
        z_i  = x_i + W_z sum_j a_ij g(x_j)
        out  = sum_i w_i z_i

    ``reduce = "mean"`` divides the outer sum by that of the weights, as ``sum-pool`` does.
    A cell of weight 0 counts as absent, exactly as an invalid one does; weights are not negative. The
    gradient of a weight that is exactly 0 is that of the outer sum alone.

    Source: Wang et al. 2018, *Non-local Neural Networks*, arXiv 1711.07971, equations 1, 4 and 6 (which
    divide by nothing: ``scale = false``). How Malinowski et al. 2018 (arXiv 1808.00300) put it over the
    kept cells is *open*; coordinates, heads, scale and the number of blocks are options therefore.

    On CPU questions with ragged counts run in groups of similar count, so that the work follows what is
    valid; elsewhere they are masked, because grouping would make the host wait for the device, and so they
    are in an exported program.
    Raises ValueError when ``width`` cannot be split over ``heads``.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        channels = sizes.cell_channels
        self.out_channels = channels
        width = max(1, channels // 2) if config.width is None else config.width
        if width % config.heads:
            origin = f" (half of {channels} channels)" if config.width is None else ""
            raise ValueError(
                f"width = {width}{origin} does not divide into heads = {config.heads}; "
                "set width to a multiple of heads"
            )
        self.blocks = nn.ModuleList(_Block(channels, width, config) for _ in range(config.blocks))

    def forward(self, selection: Selection, question: Question) -> Tensor:
        return in_groups(selection, self._aggregate)

    def _aggregate(self, selection: Selection) -> Tensor:
        features_QKC = selection.features_QKC
        positions_QK2 = selection.kept_positions_QK2.to(features_QKC.dtype)
        weight_QK = selection.masked_weight_QK
        bias_Q11K = None if weight_QK is None else log_weight(weight_QK)[:, None, None]
        *first, last = cast("Iterable[_Block]", self.blocks)
        for block in first:
            attended_QKD = block(features_QKC, positions_QK2, bias_Q11K)
            features_QKC = features_QKC + block.out(attended_QKD)
        # The last projection is linear, so it is applied once, after the sum over the cells.
        attended_QKD = last(features_QKC, positions_QK2, bias_Q11K)
        projected_QC: Tensor = last.out(_weighted_sum(attended_QKD, weight_QK))
        out_QC = _weighted_sum(features_QKC, weight_QK) + projected_QC
        if self.config.reduce == "sum":
            return out_QC
        if weight_QK is None:
            return out_QC / features_QKC.shape[1]
        total_Q1 = weight_QK.sum(1, keepdim=True).to(out_QC.dtype)
        return out_QC / total_Q1.where(total_Q1 != 0, 1)


class _Block(nn.Module):
    """theta, phi, g and the output projection W_z of one non-local block; forward stops before W_z."""

    def __init__(self, channels: int, width: int, config: Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.coordinates = config.coordinates
        self.factor = (width // config.heads) ** -0.5 if config.scale else 1.0
        compared = channels + (2 if config.coordinates else 0)
        self.theta = nn.Linear(compared, width)
        self.phi = nn.Linear(compared, width)
        self.g = nn.Linear(channels, width)
        self.out = nn.Linear(width, channels, bias=False)
        if config.zero_init:
            nn.init.zeros_(self.out.weight)

    def forward(self, features_QKC: Tensor, positions_QK2: Tensor, bias_Q11K: Tensor | None) -> Tensor:
        """(Q, K, D): sum_j a_ij g(x_j)."""
        compared = torch.cat([features_QKC, positions_QK2], -1) if self.coordinates else features_QKC
        theta, phi, g = (
            projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projected in (self.theta(compared), self.phi(compared), self.g(features_QKC))
        )
        attended = attention(theta, phi, g, bias_Q11K, self.factor)
        return attended.transpose(1, 2).flatten(2)


def _weighted_sum(vectors_QKC: Tensor, weight_QK: Tensor | None) -> Tensor:
    if weight_QK is None:
        return vectors_QKC.sum(1)
    return torch.einsum("qk,qkc->qc", weight_QK.to(vectors_QKC.dtype), vectors_QKC)
