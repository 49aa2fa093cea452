"""What all selectors of this package share: k cells in an order that is theirs."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import torch
from torch import Tensor

from hacore.interfaces import Cells, Question, Selection, Selector, Sizes
from hacore.plugin import TopK
from hacore.selection import cells_to_keep, keep_cells

ConfigT = TypeVar("ConfigT", bound=TopK)


class FixedNumber(Selector[ConfigT]):
    """Keeps the first k cells of an order. Gradient flows through the kept vectors only; no parameters.

    ``k``: number of cells kept. Raises ValueError when built for a grid of fewer than k cells.
    """

    def __init__(self, config: ConfigT, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.k = cells_to_keep(config, sizes)

    def forward(self, cells: Cells, question: Question) -> Selection:
        presence_QN, order_QN = self.order(cells, question)
        return keep_cells(cells, order_QN[:, : self.k], presence_QN)

    @abstractmethod
    def order(self, cells: Cells, question: Question) -> tuple[Tensor, Tensor]:
        """The presence (Q, N) of the cells, and their indices (Q, N) in the order in which they are kept."""


def place_N(cells: Cells) -> Tensor:
    """(N,) int64: which place of the grid each cell has, row by row from the top left, by its position."""
    rows, columns = cells.grid
    column_N, row_N = cells.positions.unbind(1)
    row_N = ((row_N + 1) / 2 * (rows - 1)).round()
    column_N = ((column_N + 1) / 2 * (columns - 1)).round()
    return (row_N * columns + column_N).to(torch.int64)
