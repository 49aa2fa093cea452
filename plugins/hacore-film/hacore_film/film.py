"""Feature-wise linear modulation: residual blocks over the grid that the question scales and shifts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hacore.interfaces import Cells, FusedCells, Fuser, Question, Sizes, gather_cells
from hacore_film import Config


class FiLM(Fuser[Config]):
    """Cells of I images (I, N, C), questions (Q, C_q) -> cells of Q questions (Q, N, width).

    Block b, with x the cells that enter it, c their x and y, and * a convolution::

        h = relu(W_b [x, c] + a_b)
        y = norm(K_b * h)
        z = h + relu((1 + g_b) y + s_b)       [g_b, s_b] = G_b q + d_b

    Source: Perez et al. 2018, *FiLM: Visual Reasoning with a General Conditioning Layer*, arXiv 1709.07871,
    whose classifier is here the aggregator and the head. As there, the norm has no parameters, which are the
    question's part. ``norm = "batch"`` is the paper's: over all cells of the batch while training, by running
    statistics in evaluation, as in ``small-cnn``. With ``norm = "layer"``, over the channels of each cell,
    questions do not meet in training either. The statistics are in float32 under autocast.

    Nothing before g_1 and s_1 depends on the question, so the first block's convolution is computed once per
    image; the batch norm in it counts an image once. The last product, sum and ReLU wait until a selector
    asks for all cells or for the kept ones (``FusedCells``). A vector stays that of its place on the grid,
    but with ``kernel = 3`` a block lets it know its neighbours, zeros beyond the border.

    ``normalise`` takes the mean of the question vectors over the questions away and scales them to unit
    variance. An LSTM's first states are nearly equal for all questions, and so would the factors be.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.out_channels = config.width
        widths = [sizes.cell_channels] + [config.width] * (config.blocks - 1)
        self.blocks = nn.ModuleList(_Block(channels, config) for channels in widths)
        self.factors = nn.Linear(sizes.question_channels, 2 * config.blocks * config.width)
        self.norm = nn.BatchNorm1d(sizes.question_channels, affine=False) if config.normalise else None

    def forward(self, cells: Cells, question: Question, image_index_Q: Tensor) -> Cells:
        question_QC = question.vector_QC
        if self.norm is not None:
            question_QC = _batch_norm(question_QC, self.norm)
        factors_2BQW = self.factors(question_QC).unflatten(1, (2, len(self.blocks), -1)).movedim(0, 2)
        gains_BQW, shifts_BQW = 1 + factors_2BQW[0], factors_2BQW[1]

        first, *others = self.blocks
        halves, row_Q = first(cells.features, cells), image_index_Q
        for number, block in enumerate(others):
            x_QNW = _modulated(halves, row_Q, None, gains_BQW[number], shifts_BQW[number])
            halves, row_Q = block(x_QNW, cells), torch.arange(row_Q.shape[0], device=row_Q.device)

        def fuse(questions: slice, index_QK: Tensor | None) -> Tensor:
            factors = gains_BQW[-1, questions], shifts_BQW[-1, questions]
            return _modulated(halves, row_Q[questions], index_QK, *factors)

        return FusedCells(
            fuse=fuse,
            questions=image_index_Q.shape[0],
            channels=self.out_channels,
            positions=cells.positions,
            grid=cells.grid,
        )


class _Block(nn.Module):
    """What of a block the question has no part in: h and y (R, N, width), R images or questions."""

    def __init__(self, channels: int, config: Config) -> None:
        super().__init__()
        self.config = config
        self.enter = nn.Linear(channels + (2 if config.coordinates else 0), config.width)
        self.mix = nn.Conv2d(
            *(config.width, config.width, config.kernel),
            padding=config.kernel // 2,
            bias=config.norm == "off",  # the shift is a bias
        )
        self.norm = nn.BatchNorm1d(config.width, affine=False) if config.norm == "batch" else None

    def forward(self, x_RNC: Tensor, cells: Cells) -> tuple[Tensor, Tensor]:
        weight: Tensor = self.enter.weight
        bias: Tensor = self.enter.bias
        if self.config.coordinates:
            # Positions are the same for all: their share is computed once.
            channels = x_RNC.shape[2]
            bias = F.linear(cells.positions.to(weight.dtype), weight[:, channels:], bias)
            weight = weight[:, :channels]
        h_RNW = (F.linear(x_RNC, weight) + bias).relu()
        # The convolution gets and gives the order of the cells, channels last.
        y_RWHV = self.mix(h_RNW.transpose(1, 2).unflatten(2, cells.grid))
        y_RNW = y_RWHV.flatten(2).transpose(1, 2)
        if self.norm is not None:
            y_RNW = _batch_norm(y_RNW.flatten(0, 1), self.norm).view_as(y_RNW)
        elif self.config.norm == "layer":
            y_RNW = F.layer_norm(y_RNW, y_RNW.shape[2:])
        return h_RNW, y_RNW


def _batch_norm(x_RC: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    # A single vector has no variance of its own.
    batch = norm.training and x_RC.shape[0] > 1
    return F.batch_norm(x_RC, norm.running_mean, norm.running_var, training=batch, momentum=0.1)


def _modulated(
    halves: tuple[Tensor, Tensor], row_Q: Tensor, index_QK: Tensor | None, gain_QW: Tensor, shift_QW: Tensor
) -> Tensor:
    """(Q, K, W): h + relu(gain y + shift), h and y of each question's row, of the indexed cells or of all."""
    if index_QK is None:
        h_QKW, y_QKW = (half_RNW.index_select(0, row_Q) for half_RNW in halves)
    else:
        place_1T = (row_Q.unsqueeze(1) * halves[0].shape[1] + index_QK).view(1, -1)
        h_QKW, y_QKW = (
            gather_cells(half_RNW.flatten(0, 1).unsqueeze(0), place_1T).view(*index_QK.shape, -1)
            for half_RNW in halves
        )
    return h_QKW + (y_QKW * gain_QW.unsqueeze(1)).add_(shift_QW.unsqueeze(1)).relu_()
