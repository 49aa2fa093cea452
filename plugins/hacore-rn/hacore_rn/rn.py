"""The Relation Network: Santoro et al. 2017, *A simple neural network module for relational reasoning*."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hacore.interfaces import Aggregator, Question, Selection, Sizes
from hacore_rn import Config
from hacore_rn.pairs import pair_sum


class RN(Aggregator[Config]):
    """Selection, question vectors (Q, C) -> (Q, width): equation 1 of the paper without its f.

    out_q = sum over ordered pairs (i, j) of kept cells, i = j included, of w_i w_j g([o_i, o_j, q]).
    o_i is the vector of cell i with its x and y appended (``coordinates``), g is ``layers`` linear
    layers, each with a ReLU, w_i is the selection's weight of the cell (1 if it gives none). A pair
    with an invalid cell does not exist. ``reduce = "mean"`` divides by the number of pairs.
    What the aggregators of the hard attention paper do with weights is open; here a pair weighs the
    product of its cells' weights.

    The first layer is linear in [o_i, o_j, q], so its three parts are computed per cell and per
    question; see ``pairs.py`` for the rest. The result has the parameters' dtype. Differentiable once.
    Where counts differ, the questions are sorted by count, for which the host waits for the device.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.out_channels = config.width
        self._object_channels = sizes.cell_channels + 2 * config.coordinates
        self.first = nn.Linear(2 * self._object_channels + sizes.question_channels, config.width)
        rest = [nn.Linear(config.width, config.width) for _ in range(config.layers - 1)]
        # torch's own start shrinks what passes a layer and its ReLU to about 0.4 of its size; after
        # three layers the question and the cells hardly show in the sum.
        for layer in (self.first, *rest):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.rest = nn.ModuleList(rest)

    def forward(self, selection: Selection, question: Question) -> Tensor:
        o_QKC = selection.features_QKC
        if self.config.coordinates:
            place_QK2 = self.config.coordinate_scale * selection.kept_positions_QK2
            o_QKC = torch.cat([o_QKC, place_QK2.to(o_QKC.dtype)], dim=2)
        if torch.compiler.is_exporting():
            return self._all_pairs(selection, o_QKC, question.vector_QC)
        packed = _pack(selection)
        o_TC = o_QKC.flatten(0, 1)
        factor_T = None if selection.weight_QK is None else selection.weight_QK.flatten()
        if packed.cell_T is not None:
            o_TC = o_TC.index_select(0, packed.cell_T)
            factor_T = None if factor_T is None else factor_T.index_select(0, packed.cell_T)

        w_i, w_j, w_q = self._first_weights()
        q_QW = F.linear(question.vector_QC, w_q, self.first.bias)
        a_TW = F.linear(o_TC, w_i)
        if packed.question_T is None:
            a_TW = (a_TW.view(*o_QKC.shape[:2], -1) + q_QW.unsqueeze(1)).flatten(0, 1)
        else:
            a_TW = a_TW + q_QW.index_select(0, packed.question_T)
        rest = cast("Sequence[nn.Linear]", self.rest)
        out_QW = pair_sum(
            a_TW,
            F.linear(o_TC, w_j),
            packed.groups,
            [layer.weight for layer in rest],
            [layer.bias for layer in rest],
            factor_T,
            self.config.pairs_per_block,
            self.config.recompute,
        )
        if packed.row_Q is not None:
            out_QW = out_QW.index_select(0, packed.row_Q)
        return self._reduced(out_QW, selection)

    def _all_pairs(self, selection: Selection, o_QKC: Tensor, question_QC: Tensor) -> Tensor:
        """The same for torch.export, which traces no blocks: all pairs at once, invalid ones times zero."""
        w_i, w_j, w_q = self._first_weights()
        a_QKW = F.linear(o_QKC, w_i) + F.linear(question_QC, w_q, self.first.bias).unsqueeze(1)
        g_QKKW = (a_QKW.unsqueeze(2) + F.linear(o_QKC, w_j).unsqueeze(1)).relu()
        for layer in self.rest:
            g_QKKW = layer(g_QKKW).relu()
        factor_QK = selection.masked_weight_QK
        if factor_QK is not None:
            g_QKKW = g_QKKW * (factor_QK.unsqueeze(2) * factor_QK.unsqueeze(1)).unsqueeze(3)
        return self._reduced(g_QKKW.sum((1, 2)), selection)

    def _first_weights(self) -> tuple[Tensor, ...]:
        """The first layer's parts for o_i, o_j and q."""
        channels = self._object_channels
        parts: tuple[Tensor, ...] = self.first.weight.split(
            [channels, channels, self.first.in_features - 2 * channels], dim=1
        )
        return parts

    def _reduced(self, sum_QW: Tensor, selection: Selection) -> Tensor:
        if self.config.reduce == "mean":
            sum_QW = sum_QW / selection.counts_Q.clamp(min=1).square().unsqueeze(1)
        return sum_QW.to(self.first.weight.dtype)


class _Packed(NamedTuple):
    """Valid cells only, question by question, questions with equal counts side by side.

    groups: (number of questions, cells each) in that order. cell_T: where each cell comes from among
    the Q * K; question_T: its question; row_Q: where each question went. None: all as they are.
    """

    groups: list[tuple[int, int]]
    cell_T: Tensor | None = None
    question_T: Tensor | None = None
    row_Q: Tensor | None = None


def _pack(selection: Selection) -> _Packed:
    questions, k = selection.index_QK.shape
    if selection.valid_QK is None:
        return _Packed([(questions, k)])
    counts_Q, order_Q = selection.counts_Q.sort(stable=True)
    line_T, place_T = selection.valid_QK[order_Q].nonzero(as_tuple=True)
    question_T = order_Q[line_T]
    sizes, numbers = counts_Q.unique_consecutive(return_counts=True)
    return _Packed(
        list(zip(numbers.tolist(), sizes.tolist(), strict=True)),
        question_T * k + place_T,
        question_T,
        order_Q.argsort(),
    )
