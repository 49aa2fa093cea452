"""The soft attention baseline: every cell goes on, with a learned weight."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hacore.interfaces import Cells, Question, Selection, Selector, Sizes
from hacore.selection import l2_presence

from . import Config


class SoftAttention(Selector[Config]):
    """Keeps all N cells in grid order, weighted by a softmax over the cells; gradient reaches the weights.

    With m_i the fused vector of cell i::

        hop 1:  p1 = softmax_i(w1 . tanh(W1 m_i + b1)),          v1 = sum_i p1_i m_i
        hop 2:  p2 = softmax_i(w2 . tanh(W2 m_i + U v1 + b2))

    ``weight_QK`` and ``presence_QN`` (without gradient) are the last hop's p.

    Source: Yang et al. 2016, *Stacked Attention Networks*, arXiv 1511.02274, equations 15 to 23. It
    departs from them where hacore fuses earlier: the cells already hold the question, so hop 1 has no
    separate question term, hop 2 asks with v1 instead of v1 + question, and the result is p2 applied
    to the cells by the aggregator, without the query added.

    Raises ValueError in forward when a cell is not finite.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        channels = sizes.cell_channels
        self.hops = nn.ModuleList(
            _Hop(channels, config.width, asks=number > 0) for number in range(config.hops)
        )

    def forward(self, cells: Cells, question: Question) -> Selection:
        features_QNC = cells.features
        questions, count, _ = features_QNC.shape
        l2_presence(features_QNC)  # raises where a cell is not finite, which tanh would hide
        weight_QN = self.hops[0](features_QNC, None)
        for hop in self.hops[1:]:
            attended_QC = torch.einsum("qn,qnc->qc", weight_QN.to(features_QNC.dtype), features_QNC)
            weight_QN = hop(features_QNC, attended_QC)
        return Selection(
            features_QKC=features_QNC,
            index_QK=torch.arange(count, device=features_QNC.device).expand(questions, count),
            presence_QN=weight_QN.detach(),
            positions_N2=cells.positions,
            grid=cells.grid,
            weight_QK=weight_QN,
        )


class _Hop(nn.Module):
    """softmax_i(w . tanh(W m_i + b [+ U query])) over the cells."""

    def __init__(self, channels: int, width: int, *, asks: bool) -> None:
        super().__init__()
        self.hidden = nn.Linear(channels, width)
        self.query = nn.Linear(channels, width, bias=False) if asks else None
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, features_QNC: Tensor, query_QC: Tensor | None) -> Tensor:
        hidden_QNW = self.hidden(features_QNC)
        if self.query is not None:
            hidden_QNW = hidden_QNW + self.query(query_QC).unsqueeze(1)
        logits_QN: Tensor = self.score(hidden_QNW.tanh()).squeeze(-1)
        wide = torch.promote_types(logits_QN.dtype, torch.float32)
        return logits_QN.softmax(dim=1, dtype=wide)
