"""Cells chosen by their place alone."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from hacore.interfaces import Cells, Question, Sizes

from . import Config
from ._base import FixedNumber, place_N


class ByPlace(FixedNumber[Config]):
    """Keeps the same k places for all questions: those that come first in ``places``.

    ``presence_QN`` falls from 1 along that order, so that a picture shows it.
    """

    presence_N: Tensor
    place_K: Tensor

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        order = self.places(*sizes.grid, self.k)
        order += sorted(set(range(sizes.cells)) - set(order))
        presence_N = torch.empty(sizes.cells)
        presence_N[torch.tensor(order)] = 1 - torch.arange(sizes.cells) / sizes.cells
        # Not saved, because it follows from the options.
        self.register_buffer("presence_N", presence_N, persistent=False)

    def order(self, cells: Cells, question: Question) -> tuple[Tensor, Tensor]:
        presence_N = self.presence_N[place_N(cells)]
        order_N = presence_N.argsort(descending=True)
        questions = question.vector_QC.shape[0]
        return presence_N.expand(questions, -1), order_N.expand(questions, -1)

    @staticmethod
    @abstractmethod
    def places(rows: int, columns: int, k: int) -> list[int]:
        """At least k places of the grid, numbered row by row, the first to keep first."""


class GridK(ByPlace):
    """Keeps k cells spread evenly over the grid: what a smaller grid would see, without its averaging.

    The cells lie in r equally distant rows, r the whole number nearest to sqrt(k rows / columns) that
    fits; the rows have equal numbers of cells, or numbers that differ by one, and in each row the cells
    are equally distant.
    """

    @staticmethod
    def places(rows: int, columns: int, k: int) -> list[int]:
        lines = min(max(round((k * rows / columns) ** 0.5), -(-k // columns), 1), rows, k)
        places = []
        for line in range(lines):
            row = (2 * line + 1) * rows // (2 * lines)
            count = (line + 1) * k // lines - line * k // lines
            places += [row * columns + (2 * number + 1) * columns // (2 * count) for number in range(count)]
        return places


class CenterK(ByPlace):
    """Keeps the k cells nearest to the centre of the grid; of equally near ones, the upper left first.

    Photographers put what matters in the middle, so on photographs this is a strong baseline.
    """

    @staticmethod
    def places(rows: int, columns: int, k: int) -> list[int]:
        def distance(place: int) -> int:
            row, column = divmod(place, columns)
            return (2 * row - rows + 1) ** 2 + (2 * column - columns + 1) ** 2

        return sorted(range(rows * columns), key=distance)
