"""AdaHAN's selector: the cells whose probability under a softmax of presences beats the uniform one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from hacore.interfaces import Cells, Question, Selection, Selector, Sizes
from hacore.selection import check_finite, check_max_cells, keep_leading, l2_presence, strongest_first

from . import Config

_RATE = 0.05
"""Weight of a batch in the running mean of thresholds."""


class AdaHAN(Selector[Config]):
    """Keeps the cells with softmax(presence) >= threshold / N, as many as there are, strongest first.

    The strongest cell is always kept. K is the largest count of the batch, or ``max_cells`` where
    given; ``valid_QK`` marks each question's own cells, which come first, and vectors past them are
    zero. ``presence_QN`` is what entered the softmax. What a question keeps does not depend on the
    others of its batch. Gradient flows through the kept vectors only.

    Source: Malinowski et al. 2018, arXiv 1808.00300 (AdaHAN). *Open* here, and options therefore: the
    norm or its square under the softmax, ``>=`` or ``>``, and a multiplier on the threshold.

    The paper mentions no factor under the softmax, which is ``scale = 1``. Norms grow in training, and a
    softmax of norms that differ by more than a few gives almost everything to one cell: on Sort-of-CLEVR
    little was learned with 1, and the default of 1/8 was as good as all cells. With a factor near zero exp
    is linear, and with threshold 1 the cells pass whose presence is above its mean.

    With ``budget`` the threshold is not an option but follows the training: it is the running mean, in
    the logarithm, of the one with which each batch would have kept exactly this share of its cells. A
    question may keep more or less. Where it stands is saved with the weights and used in evaluation, so
    the share kept there is near the budget, not equal to it. Cost: one selection of the k-th largest of
    the Q N probabilities at each training step.

    Raises ValueError when ``max_cells`` exceeds the grid or the budget is out of reach, and in forward when
    a presence is not finite.
    """

    log_threshold: Tensor

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        check_max_cells(config.max_cells, sizes)
        if config.budget is not None:
            most = (config.max_cells or sizes.cells) / sizes.cells
            if not 1 / sizes.cells <= config.budget <= most:
                raise ValueError(
                    f"budget = {config.budget} is out of reach: each question keeps at least one of "
                    f"{sizes.cells} cells and at most {most:.4g} of them; choose a budget between"
                )
            self.register_buffer("log_threshold", torch.zeros(()))

    def forward(self, cells: Cells, question: Question) -> Selection:
        presence_QN = l2_presence(cells)
        if self.config.presence == "square" or self.config.scale != 1:
            if self.config.presence == "square":
                presence_QN = presence_QN.square()
            presence_QN = presence_QN * self.config.scale
            check_finite(presence_QN)  # l2_presence looked at the norms only

        # Probability grows with presence, so the cells that pass come first in this order.
        order_QN = strongest_first(presence_QN)
        if self.config.budget is not None and self.training:
            self._adjust(presence_QN.gather(1, order_QN), self.config.budget)
        counts_Q = self._passing(presence_QN).sum(1)
        return keep_leading(cells, presence_QN, order_QN, counts_Q, self.config.max_cells)

    def _passing(self, presence_QN: Tensor) -> Tensor:
        """(Q, N) bool: probability against threshold / N, as exp(p) * N against threshold * sum(exp(p)).

        In this form equal presences are compared exactly: each exp is 1 and both sides are N.
        """
        threshold = self.config.threshold if self.config.budget is None else self.log_threshold.exp()
        exp_QN = (presence_QN - presence_QN.amax(1, keepdim=True)).exp()
        share_QN = exp_QN * presence_QN.shape[1]
        least_Q1 = threshold * exp_QN.sum(1, keepdim=True)
        return share_QN >= least_Q1 if self.config.comparison == ">=" else share_QN > least_Q1

    @torch.no_grad()
    def _adjust(self, falling_QN: Tensor, budget: float) -> None:
        """Move the threshold towards the one that keeps this share of the batch.

        falling_QN: presences, the strongest first.
        """
        questions, cells = falling_QN.shape
        log_ratio_QN = falling_QN.log_softmax(1) + math.log(cells)  # of the probability to 1 / N
        # The strongest cell of a question is always kept; the others compete, but for those past the cap.
        others = log_ratio_QN[:, 1 : self.config.max_cells].flatten()
        wanted = round(questions * (budget * cells - 1))
        if wanted > 0:
            least = others.kthvalue(len(others) - wanted + 1).values
        else:
            least = log_ratio_QN.max()
        self.log_threshold.lerp_(least.to(self.log_threshold.dtype), _RATE)
