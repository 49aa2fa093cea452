"""Sum-pooling: the plainest aggregator."""

from __future__ import annotations

import torch
from torch import Tensor

from hacore.interfaces import Aggregator, Question, Selection, Sizes

from . import Config


class SumPool(Aggregator[Config]):
    """The sum over valid kept cells of weight * vector, (Q, C) with the channels that come in.

    ``reduce = "mean"`` divides it by the sum of the weights, which is the number of cells where the selector
    gives none. So what follows sees vectors of one scale, however many cells are kept. Zeros stay zeros where
    the weights sum to zero.
    The question enters through the fused cells only. Source: the sum aggregator of Malinowski et al.
    2018, arXiv 1808.00300.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.out_channels = sizes.cell_channels

    def forward(self, selection: Selection, question: Question) -> Tensor:
        features_QKC = selection.features_QKC
        weight_QK = selection.masked_weight_QK
        mean = self.config.reduce == "mean"
        if weight_QK is None:
            return features_QKC.mean(1) if mean else features_QKC.sum(1)
        if mean:
            total_Q1 = weight_QK.sum(1, keepdim=True)
            weight_QK = weight_QK / total_Q1.where(total_Q1 != 0, 1)
        return torch.einsum("qk,qkc->qc", weight_QK.to(features_QKC.dtype), features_QKC)
