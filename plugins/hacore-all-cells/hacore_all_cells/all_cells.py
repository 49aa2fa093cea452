"""The baseline without attention: every cell goes on."""

from __future__ import annotations

import torch

from hacore.interfaces import Cells, Question, Selection, Selector
from hacore.selection import l2_presence

from . import Config


class AllCells(Selector[Config]):
    """Passes all N cells on in grid order, uncopied; their L2 norms are the presence, for pictures.

    One of the two baselines of Malinowski et al. 2018, arXiv 1808.00300. Raises ValueError in forward
    when a presence is not finite.
    """

    def forward(self, cells: Cells, question: Question) -> Selection:
        questions, count, _ = cells.features.shape
        return Selection(
            features_QKC=cells.features,
            index_QK=torch.arange(count, device=cells.features.device).expand(questions, count),
            presence_QN=l2_presence(cells.features),
            positions_N2=cells.positions,
            grid=cells.grid,
        )
