"""The model: its stages in order, and the classifier head."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hacore.interfaces import (
    Aggregator,
    Cells,
    Fuser,
    ImageEncoder,
    Question,
    QuestionEncoder,
    Selection,
    Selector,
    grid_positions,
)
from hacore.spec import SECTIONS, HeadConfig

STAGES = tuple(section for section in SECTIONS if section != "data")
"""Sections of a spec whose components make the model, in the order in which they run."""


class Output(NamedTuple):
    """logits_QA: unnormalised scores of the answers. selection: what the selector kept."""

    logits_QA: Tensor
    selection: Selection


class Head(nn.Sequential):
    """An MLP (Q, C) -> logits (Q, A): linear and ReLU for each hidden width, dropout, linear."""

    def __init__(self, config: HeadConfig, in_channels: int, answers: int) -> None:
        layers: list[nn.Module] = []
        for width in config.hidden:
            layers += [nn.Linear(in_channels, width), nn.ReLU()]
            in_channels = width
        super().__init__(*layers, nn.Dropout(config.dropout), nn.Linear(in_channels, answers))


class VQAModel(nn.Module):
    """Encode image and question, fuse, select, aggregate, answer (Malinowski et al. 2018).

    pool: (rows, columns) that the image encoder's grid is averaged down to, or None. grid: what it is then.
    stored_dtype: the type of the stored features that the model was trained on, None where it was trained on
    images; images are then encoded as they were for the store, in float32, and rounded to it.
    """

    positions_N2: Tensor

    def __init__(
        self,
        *,
        image_encoder: ImageEncoder[Any],
        question_encoder: QuestionEncoder[Any],
        fuser: Fuser[Any],
        selector: Selector[Any],
        aggregator: Aggregator[Any],
        head: nn.Module,
        pool: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.stored_dtype: torch.dtype | None = None
        self.grid = pool or image_encoder.grid
        self.image_encoder = image_encoder
        self.question_encoder = question_encoder
        self.fuser = fuser
        self.selector = selector
        self.aggregator = aggregator
        self.head = head
        # Of stored features, which come without; not saved, because it follows from the encoder.
        self.register_buffer("positions_N2", grid_positions(self.grid), persistent=False)

    @property
    def oracle(self) -> bool:
        """Whether a component looks at ``Question.relevant_QN``."""
        return any(getattr(self, stage).oracle for stage in STAGES)

    def set_progress(self, share: float) -> None:
        """Tell every component how much of the training is done, see ``hacore.interfaces.Module``."""
        for stage in STAGES:
            getattr(self, stage).set_progress(share)

    def with_selector(self, selector: Selector[Any]) -> VQAModel:
        """The same model, its parameters shared, with another selector."""
        other = copy.copy(self)
        other._modules = {**self._modules, "selector": selector}
        return other

    def encode(self, images: Tensor) -> Cells:
        """Cells of images (I, 3, H, W), or of features (I, N, C) that a store has of them."""
        if images.dim() == 3:
            features_INC = images.to(self.positions_N2.dtype)
            return Cells(features=features_INC, positions=self.positions_N2, grid=self.grid)
        if self.stored_dtype is None:
            return self._encode(images)
        if torch.compiler.is_exporting():  # in float32 anyway
            cells = self._encode(images)
        else:
            with torch.autocast(images.device.type, enabled=False):
                cells = self._encode(images)
        rounded_INC = cells.features.to(self.stored_dtype).to(self.positions_N2.dtype)
        return attrs.evolve(cells, features=rounded_INC)

    def _encode(self, images: Tensor) -> Cells:
        cells: Cells = self.image_encoder(images)
        return cells if self.pool is None else pool_cells(cells, self.pool, self.positions_N2)

    def forward(
        self,
        images: Tensor,
        words_QT: Tensor,
        lengths_Q: Tensor,
        image_index_Q: Tensor,
        image_id_Q: Tensor | None = None,
        relevant_QN: Tensor | None = None,
    ) -> Output:
        """Images (I, 3, H, W), or their stored features (I, N, C); words (Q, T), 0 is padding; question q
        is about image_index_Q[q]. image_id_Q, relevant_QN: as in ``Question``.

        ``hacore.measure.predict`` calls this with a batch; nothing else needs to.
        """
        cells = self.encode(images)
        question: Question = self.question_encoder(words_QT, lengths_Q)
        question.image_id_Q, question.relevant_QN = image_id_Q, relevant_QN
        question.words_QT = words_QT
        selection: Selection = self.selector(self.fuser(cells, question, image_index_Q), question)
        return Output(self.head(self.aggregator(selection, question)), selection)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode and without gradients; as it was before when this ends."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(training)


class QuestionOnly(nn.Module):
    """The baseline that sees no image: question encoder and head."""

    def __init__(self, question_encoder: QuestionEncoder[Any], head: nn.Module) -> None:
        super().__init__()
        self.question_encoder = question_encoder
        self.head = head

    def forward(self, words_QT: Tensor, lengths_Q: Tensor) -> Tensor:
        logits_QA: Tensor = self.head(self.question_encoder(words_QT, lengths_Q).vector_QC)
        return logits_QA


def pool_cells(cells: Cells, grid: tuple[int, int], positions_N2: Tensor) -> Cells:
    """The cells averaged down to a smaller grid, as ``torch.nn.AdaptiveAvgPool2d`` does.

    positions_N2: those of the smaller grid.
    """
    features_ICHW = cells.features.transpose(1, 2).reshape(*cells.features.shape[::2], *cells.grid)
    pooled_ICN = F.adaptive_avg_pool2d(features_ICHW, grid).flatten(2)
    return Cells(features=pooled_ICN.transpose(1, 2), positions=positions_N2, grid=grid)
