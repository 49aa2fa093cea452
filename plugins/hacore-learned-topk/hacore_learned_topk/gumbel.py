"""Gumbel-top-k: in training the cells are drawn, and a relaxed draw gives the gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from hacore.interfaces import Cells, Question, Selection, Sizes
from hacore.selection import gather_cells

from . import GumbelConfig
from ._scores import ScoringSelector, standardised

LEAST_REST = 1e-6
"""Of a share near 1, the least that is taken to remain: in float32 its logarithm is hardly known below."""


class GumbelTopK(ScoringSelector[GumbelConfig]):
    """Keeps k cells: in evaluation those of highest score, in training those of highest noisy score.

    With s standardised per question, g independent standard Gumbel noise and the temperature tau::

        x = s + tau g                                          kept are the k largest, hard
        a1 = softmax(x / tau),  x2 = x + log(1 - a1),  a2 = softmax(x2 / tau), ...      (``relaxed_top_k``)

    so that the kept cells are drawn without replacement with logits s / tau (Plackett-Luce). Forward
    gives the vectors of the kept cells exactly; backward, s has the gradient of the rows a1, ..., ak times
    all cells' vectors in their place (straight-through), and the vectors that of the kept cells.
    tau falls from ``temperature`` to ``final_temperature`` by the same factor each step, and with it
    chance. Highest (noisy) score first; ``presence_QN`` is s before standardising, without noise.

    Source: Kool et al. 2019, arXiv 1903.06059 (Gumbel-top-k); Xie and Ermon 2019, arXiv 1901.10517, and
    Plötz and Roth 2018, arXiv 1810.12575 (k softmaxes); Jang et al. 2017, arXiv 1611.01144
    (straight-through, annealing). Standardising is hacore's: s cannot outgrow the noise, so only the
    schedule takes it away.

    Cost of a training step: k softmaxes over N cells one after the other, and two products of (K, N)
    with (N, C) a question; hence ``dense_training``. 15 to 25 ms where ``scored-topk`` takes 8 to 11 (its
    docstring has the sizes). Evaluation costs as there.

    Pitfalls: the gradient is biased, the more the further the relaxed rows are from the kept cells, that
    is at high tau; at low tau it is near zero but for cells that nearly tie.
    """

    dense_training = True

    def __init__(self, config: GumbelConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        # A tensor, as torch.compile would compile anew for each value of a number.
        self.temperature: Tensor
        self.register_buffer("temperature", torch.tensor(config.temperature), persistent=False)

    def set_progress(self, share: float) -> None:
        start, end = self.config.temperature, self.config.final_temperature
        self.temperature.fill_(start * (end / start) ** share)

    def forward(self, cells: Cells, question: Question) -> Selection:
        score_QN = self.score(cells.features)
        if not self.training:
            return self.kept(cells, score_QN, self.strongest(score_QN))
        # The logarithm of an exponential variate is Gumbel noise, the sign apart.
        noise_QN = -torch.empty_like(score_QN).exponential_().log()
        noisy_QN = standardised(score_QN) + self.temperature * noise_QN
        index_QK = self.strongest(noisy_QN)
        share_QKN = relaxed_top_k(noisy_QN, self.k, self.temperature)
        relaxed_QKC = share_QKN.to(cells.features.dtype) @ cells.features.detach()
        # The difference is exactly zero, and has the gradient of the relaxed vectors.
        features_QKC = gather_cells(cells.features, index_QK) + (relaxed_QKC - relaxed_QKC.detach())
        return self.kept(cells, score_QN, index_QK, features_QKC)


def relaxed_top_k(noisy_QN: Tensor, k: int, temperature: Tensor | float) -> Tensor:
    """(Q, K, N): row j is the relaxed choice of the j-th largest, a softmax over the cells.

    After each row, log(1 - row) is added, which takes away what is chosen already. The sum of the rows is the
    relaxed k-hot vector of Xie and Ermon 2019, arXiv 1901.10517, algorithm 1.
    """
    rows = []
    for _ in range(k):
        share_QN = (noisy_QN / temperature).softmax(1)
        rows.append(share_QN)
        noisy_QN = noisy_QN + (1 - share_QN).clamp(min=LEAST_REST).log()
    return torch.stack(rows, 1)
