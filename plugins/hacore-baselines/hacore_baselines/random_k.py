"""Random cells: what any choice of cells must beat."""

from __future__ import annotations

import torch
from torch import Tensor

from hacore.interfaces import Cells, Question
from hacore.selection import strongest_first

from . import RandomConfig
from ._base import FixedNumber, place_N

_PRIME = 2**31 - 1
_STRIDE = 1_640_531_527  # 2^32 / golden ratio, rounded, below the prime
_MULTIPLIERS = (1_403_580_809, 630_360_016, 742_938_285)


class RandomK(FixedNumber[RandomConfig]):
    """Keeps k cells drawn uniformly without replacement, whatever is in them.

    In training each step draws anew, from torch's generator. In evaluation the cells are a function of
    the option ``seed``, the row of the image in its split and the words of the question, so that every
    look at a question sees the same cells, in whatever batch, on whatever device. For an image of no
    split they depend on seed and words alone. ``presence_QN`` is the number drawn for each cell, in
    [0, 1).

    Random cells are the first baseline of any method that drops cells: in the comparison of large models
    by UniPruneBench (arXiv 2511.02650) several published methods lose to it. Cost: that of sorting N
    numbers.
    """

    def order(self, cells: Cells, question: Question) -> tuple[Tensor, Tensor]:
        if self.training:
            shape = question.vector_QC.shape[0], len(cells.positions)
            drawn_QN = torch.rand(shape, device=cells.positions.device)
            return drawn_QN, strongest_first(drawn_QN)
        key_Q1 = question_key_Q(question, self.config.seed).unsqueeze(1)
        drawn_QN = scrambled(key_Q1 + scrambled(place_N(cells) * _STRIDE % _PRIME))
        return drawn_QN / _PRIME, strongest_first(drawn_QN)


def question_key_Q(question: Question, seed: int) -> Tensor:
    """(Q,) int64 in [0, 2^31 - 1): a number for each question, by its words, its image and the seed."""
    vector_QC = question.vector_QC
    key_Q = vector_QC.new_full(vector_QC.shape[:1], seed, dtype=torch.int64)
    if question.image_id_Q is not None:
        key_Q = key_Q + scrambled(question.image_id_Q.to(key_Q.device) + 1)
    if question.words_QT is not None:
        words_QT = question.words_QT.to(key_Q.device)
        place_T = torch.arange(words_QT.shape[1], device=key_Q.device) * _STRIDE % _PRIME
        # A sum, so that padding, which adds nothing, has no influence.
        number_QT = scrambled(scrambled(words_QT) + place_T) * (words_QT > 0)
        key_Q = scrambled(key_Q) + number_QT.sum(1)
    return scrambled(key_Q)


def scrambled(number: Tensor) -> Tensor:
    """Numbers of int64, at least 0 and below 2^40, to ones in [0, 2^31 - 1) that look random.

    Iterated quadratic polynomials modulo a prime: only products and remainders, which are exact and
    equal on every device and in exported models, unlike generators of random numbers.
    """
    number = number % _PRIME
    for multiplier in _MULTIPLIERS:
        number = (number * (number + multiplier) + _STRIDE) % _PRIME
    return number
