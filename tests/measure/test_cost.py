import pytest
import torch

import hacore
from hacore.interfaces import Sizes
from hacore.measure.cost import stage_costs
from hacore.model.compose import compose
from hacore.spec import spec_table

SIZES = Sizes(image=(3, 16, 16), words=30, answers=5)


@pytest.fixture
def spec():
    return hacore.resolve(
        {
            "name": "costs",
            "data": {"use": "sort-of-clevr"},
            "image_encoder": {"use": "small-cnn", "channels": [4, 6], "kernel": 3, "strides": [2]},
            "question_encoder": {"use": "lstm", "embedding": 7, "hidden": 9},
            "fuser": {"use": "concat", "width": 8},
            "selector": {"use": "l2-topk", "k": 3},
            "aggregator": {"use": "sum-pool"},
            "head": {"hidden": [11]},
        }
    )


def test_multiply_adds_are_those_of_the_formulas(spec):
    torch.manual_seed(0)
    model = compose(spec, SIZES)
    rows = {row.stage: row for row in stage_costs(model, spec, SIZES, words=6)}
    # 16x16 -> 8x8 -> 4x4, kernels of 3x3.
    assert rows["image_encoder"].multiply_adds == 64 * 4 * 3 * 9 + 16 * 6 * 4 * 9
    # Four gates a word, from the word and from the state.
    assert rows["question_encoder"].multiply_adds >= 6 * 4 * 9 * (7 + 9)
    assert rows["question_encoder"].multiply_adds <= 6 * 4 * 9 * (7 + 9) + 9 * 9
    assert rows["head"].multiply_adds == 8 * 11 + 11 * 5
    assert rows["aggregator"].multiply_adds == 0
    assert rows["selector"].output == "3x8"
    assert rows["image_encoder"].output == "16x6"
    assert sum(row.parameters for row in rows.values()) == sum(p.numel() for p in model.parameters())


def test_counting_leaves_model_random_state_and_settings_alone(spec):
    model = compose(spec, SIZES).train()
    settings = torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stage_costs(model, spec, SIZES, words=6)
    assert torch.equal(torch.rand(2), expected)
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert settings == (torch.backends.mkldnn.enabled, torch.backends.cudnn.enabled)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("selector", ["l2-topk", "all-cells"])
def test_what_the_fuser_does_counts_as_its_own_whenever_it_does_it(spec, selector):
    fuser = {"use": "multiply", "width": 8, "layers": 2}
    spec = hacore.resolve({**spec_table(spec), "fuser": fuser, "selector": {"use": selector}})
    model = compose(spec, SIZES)
    counts = {row.stage: row.multiply_adds for row in stage_costs(model, spec, SIZES, words=4)}
    cells, width = model.grid[0] * model.grid[1], 8
    per_cell = (6 + 2) * width + 2 * width * width
    assert counts["fuser"] == cells * per_cell + 2 * model.question_encoder.out_channels * width
    assert counts["selector"] == 0
    assert "forward" not in vars(model.fuser)
