"""The contract of selectors whose vectors are mixtures of cells, and of options that are live."""

from typing import Literal

import attrs
import pytest
import torch
from torch import nn

from hacore.interfaces import Aggregator, Selection, Selector
from hacore.plugin import option
from hacore.testing import Sizes


@attrs.frozen(kw_only=True)
class Config:
    slots: int = option(3, "vectors to make", min=1)


class Slots(Selector[Config]):
    """Each slot looks for something, and mixes the cells by how much of that they have."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.wanted_KC = nn.Parameter(torch.randn(config.slots, sizes.cell_channels))

    def shares(self, cells):
        return (cells.features @ self.wanted_KC.t()).transpose(1, 2).softmax(-1)

    def selection(self, cells, share_QKN, **others):
        return Selection(
            features_QKC=share_QKN.to(cells.features.dtype) @ cells.features,
            index_QK=share_QKN.argmax(-1),
            presence_QN=share_QKN.detach().sum(1),
            positions_N2=cells.positions,
            grid=cells.grid,
            share_QKN=share_QKN,
            **others,
        )

    def forward(self, cells, question):
        return self.selection(cells, self.shares(cells))


class Merged(Slots):
    """Shares that are zero for most cells: each slot is the mean of the two that suit it best."""

    def shares(self, cells):
        score_QKN = super().shares(cells)
        best_QK2 = score_QKN.topk(2).indices
        # The score has a gradient, or what is wanted would never be learned.
        chosen_QKN = torch.zeros_like(score_QKN).scatter(2, best_QK2, 1.0) * score_QKN
        return chosen_QKN / chosen_QKN.sum(-1, keepdim=True)


class Ragged(Slots):
    """Some slots are not valid; what stands there does not count."""

    def forward(self, cells, question):
        share_QKN = self.shares(cells)
        largest_QK = share_QKN.detach().amax(-1)
        valid_QK = largest_QK >= largest_QK.amax(1, keepdim=True) * 0.99
        garbage_QKN = torch.where(valid_QK.unsqueeze(-1), share_QKN, -7.0)
        selection = self.selection(cells, share_QKN, valid_QK=valid_QK, weight_QK=share_QKN.amax(-1))
        return attrs.evolve(selection, share_QKN=garbage_QKN)


class Changed(Slots):
    """Right, with one thing changed in what it returns."""

    def forward(self, cells, question):
        selection = super().forward(cells, question)
        return attrs.evolve(selection, **self.change(selection, cells))


class NotOne(Changed):
    def change(self, selection, cells):
        return {
            "share_QKN": selection.share_QKN * 0.9,
            "features_QKC": selection.features_QKC * 0.9,
        }


class BelowZero(Changed):
    def change(self, selection, cells):
        # Still one in all, and the largest where it was.
        change_QKN = torch.zeros_like(selection.share_QKN).scatter(
            2, selection.share_QKN.argmin(-1, keepdim=True), -0.5
        )
        change_QKN = change_QKN.scatter(2, selection.index_QK.unsqueeze(-1), 0.5)
        share_QKN = selection.share_QKN + change_QKN
        return {"share_QKN": share_QKN, "features_QKC": share_QKN.to(cells.features.dtype) @ cells.features}


class NotTheMixture(Changed):
    def change(self, selection, cells):
        return {"features_QKC": selection.features_QKC * 2}


class NotTheLargest(Changed):
    def change(self, selection, cells):
        return {"index_QK": selection.share_QKN.argmin(-1)}


class SharesOfSlots(Changed):
    def change(self, selection, cells):
        return {"share_QKN": selection.share_QKN.transpose(1, 2)}


class OfTheBatch(Slots):
    def shares(self, cells):
        return (
            (cells.features.mean(0) @ self.wanted_KC.t()).t().softmax(-1).expand(len(cells.features), -1, -1)
        )


class PrefersFirst(Slots):
    def shares(self, cells):
        score_QKN = super().shares(cells)
        lift_N = torch.arange(score_QKN.shape[2], device=score_QKN.device) / 5
        return (score_QKN - lift_N.to(score_QKN)).softmax(-1)


class Detached(Changed):
    def change(self, selection, cells):
        # Only the shares learn, so that what comes before is not trained to show itself.
        features_QNC = cells.features.detach()
        return {"features_QKC": selection.share_QKN.detach().to(features_QNC.dtype) @ features_QNC}


class HalfDetached(Merged):
    """The second cell of each pair is kept without a gradient."""

    def forward(self, cells, question):
        share_QKN = self.shares(cells).detach()
        learning_QN = torch.zeros_like(cells.features[..., :1]).scatter(
            1, share_QKN.argmax(-1).unsqueeze(-1), 1.0
        )
        features = learning_QN * cells.features + (1 - learning_QN) * cells.features.detach()
        selection = super().forward(cells, question)
        return attrs.evolve(selection, features_QKC=share_QKN.to(features.dtype) @ features)


@pytest.mark.parametrize("cls", [Slots, Merged, Ragged])
@pytest.mark.parametrize("slots", [1, 3, 30])
def test_right_mixtures_pass(failures, cls, slots):
    """With more slots than cells, too: two mixtures may have the largest share of the same cell."""
    assert failures("selector", cls, Config, slots=slots) == {}


def test_a_mixture_of_one_cell_and_a_grid_of_one_row(failures):
    sizes = Sizes(image=(3, 8, 8), words=4, answers=2, grid=(1, 2), cell_channels=3, question_channels=2)
    assert failures("selector", Slots, Config, settings={"sizes": sizes}, slots=2) == {}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [
        (NotOne, "test_result", "the shares of a mixture must add up to 1; they miss it by 0.1"),
        (BelowZero, "test_result", "share_QKN has entries below 0"),
        (NotTheMixture, "test_features_are_gathered", "not the cells' in the shares of share_QKN"),
        (NotTheLargest, "test_result", "index_QK of a mixture must name the cell of its largest share"),
        (SharesOfSlots, "test_result", "share_QKN has shape (4, 24, 3); must be (Q, K, N) = (4, 3, 24)"),
        (OfTheBatch, "test_questions_do_not_meet", "question 0 alone and in a batch differ"),
        (PrefersFirst, "test_cell_order_does_not_matter", "cells in another order"),
        (Detached, "test_kept_cells_are_trained", "features_QKC is detached"),
        (HalfDetached, "test_kept_cells_are_trained", "is kept but receives no gradient"),
    ],
)
def test_wrong_mixtures_fail(failures, cls, test, words):
    problems = failures("selector", cls, Config)
    assert test in problems, problems
    assert words in problems[test]


def test_what_is_told_of_a_mixture_is_nothing_else(failures):
    """Each mistake is told by the test that is made for it, not by all of them."""
    assert failures("selector", NotTheMixture, Config).keys() == {"test_features_are_gathered"}


class Pool(Aggregator):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.out_channels = sizes.cell_channels + sizes.question_channels

    def forward(self, selection, question):
        weight_QK = selection.masked_weight_QK
        features_QKC = selection.features_QKC
        if weight_QK is not None:
            features_QKC = features_QKC * weight_QK.unsqueeze(-1)
        return torch.cat([features_QKC.sum(1), question.vector_QC.to(features_QKC.dtype)], 1)


class NoMixtures(Pool):
    def forward(self, selection, question):
        if selection.share_QKN is not None:
            raise NotImplementedError
        return super().forward(selection, question)


def test_aggregators_take_mixtures(failures):
    assert failures("aggregator", Pool) == {}
    assert failures("aggregator", NoMixtures) == {"test_takes_mixtures": "NotImplementedError"}


# Live options


@attrs.frozen(kw_only=True)
class Live:
    slots: int = option(3, "vectors to make", min=1, live=True)
    sharpness: float = option(1.0, "how much the best cell is preferred", above=0, live=True)
    weighted: bool = option(False, "weigh the vectors", live=True)
    manner: Literal["soft", "sharp"] = option("soft", "how", live=True)
    limit: int | None = option(None, "at most so many", min=1, live=True)


class Sharp(Selector[Live]):
    """Its options may change: the one parameter has nothing to do with them."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.wanted_C = nn.Parameter(torch.randn(sizes.cell_channels))

    def forward(self, cells, question):
        slots = min(self.config.slots, self.config.limit or self.config.slots)
        score_QN = (cells.features @ self.wanted_C) * self.config.sharpness
        if self.config.manner == "sharp":
            score_QN = 2 * score_QN
        step_K1 = torch.arange(1, slots + 1, device=score_QN.device).unsqueeze(1)
        share_QKN = (score_QN.unsqueeze(1) * step_K1).softmax(-1)
        return Slots.selection(
            self, cells, share_QKN, weight_QK=share_QKN.amax(-1) if self.config.weighted else None
        )


class ASlotEach(Sharp):
    """A parameter for each slot."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.lift_K = nn.Parameter(torch.zeros(config.slots))

    def forward(self, cells, question):
        selection = super().forward(cells, question)
        lift_QK = self.lift_K[: selection.index_QK.shape[1]].expand(len(selection.index_QK), -1)
        return attrs.evolve(selection, weight_QK=lift_QK.exp())


class OnlyWhenSharp(Sharp):
    """A parameter that is there with one choice and not with the other."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        if config.manner == "sharp":
            self.more = nn.Parameter(torch.ones(()))

    def forward(self, cells, question):
        selection = super().forward(cells, question)
        if self.config.manner == "sharp":
            weight_QK = self.more.expand(selection.index_QK.shape)
            return attrs.evolve(selection, weight_QK=weight_QK)
        return selection


class OneToFew(Sharp):
    """With more cells than one, the result is none of a selector."""

    def forward(self, cells, question):
        selection = super().forward(cells, question)
        return (
            selection if self.config.slots == 3 else attrs.evolve(selection, index_QK=selection.index_QK + 99)
        )


@attrs.frozen(kw_only=True)
class Still:
    slots: int = option(3, "vectors to make", min=1)


def test_live_options_that_need_no_training_pass(failures):
    assert failures("selector", Sharp, Live) == {}
    assert failures("selector", Sharp, Live, slots=5, manner="sharp", weighted=True, limit=2) == {}


@pytest.mark.parametrize(
    ("cls", "words"),
    [
        (ASlotEach, "option slots is live, but with 1 the state is another: "),
        (OnlyWhenSharp, "option manner is live, but with 'sharp' the state is another: "),
        (OneToFew, "index_QK reaches from "),
    ],
)
def test_live_options_that_change_the_state_fail(failures, cls, words):
    problems = failures("selector", cls, Live)
    assert problems.keys() == {"test_live_options_need_no_training"}
    assert problems["test_live_options_need_no_training"].startswith(words)


def test_an_option_that_is_not_live_may_change_the_state(failures):
    assert failures("selector", Slots, Still) == {}


def test_a_live_option_that_excludes_another_is_tried_without_it(failures):
    """As k and fraction do: no combination that cannot be built is held against the selector."""

    @attrs.frozen(kw_only=True)
    class Either:
        k: int | None = option(None, "cells", min=1, live=True)
        fraction: float | None = option(None, "share of the cells", above=0, max=1, live=True)

        def __attrs_post_init__(self):
            if self.k is not None and self.fraction is not None:
                raise ValueError("give k or fraction, not both")

    tried = set()

    class EitherSlots(Sharp):
        def forward(self, cells, question):
            k = self.config.k or max(1, round((self.config.fraction or 0.5) * cells.features.shape[1]))
            tried.add((self.config.k, self.config.fraction))
            step_K1 = torch.arange(1, k + 1, device=cells.features.device).unsqueeze(1)
            share_QKN = ((cells.features @ self.wanted_C).unsqueeze(1) * step_K1).softmax(-1)
            return Slots.selection(self, cells, share_QKN)

    assert failures("selector", EitherSlots, Either, k=3) == {}
    assert (None, 0.25) in tried
    assert (1, None) in tried
