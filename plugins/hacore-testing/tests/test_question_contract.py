"""What the contract says of questions: their words, and the cells that only an oracle may look at."""

import attrs
import pytest
import torch
from torch import nn

from hacore.interfaces import Aggregator, Fuser, Selection, Selector
from hacore.selection import gather_cells
from hacore.testing import SIZES


class Pick(Selector):
    """Keeps the three cells of largest norm."""

    def presence(self, cells, question):
        return cells.features.detach().norm(dim=-1)

    def forward(self, cells, question):
        presence_QN = self.presence(cells, question)
        index_QK = presence_QN.topk(3).indices
        return Selection(
            features_QKC=gather_cells(cells.features, index_QK),
            index_QK=index_QK,
            presence_QN=presence_QN,
            positions_N2=cells.positions,
            grid=cells.grid,
        )


class Mix(Fuser):
    """A layer of the cells, scaled by a layer of the question."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.out_channels = 8
        self.image = nn.Linear(sizes.cell_channels, 8)
        self.asked = nn.Linear(sizes.question_channels, 8)

    def factor(self, question):
        return self.asked(question.vector_QC).unsqueeze(1)

    def forward(self, cells, question, image_index_Q):
        image_INC = self.image(cells.features)
        return attrs.evolve(cells, features=image_INC[image_index_Q] * self.factor(question))


class Pool(Aggregator):
    """The sum of the kept cells beside the question."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.out_channels = sizes.cell_channels + sizes.question_channels

    def weight(self, selection, question):
        weight_QK = selection.masked_weight_QK
        return torch.ones_like(selection.features_QKC[..., 0]) if weight_QK is None else weight_QK

    def forward(self, selection, question):
        weight_QK = self.weight(selection, question)
        pooled_QC = (selection.features_QKC * weight_QK.unsqueeze(-1)).sum(1)
        return torch.cat([pooled_QC, question.vector_QC.to(pooled_QC.dtype)], 1)


@pytest.mark.parametrize(("kind", "cls"), [("selector", Pick), ("fuser", Mix), ("aggregator", Pool)])
def test_who_minds_neither_words_nor_relevant_cells_passes(failures, kind, cls):
    assert failures(kind, cls) == {}


# Relevant cells


class PickRelevant(Pick):
    """Whatever is relevant first, where it is told."""

    def presence(self, cells, question):
        presence_QN = super().presence(cells, question)
        if question.relevant_QN is None:
            return presence_QN
        return presence_QN + 1e3 * question.relevant_QN.to(presence_QN.dtype)


class MixRelevant(Mix):
    def forward(self, cells, question, image_index_Q):
        fused = super().forward(cells, question, image_index_Q)
        if question.relevant_QN is None:
            return fused
        relevant_QN1 = question.relevant_QN.unsqueeze(-1).to(fused.features.dtype)
        return attrs.evolve(fused, features=fused.features * (0.5 + relevant_QN1))


class PoolRelevant(Pool):
    def weight(self, selection, question):
        weight_QK = super().weight(selection, question)
        if question.relevant_QN is None:
            return weight_QK
        return weight_QK * (0.5 + question.relevant_QN.gather(1, selection.index_QK).to(weight_QK.dtype))


class PeeksInTraining(PickRelevant):
    def presence(self, cells, question):
        if self.training:
            return super().presence(cells, question)
        return Pick.presence(self, cells, question)


class CountsRelevant(Pool):
    """Not which cells are relevant, but how many."""

    def weight(self, selection, question):
        weight_QK = super().weight(selection, question)
        if question.relevant_QN is None:
            return weight_QK
        return weight_QK * (1 + question.relevant_QN.sum(1, keepdim=True))


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("selector", PickRelevant),
        ("fuser", MixRelevant),
        ("aggregator", PoolRelevant),
        ("selector", PeeksInTraining),
        ("aggregator", CountsRelevant),
    ],
)
def test_who_looks_at_relevant_cells_has_to_say_so(failures, kind, cls):
    problems = failures(kind, cls)
    assert problems.keys() == {"test_only_an_oracle_looks_at_relevant_cells"}
    message = problems["test_only_an_oracle_looks_at_relevant_cells"]
    assert "relevant_QN, which no model can know, has influence" in message
    assert "oracle = True" in message

    class Oracle(cls):
        oracle = True

    assert failures(kind, Oracle) == {}


class PickRelevantOnly(Pick):
    """It needs to be told: the contract tells an oracle, and nobody else."""

    oracle = True

    def presence(self, cells, question):
        return super().presence(cells, question) + 1e3 * question.relevant_QN.to(cells.features.dtype)


class PickRelevantByPlace(PickRelevantOnly):
    """Right of each cell alone; of the relevant ones it takes the first."""

    def presence(self, cells, question):
        later_N = torch.arange(cells.features.shape[1], device=cells.features.device)
        return super().presence(cells, question) - 10 * later_N * question.relevant_QN


class MixRelevantOfFirst(MixRelevant):
    """Told of the relevant cells of another question."""

    oracle = True

    def forward(self, cells, question, image_index_Q):
        first_QN = question.relevant_QN[:1].expand_as(question.relevant_QN)
        return super().forward(cells, attrs.evolve(question, relevant_QN=first_QN), image_index_Q)


def test_an_oracle_is_told(failures):
    assert failures("selector", PickRelevantOnly) == {}

    class Secretly(PickRelevantOnly):
        oracle = False

    assert failures("selector", Secretly)["test_result"] == "AttributeError"


@pytest.mark.parametrize(
    ("kind", "cls", "test"),
    [
        ("selector", PickRelevantByPlace, "test_cell_order_does_not_matter"),
        ("fuser", MixRelevantOfFirst, "test_each_question_sees_its_image"),
        ("fuser", MixRelevantOfFirst, "test_order_of_questions_does_not_matter"),
    ],
)
def test_an_oracle_keeps_all_other_promises(failures, kind, cls, test):
    assert test in failures(kind, cls)


# Words


class MixWords(Mix):
    """The mean state of the words that exist."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        if not sizes.word_channels:
            raise ValueError("it needs states of words")
        self.word = nn.Linear(sizes.word_channels, 8)

    def inside(self, question):
        steps = torch.arange(question.words_QTC.shape[1], device=question.words_QTC.device)
        return steps < question.lengths_Q.to(steps.device).unsqueeze(1)

    def factor(self, question):
        inside_QT1 = self.inside(question).unsqueeze(-1)
        word_QTC = self.word(question.words_QTC).masked_fill(~inside_QT1, 0)
        mean_Q1C = word_QTC.sum(1, keepdim=True) / inside_QT1.sum(1, keepdim=True)
        return super().factor(question) + mean_Q1C


class EveryStep(MixWords):
    """The mean over T, which counts the padding."""

    def inside(self, question):
        return torch.ones_like(question.words_QTC[..., 0], dtype=torch.bool)


class SumOfAll(MixWords):
    """Right as long as zeros stand there, and wrong where they do not."""

    def factor(self, question):
        return Mix.factor(self, question) + self.word(question.words_QTC.sum(1, keepdim=True))


class LastStep(MixWords):
    def factor(self, question):
        return Mix.factor(self, question) + self.word(question.words_QTC[:, -1:])


class OneStepMore(MixWords):
    def inside(self, question):
        steps = torch.arange(question.words_QTC.shape[1], device=question.words_QTC.device)
        return steps <= question.lengths_Q.to(steps.device).unsqueeze(1)


class PickByWords(Pick):
    """Presence from all states, padding among them."""

    def presence(self, cells, question):
        presence_QN = super().presence(cells, question)
        if question.words_QTC is None:
            return presence_QN
        sign_QN = torch.where(question.words_QTC.detach().amax((1, 2), keepdim=True)[..., 0] < 100, 1, -1)
        return presence_QN * sign_QN


class PoolByWords(Pool):
    def weight(self, selection, question):
        weight_QK = super().weight(selection, question)
        if question.words_QTC is None:
            return weight_QK
        return weight_QK + question.words_QTC.sum((1, 2)).unsqueeze(1).to(weight_QK.dtype)


class NeedsWords(MixWords):
    """Says nothing when it is built, and fails when it is run."""

    def __init__(self, config, sizes):
        super().__init__(config, attrs.evolve(sizes, word_channels=sizes.word_channels or 9))


def test_who_reads_the_words_that_exist_passes(failures):
    assert failures("fuser", MixWords) == {}
    # Where there are none, it has said so, and nothing else is asked of it.
    sizes = attrs.evolve(SIZES, word_channels=0)
    problems = failures("fuser", MixWords, settings={"sizes": sizes})
    assert set(problems.values()) == {"ValueError"}
    assert "test_takes_questions_without_words" not in problems
    assert failures("fuser", Mix, settings={"sizes": sizes}) == {}


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("fuser", EveryStep),
        ("fuser", SumOfAll),
        ("fuser", LastStep),
        ("fuser", OneStepMore),
        ("selector", PickByWords),
        ("aggregator", PoolByWords),
    ],
)
def test_what_stands_after_the_last_word_leaks(failures, kind, cls):
    problems = failures(kind, cls)
    message = problems["test_words_after_the_last_have_no_influence"]
    assert "what stands after a question's last word counts; mind lengths_Q" in message


class DividesByChannels(MixWords):
    """Fails when it is built, with an error that says nothing to a user."""

    def __init__(self, config, sizes):
        self.scale = 1 / sizes.word_channels
        super().__init__(config, sizes)


@pytest.mark.parametrize(
    ("cls", "error"), [(NeedsWords, "AttributeError"), (DividesByChannels, "ZeroDivisionError")]
)
def test_who_cannot_do_without_words_has_to_say_so_when_it_is_built(failures, cls, error):
    assert failures("fuser", cls) == {"test_takes_questions_without_words": error}
