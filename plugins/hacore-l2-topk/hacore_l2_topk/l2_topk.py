"""HAN's selector: the k cells whose fused vectors have the largest L2 norm."""

from __future__ import annotations

from hacore.interfaces import Cells, Question, Selection, Selector, Sizes
from hacore.selection import cells_to_keep, keep_cells, l2_presence, strongest_first

from . import Config


class L2TopK(Selector[Config]):
    """Keeps a fixed number of cells, those of highest presence, strongest first.

    The presence of a cell is the L2 norm of its fused vector; of equal presences the lower index wins.
    Gradient flows through the kept vectors only: the choice is not differentiated, and a cell that
    helps grows in magnitude and is kept more often.

    Source: Malinowski et al. 2018, arXiv 1808.00300 (HAN). The paper's k is *open* here; it gives the
    kept cells as a share of the input, hence ``fraction``.

    ``k``: number of cells kept, from the config and the grid. Raises ValueError when built for a grid
    of fewer than k cells, and in forward when a presence is not finite.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.k = cells_to_keep(config, sizes)

    def forward(self, cells: Cells, question: Question) -> Selection:
        presence_QN = l2_presence(cells)
        return keep_cells(cells, strongest_first(presence_QN)[:, : self.k], presence_QN)
