"""What the three selectors share: a learned score of each cell, and how many cells to keep."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from hacore.interfaces import Cells, Selection, Selector, Sizes
from hacore.plugin import TopK
from hacore.selection import cells_to_keep, check_finite, gather_cells, strongest_first

ConfigT = TypeVar("ConfigT", bound=TopK)

LEAST_VARIANCE = 1e-6
"""Added to the variance of a question's scores, so that equal scores have a finite gradient."""


class ScoringSelector(Selector[ConfigT]):
    """Scores a cell with vector m of C channels by s = w . m / sqrt(C), w learned, no bias.

    w starts normal with mean and deviation 1 / sqrt(C). Of vectors behind a ReLU, s then is close to the
    mean channel, and training starts, as HAN's does, with the cells that have most to say; a w of random
    signs alone would often start with the background. The random part gives different scores to vectors
    whose channels have the same mean, as behind a layer norm.

    ``k``: number of cells kept, from the config and the grid. Raises ValueError when built for a grid of
    fewer than k cells, and in forward when a score is not finite.
    """

    def __init__(self, config: ConfigT, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.k = cells_to_keep(config, sizes)
        start = sizes.cell_channels**-0.5
        self.direction = nn.Parameter(torch.empty(sizes.cell_channels).normal_(start, start))

    def score(self, features_QNC: Tensor) -> Tensor:
        """(Q, N): s in float32, of float64 features in float64."""
        wide = torch.promote_types(features_QNC.dtype, torch.float32)
        # A product and a sum, as autocast would compute a matrix product in half precision.
        score_QN: Tensor = (features_QNC.to(wide) * self.direction).sum(2) * len(self.direction) ** -0.5
        check_finite(score_QN.detach())
        return score_QN

    def strongest(self, score_QN: Tensor) -> Tensor:
        """(Q, K) int64: the cells of highest score, highest first; of equal ones the lower index wins."""
        return strongest_first(score_QN.detach())[:, : self.k]

    def kept(
        self,
        cells: Cells,
        score_QN: Tensor,
        index_QK: Tensor,
        features_QKC: Tensor | None = None,
        **others: Any,
    ) -> Selection:
        """The cells at the index (Q, K), or other vectors in their place; others: fields of a Selection."""
        if features_QKC is None:
            features_QKC = gather_cells(cells.features, index_QK)
        return Selection(
            **others,
            features_QKC=features_QKC,
            index_QK=index_QK,
            presence_QN=score_QN.detach(),
            positions_N2=cells.positions,
            grid=cells.grid,
        )


def standardised(score_QN: Tensor) -> Tensor:
    """(Q, N): each question's scores with mean 0 and deviation 1, or less where they hardly differ.

    Noise of a fixed scale then means the same whatever the scale of the features and of w.
    """
    centred_QN = score_QN - score_QN.mean(1, keepdim=True)
    return centred_QN * (centred_QN.square().mean(1, keepdim=True) + LEAST_VARIANCE).rsqrt()
