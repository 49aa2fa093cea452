"""The contracts between components, and the containers that travel between them: contract 2.

Letters in tensor names, the same in every file: Q questions, I images, N cells of the grid,
K kept cells, C channels, T words, A answers; ``x_QKC`` is a tensor of shape (Q, K, C).

A component is built from ``(config, sizes)``, where ``sizes`` tells what its inputs look like, and
says in ``out_channels`` (image encoders also ``grid``) what its output looks like. A combination
that cannot work raises ``ValueError`` in ``__init__``; the message is shown with both names.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

ConfigT = TypeVar("ConfigT")

FLAT = 1e-4
"""Deviation, pixels in [0, 1], under which a channel counts as constant: a fortieth of a level of 8 bits."""

BLOCK = 2**17
"""Numbers of a block of fused cells on a CPU; with what is made of them they fit the cache of a core."""


def _divisors(image_std: Iterable[float]) -> tuple[float, ...]:
    return tuple(1.0 if value < FLAT else value for value in image_std)


@attrs.frozen(kw_only=True)
class Sizes:
    """What is known of a component's inputs when it is built.

    image: (channels, height, width) of the images. image_mean, image_std: per channel, of pixels
    scaled to [0, 1], over the training images; a deviation below ``FLAT``, of a channel that never changes,
    counts as 1, so that the channel is normalised to zeros. words: vocabulary size, index 0 is padding.
    grid: (rows, columns) of cells. cell_channels: channels of the cells that come in.
    question_channels: channels of a question vector. word_channels: channels of the state at each word,
    0 where the question encoder gives none. answers: size of the answer set.
    word_vectors: (words, C) float32 that the data give to start an embedding with, zeros for a word
    without one, or None. pretrained: whether to fetch the pretrained weights that a config names; False
    where those of a checkpoint will take their place.
    Fields later in the chain than the component are zero.
    """

    image: tuple[int, int, int]
    image_mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    image_std: tuple[float, ...] = attrs.field(default=(1.0, 1.0, 1.0), converter=_divisors)
    words: int
    answers: int
    grid: tuple[int, int] = (0, 0)
    cell_channels: int = 0
    question_channels: int = 0
    word_channels: int = 0
    word_vectors: npt.NDArray[np.float32] | None = attrs.field(default=None, eq=False, repr=False)
    pretrained: bool = True

    @property
    def cells(self) -> int:
        """N, the number of cells of the grid."""
        return self.grid[0] * self.grid[1]


# These are not frozen: torch.compile cannot trace the constructor of a frozen attrs class.
@attrs.define(kw_only=True, eq=False)
class Cells:
    """Feature vectors on a grid.

    features: (I, N, C) for images or (Q, N, C) for questions, row by row from the top left.
    positions: (N, 2), the x (left to right) and y (top to bottom) of each cell in [-1, 1].
    grid: (rows, columns), N = rows * columns.
    """

    features: Tensor
    positions: Tensor
    grid: tuple[int, int]

    def blocks(self) -> Iterator[Tensor]:
        """(q, N, C): ``features`` without gradient, some questions at a time, in order."""
        yield self.features.detach()

    def gather(self, index_QK: Tensor) -> Tensor:
        """(Q, K, C): the vectors of the cells named by index (Q, K), of questions."""
        return gather_cells(self.features, index_QK)


class FusedCells(Cells):
    """Cells of Q questions that, where gradients are wanted, are fused when a selector asks for them: in
    blocks that fit a cache without gradient, and with gradient where they are kept.

    fuse: gives the vectors of some questions (a slice), of the cells that their rows of an index (q, K) name
    or, for None, of all; called more than once, it must give the same, so it has no dropout. channels: C.
    A selector that asks for ``blocks`` and ``gather`` pays for the backward pass of K cells, not of N.
    """

    def __init__(
        self,
        *,
        fuse: Callable[[slice, Tensor | None], Tensor],
        questions: int,
        channels: int,
        positions: Tensor,
        grid: tuple[int, int],
    ) -> None:
        self.positions, self.grid = positions, grid
        self.fuse, self._questions, self._channels = fuse, questions, channels
        device = positions.device.type
        self._precision = None
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            self._precision = torch.get_autocast_dtype(device)
        # Without gradient there is no backward pass to save, and the work is the fuser's.
        self._features: Tensor | None = None if torch.is_grad_enabled() else self._fused(slice(None), None)

    def _fused(self, questions: slice, index_QK: Tensor | None, *, cache: bool = True) -> Tensor:
        """In the precision of the fuser, wherever the vectors are asked for."""
        if self._precision is None:
            return self.fuse(questions, index_QK)
        with torch.autocast(self.positions.device.type, self._precision, cache_enabled=cache):
            return self.fuse(questions, index_QK)

    @property
    def features(self) -> Tensor:  # type: ignore[override]
        """(Q, N, C), with gradient."""
        if self._features is None:
            self._features = self._fused(slice(None), None)
        return self._features

    def blocks(self) -> Iterator[Tensor]:
        if not self._defers:
            yield self.features.detach()
            return
        count = self._questions
        if self.positions.device.type == "cpu":
            count = max(1, BLOCK // (self.positions.shape[0] * self._channels))
        for first in range(0, self._questions, count):
            # A weight that autocast casts without gradient must not be kept for where gradient is wanted.
            with torch.no_grad():
                block_qNC = self._fused(slice(first, first + count), None, cache=False)
            yield block_qNC

    def gather(self, index_QK: Tensor) -> Tensor:
        # Backward costs twice forward: forward for all and both for the kept is less than both for all
        # up to two thirds of the cells.
        if self._defers and 3 * index_QK.shape[1] <= 2 * self.positions.shape[0]:
            return self._fused(slice(None), index_QK)
        return super().gather(index_QK)

    @property
    def _defers(self) -> bool:
        """What is there already, or traced as one graph, gains nothing from a second pass."""
        return self._features is None and not torch.compiler.is_compiling()


def gather_cells(features_QNC: Tensor, index_QK: Tensor) -> Tensor:
    """(Q, K, C): the vectors of the cells named by index (Q, K); gradient reaches only those."""
    questions, cells, channels = features_QNC.shape
    # One row selection over all questions' cells: on CPU faster than torch.gather, both ways.
    first_Q1 = torch.arange(questions, device=index_QK.device).unsqueeze(1) * cells
    rows = features_QNC.reshape(questions * cells, channels)
    return rows.index_select(0, (index_QK + first_Q1).flatten()).view(*index_QK.shape, channels)


@attrs.define(eq=False)
class Question:
    """Q questions: what their encoder makes of the words, and what they are about.

    vector_QC: the question as one vector. words_QTC: the encoder's state at each word, T at least the
    longest of these questions, zeros after the last word of each; None where the encoder gives none.
    lengths_Q: words of each, int64, on the CPU where it came from there.
    image_id_Q: int64, the row of the image in its split; None for images that are of no split.
    relevant_QN: bool, the cells on which the objects lie that the question is about; None where nobody
    knows or nobody may look. Only an ``oracle`` may. words_QT: int64, the words by their number in the
    vocabulary, 0 is padding: with the image, what tells one question from another.
    """

    vector_QC: Tensor
    words_QTC: Tensor | None = None
    lengths_Q: Tensor | None = None
    image_id_Q: Tensor | None = None
    relevant_QN: Tensor | None = None
    words_QT: Tensor | None = None


@attrs.define(kw_only=True, eq=False)
class Selection:
    """The cells that were kept, gathered.

    features_QKC: vectors of the kept cells. index_QK: int64, where each came from, in [0, N).
    presence_QN: how strongly each cell of the grid presents itself (for pictures; no gradient).
    positions_N2: the grid's positions, as in ``Cells``. grid: (rows, columns).
    valid_QK: bool, False where a question keeps fewer than K cells; None when all are valid.
    Invalid entries hold finite numbers that must not influence any result.
    weight_QK: a factor per kept cell, or None for ones. loss: an auxiliary scalar loss, or None.
    share_QKN: float, where vectors are mixtures of cells (merged, soft slots): each source cell's share in
    each vector, at least 0 and 1 in all; ``index_QK`` then names the cell of the largest share. None for
    plain cells.
    """

    features_QKC: Tensor
    index_QK: Tensor
    presence_QN: Tensor
    positions_N2: Tensor
    grid: tuple[int, int]
    valid_QK: Tensor | None = None
    weight_QK: Tensor | None = None
    loss: Tensor | None = None
    share_QKN: Tensor | None = None

    @property
    def kept_positions_QK2(self) -> Tensor:
        """x and y of each kept cell in [-1, 1]; of a mixture their mean."""
        if self.share_QKN is not None:
            return self.share_QKN.to(self.positions_N2.dtype) @ self.positions_N2
        return self.positions_N2[self.index_QK]

    @property
    def counts_Q(self) -> Tensor:
        """Number of cells each question keeps, int64."""
        if self.valid_QK is not None:
            return self.valid_QK.sum(1)
        return torch.full(self.index_QK.shape[:1], self.index_QK.shape[1], device=self.index_QK.device)

    @property
    def masked_weight_QK(self) -> Tensor | None:
        """``weight_QK`` with zeros where invalid; None when every factor is one."""
        if self.valid_QK is None:
            return self.weight_QK
        valid_QK = self.valid_QK.to(self.features_QKC.dtype)
        return valid_QK if self.weight_QK is None else self.weight_QK * valid_QK

    @property
    def used_QN(self) -> Tensor:
        """How much of each cell is kept, float32 without gradient: the size of its weight, 1 without
        weights, 0 where it is not kept; of mixtures the sum of its shares, weighted so.
        """
        weight_QK = self.masked_weight_QK
        if weight_QK is None:
            weight_QK = torch.ones_like(self.index_QK, dtype=torch.float32)
        amount_QK = weight_QK.detach().abs().float()
        if self.share_QKN is not None:
            return torch.einsum("qk,qkn->qn", amount_QK, self.share_QKN.detach().float())
        # The largest, as an entry that is not valid may name a cell that another entry keeps.
        used_QN = torch.zeros_like(self.presence_QN, dtype=torch.float32)
        return used_QN.scatter_reduce(1, self.index_QK, amount_QK, "amax")


def grid_positions(grid: tuple[int, int]) -> Tensor:
    """(N, 2) float32: x and y of each cell's centre, the first and last at -1 and 1."""
    rows, columns = grid

    def line(count: int) -> Tensor:
        return torch.linspace(-1, 1, count) if count > 1 else torch.zeros(1)

    y, x = torch.meshgrid(line(rows), line(columns), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2)


class Module(nn.Module, Generic[ConfigT]):
    """A component with parameters: built from its config and the sizes of its inputs.

    oracle: whether it looks at ``Question.relevant_QN``, which no model can know; results say so.
    """

    oracle: ClassVar[bool] = False
    out_channels: int

    def __init__(self, config: ConfigT, sizes: Sizes) -> None:
        super().__init__()
        self.config = config
        self.sizes = sizes

    @property
    def trains(self) -> bool:
        """Whether it has parameters that training changes."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def set_progress(self, share: float) -> None:
        """Called before each training step with the share of the steps done, in [0, 1), for what follows a
        schedule, such as a temperature. Does nothing here.
        """


class ImageEncoder(Module[ConfigT], ABC):
    """Images (I, 3, H, W) -> Cells (I, N, C). Sets ``out_channels`` and ``grid``.

    Images are uint8 in [0, 255] or float in [0, 1]; call ``normalise`` first. ``image_mean`` and
    ``image_std`` come from the data; an encoder with pretrained weights replaces them.
    freeze: the option that keeps all of it from training, as ``frozen = true``; "" if there is none.
    """

    freeze: ClassVar[str] = ""
    grid: tuple[int, int]
    image_mean: Tensor
    image_std: Tensor

    def __init__(self, config: ConfigT, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.register_buffer("image_mean", torch.tensor(sizes.image_mean).view(1, -1, 1, 1))
        self.register_buffer("image_std", torch.tensor(sizes.image_std).view(1, -1, 1, 1))

    def normalise(self, images: Tensor) -> Tensor:
        """(I, 3, H, W) uint8 or [0, 1] -> float32, zero mean and unit deviation over the data.

        The background of synthetic images comes close to zero, without which cells of a white
        background have the largest norms and top-k keeps only them.
        """
        scaled = images.to(self.image_mean.dtype)
        if not images.is_floating_point():
            scaled = scaled / 255
        return (scaled - self.image_mean) / self.image_std

    @abstractmethod
    def forward(self, images: Tensor) -> Cells: ...


class QuestionEncoder(Module[ConfigT], ABC):
    """Words (Q, T) int64 padded with 0, lengths (Q) int64 >= 1 -> ``Question``.

    Sets ``vector_QC``, ``lengths_Q`` and, if it has them, ``words_QTC``, whose channels ``word_channels``
    tells. What it makes of a question must not depend on the padding or on the other questions.
    """

    word_channels: int = 0

    @abstractmethod
    def forward(self, words_QT: Tensor, lengths_Q: Tensor) -> Question: ...


class Fuser(Module[ConfigT], ABC):
    """Cells of I images, ``Question``, image_index (Q) -> Cells of Q questions.

    Question q is about image ``image_index_Q[q]``. What depends on the image alone is computed
    before it is copied to the questions.
    """

    @abstractmethod
    def forward(self, cells: Cells, question: Question, image_index_Q: Tensor) -> Cells: ...


class Selector(Module[ConfigT], ABC):
    """Cells of Q questions, ``Question`` -> Selection. ``out_channels``: by default those that come in.

    dense_training: whether the cost or the gradient of a training step is that of all cells and only
    evaluation drops cells; results and tables say so.
    """

    dense_training: ClassVar[bool] = False

    def __init__(self, config: ConfigT, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.out_channels = sizes.cell_channels

    @abstractmethod
    def forward(self, cells: Cells, question: Question) -> Selection: ...


class Aggregator(Module[ConfigT], ABC):
    """Selection, ``Question`` -> (Q, C). Its cost follows what is valid."""

    @abstractmethod
    def forward(self, selection: Selection, question: Question) -> Tensor: ...


def build(cls: type[Any], config: Any, sizes: Sizes) -> Any:
    """One component from its class, its config and its sizes; the one place that constructs them."""
    component = cls(config, sizes)
    if not isinstance(getattr(component, "out_channels", None), int):
        raise ValueError(f"{cls.__name__}.__init__ must set out_channels to an int")
    if isinstance(component, ImageEncoder):
        grid = getattr(component, "grid", None)
        if not (isinstance(grid, tuple) and [type(side) for side in grid] == [int, int]):
            raise ValueError(f"{cls.__name__}.__init__ must set grid to (rows, columns)")
    return component
