"""The aggregator contract passes right aggregators and names what is wrong with others."""

import pytest
import torch
from torch import nn

from hacore.interfaces import Aggregator


class Good(Aggregator):
    """The weighted sum of a layer over the kept cells, scaled by the question."""

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.out_channels = 8
        self.layer = nn.Linear(sizes.cell_channels + 2, 8)
        self.ask = nn.Linear(sizes.question_channels, 8)

    def layered(self, selection):
        positions_QK2 = selection.kept_positions_QK2.to(selection.features_QKC.dtype)
        return self.layer(torch.cat([selection.features_QKC, positions_QK2], -1)).relu()

    def pool(self, selection):
        layered_QKC = self.layered(selection)
        weight_QK = selection.masked_weight_QK
        return layered_QKC.sum(1) if weight_QK is None else (layered_QKC * weight_QK.unsqueeze(-1)).sum(1)

    def forward(self, selection, question):
        return self.pool(selection) * self.ask(question.vector_QC)


class Mean(Good):
    """Divides by K, which counts the padding."""

    def pool(self, selection):
        return super().pool(selection) / selection.index_QK.shape[1]


class IgnoresValid(Good):
    def pool(self, selection):
        layered_QKC = self.layered(selection)
        return (
            layered_QKC.sum(1)
            if selection.weight_QK is None
            else (layered_QKC * selection.weight_QK[..., None]).sum(1)
        )


class IgnoresWeight(Good):
    def pool(self, selection):
        layered_QKC = self.layered(selection)
        if selection.valid_QK is not None:
            layered_QKC = layered_QKC * selection.valid_QK.unsqueeze(-1).to(layered_QKC.dtype)
        return layered_QKC.sum(1)


class NeedsValid(Good):
    def pool(self, selection):
        return (self.layered(selection) * selection.valid_QK.unsqueeze(-1)).sum(1)


class FirstCounts(Good):
    def layered(self, selection):
        layered_QKC = super().layered(selection)
        return layered_QKC / torch.arange(1, layered_QKC.shape[1] + 1)[:, None].to(layered_QKC)


class BatchNorm(Good):
    def pool(self, selection):
        pooled_QC = super().pool(selection)
        return pooled_QC - pooled_QC.mean(0)


class WrongWidth(Good):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.out_channels = 9


class LeakyGradient(Good):
    """Right in value; invalid places still receive a gradient that cancels in the result."""

    def pool(self, selection):
        layered_QKC = self.layered(selection)
        return super().pool(selection) + (layered_QKC - layered_QKC.detach()).sum(1)


class Float32(Good):
    def forward(self, selection, question):
        return super().forward(selection, question).float()


class MixesDtypes(Good):
    """scatter_add and friends refuse a bfloat16 source for a float32 target."""

    def pool(self, selection):
        layered_QKC = super().pool(selection).unsqueeze(1)
        target = torch.zeros(len(layered_QKC), 8, dtype=self.layer.weight.dtype, device=layered_QKC.device)
        rows = torch.arange(len(layered_QKC), device=layered_QKC.device)
        return target.index_add(0, rows, layered_QKC.squeeze(1).to(selection.features_QKC.dtype))


class Tied(Good):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.again = self.layer

    def layered(self, selection):
        positions_QK2 = selection.kept_positions_QK2.to(selection.features_QKC.dtype)
        return self.again(torch.cat([selection.features_QKC, positions_QK2], -1)).relu()


class Counter(Good):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, selection, question):
        self.calls += 1
        return super().forward(selection, question)


class UnseededStart(Good):
    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        nn.init.normal_(
            self.ask.weight, generator=torch.Generator().manual_seed(torch.Generator().seed() % 2**31)
        )


def test_a_right_aggregator_passes(failures):
    assert failures("aggregator", Good) == {}


@pytest.mark.parametrize(
    ("cls", "test", "words"),
    [
        (Mean, "test_padding_has_no_influence", "invalid places leak into the result"),
        (Mean, "test_questions_do_not_meet", "without its invalid places, and in a batch differ"),
        (IgnoresValid, "test_padding_has_no_influence", "mask them with valid_QK"),
        (IgnoresWeight, "test_weights_count", "use selection.masked_weight_QK"),
        (NeedsValid, "test_all_kinds_of_selection", "AttributeError"),
        (FirstCounts, "test_order_of_kept_cells_does_not_matter", "depends on the order of the kept cells"),
        (BatchNorm, "test_questions_do_not_meet", "alone and in a batch differ"),
        (WrongWidth, "test_result", "the result has shape (4, 8); must be (Q, out_channels) = (4, 9)"),
        (LeakyGradient, "test_padding_has_no_influence", "invalid places receive a gradient"),
        (Float32, "test_result", "output is torch.float32 for parameters and inputs of torch.float64"),
        (MixesDtypes, "test_autocast", "RuntimeError"),
        (Tied, "test_state_survives_a_checkpoint", "cannot be saved as safetensors"),
        (Counter, "test_evaluation_repeats", "evaluation changes calls"),
        (UnseededStart, "test_seed_fixes_the_start", "ask.weight differs between two builds"),
    ],
)
def test_wrong_aggregators_fail(failures, cls, test, words):
    reports = failures("aggregator", cls)
    assert test in reports, reports
    assert words in reports[test]
