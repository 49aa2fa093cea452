"""DivPrune's selector: one after another the cell that is farthest from those kept so far."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hacore.interfaces import Cells, Question, Selection, Selector, Sizes
from hacore.selection import cells_to_keep, keep_cells, l2_presence, no_autocast

from . import Config

# A cosine within this many machine epsilons of 1 is that of equal directions.
ROUNDING = 16


class DiverseK(Selector[Config]):
    """Keeps k cells whose smallest distance from each other is large, in the order in which they were added.

    The distance of two cells is 1 - the cosine of their vectors. The first cell is the one with the largest
    distance to its nearest neighbour; then k - 1 times the cell with the largest distance to the nearest
    kept one. Of equal ones the lower index wins; two cells that are each other's nearest neighbours are equal
    at the start. The smallest angle between two kept cells is at least half of the largest possible.
    Gradient flows through the kept vectors only, and there is no parameter: a trained model can use it.

    With ``question`` each distance is multiplied by how well the cell matches the question::

        r_i = sigmoid(P q . m_i / |m_i|)

    with q the question's vector and P learned, without bias, started as in ``torch.nn.Linear``. The kept
    vectors are weighed by r (``weight_QK``), by which P and the question encoder learn; the directions
    m_i / |m_i| carry no gradient. This is not in the paper, and the guarantee does not hold.

    ``presence_QN`` is what a cell was added for, its distance to those kept before (times r), of the others
    that to all that are kept; the first has that of the second. So no dropped cell has more than a kept one.

    Source: Alvar, Singh, Akbari & Zhang 2025, *DivPrune*, CVPR, arXiv 2503.02175; the start is that of the
    authors' code. Guarantee: Ravi, Rosenkrantz & Tayi 1994, *Heuristic and Special Case Algorithms for
    Dispersion Problems*, theorem 2.

    Cost: N^2 C multiplications and N^2 numbers a question, then k steps of N numbers, for all questions at
    once and without waiting for the device; on a GPU the k steps are launches of small kernels.

    Pitfalls: the norm, by which models say how strongly a cell presents itself, does not count, so noise in a
    nearly empty cell is as good as an object, and a lone background cell is "diverse". A zero vector
    has no direction: it counts as equal to other zero vectors and at distance 1 from the rest.

    Raises ValueError when built for a grid of fewer than k cells, and in forward when a norm is not finite.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.k = cells_to_keep(config, sizes)
        self.project = None
        if config.question:
            self.project = nn.Linear(sizes.question_channels, sizes.cell_channels, bias=False)

    def forward(self, cells: Cells, question: Question) -> Selection:
        features_QNC = torch.cat(list(cells.blocks()))
        norm_QN1 = l2_presence(features_QNC).unsqueeze(2)
        unit_QNC = features_QNC.to(norm_QN1.dtype) / norm_QN1.where(norm_QN1 > 0, 1)
        match_QN = None if self.project is None else self._match(unit_QNC, self.project(question.vector_QC))
        index_QK, presence_QN = farthest_first(
            _distances(unit_QNC, norm_QN1 == 0), None if match_QN is None else match_QN.detach(), self.k
        )
        weight_QK = None if match_QN is None else match_QN.gather(1, index_QK)
        return keep_cells(cells, index_QK, presence_QN, weight_QK)

    @staticmethod
    def _match(unit_QNC: Tensor, direction_QC: Tensor) -> Tensor:
        """(Q, N) in (0, 1)."""
        return (unit_QNC * direction_QC.to(unit_QNC.dtype).unsqueeze(1)).sum(2).sigmoid()


def _distances(unit_QNC: Tensor, zero_QN1: Tensor) -> Tensor:
    """(Q, N, N) in [0, 2]: 1 - cosine, the same both ways; 0 for equal directions, whatever the rounding."""
    with no_autocast(unit_QNC):
        cosine_QNN = unit_QNC @ unit_QNC.mT
    distance_QNN = 1 - torch.maximum(cosine_QNN, cosine_QNN.mT)
    distance_QNN = nn.functional.threshold(distance_QNN, ROUNDING * torch.finfo(unit_QNC.dtype).eps, 0)
    return distance_QNN.masked_fill(zero_QN1 & zero_QN1.mT, 0)


def farthest_first(distance_QNN: Tensor, factor_QN: Tensor | None, k: int) -> tuple[Tensor, Tensor]:
    """(Q, k) int64 the cells in the order of choice, and (Q, N) the presence, as ``DiverseK`` says."""
    count = distance_QNN.shape[1]
    itself_NN = torch.eye(count, dtype=torch.bool, device=distance_QNN.device)
    score_QN = distance_QNN.masked_fill(itself_NN, torch.inf).amin(2)
    nearest_QN = torch.full_like(score_QN, torch.inf)
    kept_QN = torch.zeros_like(score_QN, dtype=torch.bool)
    if factor_QN is not None:
        score_QN = score_QN * factor_QN
    index, left = [], []
    for _ in range(k):
        # Of equal ones max names the first, on every device.
        added_Q1 = score_QN.max(1, keepdim=True).indices
        row_Q1N = added_Q1.unsqueeze(2).expand(-1, 1, count)
        nearest_QN = torch.minimum(nearest_QN, distance_QNN.gather(1, row_Q1N).squeeze(1))
        kept_QN = kept_QN.scatter(1, added_Q1, True)
        score_QN = nearest_QN if factor_QN is None else nearest_QN * factor_QN
        score_QN = score_QN.masked_fill(kept_QN, -1)
        index.append(added_Q1)
        left.append(score_QN.amax(1, keepdim=True).clamp(min=0))
    index_QK = torch.cat(index, 1)
    # What is left after a choice is the score of the next; the first has that of the second.
    return index_QK, score_QN.scatter(1, index_QK, torch.cat([left[0], *left[:-1]], 1))
