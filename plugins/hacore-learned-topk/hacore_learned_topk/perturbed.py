"""Perturbed top-k: in training the mean over random perturbations of the scores, which has a gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hacore.interfaces import Cells, Question, Selection, Sizes

from . import PerturbedConfig
from ._scores import ScoringSelector, standardised

LEAST_SIGMA = 0.01
"""As a share of ``sigma``: the gradient divides by the noise's scale."""


class PerturbedTopK(ScoringSelector[PerturbedConfig]):
    """Keeps k cells: in evaluation those of highest score, in training K mixtures of all cells.

    With s standardised per question, z standard normal and top(x) the (K, N) indicator matrix of the
    k largest, its rows in the order of the cells' indices::

        Y = E[top(s + sigma z)],   features = Y m,   dY/ds = E[top(s + sigma z) z^T] / sigma

    both estimated with the same ``samples`` draws of z for each question (``mean_top_k``). Mixtures say in
    ``share_QKN`` what they are made of; ``index_QK`` is the cell of the largest share, of equal ones the
    first. sigma falls linearly over the training to a hundredth of ``sigma``, where nearly every
    mixture is one cell, so that evaluation finds what training ended with. In evaluation the highest
    score comes first. ``presence_QN`` is s before standardising.

    Source: Cordonnier et al. 2021, *Differentiable Patch Selection*, arXiv 2104.03059, section 3;
    Berthet et al. 2020, arXiv 2002.08676. They scale scores to [0, 1], with sigma 0.05 and 500 draws;
    here the unit is the standard deviation, which one outlying cell does not compress.

    Cost of a training step: a top-k of N for each draw, and three products of (K, N) with (N, C) a
    question, hence ``dense_training``; memory for three times (Q, samples, N) numbers. Forward and
    backward took 28 to 37 ms of one core for 320 questions about 100 cells of 64 channels, k = 10,
    with 32 draws, and 61 to 70 ms with 100. Evaluation costs as ``scored-topk``.

    Pitfalls: evaluation during training measures hard choices that the model is not yet trained for, so
    early stopping misleads. A row mixes cells of neighbouring indices, not of like content; while
    sigma is large, an aggregator of relations sees blurred cells.
    """

    dense_training = True

    def __init__(self, config: PerturbedConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        # A tensor, as torch.compile would compile anew for each value of a number.
        self.sigma: Tensor
        self.register_buffer("sigma", torch.tensor(config.sigma), persistent=False)

    def set_progress(self, share: float) -> None:
        self.sigma.fill_(self.config.sigma * max(1 - share, LEAST_SIGMA))

    def forward(self, cells: Cells, question: Question) -> Selection:
        score_QN = self.score(cells.features)
        if not self.training:
            return self.kept(cells, score_QN, self.strongest(score_QN))
        questions, count = score_QN.shape
        noise_QSN = torch.randn(
            questions, self.config.samples, count, dtype=score_QN.dtype, device=score_QN.device
        )
        share_QKN = mean_top_k(standardised(score_QN), noise_QSN, self.sigma, self.k)
        return self.kept(
            cells,
            score_QN,
            share_QKN.detach().argmax(2),
            share_QKN.to(cells.features.dtype) @ cells.features,
            share_QKN=share_QKN,
        )


def mean_top_k(score_QN: Tensor, noise_QSN: Tensor, sigma: Tensor, k: int) -> Tensor:
    """(Q, K, N): the mean over S draws of the indicators of the k largest of score + sigma * noise.

    Row j of an indicator is the kept cell of j-th lowest index. The gradient reaches the score, and is an
    unbiased estimate of that of the expectation.
    """
    shares: Tensor = _MeanTopK.apply(score_QN, noise_QSN, sigma, k)
    return shares


class _MeanTopK(torch.autograd.Function):
    """Indicators are never built: each draw is the K indices of its kept cells."""

    @staticmethod
    def forward(ctx: Any, score_QN: Tensor, noise_QSN: Tensor, sigma: Tensor, k: int) -> Tensor:
        perturbed_QSN = torch.addcmul(score_QN.unsqueeze(1), noise_QSN, sigma)
        kept_QSK = perturbed_QSN.topk(k, dim=2, sorted=False).indices.sort(dim=2).values
        index_QKS = kept_QSK.transpose(1, 2)
        ctx.save_for_backward(noise_QSN, index_QKS, sigma)
        questions, samples, cells = noise_QSN.shape
        counts_QKN = score_QN.new_zeros(questions, k, cells)
        counts_QKN.scatter_add_(2, index_QKS, score_QN.new_ones(()).expand_as(index_QKS))
        return counts_QKN / samples

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_QKN: Tensor) -> tuple[Tensor | None, ...]:
        noise_QSN, index_QKS, sigma = ctx.saved_tensors
        value_QS = grad_QKN.gather(2, index_QKS).sum(1)
        # Noise has mean zero, so the draws' mean value may go, and with it most of the variance. As each
        # draw is part of that mean, the divisor that leaves the estimate unbiased is S - 1.
        value_QS = value_QS - value_QS.mean(1, keepdim=True)
        grad_QN = torch.bmm(value_QS.unsqueeze(1), noise_QSN).squeeze(1)
        return grad_QN / (sigma * (noise_QSN.shape[1] - 1)), None, None, None
