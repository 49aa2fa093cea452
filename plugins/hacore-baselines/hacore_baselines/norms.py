"""Cells chosen by their norm and by what the data know."""

from __future__ import annotations

from torch import Tensor

from hacore.interfaces import Cells, Question
from hacore.selection import l2_presence, strongest_first

from . import Config
from ._base import FixedNumber


class LowestNormK(FixedNumber[Config]):
    """Keeps the k cells of smallest L2 norm, weakest first: the opposite of HAN's choice.

    If a model learns as well with these, the norm does not matter, only that cells are dropped.
    ``presence_QN`` is the norm. Raises ValueError in forward when a presence is not finite.
    """

    def order(self, cells: Cells, question: Question) -> tuple[Tensor, Tensor]:
        presence_QN = l2_presence(cells)
        return presence_QN, strongest_first(-presence_QN)


class OracleK(FixedNumber[Config]):
    """Keeps the cells that hold the objects a question is about, then those of largest L2 norm.

    Of more than k relevant cells those of largest norm are kept. It is told what no model can know
    (``Question.relevant_QN``), so it is no method but a bound: how far a better choice could lead.
    ``presence_QN`` is the norm. Raises ValueError in forward when a presence is not finite, or when
    nobody tells the relevant cells.
    """

    oracle = True

    def order(self, cells: Cells, question: Question) -> tuple[Tensor, Tensor]:
        if question.relevant_QN is None:
            raise ValueError(
                "oracle-k is not told which cells are relevant; choose data that know the objects of a "
                "question, or another selector"
            )
        presence_QN = l2_presence(cells)
        order_QN = strongest_first(presence_QN)
        # The sort is stable, so the order by norm remains among the relevant and among the others.
        relevant_QN = question.relevant_QN.gather(1, order_QN)
        return presence_QN, order_QN.gather(1, strongest_first(relevant_QN.to(presence_QN.dtype)))
