"""Ways to combine cells with a question, each cheap where one image has many questions.

In all that combine, a linear layer of the image's cells is computed once per image, copied to the questions,
combined with what depends on the question alone, and followed by 1x1 layers. What is copied and combined
waits until a selector asks for all cells or for the kept ones (``FusedCells``). Malinowski et al. 2018
(arXiv 1808.00300) combine "a few layers"; how many, how wide, and whether by sum or concatenation is
open, hence the options.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hacore.interfaces import Cells, FusedCells, Fuser, Question, Sizes
from hacore_fuse import Config, ImageOnlyConfig, MultiplyConfig

ConfigT = TypeVar("ConfigT", bound=Config)

# Autograd permits every in-place operation below: each writes over a result that no backward formula
# needs. At hundreds of questions by a hundred cells, fresh memory costs as much as the arithmetic.


class _Fuser(Fuser[ConfigT]):
    """Cells of I images (I, N, C), questions (Q, C_q) -> cells of Q questions (Q, N, width)."""

    def __init__(self, config: ConfigT, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.out_channels = config.width
        self.image_channels = sizes.cell_channels + (2 if config.coordinates else 0)
        self._add_projections(config.width, sizes.question_channels)
        self.layers = nn.Sequential()
        for _ in range(config.layers):
            self.layers.append(nn.Linear(config.width, config.width))
            self.layers.append(nn.ReLU(inplace=True))

    def forward(self, cells: Cells, question: Question, image_index_Q: Tensor) -> Cells:
        image_INC, *halves = self._halves(cells, question.vector_QC)

        def fuse(questions: slice, index_QK: Tensor | None) -> Tensor:
            image_QKC = _for_questions(image_INC, image_index_Q[questions], index_QK)
            fused_QKC = self._combine(image_QKC, *(half_QC[questions] for half_QC in halves))
            if not self.layers:
                return fused_QKC
            # Flat, because in place on a result that is a view makes autograd copy it.
            flat: Tensor = self.layers(fused_QKC.relu_().flatten(0, 1))
            return flat.view(*fused_QKC.shape[:2], -1)

        return FusedCells(
            fuse=fuse,
            questions=image_index_Q.shape[0],
            channels=self.out_channels,
            positions=cells.positions,
            grid=cells.grid,
        )

    @abstractmethod
    def _add_projections(self, width: int, question_channels: int) -> None:
        """Sets the layers that ``_halves`` uses."""

    @abstractmethod
    def _halves(self, cells: Cells, question_QC: Tensor) -> tuple[Tensor, ...]:
        """What depends on the image, (I, N, width), and what on the question, each (Q, width)."""

    def _combine(self, image_QKC: Tensor, *halves_QC: Tensor) -> Tensor:
        """(Q, K, width), in the memory of image_QKC or in its own; a sum where not said otherwise."""
        (shift_QC,) = halves_QC
        return image_QKC.add_(shift_QC[:, None])

    def _image_half(self, cells: Cells, weight: Tensor, bias: Tensor | None) -> Tensor:
        """(I, N, width): weight (width, C or C + 2) on each cell's features and x, y, plus bias."""
        if not self.config.coordinates:
            return F.linear(cells.features, weight, bias)
        # Positions are the same for all images: their share is computed once, not I times.
        channels = cells.features.shape[2]
        place_NC = F.linear(cells.positions.to(weight.dtype), weight[:, channels:], bias)
        return F.linear(cells.features, weight[:, :channels]) + place_NC


class Add(_Fuser[Config]):
    """Project, then add: f(x) + h(q), both linear, each with torch's initialisation for its own size.

    The same function as ``Concat``, from another start: here the two halves are about equally strong
    whatever their numbers of channels.
    """

    def _add_projections(self, width: int, question_channels: int) -> None:
        self.image = nn.Linear(self.image_channels, width)
        self.question = nn.Linear(question_channels, width, bias=False)  # the image half has one

    def _halves(self, cells: Cells, question_QC: Tensor) -> tuple[Tensor, ...]:
        return self._image_half(cells, self.image.weight, self.image.bias), self.question(question_QC)


class Concat(_Fuser[Config]):
    """One linear layer W [x, q] + b on the cell (with its x, y) and the question after one another.

    Computed as W_x x + b once per image and W_q q once per question, which is the same by the rules
    of matrices; torch's initialisation of the joint layer, whose inputs are C (+ 2) + C_q.
    """

    def _add_projections(self, width: int, question_channels: int) -> None:
        self.joint = nn.Linear(self.image_channels + question_channels, width)

    def _halves(self, cells: Cells, question_QC: Tensor) -> tuple[Tensor, ...]:
        weight = self.joint.weight
        image_INC = self._image_half(cells, weight[:, : self.image_channels], self.joint.bias)
        return image_INC, F.linear(question_QC, weight[:, self.image_channels :])


class Multiply(_Fuser[MultiplyConfig]):
    """Scale and shift: f(x) * g(q) + h(q), channel by channel, f, g and h linear.

    The modulation of FiLM (Perez et al. 2017, arXiv 1709.07871) on a linear layer of the cells; not
    in Malinowski et al. 2018. A sum can only shift what a cell says, a product lets the question choose
    which channels count, without which training on Sort-of-CLEVR stays on a plateau.

    g starts with weights of deviation gain_std / sqrt(C_q) and no bias, so for question vectors
    whose entries have unit variance the factors have deviation gain_std and mean zero. An LSTM's first
    states are not like that: nearly equal for all questions, with small entries. ``normalise`` takes
    their mean over the questions away and scales them to unit variance (batch norm without parameters,
    running statistics in evaluation); without it training on Sort-of-CLEVR stays on the plateau longer.
    """

    def _add_projections(self, width: int, question_channels: int) -> None:
        self.image = nn.Linear(self.image_channels, width)
        self.gain = nn.Linear(question_channels, width)
        self.shift = nn.Linear(question_channels, width)
        nn.init.normal_(self.gain.weight, std=self.config.gain_std / question_channels**0.5)
        nn.init.zeros_(self.gain.bias)
        self.norm = nn.BatchNorm1d(question_channels, affine=False) if self.config.normalise else None

    def _halves(self, cells: Cells, question_QC: Tensor) -> tuple[Tensor, ...]:
        if self.norm is not None:
            # A single question has no variance of its own.
            batch = self.training and len(question_QC) > 1
            question_QC = F.batch_norm(
                question_QC, self.norm.running_mean, self.norm.running_var, training=batch, momentum=0.1
            )
        image_INC = self._image_half(cells, self.image.weight, self.image.bias)
        return image_INC, self.gain(question_QC), self.shift(question_QC)

    def _combine(self, image_QKC: Tensor, *halves_QC: Tensor) -> Tensor:
        gain_QC, shift_QC = halves_QC
        # Autograd needs the factors; and not addcmul, whose backward makes one more array of this size.
        writable = not torch.is_grad_enabled()
        scaled_QKC = image_QKC.mul_(gain_QC[:, None]) if writable else image_QKC * gain_QC[:, None]
        return scaled_QKC.add_(shift_QC[:, None])


class ImageOnly(Fuser[ImageOnlyConfig]):
    """The cells as they are: cells of I images (I, N, C) -> of Q questions (Q, N, C).

    What the Relation Network of Santoro et al. 2017 (arXiv 1706.01427) has: the question enters the pairs
    only. Whatever is selected from such cells is the same for all questions about an image.
    """

    def __init__(self, config: ImageOnlyConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.out_channels = sizes.cell_channels

    def forward(self, cells: Cells, question: Question, image_index_Q: Tensor) -> Cells:
        def fuse(questions: slice, index_QK: Tensor | None) -> Tensor:
            return _for_questions(cells.features, image_index_Q[questions], index_QK)

        return FusedCells(
            fuse=fuse,
            questions=image_index_Q.shape[0],
            channels=self.out_channels,
            positions=cells.positions,
            grid=cells.grid,
        )


def _for_questions(image_INC: Tensor, image_index_Q: Tensor, index_QK: Tensor | None) -> Tensor:
    """(Q, N, C), or of the cells named by index (Q, K, C): each question's image, copied."""
    if index_QK is None:
        return image_INC.index_select(0, image_index_Q)
    row_QK = image_index_Q.unsqueeze(1) * image_INC.shape[1] + index_QK
    return image_INC.flatten(0, 1).index_select(0, row_QK.flatten()).view(*index_QK.shape, -1)
