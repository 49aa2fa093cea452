"""The selector contract passes a right selector and names what is wrong with others."""

import attrs
import pytest
import torch
from torch import nn

from hacore.interfaces import Selection, Selector
from hacore.plugin import option
from hacore.selection import gather_cells
from hacore.testing import Sizes


@attrs.frozen(kw_only=True)
class Config:
    k: int = option(3, "cells to keep", min=1)


class Good(Selector[Config]):
    def presence(self, cells):
        return cells.features.detach().norm(dim=-1)

    def forward(self, cells, question):
        presence_QN = self.presence(cells)
        index_QK = presence_QN.topk(self.config.k).indices
        return Selection(
            features_QKC=gather_cells(cells.features, index_QK),
            index_QK=index_QK,
            presence_QN=presence_QN,
            positions_N2=cells.positions,
            grid=cells.grid,
        )


class Adaptive(Good):
    def forward(self, cells, question):
        selection = super().forward(cells, question)
        kept_QK = selection.presence_QN.gather(1, selection.index_QK)
        return attrs.evolve(
            selection,
            valid_QK=kept_QK >= 0.9 * kept_QK[:, :1],
            weight_QK=selection.features_QKC.square().sum(-1),
            loss=selection.features_QKC.square().mean(),
        )


class Changed(Good):
    """Good, with one thing changed in what it returns."""

    def forward(self, cells, question):
        selection = super().forward(cells, question)
        return attrs.evolve(selection, **self.change(selection, cells))


class OfTheBatch(Good):
    def presence(self, cells):
        return super().presence(cells) * cells.features.detach().sum(2).mean(0)


class PrefersFirst(Good):
    def presence(self, cells):
        return super().presence(cells) + torch.arange(cells.features.shape[1]) / 5


class Draws(Good):
    def presence(self, cells):
        return super().presence(cells) + torch.rand(cells.features.shape[:2])


class Writes(Good):
    def forward(self, cells, question):
        cells.features.mul_(2)
        return super().forward(cells, question)


class PlainTensor(Good):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.scale = torch.rand(sizes.cell_channels)

    def presence(self, cells):
        return (cells.features.detach() * self.scale).norm(dim=-1)


class OnCPU(Good):
    def presence(self, cells):
        return super().presence(cells) + torch.zeros(cells.features.shape[1])


class NoGradientToScorer(Good):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.scorer = nn.Linear(sizes.cell_channels, 1)

    def presence(self, cells):
        return self.scorer(cells.features.detach()).squeeze(-1).detach()


class Detached(Changed):
    def change(self, selection, cells):
        return {"features_QKC": selection.features_QKC.detach()}


class Scaled(Changed):
    def change(self, selection, cells):
        return {"features_QKC": selection.features_QKC * 0.5}


class Masked(Good):
    def forward(self, cells, question):
        count = cells.features.shape[1]
        selection = super().forward(cells, question)
        kept = torch.zeros_like(selection.presence_QN).scatter(1, selection.index_QK, 1)
        return attrs.evolve(
            selection,
            features_QKC=cells.features * kept.unsqueeze(-1),
            index_QK=torch.arange(count).expand(len(kept), count),
        )


class Twice(Changed):
    def change(self, selection, cells):
        index_QK = selection.index_QK[:, :1].expand_as(selection.index_QK)
        return {"index_QK": index_QK, "features_QKC": gather_cells(cells.features, index_QK)}


class OutOfRange(Changed):
    def change(self, selection, cells):
        return {"index_QK": selection.index_QK + 24}


class Int32(Changed):
    def change(self, selection, cells):
        return {"index_QK": selection.index_QK.int()}


class KeepsNone(Changed):
    def change(self, selection, cells):
        return {"valid_QK": selection.presence_QN.gather(1, selection.index_QK) > 4}


class FloatValid(Changed):
    def change(self, selection, cells):
        return {"valid_QK": torch.ones_like(selection.features_QKC[..., 0])}


class PresenceOfK(Changed):
    def change(self, selection, cells):
        return {"presence_QN": selection.presence_QN.gather(1, selection.index_QK)}


class PresenceWithGradient(Changed):
    def change(self, selection, cells):
        features = cells.features.clone().requires_grad_()
        return {"presence_QN": features.norm(dim=-1)}


class BlocksOutOfOrder(Good):
    def presence(self, cells):
        return torch.cat(list(cells.blocks())[::-1]).norm(dim=-1)


class NaNWeight(Changed):
    def change(self, selection, cells):
        features_QKC = selection.features_QKC
        return {"weight_QK": (features_QKC / features_QKC.norm(dim=-1, keepdim=True)).sum(-1)}


class Inverse(Changed):
    def change(self, selection, cells):
        return {"weight_QK": selection.features_QKC.norm(dim=-1)}


class LossOfEach(Changed):
    def change(self, selection, cells):
        return {"loss": selection.features_QKC.sum((1, 2))}


def test_right_selectors_pass(failures):
    assert failures("selector", Good, Config) == {}
    assert failures("selector", Good, Config, k=24) == {}
    assert failures("selector", Adaptive, Config, k=7) == {}


def test_other_sizes(failures):
    sizes = Sizes(image=(3, 8, 8), words=4, answers=2, grid=(1, 2), cell_channels=1)
    assert failures("selector", Good, Config, settings={"sizes": sizes}, k=2) == {}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [
        (OfTheBatch, "test_questions_do_not_meet", "question 0 alone and in a batch differ"),
        (PrefersFirst, "test_cell_order_does_not_matter", "cells in another order"),
        (Draws, "test_evaluation_repeats", "two calls in evaluation mode differ"),
        (Writes, "test_inputs_are_left_alone", "forward writes into its input features"),
        (PlainTensor, "test_moves_to_a_device", "scale is a plain tensor"),
        (PlainTensor, "test_state_survives_a_checkpoint", "result differs"),
        (OnCPU, "test_moves_to_a_device", "pass device="),
        (NoGradientToScorer, "test_gradients", "parameter scorer.weight receives no gradient"),
        (Detached, "test_gradients", "no gradient"),
        (Detached, "test_kept_cells_are_trained", "features_QKC is detached"),
        (Scaled, "test_features_are_gathered", "factors belong into weight_QK"),
        (Masked, "test_features_are_gathered", "gather features at index_QK"),
        (Twice, "test_result", "keeps a cell twice"),
        (OutOfRange, "test_result", "must lie in [0, 24)"),
        (Int32, "test_result", "index_QK must be an int64 tensor (Q, K)"),
        (KeepsNone, "test_result", "at least one must be valid"),
        (FloatValid, "test_result", "must be torch.bool"),
        (PresenceOfK, "test_result", "presence_QN has shape (4, 3); must be (Q, N) = (4, 24)"),
        (PresenceWithGradient, "test_result", "presence_QN carries a gradient"),
        (BlocksOutOfOrder, "test_fused_cells", "fused when asked for are not kept alike"),
        (NaNWeight, "test_equal_cells", "weight_QK has 12 of 12 entries that are not finite"),
        (LossOfEach, "test_result", "loss has shape (4,)"),
    ],
)
def test_wrong_selectors_fail(failures, cls, test, words):
    reports = failures("selector", cls, Config)
    assert test in reports, reports
    assert words in reports[test]


def test_zero_cells_and_the_norm(failures):
    # torch defines the gradient of a norm at zero as zero, so this one is right.
    assert failures("selector", Inverse, Config) == {}
