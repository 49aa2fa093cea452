"""Selectors whose weights are a sparse softmax: the cells of weight zero are dropped."""

from __future__ import annotations

from abc import abstractmethod

import entmax
import torch
from torch import Tensor, nn

from hacore.interfaces import Cells, Question, Selection, Selector, Sizes
from hacore.selection import check_finite, check_max_cells, keep_leading, strongest_first

from . import Config

START = 0.01
"""Standard deviation of w at first."""


class SparseAttention(Selector[Config]):
    """Keeps the cells with p > 0, of highest score first, and weighs them by p.

    With m_i the fused vector of cell i and w learned::

        s_i = scale * (w . m_i) / sqrt(C)        p = the mapping of s over the cells, computed in float32

    ``weight_QK`` is p, and the gradient of a question reaches w and the vectors of its kept cells, also
    through p. ``presence_QN`` is s without gradient. K is the largest count of the batch, or ``max_cells``;
    ``valid_QK`` marks each question's own cells. With ``max_cells`` the mapping sees the cells of highest
    score alone, so that the weights add up to one all the same, and where fewer cells get weight nothing
    changes. For sparsemax this is the nearest distribution with that many cells (Kyrillidis et al. 2013,
    *Sparse projections onto the simplex*).

    w starts normal with deviation 0.01, so that training starts with about the mean of all cells: with larger
    scores a few cells that chance picked would be all that is trained. The division is that of dot-product
    attention. There is no bias, as p does not change when all scores grow alike.

    Cost: a sort of N numbers a question and the products w . m_i, little beside a fuser's layer. What follows
    works on the kept cells only, in training too; but while scores are close, as they often are at first,
    all cells have p > 0, and a step costs as with all cells.

    Pitfalls: p adds up to one, so ``sum-pool`` of the result is a mean, which does not count. Scores grow in
    training, and their number of cells may fall to one; cells without weight get no gradient and come back
    only if w or what is before them changes.

    Raises ValueError when ``max_cells`` exceeds the grid, and in forward when a score is not finite.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        check_max_cells(config.max_cells, sizes)
        self.score = nn.Linear(sizes.cell_channels, 1, bias=False)
        nn.init.normal_(self.score.weight, std=START)

    @abstractmethod
    def mapping(self, scores_QN: Tensor) -> Tensor:
        """(Q, N) scores -> (Q, N) probabilities, zero for low scores; never decreasing in the score."""

    def forward(self, cells: Cells, question: Question) -> Selection:
        wide = torch.promote_types(cells.features.dtype, torch.float32)
        # Product and sum rather than a matrix product, which autocast would round.
        products_QNC = cells.features.to(wide) * self.score.weight.to(wide)
        scores_QN = products_QNC.sum(2) * (self.config.scale / products_QNC.shape[2] ** 0.5)
        presence_QN = scores_QN.detach()
        check_finite(presence_QN)

        # p grows with the score, so the cells with p > 0 come first in this order.
        order_QN = strongest_first(presence_QN)[:, : self.config.max_cells]
        weight_QN = self.mapping(scores_QN.gather(1, order_QN))
        counts_Q = (weight_QN.detach() > 0).sum(1)
        selection = keep_leading(cells, presence_QN, order_QN, counts_Q, self.config.max_cells)
        selection.weight_QK = weight_QN[:, : selection.index_QK.shape[1]]
        return selection


class Sparsemax(SparseAttention):
    """The Euclidean projection of the scores onto the distributions: p_i = max(s_i - t, 0).

    t is such that p adds up to one, so only cells less than 1 below the highest score can get weight. A score
    of the support, with S cells in it, moves p by 1 - 1/S at its own cell and by -1/S at the others.

    Source: Martins & Astudillo 2016, *From Softmax to Sparsemax*, arXiv 1602.02068, equations 2 to 5 and 12.
    """

    def mapping(self, scores_QN: Tensor) -> Tensor:
        weight_QN: Tensor = entmax.sparsemax(scores_QN, dim=1)
        return weight_QN


class Entmax15(SparseAttention):
    """Between softmax and sparsemax: p_i = max(s_i / 2 - t, 0)^2.

    t is such that p adds up to one, so only cells less than 2 below the highest score can get weight. The
    Jacobian is diag(r) - r r^T / sum(r) with r = sqrt(p), so a cell of little weight moves little, and the
    weights have no kink as those of sparsemax have.

    Source: Peters, Niculae & Martins 2019, *Sparse Sequence-to-Sequence Models*, arXiv 1905.05702, with
    alpha = 1.5: algorithm 2, proposition 2.
    """

    def mapping(self, scores_QN: Tensor) -> Tensor:
        weight_QN: Tensor = entmax.entmax15(scores_QN, dim=1)
        return weight_QN
